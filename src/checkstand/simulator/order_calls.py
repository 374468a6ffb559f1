"""The API calls about orders: create in three versions, query in two, close."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from checkstand.simulator import amounts, orders
from checkstand.simulator.links import make_links
from checkstand.simulator.notices import order_data
from checkstand.simulator.records import Merchant, Order, OrderStatus, Payment
from checkstand.simulator.rejections import Rejection
from checkstand.simulator.world import World

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Price:
    amount: Decimal
    currency: str
    fiat_amount: Decimal | None = None
    fiat_currency: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Product:
    type: str
    name: str
    description: str | None = None


def create_v3(world: World, merchant: Merchant, body: Body) -> object:
    """Open an order; goods come as a list and a description is mandatory."""
    good = body["goodsDetails"][0]
    product = _Product(
        type=good["goodsType"], name=good["goodsName"], description=body["description"]
    )
    return _create_with_terminal(world, merchant, body, product)


def create_v2(world: World, merchant: Merchant, body: Body) -> object:
    """Open an order; goods come as one object and there is no description."""
    product = _Product(type=body["goods"]["goodsType"], name=body["goods"]["goodsName"])
    return _create_with_terminal(world, merchant, body, product)


def create_v1(world: World, merchant: Merchant, body: Body) -> object:
    """Open an order in the deprecated flat form."""
    product = _Product(
        type=body.get("productType", ""),
        name=body["productName"],
        description=body.get("productDetail"),
    )
    price = _Price(
        amount=body["totalFee"], currency=_known_currency(world, body["currency"], "currency")
    )
    order = _open(world, merchant, body, product, price, trade_type=body["tradeType"])
    return {"tradeType": order.trade_type, **_checkout(order)}


def query_v2(world: World, merchant: Merchant, body: Body) -> dict[str, Any]:
    """Say how an order stands; amounts are text here, and the links are not repeated."""
    order = _find(world, merchant, body)
    payment = order.payment
    data: dict[str, Any] = {
        "merchantId": int(order.merchant_id),
        "prepayId": order.prepay_id,
        "merchantTradeNo": order.merchant_trade_no,
        "status": order.status,
        "currency": payment.currency if payment else order.currency,
        "createTime": order.created_ms,
        "orderAmount": amounts.as_text(payment.amount if payment else order.amount),
    }
    if order.pass_through_info is not None:
        data["passThroughInfo"] = order.pass_through_info
    if payment:
        data |= {
            "transactionId": payment.transaction_id,
            "openUserId": payment.open_user_id,
            "transactTime": payment.paid_ms,
            "paymentInfo": _payment_info(order, payment),
        }
        if payment.tells_fee(world.clock.now_ms()):
            data["commission"] = amounts.as_text(payment.commission)
    return data


def query_v1(world: World, merchant: Merchant, body: Body) -> object:
    """Say how an order stands, without what only v2 returns."""
    data = query_v2(world, merchant, body)
    return {key: value for key, value in data.items() if key != "passThroughInfo"}


def close(world: World, merchant: Merchant, body: Body) -> object:
    """Accept to close an unpaid order; what came of it is told by PAY_CLOSED and by query."""
    order = _find(world, merchant, body)
    # Documented for paid and paying; that ended orders answer the same is a guess.
    if order.status is not OrderStatus.INITIAL:
        raise Rejection("400204")
    orders.request_close(world, order)
    return True


def _create_with_terminal(
    world: World, merchant: Merchant, body: Body, product: _Product
) -> dict[str, Any]:
    terminal = body["env"]["terminalType"]
    if terminal == "MINI_PROGRAM" and "appId" not in body:
        raise Rejection("400100", "appId")
    price = _price(world, body)
    order = _open(world, merchant, body, product, price, trade_type=terminal)
    answer = {
        "currency": order.currency,
        "totalFee": amounts.as_sent(order.amount),
        **_checkout(order),
        "terminalType": terminal,
    }
    if order.fiat_amount is not None:
        answer |= {
            "fiatCurrency": order.fiat_currency,
            "fiatAmount": amounts.as_sent(order.fiat_amount),
        }
    return answer


def _open(
    world: World,
    merchant: Merchant,
    body: Body,
    product: _Product,
    price: _Price,
    *,
    trade_type: str,
) -> Order:
    trade_no = body["merchantTradeNo"]
    expires_ms = _expiry_ms(world, body.get("orderExpireTime"))
    if world.store.find_order(merchant.merchant_id, trade_no):
        raise Rejection("400201")
    now_ms = world.clock.now_ms()
    links = make_links(
        base_url=world.base_url,
        randomness=world.randomness,
        now_ms=now_ms,
        attachment=body.get("universalUrlAttach"),
    )
    order = Order(
        merchant_id=merchant.merchant_id,
        merchant_trade_no=trade_no,
        prepay_id=world.store.next_id(now_ms),
        status=OrderStatus.INITIAL,
        amount=price.amount,
        currency=price.currency,
        fiat_amount=price.fiat_amount,
        fiat_currency=price.fiat_currency,
        description=product.description,
        product_type=product.type,
        product_name=product.name,
        trade_type=trade_type,
        created_ms=now_ms,
        expires_ms=expires_ms,
        webhook_url=body.get("webhookUrl"),
        return_url=body.get("returnUrl"),
        cancel_url=body.get("cancelUrl"),
        pass_through_info=body.get("passThroughInfo"),
        pay_currencies=_pay_currencies(body),
        sub_merchant_id=_known_sub_merchant(world, merchant, body),
        links=links,
    )
    return orders.open_order(world, order)


def _price(world: World, body: Body) -> _Price:
    """Return what the order costs; a fiat price becomes USDT at the settings' fixed rate."""
    if "currency" in body and "fiatCurrency" in body:
        raise Rejection("400001")  # "one of" is documented, not what follows from both
    if "fiatCurrency" in body:
        if "fiatAmount" not in body:
            raise Rejection("400100", "fiatAmount")
        rate = world.settings.fiat_rates.get(body["fiatCurrency"])
        if rate is None:
            raise Rejection("400102", "fiatCurrency")
        amount = amounts.share(body["fiatAmount"], rate)
        if not 0 < amount <= amounts.AMOUNT_MAX:
            raise Rejection("400102", "fiatAmount")
        return _Price(
            amount=amount,
            currency="USDT",
            fiat_amount=body["fiatAmount"],
            fiat_currency=body["fiatCurrency"],
        )
    for name in ("currency", "orderAmount"):
        if name not in body:
            raise Rejection("400100", name)
    return _Price(
        amount=body["orderAmount"], currency=_known_currency(world, body["currency"], "currency")
    )


def _known_currency(world: World, currency: str, name: str) -> str:
    if currency not in world.settings.currencies:
        raise Rejection("400102", name)
    return currency


def _pay_currencies(body: Body) -> tuple[str, ...]:
    listed = (each.strip() for each in body.get("supportPayCurrency", "").split(","))
    return tuple(dict.fromkeys(each for each in listed if each))


def _known_sub_merchant(world: World, merchant: Merchant, body: Body) -> str | None:
    sub_merchant_id = body.get("merchant", body).get("subMerchantId")
    if sub_merchant_id is None:
        return None
    known = world.store.sub_merchants.get(sub_merchant_id)
    if known is None or known.merchant_id != merchant.merchant_id:
        raise Rejection("400206")
    return str(sub_merchant_id)


def _expiry_ms(world: World, asked_ms: int | None) -> int:
    now_ms, settings = world.clock.now_ms(), world.settings
    if asked_ms is None:
        return now_ms + settings.order_expiry_default_ms
    # Whose clock is allowed to be off by the window may ask for that much more.
    latest_ms = now_ms + settings.order_expiry_max_ms + settings.timestamp_window_ms
    if not now_ms < asked_ms <= latest_ms:
        raise Rejection("400102", "orderExpireTime")
    return asked_ms


def _checkout(order: Order) -> dict[str, Any]:
    return {
        "prepayId": order.prepay_id,
        "expireTime": order.expires_ms,
        "qrcodeLink": order.links.qr_code_link,
        "qrContent": order.links.qr_content,
        "checkoutUrl": order.links.checkout_url,
        "deeplink": order.links.deeplink,
        "universalUrl": order.links.universal_url,
    }


def _payment_info(order: Order, payment: Payment) -> dict[str, Any]:
    """Return the webhook's payment details with text where the query is typed as text."""
    info = order_data(order)["paymentInfo"]
    (instruction,) = info["paymentInstructions"]
    amount = amounts.as_text(payment.spent_amount)
    price = "1" if payment.price == 1 else amounts.as_text(payment.price)
    return {
        **info,
        "payerId": str(info["payerId"]),
        "paymentInstructions": [{**instruction, "amount": amount, "price": price}],
    }


def _find(world: World, merchant: Merchant, body: Body) -> Order:
    """Return the merchant's own order; the prepay id wins if both are given."""
    if "prepayId" in body:
        order = world.store.orders.get(body["prepayId"])
    elif "merchantTradeNo" in body:
        order = world.store.find_order(merchant.merchant_id, body["merchantTradeNo"])
    else:
        raise Rejection("400100", "merchantTradeNo")
    if order is None or order.merchant_id != merchant.merchant_id:
        raise Rejection("400202")
    return order
