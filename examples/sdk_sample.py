"""Sell a tin of tea with the SDK alone: open an order, wait for its money, give some of it back.

Start a simulator and tell the sample where it is:

    checkstand simulator
    export BINANCE_PAY_BASE_URL=http://127.0.0.1:8081
    export BINANCE_PAY_API_KEY=simulator BINANCE_PAY_API_SECRET=simulator
    python examples/sdk_sample.py cart-77

Then open the address it prints and pay.
"""
# ruff: noqa: T201 - a sample talks to whoever runs it

import sys
import time
from decimal import Decimal

from checkstand.binance import (
    BinancePay,
    BinancePayError,
    CallOptions,
    Goods,
    QueriedOrder,
    RequestRefused,
)

TEA = Goods(
    goods_type="01", goods_category="D000", reference_goods_id="tea-1", goods_name="Green tea"
)


def main(cart: str) -> int:
    """Sell one cart; return the exit code."""
    with BinancePay() as client:
        # The key makes the order's number, so this cart never becomes two orders.
        once = CallOptions(idempotency_key=cart, namespace="teahouse")
        try:
            created = client.orders.create(
                description="A tin of green tea",
                goods_details=[TEA],
                order_amount=Decimal("12.50"),
                currency="USDT",
                options=once,
            )
        except RequestRefused as refused:
            print(f"Binance said no: {refused.code} {refused.binance_message}")
            return 1
        except BinancePayError as error:
            print("unknown: run me again" if error.outcome_unknown else f"not now: {error}")
            return 1
        print(f"pay {created.total_fee} {created.currency} at {created.checkout_url}", flush=True)

        order = wait_for_money(client, created.prepay_id)
        if order is None:
            print("nobody paid")
            return 1
        print(f"paid: {order.order_amount} {order.currency}, fee {order.commission}")

        refund = client.refunds.create(
            prepay_id=order.prepay_id,
            refund_amount="2.50",
            refund_reason="a discount we forgot",
            options=once,
        )
        print(f"gave back {refund.refund_amount}, {refund.remaining_attempts} attempts left")
        return 0


def wait_for_money(client: BinancePay, prepay_id: str) -> QueriedOrder | None:
    """Ask until the order is paid or over. A shop would wait for the notification instead."""
    for _ in range(600):
        order = client.orders.query(prepay_id=prepay_id)
        if order.status == "PAID":
            return order
        if order.status in {"CANCELED", "EXPIRED", "ERROR"}:
            return None
        time.sleep(0.5)
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "cart-1"))
