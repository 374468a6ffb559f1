"""Webhooks as a merchant sees them: shape, signature, address, retries, several merchants."""

import base64
import itertools
import json
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from checkstand.simulator.records import Merchant
from checkstand.simulator.settings import Settings

Start = Callable[..., Awaitable[Any]]


async def verify(shop: Any, received: Any) -> None:
    """Check a webhook as a merchant must: by the listed key of its serial, over the raw bytes."""
    listed = (await shop.call("/certificates")).data
    by_serial = {each["certSerial"]: each["certPublic"] for each in listed}
    headers = received.headers
    key = load_pem_public_key(by_serial[headers["binancepay-certificate-sn"]].encode())
    assert isinstance(key, rsa.RSAPublicKey)
    payload = (
        headers["binancepay-timestamp"].encode()
        + b"\n"
        + headers["binancepay-nonce"].encode()
        + b"\n"
        + received.body
        + b"\n"
    )
    signature = base64.b64decode(headers["binancepay-signature"])
    key.verify(signature, payload, padding.PKCS1v15(), hashes.SHA256())


def merchant(url: str | None, **changes: Any) -> Merchant:
    fields: dict[str, Any] = {
        "api_key": "simulator",
        "api_secret": "simulator",
        "merchant_id": "900000001",
        "webhook_url": url,
    }
    return Merchant(**fields | changes)


async def test_paid_notice_has_the_documented_shape(shop: Any, inbox: Any) -> None:
    created = await shop.create("T1", passThroughInfo="cart=77", webhookUrl=inbox.url)
    paid = shop.simulator.control.pay("T1", commission="0.125")
    await shop.simulator.control.settle()

    (received,) = inbox.received
    assert received.body.startswith(b'{"bizType":"PAY","data":"{\\"merchantTradeNo\\":\\"T1\\"')
    assert b'\\"totalFee\\":12.50000000' in received.body
    assert b'\\"commission\\":0.12500000' in received.body
    assert received.json | {"data": None} == {
        "bizType": "PAY",
        "data": None,
        "bizIdStr": created["prepayId"],
        "bizId": int(created["prepayId"]),
        "bizStatus": "PAY_SUCCESS",
    }
    assert received.data == {
        "merchantTradeNo": "T1",
        "productType": "01",
        "productName": "Green tea",
        "transactTime": shop.simulator.clock.now_ms(),
        "tradeType": "WEB",
        "totalFee": Decimal("12.5"),
        "currency": "USDT",
        "transactionId": paid.payment.transaction_id,
        "openUserId": paid.payment.open_user_id,
        "passThroughInfo": "cart=77",
        "commission": Decimal("0.125"),
        "paymentInfo": {
            "payerId": 100000001,
            "payMethod": "funding",
            "paymentInstructions": [
                {"currency": "USDT", "amount": Decimal("12.5"), "price": 1},
            ],
            "channel": "DEFAULT",
        },
    }


async def test_closed_notice_tells_of_no_payment(shop: Any, inbox: Any) -> None:
    await shop.create("T1")
    shop.simulator.control.expire("T1")
    await shop.simulator.control.settle()

    (received,) = inbox.received
    assert received.json["bizStatus"] == "PAY_CLOSED"
    assert received.data["commission"] == 0
    assert "transactionId" not in received.data


async def test_signature_verifies_over_the_raw_bytes_and_no_others(shop: Any, inbox: Any) -> None:
    await shop.create("T1", passThroughInfo="Café ☕")
    shop.simulator.control.pay("T1")
    await shop.simulator.control.settle()
    (received,) = inbox.received

    await verify(shop, received)

    assert len(received.headers["binancepay-nonce"]) == 32
    received.body = json.dumps(received.json, default=str).encode()
    with pytest.raises(InvalidSignature):
        await verify(shop, received)


async def test_after_rotation_old_and_new_signatures_verify(shop: Any, inbox: Any) -> None:
    for trade_no in ("T1", "T2"):
        await shop.create(trade_no)
        shop.simulator.control.pay(trade_no)
        await shop.simulator.control.settle()
        shop.simulator.control.rotate_certificates()

    serials = {each.headers["binancepay-certificate-sn"] for each in inbox.received}
    assert len(serials) == 2
    for received in inbox.received:
        await verify(shop, received)


async def test_request_url_wins_over_the_portals(start: Start, inbox: Any) -> None:
    portal = inbox.url.replace("/hook", "/portal")
    shop = await start(merchants=(merchant(portal),))
    await shop.create("T1")
    await shop.create("T2", webhookUrl=inbox.url)

    shop.simulator.control.pay("T1")
    shop.simulator.control.pay("T2")
    await shop.simulator.control.settle()

    urls = {notice.merchant_trade_no: notice.url for notice in shop.simulator.control.notices}
    assert urls == {"T1": portal, "T2": inbox.url}
    assert len(inbox.received) == 2


async def test_notice_without_any_url_is_remembered_and_goes_nowhere(start: Start) -> None:
    shop = await start(merchants=(merchant(None),))
    await shop.create("T1")

    shop.simulator.control.pay("T1")

    (notice,) = shop.simulator.control.notices
    assert (notice.state, notice.tries) == ("nowhere", ())


@pytest.mark.parametrize(
    "refusal",
    [
        (500, b"oops"),
        (201, b'{"returnCode":"SUCCESS"}'),
        (200, b'{"returnCode":"FAIL","returnMessage":"later"}'),
        (200, b'{"message":"Done","code":"SUCCESS"}'),
        (200, b"not json"),
        (302, b""),
        None,
    ],
    ids=["500", "201", "fail", "undocumented", "not-json", "redirect", "no-answer"],
)
async def test_what_is_not_acknowledged_is_tried_again_with_a_fresh_signature(
    shop: Any, inbox: Any, refusal: Any
) -> None:
    inbox.answers = [refusal]
    await shop.create("T1")
    shop.simulator.control.pay("T1")
    await shop.simulator.control.advance(60)

    first, second = inbox.received
    assert first.body == second.body
    assert second.headers["binancepay-timestamp"] > first.headers["binancepay-timestamp"]
    await verify(shop, second)
    (notice,) = shop.simulator.control.webhooks_sent
    assert notice.state == "acknowledged"
    assert [each.acknowledged for each in notice.tries] == [False, True]


async def test_retries_follow_the_schedule_and_end_after_six(start: Start, inbox: Any) -> None:
    delays = (10.0, 20.0, 40.0, 80.0, 160.0, 320.0)
    shop = await start(
        merchants=(merchant(inbox.url),), settings=Settings(webhook_retry_delays_seconds=delays)
    )
    shop.simulator.clock.freeze()
    inbox.answers = [(500, b"")] * 20
    await shop.create("T1")
    shop.simulator.control.pay("T1")

    await shop.simulator.control.advance(3000)

    (notice,) = shop.simulator.control.notices
    times = [each.at_ms for each in notice.tries]
    gaps = [(b - a) / 1000 for a, b in itertools.pairwise(times)]
    assert gaps == list(delays)
    assert notice.state == "given_up"
    assert len(inbox.received) == 7


async def test_retry_waits_for_a_frozen_clock(shop: Any, inbox: Any) -> None:
    inbox.answers = [(500, b"")]
    await shop.create("T1")
    shop.simulator.control.pay("T1")
    await shop.simulator.control.settle()
    before = len(inbox.received)

    await shop.simulator.control.advance(1)

    assert (before, len(inbox.received)) == (1, 2)


async def test_nobody_listening_is_remembered_as_an_error(shop: Any) -> None:
    await shop.create("T1", webhookUrl="http://127.0.0.1:9/hook")
    shop.simulator.control.pay("T1")
    await shop.simulator.control.settle()

    (notice,) = shop.simulator.control.notices
    assert notice.tries[0].http_status is None
    assert "ConnectError" in notice.tries[0].error
    assert notice.state == "waiting"


async def test_silent_merchant_is_given_up_on_after_the_timeout(start: Start, inbox: Any) -> None:
    settings = Settings(webhook_timeout_seconds=0.05, webhook_retry_delays_seconds=())
    shop = await start(merchants=(merchant(inbox.url),), settings=settings)
    inbox.answers = ["silence"]
    await shop.create("T1")
    shop.simulator.control.pay("T1")
    await shop.simulator.control.settle()

    (notice,) = shop.simulator.control.notices
    assert notice.state == "given_up"
    assert "Timeout" in notice.tries[0].error
    assert len(inbox.received) == 1


async def test_retries_keep_the_first_timestamp_where_the_switch_says_so(
    start: Start, inbox: Any
) -> None:
    settings = Settings(retries_keep_timestamp=True)
    shop = await start(merchants=(merchant(inbox.url),), settings=settings)
    shop.simulator.clock.freeze()
    inbox.answers = [(500, b"")]
    await shop.create("T1")
    shop.simulator.control.pay("T1")
    await shop.simulator.control.advance(10)

    first, second = inbox.received
    assert first.headers["binancepay-timestamp"] == second.headers["binancepay-timestamp"]
    await verify(shop, second)


async def test_200_alone_acknowledges_where_the_switch_says_so(start: Start, inbox: Any) -> None:
    settings = Settings(requires_return_code=False)
    shop = await start(merchants=(merchant(inbox.url),), settings=settings)
    inbox.answers = [(200, b"ok")]
    await shop.create("T1")
    shop.simulator.control.pay("T1")
    await shop.simulator.control.settle()

    assert shop.simulator.control.notices[0].state == "acknowledged"


async def test_two_merchants_share_the_signing_key_and_may_share_an_address(
    start: Start, inbox: Any
) -> None:
    shop = await start(
        merchants=(
            merchant(inbox.url),
            merchant(inbox.url, api_key="other", api_secret="other", merchant_id="900000002"),
        )
    )
    await shop.create("T1")
    shop.api_key = shop.api_secret = "other"
    await shop.create("T1")

    shop.simulator.control.pay("T1", merchant_id="900000002")
    await shop.simulator.control.settle()

    (received,) = inbox.received
    await verify(shop, received)
    theirs = shop.simulator.control.order("T1", merchant_id="900000002")
    ours = shop.simulator.control.order("T1", merchant_id="900000001")
    assert received.json["bizIdStr"] == theirs.prepay_id
    assert ours.status == "INITIAL"


async def test_many_notices_share_a_bounded_number_of_connections(start: Start, inbox: Any) -> None:
    settings = Settings(webhook_concurrency=4)
    shop = await start(merchants=(merchant(inbox.url),), settings=settings)
    for number in range(40):
        await shop.create(f"T{number}")

    for number in range(40):
        shop.simulator.control.pay(f"T{number}")
    await shop.simulator.control.settle()

    assert len(inbox.received) == 40
    assert inbox.connections <= 4
