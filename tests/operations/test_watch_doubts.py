"""An outcome that stays unknown is told to a person once, and untold when it is known."""

from typing import Any

from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID
from checkstand.operations.watch_doubts import watch_doubts
from checkstand.storage import accounts


async def _unknown_order(gateway: Any) -> str:
    """An order whose create was not answered, while every question about it fails."""
    faults = gateway.simulator.control.faults
    faults.add("answer_lost_after_effect", endpoint="/v3/order")
    faults.add("http_5xx_before_effect", endpoint="/v2/order/query", times=None)
    created = await gateway.create()
    assert created.status == 202
    return str(created.json["order_id"])


async def _ready(gateway: Any) -> str:
    answer = await gateway.request("GET", "/readyz")
    assert answer.status == 200
    return str(answer.content.decode())


async def test_unknown_create_is_told_after_a_while_and_settles_itself(gateway: Any) -> None:
    assert await _ready(gateway) == "ready\n"
    order_id = await _unknown_order(gateway)
    control = gateway.simulator.control

    await control.advance(890)
    await watch_doubts(gateway.resources)
    assert (await gateway.order(order_id))["anomalies"] == []
    await control.advance(20)
    for _ in range(3):
        await watch_doubts(gateway.resources)

    assert (await gateway.order(order_id))["anomalies"] == ["unknown_too_long"]
    told = [event["type"] for event in await gateway.events()]
    assert told.count("order.attention") == 1
    assert "outcome: 9" in await _ready(gateway)

    control.faults.clear()
    await control.advance(60)
    await gateway.until(order_id, lambda order: order["anomalies"] == [])
    entries = [entry["summary"] for entry in await gateway.timeline(order_id)]
    assert any("its fate is known now" in entry for entry in entries)
    assert "outcome: 9" not in await _ready(gateway)


async def test_payment_without_end_is_told(gateway: Any) -> None:
    control, created = gateway.simulator.control, await gateway.create()
    order_id = str(created.json["order_id"])
    control.faults.add("drop", times=None)  # PAY_CLOSED does not come either
    control.pending(gateway.trade_numbers()[-1])
    await gateway.request("POST", f"/api/payments/binance/orders/{order_id}/refresh")
    control.faults.add("http_5xx_before_effect", endpoint="/v2/order/query", times=None)

    await control.advance(7100)
    await watch_doubts(gateway.resources)
    assert (await gateway.order(order_id))["anomalies"] == []
    await control.advance(200)
    await watch_doubts(gateway.resources)

    order = await gateway.order(order_id)
    assert order["anomalies"] == ["unknown_too_long"]
    assert order["status"] == "PENDING_PAYMENT"


async def test_stopped_account_is_no_flood_of_doubts(run_gateway: Any) -> None:
    async with run_gateway(with_worker=False) as gateway:
        await _unknown_order(gateway)

        async def halt(tx: Any) -> None:
            now = gateway.resources.clock.now()
            await accounts.halt(tx, DEFAULT_ACCOUNT_ID, reason="the staging key", now=now)

        await gateway.resources.database.run(halt, name="halt")
        await gateway.simulator.control.advance(2000)

        assert await watch_doubts(gateway.resources) == 0
