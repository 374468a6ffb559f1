"""A shop of one article on FastAPI: opens orders, and hears of their money.

    export BINANCE_PAY_BASE_URL=http://127.0.0.1:8081
    export BINANCE_PAY_API_KEY=simulator BINANCE_PAY_API_SECRET=simulator
    python examples/fastapi_app.py
    checkstand simulator --webhook-url http://127.0.0.1:8000/binance

`POST /orders` opens one, `GET /orders/{number}` says how it stands.
"""
# ruff: noqa: T201 - a sample talks to whoever runs it

import contextlib
import os
import socket
import uuid
from collections.abc import AsyncIterator
from decimal import Decimal

import uvicorn
from fastapi import FastAPI, HTTPException

from checkstand.binance import AsyncBinancePay, BinancePayError, Goods, Notification
from checkstand.binance.doors.starlette import notification_endpoint

PRICE, CURRENCY = Decimal("12.50"), "USDT"
TEA = Goods(
    goods_type="01", goods_category="D000", reference_goods_id="tea-1", goods_name="Green tea"
)

client = AsyncBinancePay()
#: A real shop has a database here; the number is in it before Binance hears of the order.
orders: dict[str, str] = {}


@contextlib.asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Close the client's connections at the end."""
    async with client:
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/orders")
async def create_order() -> dict[str, str]:
    """Open an order and say where to pay it."""
    number = uuid.uuid4().hex  # noqa: TID251 - 32 letters and digits; dashes would be refused
    orders[number] = "CREATED"
    try:
        created = await client.orders.create(
            merchant_trade_no=number,
            description="A tin of green tea",
            goods_details=[TEA],
            order_amount=PRICE,
            currency=CURRENCY,
        )
    except BinancePayError as error:
        raise HTTPException(503 if error.outcome_unknown else 502, str(error)) from error
    return {"number": number, "checkout_url": created.checkout_url}


@app.get("/orders/{number}")
async def show_order(number: str) -> dict[str, str]:
    """Say how an order stands."""
    if number not in orders:
        raise HTTPException(404)
    return {"number": number, "status": orders[number]}


async def settle(notification: Notification) -> None:
    """Take a notification for a hint, and Binance's answer to our own key for the truth."""
    if notification.biz_type != "PAY":
        return
    order = await client.orders.query(prepay_id=notification.biz_id)
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


app.add_route("/binance", notification_endpoint(client, settle), methods=["POST"])


def main() -> None:
    """Serve on PORT, or on any free port where it is 0."""
    with socket.create_server(("127.0.0.1", int(os.environ.get("PORT", "8000")))) as listener:
        print(f"ready http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        uvicorn.Server(uvicorn.Config(app)).run(sockets=[listener])


if __name__ == "__main__":
    main()
