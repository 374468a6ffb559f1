"""A person settles what is odd about an order, and things move again."""

from decimal import Decimal
from typing import Any

import pytest

ORDERS = "/api/payments/binance/orders"


async def _held_order(gateway: Any, *, amount: str = "12.00") -> str:
    """An order for 12.50 that was paid another sum."""
    created = await gateway.create()
    order_id = str(created.json["order_id"])
    gateway.simulator.control.pay(gateway.trade_numbers()[-1], amount=amount, force=True)
    await gateway.simulator.control.settle()
    await gateway.until(order_id, lambda order: order["anomalies"] == ["amount_differs"])
    return order_id


async def _anomalies(gateway: Any, order_id: str) -> list[dict[str, Any]]:
    answer = await gateway.request("GET", f"{ORDERS}/{order_id}/anomalies")
    assert answer.status == 200, answer.content
    return list(answer.json["data"])


async def _resolve(gateway: Any, order_id: str, resolution: str, **more: Any) -> Any:
    (anomaly,) = await _anomalies(gateway, order_id)
    body = {"resolution": resolution, "reason": "the shopper rang and we agreed"} | more
    return await gateway.request(
        "POST", f"{ORDERS}/{order_id}/anomalies/{anomaly['anomaly_id']}/resolve", body=body
    )


async def test_accepted_money_pays_the_order_and_the_shop_is_told_once(gateway: Any) -> None:
    order_id = await _held_order(gateway)
    (anomaly,) = await _anomalies(gateway, order_id)
    assert anomaly["is_open"]
    assert anomaly["resolutions"] == ["accept", "refund", "write_off"]

    answers = [await _resolve(gateway, order_id, "accept") for _ in range(2)]

    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].json == answers[1].json
    order = answers[0].json["order"]
    assert (order["status"], Decimal(order["paid_amount"]), order["anomalies"]) == (
        "PAID",
        Decimal(12),
        [],
    )
    assert answers[0].json["anomaly"]["resolution"] == "accept"
    told = [event["type"] for event in await gateway.events()]
    assert told.count("order.paid") == 1
    assert told.count("order.attention") == 1


async def test_resolution_is_explained_by_who_and_why(gateway: Any) -> None:
    order_id = await _held_order(gateway)

    await _resolve(gateway, order_id, "accept")
    await _resolve(gateway, order_id, "accept")

    entries = await gateway.timeline(order_id)
    acts = [e for e in entries if e["kind"] == "act" and "resolve" in e["summary"]]
    assert len(acts) == 1
    assert acts[0]["actor"] == "merchant"
    assert "API key test" in acts[0]["summary"]
    assert "the shopper rang and we agreed" in acts[0]["summary"]
    kinds = [e["summary"].split(":")[0] for e in entries[entries.index(acts[0]) :]]
    resolved = kinds.index("amount_differs resolved (accept)")
    assert 0 < resolved < kinds.index("PENDING_PAYMENT → PAID")


async def test_written_off_money_lets_the_shopper_pay_by_a_new_code(gateway: Any) -> None:
    order_id = await _held_order(gateway)
    refused = await gateway.request("POST", f"{ORDERS}/{order_id}/renew")
    assert refused.status == 409

    written = await _resolve(gateway, order_id, "write_off")
    assert written.json["order"]["status"] == "PENDING_PAYMENT"
    assert written.json["order"]["paid_amount"] == "0"

    renewed = await gateway.request("POST", f"{ORDERS}/{order_id}/renew")
    assert renewed.status == 202, renewed.content
    await gateway.until(order_id, lambda order: order["qr_content"] is not None)
    gateway.simulator.control.pay(gateway.trade_numbers()[-1])
    paid = await gateway.until(order_id, "PAID")
    assert paid["paid_amount"] == "12.50"


async def test_money_is_not_refunded_by_a_word(gateway: Any) -> None:
    order_id = await _held_order(gateway)

    answer = await _resolve(gateway, order_id, "refund")

    assert (answer.status, answer.json["code"]) == (409, "refund_first")
    payment = (await gateway.order(order_id))["payments"][0]
    assert answer.json["payment_id"] == payment["payment_id"]
    assert payment["payment_id"] in answer.json["detail"]
    assert (await _anomalies(gateway, order_id))[0]["is_open"]


async def test_other_word_about_a_settled_anomaly_is_a_conflict(gateway: Any) -> None:
    order_id = await _held_order(gateway)
    await _resolve(gateway, order_id, "write_off")

    answer = await _resolve(gateway, order_id, "accept")

    assert (answer.status, answer.json["code"]) == (409, "anomaly_resolved")
    assert (await gateway.order(order_id))["paid_amount"] == "0"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"resolution": "accept"}, "reason"),
        ({"resolution": "accept", "reason": ""}, "reason"),
        ({"resolution": "ignore", "reason": "why not"}, "resolution"),
        ({"resolution": "accept", "reason": "why not", "amount": "1"}, "amount"),
        ({"resolution": "accept", "reason": "why not", "amount": 1.0}, "amount"),
    ],
)
async def test_resolution_that_makes_no_sense_is_refused(
    gateway: Any, body: dict[str, Any], field: str
) -> None:
    order_id = await _held_order(gateway)
    (anomaly,) = await _anomalies(gateway, order_id)

    answer = await gateway.request(
        "POST", f"{ORDERS}/{order_id}/anomalies/{anomaly['anomaly_id']}/resolve", body=body
    )

    assert (answer.status, answer.json["code"]) == (422, "invalid_request"), answer.content
    assert answer.json["field"] == field


async def test_anomaly_of_another_order_is_not_there(gateway: Any) -> None:
    order_id = await _held_order(gateway)
    (anomaly,) = await _anomalies(gateway, order_id)
    other = (await gateway.create()).json["order_id"]
    body = {"resolution": "accept", "reason": "it was close enough"}

    for path, code in (
        (f"{other}/anomalies/{anomaly['anomaly_id']}", "anomaly_not_found"),
        (f"{order_id}/anomalies/nonsense", "anomaly_not_found"),
        (f"nonsense/anomalies/{anomaly['anomaly_id']}", "order_not_found"),
    ):
        answer = await gateway.request("POST", f"{ORDERS}/{path}/resolve", body=body)
        assert (answer.status, answer.json["code"]) == (404, code), path


async def test_return_in_the_portal_is_booked_once_somebody_says_how_much(gateway: Any) -> None:
    control, created = gateway.simulator.control, await gateway.create()
    order_id, number = str(created.json["order_id"]), gateway.trade_numbers()[-1]
    control.pay(number)
    await gateway.until(order_id, "PAID")
    control.refund(number)
    await control.settle()
    await control.advance(86_400 + 60)
    await gateway.until(order_id, lambda order: "refunded_elsewhere" in order["anomalies"])

    unsaid = await _resolve(gateway, order_id, "accept")
    assert (unsaid.status, unsaid.json["field"]) == (422, "amount")
    answer = await _resolve(gateway, order_id, "accept", amount="12.50")

    assert answer.status == 200, answer.content
    order = answer.json["order"]
    assert (order["status"], order["refunded_amount"]) == ("REFUNDED", "12.50")
    assert {"refund.succeeded", "order.refunded"} <= {e["type"] for e in await gateway.events()}
    summaries = [entry["summary"] for entry in await gateway.timeline(order_id)]
    assert any("found at Binance, not asked for by us" in summary for summary in summaries)
