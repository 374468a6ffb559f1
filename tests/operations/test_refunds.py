"""Refunds against a Binance that does and says everything it might."""

import asyncio
import uuid
from decimal import Decimal
from typing import Any

import pytest

from checkstand.simulator.records import RefundStatus
from checkstand.simulator.settings import Settings as SimulatorSettings


async def _paid(gateway: Any, **fields: Any) -> dict[str, Any]:
    created = await gateway.create(**fields)
    order_id = created.json["order_id"]
    number = gateway.trade_numbers()[-1]
    gateway.simulator.control.pay(number)
    order = await gateway.until(order_id, "PAID")
    return dict(order)


async def _returned_in_part(gateway: Any) -> Any:
    """A paid order of which 3.00 has gone back."""
    order = await _paid(gateway)
    await _ask(gateway, order["order_id"], amount="3.00")
    await _until(gateway, order["order_id"], "SUCCEEDED")
    return order


async def _ask(gateway: Any, order_id: str, *, key: str | None = None, **fields: Any) -> Any:
    body = {"merchant_refund_id": f"r-{uuid.uuid4().hex[:8]}"} | fields
    return await gateway.request(
        "POST",
        f"/api/payments/binance/orders/{order_id}/refunds",
        body=body,
        headers={"idempotency-key": key or uuid.uuid4().hex},
    )


async def _refunds(gateway: Any, order_id: str) -> list[dict[str, Any]]:
    answer = await gateway.request("GET", f"/api/payments/binance/orders/{order_id}/refunds")
    return list(answer.json["data"])


async def _told(gateway: Any) -> list[str]:
    """What the shop is told of the one order, in the order in which it is delivered."""
    events = sorted(await gateway.events(), key=lambda event: event["order_version"])
    return [event["type"] for event in events]


async def _until(gateway: Any, order_id: str, *statuses: str, step: float = 1) -> Any:
    """Let time pass until the order's refunds stand like this."""
    refunds: list[dict[str, Any]] = []
    for _ in range(200):
        refunds = await _refunds(gateway, order_id)
        if [refund["status"] for refund in refunds] == list(statuses):
            return refunds
        await gateway.simulator.control.advance(step)
        await asyncio.sleep(0.01)
    timeline = "\n".join(entry["summary"] for entry in await gateway.timeline(order_id))
    raise AssertionError(f"{refunds}\n{timeline}")


async def test_refund_in_full_returns_the_money_and_ends_the_order(gateway: Any) -> None:
    order = await _paid(gateway)

    asked = await _ask(gateway, order["order_id"], reason="The tin was dented")

    assert asked.status == 202
    assert (asked.json["status"], asked.json["amount"]) == ("REQUESTED", "12.50")
    (refund,) = await _until(gateway, order["order_id"], "SUCCEEDED")
    assert Decimal(refund["returned_amount"]) == Decimal("12.50")
    after = await gateway.until(order["order_id"], "REFUNDED")
    assert Decimal(after["refunded_amount"]) == Decimal("12.50")
    (theirs,) = gateway.simulator.control.refunds
    assert (theirs.amount, theirs.status) == (Decimal("12.50"), RefundStatus.SUCCESS)
    types = await _told(gateway)
    assert types[-2:] == ["refund.succeeded", "order.refunded"]
    (told,) = [e for e in await gateway.events() if e["type"] == "refund.succeeded"]
    assert told["data"]["refund"]["merchant_refund_id"] == asked.json["merchant_refund_id"]
    assert told["data"]["order"]["refunded_amount"] == after["refunded_amount"]


async def test_partial_refunds_add_up_and_the_last_one_ends_the_order(gateway: Any) -> None:
    order = await _paid(gateway)
    await _ask(gateway, order["order_id"], amount="5.00")
    await _until(gateway, order["order_id"], "SUCCEEDED")
    assert (await gateway.order(order["order_id"]))["status"] == "PAID"

    too_much = await _ask(gateway, order["order_id"], amount="7.51")
    assert (too_much.status, too_much.json["code"]) == (422, "refund_exceeds_payment")
    assert too_much.json["field"] == "amount"

    await _ask(gateway, order["order_id"])
    await _until(gateway, order["order_id"], "SUCCEEDED", "SUCCEEDED")
    await gateway.until(order["order_id"], "REFUNDED")
    assert sum(r.amount for r in gateway.simulator.control.refunds) == Decimal("12.50")


async def test_repeated_request_is_one_refund(gateway: Any) -> None:
    order = await _paid(gateway)
    first = await _ask(gateway, order["order_id"], key="k1", merchant_refund_id="r1", amount="5.00")
    replay = await _ask(gateway, order["order_id"], key="k1", merchant_refund_id="r1", amount="5.0")
    other_key = await _ask(
        gateway, order["order_id"], key="k2", merchant_refund_id="r1", amount="5.00"
    )
    other_body = await _ask(
        gateway, order["order_id"], key="k1", merchant_refund_id="r1", amount="4.00"
    )
    other_wish = await _ask(
        gateway, order["order_id"], key="k3", merchant_refund_id="r1", amount="4.00"
    )

    assert (first.status, replay.status, other_key.status) == (202, 202, 200)
    assert replay.headers["idempotency-replayed"] == "true"
    assert replay.json == first.json
    assert other_key.json["refund_id"] == first.json["refund_id"]
    assert (other_body.status, other_body.json["code"]) == (422, "idempotency_key_reused")
    assert (other_wish.status, other_wish.json["code"]) == (409, "refund_exists")
    await _until(gateway, order["order_id"], "SUCCEEDED")
    assert len(gateway.simulator.control.refunds) == 1


async def test_many_at_once_on_two_gateways_never_ask_for_the_same_money(run_gateway: Any) -> None:
    async with run_gateway() as one, run_gateway() as two:
        order = await _paid(one)
        answers = await asyncio.gather(
            *(
                _ask(house, order["order_id"], amount="5.00")
                for _ in range(10)
                for house in (one, two)
            )
        )

        assert sorted({answer.status for answer in answers}) == [202, 422]
        assert sum(answer.status == 202 for answer in answers) == 2
        await _until(one, order["order_id"], "SUCCEEDED", "SUCCEEDED")
        assert [r.amount for r in one.simulator.control.refunds] == [Decimal("5.00")] * 2


@pytest.mark.parametrize(
    "fault", ["answer_lost_after_effect", "http_5xx_after_effect", "unknown_error_after_effect"]
)
async def test_lost_answer_is_asked_about_and_never_refunded_twice(
    gateway: Any, fault: str
) -> None:
    order = await _paid(gateway)
    gateway.simulator.control.faults.add(fault, endpoint="/order/refund")
    gateway.simulator.control.faults.add("drop", biz_status="REFUND_SUCCESS", times=None)

    await _ask(gateway, order["order_id"], amount="5.00")

    await _until(gateway, order["order_id"], "SUCCEEDED")
    assert len(gateway.simulator.control.refunds) == 1


@pytest.mark.parametrize("fault", ["lost_before_effect", "http_5xx_before_effect", "unknown_error"])
async def test_refund_that_never_landed_is_sent_again_under_its_number(
    gateway: Any, fault: str
) -> None:
    order = await _paid(gateway)
    gateway.simulator.control.faults.add(fault, endpoint="/order/refund")

    asked = await _ask(gateway, order["order_id"], amount="5.00")

    await _until(gateway, order["order_id"], "SUCCEEDED")
    (theirs,) = gateway.simulator.control.refunds
    assert theirs.refund_request_id == uuid.UUID(asked.json["refund_id"]).hex


async def test_refund_does_not_fail_on_the_word_of_keys_that_do_not_know_its_order(
    gateway: Any,
) -> None:
    # As with another merchant's keys: there is no such order, and a send would be refused.
    order = await _paid(gateway)
    faults = gateway.simulator.control.faults
    fault = faults.add("rejected", code="400202", endpoint="/v2/order/query", times=None)
    refused = faults.add("rejected", code="400301", endpoint="/order/refund", times=None)
    await _ask(gateway, order["order_id"])
    lines: list[str] = []
    async with asyncio.timeout(30):
        while sum(line.endswith("no such order") for line in lines) < 3:
            await gateway.simulator.control.advance(5)
            await asyncio.sleep(0.05)
            lines = [entry["summary"] for entry in await gateway.timeline(order["order_id"])]
    (waiting,) = await _refunds(gateway, order["order_id"])

    faults.remove(fault.number)
    faults.remove(refused.number)

    assert waiting["status"] == "REQUESTED"
    assert not any(line.startswith("asking Binance /order/refund") for line in lines)
    await _until(gateway, order["order_id"], "SUCCEEDED", step=30)


async def test_late_landing_refund_is_one(gateway: Any) -> None:
    order = await _paid(gateway)
    gateway.simulator.control.faults.add("lands_late", endpoint="/order/refund", seconds=20)

    await _ask(gateway, order["order_id"], amount="5.00")

    await _until(gateway, order["order_id"], "SUCCEEDED")
    await gateway.simulator.control.advance(60)
    assert len(gateway.simulator.control.refunds) == 1
    assert sum(r.amount for r in gateway.simulator.control.refunds) == Decimal("5.00")


async def test_short_wallet_waits_and_is_tried_again(gateway: Any) -> None:
    order = await _paid(gateway)
    control = gateway.simulator.control
    merchant_id = control.orders[0].merchant_id
    control.set_balance(merchant_id, "USDT", "0")

    await _ask(gateway, order["order_id"], amount="5.00")
    (refund,) = await _refunds(gateway, order["order_id"])
    for _ in range(100):
        (refund,) = await _refunds(gateway, order["order_id"])
        if refund["failure"]:
            break
        await asyncio.sleep(0.02)
    assert refund["status"] == "REQUESTED"
    assert "400304" in refund["failure"]

    control.set_balance(merchant_id, "USDT", "100")
    await _until(gateway, order["order_id"], "SUCCEEDED", step=30)
    assert len(control.refunds) == 1


async def test_lost_answer_and_then_a_short_wallet_is_no_refusal(gateway: Any) -> None:
    order = await _paid(gateway)
    control = gateway.simulator.control
    merchant_id = control.orders[0].merchant_id
    control.faults.add("lands_late", endpoint="/order/refund", seconds=3)
    control.faults.add("rejected", endpoint="/order/refund", code="400304", times=2)
    control.faults.add("drop", biz_status="REFUND_SUCCESS", times=None)

    await _ask(gateway, order["order_id"], amount="5.00")

    await _until(gateway, order["order_id"], "SUCCEEDED")
    assert len(control.refunds) == 1
    assert control.refunds[0].merchant_id == merchant_id


async def test_rejected_refund_frees_the_money_for_another(gateway: Any) -> None:
    order = await _paid(gateway)
    gateway.simulator.control.faults.add("refund_rejected")

    await _ask(gateway, order["order_id"])
    (failed,) = await _until(gateway, order["order_id"], "FAILED")
    assert failed["failure"] is not None
    await _ask(gateway, order["order_id"])

    await _until(gateway, order["order_id"], "FAILED", "SUCCEEDED")
    await gateway.until(order["order_id"], "REFUNDED")
    types = await _told(gateway)
    assert types[-3:] == ["refund.failed", "refund.succeeded", "order.refunded"]


async def test_refund_is_not_sent_once_money_went_back_in_the_portal(gateway: Any) -> None:
    order = await _paid(gateway)
    gateway.simulator.control.refund(gateway.trade_numbers()[0], amount="4.00")

    await _ask(gateway, order["order_id"], amount="5.00")

    (failed,) = await _until(gateway, order["order_id"], "FAILED")
    assert "outside this gateway" in failed["failure"]
    after = await gateway.order(order["order_id"])
    assert after["anomalies"] == ["refunded_elsewhere"]
    again = await _ask(gateway, order["order_id"], amount="5.00")
    assert (again.status, again.json["code"]) == (409, "refunded_elsewhere")
    assert [r.by_portal for r in gateway.simulator.control.refunds] == [True]


@pytest.mark.parametrize(
    "simulator",
    [
        SimulatorSettings(refund_query_is_current=True),
        SimulatorSettings(refund_query_is_current=True, portal_refunds_use_attempts=True),
    ],
    indirect=True,
)
async def test_refund_is_not_sent_once_money_went_back_in_the_portal_beside_one_of_ours(
    gateway: Any,
) -> None:
    order = await _returned_in_part(gateway)
    gateway.simulator.control.refund(gateway.trade_numbers()[0], amount="4.00")

    await _ask(gateway, order["order_id"], amount="5.00")

    _, failed = await _until(gateway, order["order_id"], "SUCCEEDED", "FAILED")
    assert "outside this gateway" in failed["failure"]
    assert (await gateway.order(order["order_id"]))["anomalies"] == ["refunded_elsewhere"]
    assert [r.by_portal for r in gateway.simulator.control.refunds] == [False, True]


async def test_portal_refund_that_no_query_reveals_is_seen_in_the_answer_to_the_next(
    gateway: Any,
) -> None:
    order = await _returned_in_part(gateway)
    gateway.simulator.control.refund(gateway.trade_numbers()[0], amount="4.00")

    await _ask(gateway, order["order_id"], amount="5.00")

    await _until(gateway, order["order_id"], "SUCCEEDED", "SUCCEEDED")
    assert (await gateway.order(order["order_id"]))["anomalies"] == ["refunded_elsewhere"]


async def test_earlier_refund_that_cannot_be_asked_about_holds_up_the_next(gateway: Any) -> None:
    order = await _returned_in_part(gateway)
    deaf = gateway.simulator.control.faults.add(
        "unknown_error", endpoint="/order/refund/query", times=None
    )

    await _ask(gateway, order["order_id"], amount="5.00")
    lines: list[str] = []
    while not any(line.startswith("/order/refund/query ") for line in lines):
        await asyncio.sleep(0.05)
        lines = [entry["summary"] for entry in await gateway.timeline(order["order_id"])]
    for _ in range(10):
        await gateway.simulator.control.advance(1)
        await asyncio.sleep(0.05)
    assert len(gateway.simulator.control.refunds) == 1
    gateway.simulator.control.faults.remove(deaf.number)

    await _until(gateway, order["order_id"], "SUCCEEDED", "SUCCEEDED", step=10)


async def test_our_own_refund_is_no_portal_refund_when_the_order_is_asked_about(
    gateway: Any,
) -> None:
    order = await _paid(gateway)
    await _ask(gateway, order["order_id"], amount="5.00")
    await _until(gateway, order["order_id"], "SUCCEEDED")

    await gateway.request("POST", f"/api/payments/binance/orders/{order['order_id']}/refresh")

    assert (await gateway.order(order["order_id"]))["anomalies"] == []


async def test_ten_refunds_and_the_last_is_the_whole_rest(gateway: Any) -> None:
    order = await _paid(gateway)
    for number in range(9):
        answer = await _ask(gateway, order["order_id"], amount="0.10")
        assert answer.status == 202
        await _until(gateway, order["order_id"], *["SUCCEEDED"] * (number + 1))

    early = await _ask(gateway, order["order_id"], amount="0.10")
    assert (early.status, early.json["code"]) == (409, "refund_is_last")
    rest = await _ask(gateway, order["order_id"])
    assert rest.json["amount"] == "11.60"
    await _until(gateway, order["order_id"], *["SUCCEEDED"] * 10)
    await gateway.until(order["order_id"], "REFUNDED")


async def test_nothing_can_be_refunded_before_it_is_paid(gateway: Any) -> None:
    created = await gateway.create()
    answer = await _ask(gateway, created.json["order_id"])

    assert (answer.status, answer.json["code"]) == (409, "order_not_refundable")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"amount": 5}, "amount"),
        ({"amount": "5.123456789"}, "amount"),
        ({"amount": "-1"}, "amount"),
        ({"amount": "0"}, "amount"),
        ({"merchant_refund_id": ""}, "merchant_refund_id"),
        ({"merchant_refund_id": None}, "merchant_refund_id"),
        ({"payment_id": "x"}, "payment_id"),
        ({"currency": "USDT"}, "currency"),
        ({"reason": "a\x00b"}, "reason"),
    ],
)
async def test_wrong_wishes_name_the_field(gateway: Any, body: dict[str, Any], field: str) -> None:
    order = await _paid(gateway)

    answer = await _ask(gateway, order["order_id"], **body)

    assert answer.status == 422
    assert answer.json["field"] == field
    assert await _refunds(gateway, order["order_id"]) == []


async def test_refund_needs_a_key_an_order_and_the_scope(gateway: Any) -> None:
    order = await _paid(gateway)
    path = f"/api/payments/binance/orders/{order['order_id']}/refunds"
    keyless = await gateway.request("POST", path, body={"merchant_refund_id": "r1"})
    assert (keyless.status, keyless.json["code"]) == (400, "idempotency_key_missing")

    elsewhere = await _ask(gateway, str(uuid.uuid4()))
    assert (elsewhere.status, elsewhere.json["code"]) == (404, "order_not_found")

    stranger = await _ask(gateway, order["order_id"], payment_id=str(uuid.uuid4()))
    assert (stranger.status, stranger.json["code"]) == (404, "payment_not_found")


async def test_refund_outlives_the_worker_that_sent_it(run_gateway: Any) -> None:
    async with run_gateway(with_worker=False) as gateway:
        from checkstand.operations import advance_refund

        created = await gateway.create()
        order_id = created.json["order_id"]
        control = gateway.simulator.control
        control.pay(gateway.trade_numbers()[0])
        await control.settle()
        assert (await gateway.order(order_id))["status"] == "PAID"
        await _ask(gateway, order_id, amount="5.00")
        (lease,) = await advance_refund.claim_due_refunds(gateway.resources, limit=5)
        await advance_refund.advance_refund(gateway.resources, lease=lease)  # the check
        (lease,) = await advance_refund.claim_due_refunds(gateway.resources, limit=5)
        planned = await advance_refund._plan(gateway.resources, lease=lease)
        assert planned is not None  # written down, sent or not, and then the worker died
        (refund,) = await _refunds(gateway, order_id)
        assert refund["status"] == "SENT"
        assert await advance_refund.claim_due_refunds(gateway.resources, limit=5) == []

    async with run_gateway() as successor:
        await _until(successor, order_id, "SUCCEEDED")
        assert len(successor.simulator.control.refunds) == 1


async def test_notice_that_names_no_refund_makes_the_open_ones_asked_about(
    gateway: Any,
) -> None:
    order = await _paid(gateway)
    control = gateway.simulator.control
    control.faults.add("drop", biz_status="REFUND_SUCCESS", times=None)
    control.faults.add("unknown_error", endpoint="/order/refund/query", times=1)
    await _ask(gateway, order["order_id"], amount="5.00")
    await _until(gateway, order["order_id"], "PENDING", step=0)
    for _ in range(100):
        if control.refunds[0].status is RefundStatus.SUCCESS:
            break
        await control.advance(0.5)

    theirs = control.orders[0]
    answer = await _send(
        gateway,
        theirs,
        {"merchantTradeNo": theirs.merchant_trade_no, "currency": "USDT"},
    )

    assert answer.json["returnCode"] == "SUCCESS"
    await _until(gateway, order["order_id"], "SUCCEEDED", step=0)


async def _send(gateway: Any, theirs: Any, data: dict[str, Any]) -> Any:
    """Send a PAY_REFUND notice that Binance really signed."""
    signed = gateway.simulator.control.sign(
        data=data, biz_type="PAY_REFUND", biz_status="REFUND_SUCCESS", biz_id=theirs.prepay_id
    )
    return await gateway.request(
        "POST", theirs.webhook_url, content=signed.body, headers=signed.headers, authorized=False
    )


async def test_notice_about_a_refund_nobody_sent_books_nothing(gateway: Any) -> None:
    order = await _paid(gateway)
    theirs = gateway.simulator.control.orders[0]
    info = {
        "refundRequestId": uuid.uuid4().hex,
        "prepayId": theirs.prepay_id,
        "orderAmount": "12.50000000",
        "refundedAmount": "12.50000000",
        "refundAmount": "12.50000000",
        "remainingAttempts": 9,
        "duplicateRequest": "N",
    }

    answer = await _send(
        gateway, theirs, {"merchantTradeNo": theirs.merchant_trade_no, "refundInfo": info}
    )

    assert answer.json["returnCode"] == "SUCCESS"
    after = await gateway.order(order["order_id"])
    assert (after["status"], after["refunded_amount"]) == ("PAID", "0")
    summaries = [e["summary"] for e in await gateway.timeline(order["order_id"])]
    assert any("we sent no refund under its number" in summary for summary in summaries)
