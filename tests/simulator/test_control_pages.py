"""The control API over HTTP: everything the README lists, and helpful refusals."""

from datetime import UTC, datetime
from typing import Any

import pytest


async def test_state_shows_everything_and_no_secret(shop: Any, inbox: Any) -> None:
    shop.simulator.world.store.credentials.clear()
    shop.simulator.world.store.merchants.clear()
    added = await shop.control(
        "POST",
        "/merchants",
        {"api_key": "k2", "api_secret": "hush-hush", "merchant_id": "900000002"},
    )
    shop.api_key, shop.api_secret = "k2", "hush-hush"
    created = await shop.create("T1", webhookUrl=inbox.url)
    await shop.control("POST", "/orders/T1/pay", {"commission": "0.5"})
    await shop.call(
        "/order/refund",
        {"refundRequestId": "RF1", "prepayId": created["prepayId"], "refundAmount": 1},
    )
    await shop.control("POST", "/settle")
    await shop.control("POST", "/faults", {"kind": "drop"})

    state = await shop.control("GET", "/state")

    assert added.json["merchant_id"] == "900000002"
    assert b"hush-hush" not in state.content
    assert state.json["orders"][0]["payment"]["commission"] == "0.5"
    assert state.json["payments"][0]["prepay_id"] == created["prepayId"]
    assert state.json["refunds"][0]["refund_request_id"] == "RF1"
    assert state.json["webhooks"][0]["tries"][0]["http_status"] == 200
    assert state.json["webhooks"][0]["body"].startswith('{"bizType":"PAY"')
    assert state.json["merchants"][0]["wallets"]["FUNDING_WALLET"] == {"USDT": "11.04"}
    assert state.json["merchants"][0]["api_keys"] == ["k2"]
    assert state.json["faults"][0]["kind"] == "drop"
    assert state.json["clock"]["frozen"] is True
    assert len(state.json["certificates"]) == 1


@pytest.mark.parametrize(
    ("act", "status"),
    [
        ("pay", "PAID"),
        ("fail", "ERROR"),
        ("pending", "PENDING"),
        ("expire", "EXPIRED"),
        ("cancel", "INITIAL"),
    ],
)
async def test_acts_work_by_trade_number_and_by_prepay_id(shop: Any, act: str, status: str) -> None:
    await shop.create("T1")
    second = await shop.create("T2")

    by_trade_no = await shop.control("POST", f"/orders/T1/{act}")
    by_prepay_id = await shop.control("POST", f"/orders/{second['prepayId']}/{act}", {})

    assert (by_trade_no.json["merchant_trade_no"], by_trade_no.json["status"]) == ("T1", status)
    assert (by_prepay_id.json["merchant_trade_no"], by_prepay_id.json["status"]) == ("T2", status)
    assert (await shop.control("GET", "/orders/T1")).json["status"] == status


async def test_pay_takes_its_options(shop: Any) -> None:
    await shop.create("T1")
    await shop.control("POST", "/orders/T1/expire")

    late = await shop.control(
        "POST", "/orders/T1/pay", {"force": True, "webhook": False, "amount": "3.5"}
    )

    assert late.json["payment"]["amount"] == "3.5"
    assert [each.biz_status for each in shop.simulator.control.notices] == ["PAY_CLOSED"]


async def test_trade_number_of_two_merchants_needs_a_merchant(shop: Any) -> None:
    other = {"api_key": "k2", "api_secret": "s2", "merchant_id": "900000002"}
    await shop.control("POST", "/merchants", other)
    await shop.create("T1")
    shop.api_key, shop.api_secret = "k2", "s2"
    await shop.create("T1")

    ambiguous = await shop.control("POST", "/orders/T1/pay")
    chosen = await shop.control("POST", "/orders/T1/pay", {"merchant_id": "900000002"})

    assert ambiguous.status == 404
    assert "merchant_id" in ambiguous.json["error"]
    assert chosen.json["merchant_id"] == "900000002"
    assert (await shop.control("GET", "/orders/T1?merchant_id=900000001")).json[
        "status"
    ] == "INITIAL"


async def test_further_key_of_a_merchant_sees_the_same_orders(shop: Any) -> None:
    await shop.create("T1")
    more = {"api_key": "k2", "api_secret": "s2", "merchant_id": "900000001"}

    added = await shop.control("POST", "/merchants", more)
    again = await shop.control("POST", "/merchants", more)
    shop.api_key, shop.api_secret = "k2", "s2"

    assert added.json["api_keys"] == ["simulator", "k2"]
    assert again.status == 400
    assert (await shop.query("T1"))["status"] == "INITIAL"


async def test_portal_refund_and_its_refusal(shop: Any) -> None:
    await shop.create("T1")
    unpaid = await shop.control("POST", "/orders/T1/refund")
    await shop.control("POST", "/orders/T1/pay", {"webhook": False})

    refunded = await shop.control("POST", "/orders/T1/refund", {"amount": "2.5"})

    assert (unpaid.status, unpaid.json["code"]) == (400, "400204")
    assert refunded.json["by_portal"] is True
    assert refunded.json["amount"] == "2.5"
    assert shop.simulator.control.notices == []


async def test_webhook_can_be_sent_again_and_made_up(shop: Any, inbox: Any) -> None:
    await shop.create("T1")
    await shop.control("POST", "/orders/T1/pay")
    await shop.control("POST", "/settle")

    again = await shop.control("POST", "/orders/T1/send-webhook")
    forged = await shop.control(
        "POST",
        "/orders/T1/send-webhook",
        {
            "biz_status": "PAY_CLOSED",
            "data": {"totalFee": 99.5, "currency": "USDC", "commission": "0.1"},
            "bad_signature": True,
            "timestamp_ms": 1_700_000_000_000,
        },
    )

    first, second, third = inbox.received
    assert first.body == second.body
    assert again.json["state"] == "acknowledged"
    assert third.json["bizStatus"] == "PAY_CLOSED"
    assert b'\\"totalFee\\":99.50000000' in third.body
    assert b'\\"commission\\":\\"0.1\\"' in third.body
    assert third.headers["binancepay-timestamp"] == "1700000000000"
    assert forged.json["tries"][0]["timestamp"] == "1700000000000"


async def test_webhook_with_nothing_to_repeat_or_nowhere_to_go_is_refused(shop: Any) -> None:
    await shop.create("T1")

    nothing = await shop.control("POST", "/orders/T1/send-webhook")
    await shop.control("POST", "/merchants/900000001/webhook-url", {"url": None})
    nowhere = await shop.control("POST", "/orders/T1/send-webhook", {"biz_status": "PAY_SUCCESS"})

    assert (nothing.status, nowhere.status) == (404, 404)
    assert "biz_status" in nothing.json["error"]
    assert "webhook URL" in nowhere.json["error"]


async def test_faults_are_added_listed_and_taken_back(shop: Any) -> None:
    first = await shop.control(
        "POST", "/faults", {"kind": "delay", "seconds": 0.5, "endpoint": "/v3/order", "times": None}
    )
    await shop.control("POST", "/faults", {"kind": "drop", "merchant_trade_no": "T1"})

    listed = await shop.control("GET", "/faults")
    after_one = await shop.control("DELETE", f"/faults/{first.json['number']}")
    gone = await shop.control("DELETE", f"/faults/{first.json['number']}")
    cleared = await shop.control("DELETE", "/faults")

    assert [each["kind"] for each in listed.json] == ["delay", "drop"]
    assert first.json["times"] is None
    assert [each["kind"] for each in after_one.json] == ["drop"]
    assert gone.status == 404
    assert cleared.json == []


async def test_clock_is_frozen_set_advanced_and_hurried(shop: Any) -> None:
    await shop.create("T1")

    set_to = await shop.control("POST", "/clock", {"set": "2031-01-01T00:00:00Z"})
    advanced = await shop.control("POST", "/clock", {"advance_seconds": 90})
    unsettled = await shop.control("POST", "/clock", {"advance_seconds": 1.5, "settle": False})
    running = await shop.control("POST", "/clock", {"freeze": False, "speed": 2})

    new_year = int(datetime(2031, 1, 1, tzinfo=UTC).timestamp() * 1000)
    assert set_to.json["now_ms"] == new_year
    assert advanced.json["now_ms"] == new_year + 90_000
    assert unsettled.json["now_ms"] == new_year + 91_500
    assert (running.json["frozen"], running.json["speed"]) == (False, 2)
    assert (await shop.control("GET", "/clock")).json["now_ms"] >= new_year + 91_500
    assert (await shop.control("GET", "/orders/T1")).json["status"] == "EXPIRED"


async def test_certificates_rotate_and_may_forget_the_old(shop: Any) -> None:
    first = await shop.control("POST", "/certificates/rotate")
    second = await shop.control("POST", "/certificates/rotate", {"keeps_old": False})

    assert len(first.json) == 2
    assert len(second.json) == 1
    assert second.json[0] not in first.json


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/orders/T9/pay", None, 404, "no order 'T9'"),
        ("/orders/T1/pay", {"comission": "1"}, 400, "known are: merchant_id, commission"),
        ("/orders/T1/pay", {"amount": "-1"}, 400, "amount"),
        ("/orders/T1/pay", {"commission": "much"}, 400, ""),
        ("/orders/T1/fail", {"merchant_id": "1"}, 404, "no order"),
        ("/faults", {}, 400, "kind"),
        ("/faults", {"kind": "gremlin"}, 400, "known are"),
        ("/faults", {"kind": "drop", "times": "many"}, 400, ""),
        ("/clock", {"advance_seconds": -1}, 400, "forwards"),
        ("/clock", {"set": "2031-01-01"}, 400, "aware"),
        ("/clock", {"set": 5}, 400, ""),
        ("/clock", {"speed": 0}, 400, "speed"),
        ("/clock", {"hurry": 1}, 400, "known are: freeze"),
        ("/merchants", {"api_key": "k2"}, 400, "api_secret"),
        ("/merchants", {"api_key": "a", "api_secret": "b", "merchant_id": "M1"}, 400, "digits"),
        ("/merchants/1/webhook-url", {"url": None}, 404, "no merchant"),
    ],
)
async def test_refusal_says_what_would_do(
    shop: Any, path: str, body: Any, status: int, words: str
) -> None:
    await shop.create("T1")

    reply = await shop.control("POST", path, body)

    assert reply.status == status
    assert reply.json["error"]
    assert words in reply.json["error"]


async def test_second_payment_is_a_conflict(shop: Any) -> None:
    await shop.create("T1")
    await shop.control("POST", "/orders/T1/pay")

    reply = await shop.control("POST", "/orders/T1/pay")

    assert reply.status == 409
    assert "PAID" in reply.json["error"]


async def test_body_that_is_no_object_is_refused(shop: Any) -> None:
    assert (await shop.send("POST", "/simulator/clock", b"[]")).status == 400
    assert (await shop.send("POST", "/simulator/clock", b"{")).status == 400
