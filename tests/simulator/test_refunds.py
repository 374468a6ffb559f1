"""Refunds: amounts, attempts, the wallet, the portal, and how they are told."""

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

from checkstand.simulator.orders import NotPossible
from checkstand.simulator.rejections import Rejection
from checkstand.simulator.settings import Settings

Start = Callable[..., Awaitable[Any]]


async def paid(shop: Any, trade_no: str = "T1", **terms: Any) -> str:
    created = await shop.create(trade_no)
    shop.simulator.control.pay(trade_no, webhook=False, **terms)
    prepay_id: str = created["prepayId"]
    return prepay_id


async def refund(shop: Any, prepay_id: str, amount: Any, request_id: str, **more: Any) -> Any:
    fields = {
        "refundRequestId": request_id,
        "prepayId": prepay_id,
        "refundAmount": amount,
        **more,
    }
    return await shop.call("/order/refund", fields)


async def test_refund_is_pending_and_then_told(shop: Any, inbox: Any) -> None:
    prepay_id = await paid(shop)

    reply = await refund(shop, prepay_id, 5, "RF1")
    before = (await shop.call("/order/refund/query", {"refundRequestId": "RF1"})).data
    status_meanwhile = (await shop.query("T1"))["status"]
    await shop.simulator.control.advance(1)
    after = (await shop.call("/order/refund/query", {"refundRequestId": "RF1"})).data

    open_id = reply.data["payerOpenId"]
    facts = {
        "refundRequestId": "RF1",
        "prepayId": prepay_id,
        "orderAmount": "12.50000000",
        "refundedAmount": "5.00000000",
        "refundAmount": "5.00000000",
        "remainingAttempts": 9,
        "payerOpenId": open_id,
    }
    assert reply.data == {**facts, "duplicateRequest": "N"}
    assert len(open_id) == 32
    fee = {"refundedCommission": "0.05000000", "refundCommission": "0.05000000"}
    assert before == {**facts, **fee, "refundStatus": "REFUND_PENDING"}
    assert after == {**facts, **fee, "refundStatus": "REFUND_SUCCESS"}
    assert status_meanwhile == "REFUNDING"
    assert (await shop.query("T1"))["status"] == "REFUNDED"
    (received,) = inbox.received
    assert received.json["bizType"] == "PAY_REFUND"
    assert received.json["bizStatus"] == "REFUND_SUCCESS"
    assert received.json["bizIdStr"] == prepay_id
    assert received.data["refundInfo"] == {**facts, "duplicateRequest": "N"}


async def test_nobody_pays_again_while_a_refund_is_under_way(shop: Any) -> None:
    prepay_id = await paid(shop)
    await refund(shop, prepay_id, 5, "RF1")
    before = await shop.query("T1")
    assert before["status"] == "REFUNDING"  # from here a refund that is refused leads to PAID

    with pytest.raises(NotPossible, match="T1 is REFUNDING: it was paid already"):
        shop.simulator.control.pay("T1")

    assert await shop.query("T1") == before


async def test_parts_add_up_and_no_more_than_was_paid_comes_back(shop: Any) -> None:
    prepay_id = await paid(shop)

    first = await refund(shop, prepay_id, "5", "RF1")
    too_much = await refund(shop, prepay_id, "7.50000001", "RF2")
    rest = await refund(shop, prepay_id, "7.5", "RF3")
    await shop.simulator.control.advance(1)
    nothing_left = await refund(shop, prepay_id, "0.00000001", "RF4")

    assert first.data["refundedAmount"] == "5.00000000"
    assert too_much.code == "400303"
    assert rest.data["refundedAmount"] == "12.50000000"
    assert rest.data["remainingAttempts"] == 8
    assert nothing_left.code == "400303"
    assert (await shop.query("T1"))["status"] == "FULL_REFUNDED"
    assert shop.simulator.control.balance("900000001", "USDT") == 0


async def test_same_request_id_is_the_same_refund(shop: Any) -> None:
    prepay_id = await paid(shop)

    first = await refund(shop, prepay_id, 5, "RF1")
    again = await refund(shop, prepay_id, 7, "RF1")

    assert again.data == {**first.data, "duplicateRequest": "Y"}
    assert len(shop.simulator.control.refunds) == 1


async def test_tenth_attempt_returns_everything_left_and_there_is_no_eleventh(shop: Any) -> None:
    prepay_id = await paid(shop)
    left = [
        (await refund(shop, prepay_id, "0.1", f"RF{n}")).data["remainingAttempts"] for n in range(9)
    ]

    last = await refund(shop, prepay_id, "0.1", "RF9")
    eleventh = await refund(shop, prepay_id, "0.1", "RF10")

    assert left == [9, 8, 7, 6, 5, 4, 3, 2, 1]
    assert last.data["refundAmount"] == "11.60000000"
    assert last.data["remainingAttempts"] == 0
    assert eleventh.code == "400302"


async def test_refund_comes_out_of_the_wallet_and_needs_enough_in_it(shop: Any) -> None:
    prepay_id = await paid(shop)
    shop.simulator.control.set_balance("900000001", "USDT", 3)

    short = await refund(shop, prepay_id, 5, "RF1")
    shop.simulator.control.set_balance("900000001", "USDT", 100)
    funded = await refund(shop, prepay_id, 5, "RF1")

    assert short.code == "400304"
    assert funded.data["duplicateRequest"] == "N"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"prepayId": "1"}, "400301"),
        ({"prepayId": ...}, "400100"),
        ({"refundRequestId": ""}, "400100"),
        ({"refundRequestId": "x" * 65}, "400101"),
        ({"refundAmount": 0}, "400102"),
        ({"refundAmount": "1.000000001"}, "400101"),
        ({"refundReason": "x" * 257}, "400101"),
        ({"webhookUrl": "mailto:a@shop.example"}, "400102"),
    ],
)
async def test_refund_names_what_is_wrong(shop: Any, changes: dict[str, Any], code: str) -> None:
    prepay_id = await paid(shop)
    fields = {"refundRequestId": "RF1", "prepayId": prepay_id, "refundAmount": 1, **changes}
    sent = {key: value for key, value in fields.items() if value is not ...}

    assert (await shop.call("/order/refund", sent)).code == code


async def test_unpaid_order_and_unknown_refund_are_refused(shop: Any) -> None:
    created = await shop.create("T1")

    assert (await refund(shop, created["prepayId"], 1, "RF1")).code == "400204"
    assert (await shop.call("/order/refund/query", {"refundRequestId": "RF1"})).code == "400202"


async def test_refund_url_of_the_request_wins(shop: Any, inbox: Any) -> None:
    prepay_id = await paid(shop)
    url = inbox.url.replace("/hook", "/refunds")

    await refund(shop, prepay_id, 1, "RF1", webhookUrl=url)
    await shop.simulator.control.advance(1)

    assert shop.simulator.control.notices[-1].url == url


async def test_failed_refund_gives_the_money_back_and_is_told_as_rejected(
    shop: Any, inbox: Any
) -> None:
    prepay_id = await paid(shop)
    wallet = shop.simulator.control.balance("900000001", "USDT")
    shop.simulator.control.faults.add("refund_rejected", merchant_trade_no="T1")

    await refund(shop, prepay_id, 5, "RF1")
    await shop.simulator.control.advance(1)

    data = (await shop.call("/order/refund/query", {"refundRequestId": "RF1"})).data
    assert data["refundStatus"] == "REFUND_FAIL"
    assert inbox.received[0].json["bizStatus"] == "REFUND_REJECTED"
    assert shop.simulator.control.balance("900000001", "USDT") == wallet
    assert (await shop.query("T1"))["status"] == "PAID"
    assert (await refund(shop, prepay_id, "12.5", "RF2")).data["remainingAttempts"] == 8


async def test_refund_in_the_portal_tells_nobody_and_uses_no_attempt(shop: Any) -> None:
    prepay_id = await paid(shop)

    made = shop.simulator.control.refund("T1", amount="2.5")
    await shop.simulator.control.advance(60)

    assert made.by_portal
    assert made.status == "REFUND_SUCCESS"
    assert shop.simulator.control.notices == []
    assert (await shop.query("T1"))["status"] == "REFUNDED"
    after = await refund(shop, prepay_id, 10, "RF1")
    assert after.data["refundedAmount"] == "12.50000000"
    assert after.data["remainingAttempts"] == 9


async def test_portal_refunds_everything_left_unless_told_how_much(shop: Any) -> None:
    await paid(shop)

    shop.simulator.control.refund("T1")

    assert (await shop.query("T1"))["status"] == "FULL_REFUNDED"
    with pytest.raises(Rejection, match="400303"):
        shop.simulator.control.refund("T1")


async def test_returned_fees_add_up_to_the_fee(shop: Any) -> None:
    prepay_id = await paid(shop, commission="0.12345677")

    for number, amount in enumerate(["3.33333333", "4.44444444", "4.72222223"]):
        assert (await refund(shop, prepay_id, amount, f"RF{number}")).code == "000000"

    fees = [each.commission for each in shop.simulator.control.refunds]
    assert sum(fees) == Decimal("0.12345677")
    assert shop.simulator.control.balance("900000001", "USDT") == 0


async def test_refunding_is_passed_in_silence_where_the_switch_says_so(start: Start) -> None:
    shop = await start(settings=Settings(shows_refunding=False))
    shop.simulator.clock.freeze()
    prepay_id = await paid(shop)

    await refund(shop, prepay_id, 5, "RF1")

    assert (await shop.query("T1"))["status"] == "PAID"


async def test_query_says_what_went_back_as_of_that_refund_or_as_of_now_as_the_switch_says(
    start: Start,
) -> None:
    told = []
    for is_current in (False, True):
        settings = Settings(
            refund_query_is_current=is_current, portal_refunds_use_attempts=is_current
        )
        shop = await start(settings=settings)
        prepay_id = await paid(shop)
        await refund(shop, prepay_id, 5, "RF1")
        shop.simulator.control.refund("T1", amount="4.00")
        said = (await shop.call("/order/refund/query", {"refundRequestId": "RF1"})).data
        told.append((said["refundedAmount"], said["refundAmount"], said["remainingAttempts"]))

    assert told == [("5.00000000", "5.00000000", 9), ("9.00000000", "5.00000000", 8)]
