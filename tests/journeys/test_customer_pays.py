"""The good day."""

from typing import Any


async def test_customer_pays_and_the_order_is_paid(gateway: Any) -> None:
    created = await gateway.create()
    assert created.status == 201, created.content
    assert created.json["status"] == "PENDING_PAYMENT"

    gateway.simulator.control.pay(gateway.trade_numbers()[0])
    paid = await gateway.until(created.json["order_id"], "PAID")

    assert paid["paid_amount"] == "12.50"
    assert paid["anomalies"] == []
    assert [event["type"] for event in await gateway.events()] == ["order.pending", "order.paid"]
