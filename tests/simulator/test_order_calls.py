"""Create in three versions, query in two, close: the answers' shapes and the refusals."""

import base64
import re
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from checkstand.simulator.records import Merchant
from checkstand.simulator.settings import Settings

Body = Callable[..., dict[str, Any]]
HOUR_MS = 3_600_000


async def test_create_v3_answers_with_links_of_the_documented_formats(shop: Any) -> None:
    data = await shop.create("T1", universalUrlAttach="&shop=7")

    host = re.escape(shop.simulator.base_url)
    assert re.fullmatch(r"[0-9]{18}", data["prepayId"])
    assert data["terminalType"] == "WEB"
    assert data["expireTime"] == shop.simulator.clock.now_ms() + HOUR_MS
    assert (data["currency"], data["totalFee"]) == ("USDT", "12.5")
    assert re.fullmatch(host + r"/qr/dplk[0-9a-f]{32}", data["qrContent"])
    assert re.fullmatch(host + r"/en/checkout/[0-9a-f]{32}", data["checkoutUrl"])
    assert re.fullmatch(
        r"bnc://app\.binance\.com/payment/secpay\?tempToken=[A-Za-z0-9]{32}", data["deeplink"]
    )
    universal = urlsplit(data["universalUrl"])
    query = parse_qs(universal.query)
    packed = query["_dp"][0]
    assert universal.path == "/payment/secpay"
    assert query["linkToken"] == [data["checkoutUrl"][-32:]]
    assert base64.b64decode(packed + "=" * (-len(packed) % 4)).decode() == data["deeplink"]
    assert query["shop"] == ["7"]


async def test_prepay_ids_increase_beyond_what_a_double_can_hold(shop: Any) -> None:
    ids = [int((await shop.create(f"T{n}"))["prepayId"]) for n in range(3)]

    assert ids == sorted(set(ids))
    assert ids[0] > 2**53


async def test_create_v2_takes_one_good_and_no_description(shop: Any, body: Body) -> None:
    fields = body(description=..., goodsDetails=...)
    good = body()["goodsDetails"][0]

    one = await shop.call("/v2/order", {**fields, "goods": good})
    many = await shop.call("/v2/order", {**fields, "goods": [good]})

    assert one.data["totalFee"] == "12.5"
    assert many.code == "400008"


async def test_create_v1_takes_flat_fields(shop: Any) -> None:
    flat = {
        "merchantTradeNo": "T1",
        "tradeType": "APP",
        "totalFee": 25.17,
        "currency": "BUSD",
        "productType": "Food",
        "productName": "Ice Cream",
        "returnUrl": "",
    }

    data = (await shop.call("/order", flat)).data

    assert data["tradeType"] == "APP"
    assert "totalFee" not in data
    assert (await shop.query("T1"))["orderAmount"] == "25.17000000"


async def test_fiat_price_becomes_usdt_at_the_fixed_rate(
    start: Callable[..., Awaitable[Any]],
) -> None:
    shop = await start(settings=Settings(fiat_rates={"EUR": Decimal("1.08")}))

    data = await shop.create(
        "T1", orderAmount=..., currency=..., fiatAmount=10.5, fiatCurrency="EUR"
    )

    assert (data["currency"], data["totalFee"]) == ("USDT", "11.34")
    assert (data["fiatCurrency"], data["fiatAmount"]) == ("EUR", "10.5")


GOOD = {
    "goodsType": "01",
    "goodsCategory": "D000",
    "referenceGoodsId": "sku",
    "goodsName": "Tea",
}


@pytest.mark.parametrize(
    ("changes", "code", "names"),
    [
        ({"merchantTradeNo": ...}, "400100", "merchantTradeNo"),
        ({"merchantTradeNo": ""}, "400100", "merchantTradeNo"),
        ({"merchantTradeNo": 7}, "400100", "merchantTradeNo"),
        ({"merchantTradeNo": "with-dash"}, "400201", "merchantTradeNo"),
        ({"merchantTradeNo": "x" * 33}, "400201", "merchantTradeNo"),
        ({"merchantTradeNo": "T1\n"}, "400201", "merchantTradeNo"),
        ({"env": ...}, "400100", "env"),
        ({"env": {}}, "400100", "env.terminalType"),
        ({"env": {"terminalType": "TV"}}, "400102", "env.terminalType"),
        ({"env": {"terminalType": "MINI_PROGRAM"}}, "400100", "appId"),
        ({"description": ...}, "400100", "description"),
        ({"goodsDetails": ...}, "400100", "goodsDetails"),
        ({"goodsDetails": []}, "400100", "goodsDetails"),
        ({"goodsDetails": GOOD}, "400100", "goodsDetails"),
        ({"goodsDetails": [GOOD, {}]}, "400100", "goodsDetails[1].goodsType"),
        ({"goodsDetails": [GOOD | {"goodsCategory": "Q"}]}, "400102", "goodsCategory"),
        ({"goodsDetails": [GOOD | {"goodsName": 'a "quote"'}]}, "400103", "goodsName"),
        ({"goodsDetails": [GOOD | {"goodsName": "tea \N{TEACUP WITHOUT HANDLE}"}]}, "400103", ""),
        ({"goodsDetails": [GOOD | {"goodsName": "x" * 257}]}, "400101", "goodsName"),
        ({"currency": ...}, "400100", "currency"),
        ({"currency": "usdt"}, "400102", "currency"),
        ({"currency": "EUR"}, "400102", "currency"),
        ({"fiatCurrency": "EUR", "fiatAmount": 1}, "400001", ""),
        ({"orderAmount": ...}, "400100", "orderAmount"),
        ({"orderAmount": "1e3"}, "400100", "orderAmount"),
        ({"orderAmount": True}, "400100", "orderAmount"),
        ({"orderAmount": 0}, "400102", "orderAmount"),
        ({"orderAmount": -1}, "400102", "orderAmount"),
        ({"orderAmount": 10**16}, "400102", "orderAmount"),
        ({"orderAmount": "0.000000001"}, "400101", "orderAmount"),
        ({"orderExpireTime": "soon"}, "400100", "orderExpireTime"),
        ({"orderExpireTime": 1}, "400102", "orderExpireTime"),
        ({"orderExpireTime": 2**70}, "400102", "orderExpireTime"),
        ({"webhookUrl": "ftp://shop.example/"}, "400102", "webhookUrl"),
        ({"webhookUrl": "http://[oops/"}, "400102", "webhookUrl"),
        ({"webhookUrl": "http://shop.example:x/"}, "400102", "webhookUrl"),
        ({"webhookUrl": "https://shop.example/" + "x" * 256}, "400101", "webhookUrl"),
        ({"passThroughInfo": {"cart": 77}}, "400100", "passThroughInfo"),
        ({"passThroughInfo": "\ud800"}, "400103", "passThroughInfo"),
        ({"returnUrl": None}, "400100", "returnUrl"),
    ],
)
async def test_create_names_what_is_wrong(
    shop: Any, body: Body, changes: dict[str, Any], code: str, names: str
) -> None:
    reply = await shop.call("/v3/order", body(**changes))

    assert reply.code == code
    assert names in reply.json["errorMessage"]
    assert shop.simulator.control.orders == []


@pytest.mark.parametrize(
    ("fiat", "code"),
    [
        ({"fiatCurrency": "EUR"}, "400100"),
        ({"fiatCurrency": "XXX", "fiatAmount": 1}, "400102"),
        ({"fiatCurrency": "JPY", "fiatAmount": 1e-8}, "400102"),
        ({"fiatAmount": 1}, "400100"),
    ],
)
async def test_create_refuses_half_a_fiat_price(
    shop: Any, body: Body, fiat: dict[str, Any], code: str
) -> None:
    reply = await shop.call("/v3/order", body(orderAmount=..., currency=..., **fiat))

    assert reply.code == code


async def test_expiry_may_be_an_hour_ahead_and_no_more(shop: Any, body: Body) -> None:
    now_ms = shop.simulator.clock.now_ms()

    hour = await shop.call("/v3/order", body("T1", orderExpireTime=now_ms + HOUR_MS))
    longer = await shop.call("/v3/order", body("T2", orderExpireTime=now_ms + HOUR_MS + 1001))

    assert hour.data["expireTime"] == now_ms + HOUR_MS
    assert longer.code == "400102"


async def test_switches_loosen_null_and_tighten_recollected_limits(
    start: Callable[..., Awaitable[Any]], body: Body
) -> None:
    loose = await start(settings=Settings(rejects_null=False))
    tight = await start(settings=Settings(enforces_recollected_limits=True))

    with_null = await loose.call("/v3/order", body(returnUrl=None))
    too_long = await tight.call("/v3/order", body(passThroughInfo="x" * 513))
    quoted = await tight.call("/v3/order", body(description='a "quote"'))

    assert with_null.code == "000000"
    assert too_long.code == "400101"
    assert quoted.code == "400103"


async def test_numbers_as_text_can_be_refused(
    start: Callable[..., Awaitable[Any]], body: Body
) -> None:
    strict = await start(settings=Settings(accepts_text_amounts=False))

    assert (await strict.call("/v3/order", body(orderAmount="12.5"))).code == "400100"


async def test_repeated_trade_number_is_refused_and_changes_nothing(shop: Any, body: Body) -> None:
    first = await shop.create("T1")

    reply = await shop.call("/v3/order", body("T1", orderAmount=99))

    assert reply.code == "400201"
    assert reply.json["errorMessage"] == "merchantTradeNo is invalid or duplicated"
    assert (await shop.query("T1"))["prepayId"] == first["prepayId"]


async def test_trade_numbers_are_unique_for_one_merchant_only(shop: Any, body: Body) -> None:
    shop.simulator.control.add_merchant(
        Merchant(api_key="other", api_secret="other", merchant_id="900000002")
    )
    mine = await shop.create("T1")
    shop.api_key = shop.api_secret = "other"

    theirs = await shop.create("T1", orderAmount=3)

    assert theirs["prepayId"] != mine["prepayId"]
    assert (await shop.query("T1"))["merchantId"] == 900000002
    foreign = await shop.call("/v2/order/query", {"prepayId": mine["prepayId"]})
    assert foreign.code == "400202"


async def test_unpaid_query_carries_only_what_is_known(shop: Any) -> None:
    created = await shop.create("T1", passThroughInfo="cart=77 ☕")

    assert await shop.query("T1") == {
        "merchantId": 900000001,
        "prepayId": created["prepayId"],
        "merchantTradeNo": "T1",
        "status": "INITIAL",
        "currency": "USDT",
        "orderAmount": "12.50000000",
        "createTime": shop.simulator.clock.now_ms(),
        "passThroughInfo": "cart=77 ☕",
    }


async def test_paid_query_adds_the_payment(shop: Any) -> None:
    await shop.create("T1")
    paid = shop.simulator.control.pay("T1", commission="0.125")

    data = await shop.query("T1")

    assert data["status"] == "PAID"
    assert data["transactionId"] == paid.payment.transaction_id
    assert data["commission"] == "0.12500000"
    assert data["transactTime"] == shop.simulator.clock.now_ms()
    assert re.fullmatch(r"[0-9a-f]{32}", data["openUserId"])
    assert data["paymentInfo"]["paymentInstructions"] == [
        {"currency": "USDT", "amount": "12.50000000", "price": "1"}
    ]


async def test_query_v1_knows_no_pass_through_info(shop: Any) -> None:
    await shop.create("T1", passThroughInfo="cart=77")

    data = (await shop.call("/order/query", {"merchantTradeNo": "T1"})).data

    assert data["status"] == "INITIAL"
    assert "passThroughInfo" not in data


async def test_prepay_id_wins_if_both_ids_are_given(shop: Any) -> None:
    first = await shop.create("T1")
    await shop.create("T2")

    both = {"prepayId": first["prepayId"], "merchantTradeNo": "T2"}

    assert (await shop.call("/v2/order/query", both)).data["merchantTradeNo"] == "T1"


@pytest.mark.parametrize("path", ["/v2/order/query", "/order/query", "/order/close"])
async def test_unknown_order_and_no_id_have_their_codes(shop: Any, path: str) -> None:
    unknown = await shop.call(path, {"merchantTradeNo": "T9", "prepayId": None})
    neither = await shop.call(path, {})

    assert unknown.code == "400202"
    assert unknown.json["errorMessage"] == "Order not found."
    assert neither.code == "400100"


async def test_certificates_list_the_public_keys_as_pem(shop: Any) -> None:
    shop.simulator.control.rotate_certificates()

    (first, second) = (await shop.call("/certificates")).data

    assert first["certPublic"].startswith("-----BEGIN PUBLIC KEY-----\n")
    assert re.fullmatch(r"[0-9A-F]{32}", first["certSerial"])
    assert first["certSerial"] != second["certSerial"]
