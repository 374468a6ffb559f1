"""A shop of one article on Django, in one file: opens orders, and hears of their money.

    export BINANCE_PAY_BASE_URL=http://127.0.0.1:8081
    export BINANCE_PAY_API_KEY=simulator BINANCE_PAY_API_SECRET=simulator
    python examples/django_app.py
    checkstand simulator --webhook-url http://127.0.0.1:8000/binance

`POST /orders` opens one, `GET /orders/<number>` says how it stands.
"""
# ruff: noqa: T201 - a sample talks to whoever runs it

import os
import uuid
from decimal import Decimal
from wsgiref.simple_server import make_server

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from checkstand.binance import BinancePay, BinancePayError, Goods, Notification
from checkstand.binance.doors.django import notification_view

PRICE, CURRENCY = Decimal("12.50"), "USDT"
TEA = Goods(
    goods_type="01", goods_category="D000", reference_goods_id="tea-1", goods_name="Green tea"
)

client = BinancePay()  # threads may share it
#: A real shop has models here; the number is saved before Binance hears of the order.
orders: dict[str, str] = {}


@csrf_exempt  # for the sample's callers, who have no form; the door brings its own exemption
@require_POST
def create_order(_: HttpRequest) -> JsonResponse:
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
        return JsonResponse({"error": str(error)}, status=503 if error.outcome_unknown else 502)
    return JsonResponse({"number": number, "checkout_url": created.checkout_url})


def show_order(_: HttpRequest, number: str) -> JsonResponse:
    """Say how an order stands."""
    if number not in orders:
        return JsonResponse({"error": "no such order"}, status=404)
    return JsonResponse({"number": number, "status": orders[number]})


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


urlpatterns = [
    path("orders", create_order),
    path("orders/<str:number>", show_order),
    path("binance", notification_view(client, settle)),
]


def main() -> None:
    """Serve on PORT, or on any free port where it is 0. A real shop uses a real server."""
    settings.configure(
        ROOT_URLCONF=__name__,
        ALLOWED_HOSTS=["127.0.0.1"],
        MIDDLEWARE=["django.middleware.csrf.CsrfViewMiddleware"],
    )
    app = get_wsgi_application()
    with make_server("127.0.0.1", int(os.environ.get("PORT", "8000")), app) as server:
        print(f"ready http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
