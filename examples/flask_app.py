"""A shop of one article on Flask: opens orders, and hears of their money.

    export BINANCE_PAY_BASE_URL=http://127.0.0.1:8081
    export BINANCE_PAY_API_KEY=simulator BINANCE_PAY_API_SECRET=simulator
    python examples/flask_app.py
    checkstand simulator --webhook-url http://127.0.0.1:8000/binance

`POST /orders` opens one, `GET /orders/<number>` says how it stands.
"""
# ruff: noqa: T201 - a sample talks to whoever runs it

import os
import uuid
from decimal import Decimal
from typing import Any
from wsgiref.simple_server import make_server

from flask import Flask, abort

from checkstand.binance import BinancePay, BinancePayError, Goods, Notification
from checkstand.binance.doors.flask import notification_view

PRICE, CURRENCY = Decimal("12.50"), "USDT"
TEA = Goods(
    goods_type="01", goods_category="D000", reference_goods_id="tea-1", goods_name="Green tea"
)

client = BinancePay()  # threads may share it
#: A real shop has a database here; the number is in it before Binance hears of the order.
orders: dict[str, str] = {}
app = Flask(__name__)


@app.post("/orders")
def create_order() -> Any:
    """Open an order and say where to pay it."""
    number = uuid.uuid4().hex  # noqa: TID251 - 32 letters and digits; dashes would be refused
    orders[number] = "CREATED"
    try:
        created = client.orders.create(
            merchant_trade_no=number,
            description="A tin of green tea",
            goods_details=[TEA],
            order_amount=PRICE,
            currency=CURRENCY,
        )
    except BinancePayError as error:
        return {"error": str(error)}, 503 if error.outcome_unknown else 502
    return {"number": number, "checkout_url": created.checkout_url}


@app.get("/orders/<number>")
def show_order(number: str) -> Any:
    """Say how an order stands."""
    if number not in orders:
        abort(404)
    return {"number": number, "status": orders[number]}


def settle(notification: Notification) -> None:
    """Take a notification for a hint, and Binance's answer to our own key for the truth."""
    if notification.biz_type != "PAY":
        return
    order = client.orders.query(prepay_id=notification.biz_id)
    known = order.merchant_trade_no in orders
    if (
        known
        and order.status == "PAID"
        and (order.order_amount, order.currency)
        == (
            PRICE,
            CURRENCY,
        )
    ):
        orders[order.merchant_trade_no] = "PAID"


app.add_url_rule("/binance", view_func=notification_view(client, settle), methods=["POST"])


def main() -> None:
    """Serve on PORT, or on any free port where it is 0. A real shop uses a real server."""
    with make_server("127.0.0.1", int(os.environ.get("PORT", "8000")), app) as server:
        print(f"ready http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
