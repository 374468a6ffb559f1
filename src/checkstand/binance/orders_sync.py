# Generated from orders.py by scripts/generate_sync_client.py: change that file and run this.
"""Orders: create, query, close."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from checkstand.binance.caller_sync import Caller
from checkstand.binance.calls import CLOSE_ORDER, CREATE_ORDER, QUERY_ORDER
from checkstand.binance.exchange import CallOptions
from checkstand.binance.messages import (
    CloseOrder,
    CreatedOrder,
    CreateOrder,
    Environment,
    Goods,
    QueriedOrder,
    QueryOrder,
    SubMerchant,
)
from checkstand.binance.wire import amount_to_send, milliseconds


class Orders:
    """`client.orders`"""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def create(
        self,
        *,
        merchant_trade_no: str,
        description: str,
        goods_details: Sequence[Goods],
        order_amount: Decimal | str | None = None,
        currency: str | None = None,
        fiat_amount: Decimal | str | None = None,
        fiat_currency: str | None = None,
        terminal_type: str = "WEB",
        return_url: str | None = None,
        cancel_url: str | None = None,
        expires_at: datetime | None = None,
        support_pay_currency: str | None = None,
        pass_through_info: str | None = None,
        webhook_url: str | None = None,
        sub_merchant_id: str | None = None,
        options: CallOptions | None = None,
    ) -> CreatedOrder:
        """Open an order (v3), priced in a coin or in fiat.

        It is never sent again once it may have arrived. After `outcome_unknown`, query the same
        `merchant_trade_no`; after `DuplicateRequest` too, and compare before calling it yours.
        """
        request = CreateOrder(
            env=Environment(terminal_type=terminal_type),
            merchant_trade_no=merchant_trade_no,
            description=description,
            goods_details=tuple(goods_details),
            merchant=SubMerchant(sub_merchant_id=sub_merchant_id) if sub_merchant_id else None,
            order_amount=_amount(order_amount, "order_amount"),
            currency=currency,
            fiat_amount=_amount(fiat_amount, "fiat_amount"),
            fiat_currency=fiat_currency,
            return_url=return_url,
            cancel_url=cancel_url,
            order_expire_time=milliseconds(expires_at, "expires_at") if expires_at else None,
            support_pay_currency=support_pay_currency,
            pass_through_info=pass_through_info,
            webhook_url=webhook_url,
        )
        return self._caller.call(CREATE_ORDER, request, options)

    def query(
        self,
        *,
        merchant_trade_no: str | None = None,
        prepay_id: str | None = None,
        options: CallOptions | None = None,
    ) -> QueriedOrder:
        """Ask what became of an order (v2). Raises NotFound where Binance knows none."""
        request = QueryOrder(merchant_trade_no=merchant_trade_no, prepay_id=prepay_id)
        return self._caller.call(QUERY_ORDER, request, options)

    def close(
        self,
        *,
        merchant_trade_no: str | None = None,
        prepay_id: str | None = None,
        options: CallOptions | None = None,
    ) -> bool:
        """Ask Binance to close an unpaid order. True is "accepted", not "closed": query it.

        Raises OrderStatusConflict where it was paid or is being paid.
        """
        request = CloseOrder(merchant_trade_no=merchant_trade_no, prepay_id=prepay_id)
        return self._caller.call(CLOSE_ORDER, request, options)


def _amount(value: Decimal | str | None, name: str) -> Decimal | None:
    return None if value is None else amount_to_send(value, name)
