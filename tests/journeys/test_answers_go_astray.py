"""Answers of Binance that never come, and what really happened behind them."""

import asyncio
from typing import Any

import pytest


async def _payable(gateway: Any, order_id: str) -> dict[str, Any]:
    order = await gateway.until(order_id, lambda order: order["universal_url"] is not None)
    return dict(order)


async def test_lost_create_answer_gives_way_to_a_code_that_can_be_shown(gateway: Any) -> None:
    control = gateway.simulator.control
    control.faults.add("answer_lost_after_effect", endpoint="/v3/order")
    created = await gateway.create()
    assert created.status == 202
    assert created.json["status"] == "CREATED"
    assert created.json["universal_url"] is None
    assert created.json["checkout_url"]

    order_id = created.json["order_id"]
    for _ in range(20):
        await control.advance(1)
        if (await gateway.order(order_id))["universal_url"]:
            break
        await asyncio.sleep(0.05)
    order = await _payable(gateway, order_id)

    assert order["status"] == "PENDING_PAYMENT"
    first, second = control.orders
    assert str(first.status) == "CANCELED"  # nobody ever saw its links
    assert second.links.qr_content == order["qr_content"]
    control.pay(second.merchant_trade_no)
    await gateway.until(order_id, "PAID")


@pytest.mark.parametrize("fault", ["lost_before_effect", "http_5xx_before_effect", "unknown_error"])
async def test_create_that_never_landed_is_sent_again_under_the_same_number(
    gateway: Any, fault: str
) -> None:
    control = gateway.simulator.control
    control.faults.add(fault, endpoint="/v3/order")
    created = await gateway.create()
    assert created.status == 202

    await _payable(gateway, created.json["order_id"])

    assert len(control.orders) == 1
    timeline = await gateway.timeline(created.json["order_id"])
    sends = [e for e in timeline if e["summary"].startswith("asking Binance /v3/order for")]
    assert [entry["detail"]["attempt"] for entry in sends] == [1, 1]


async def test_lost_create_answer_of_an_order_that_was_paid_all_the_same(gateway: Any) -> None:
    control = gateway.simulator.control
    control.faults.add("answer_lost_after_effect", endpoint="/v3/order")
    control.faults.add("http_5xx_before_effect", endpoint="/v2/order/query", times=3)
    created = await gateway.create()
    control.pay(gateway.trade_numbers()[0])

    for _ in range(20):
        await control.advance(2)
        await asyncio.sleep(0.05)
        if (await gateway.order(created.json["order_id"]))["status"] == "PAID":
            break
    await gateway.until(created.json["order_id"], "PAID")

    assert len(control.orders) == 1
    assert [e["type"] for e in await gateway.events()].count("order.paid") == 1


async def test_refusal_for_good_cancels_the_order_and_says_why(gateway: Any) -> None:
    gateway.simulator.control.faults.add("rejected", endpoint="/v3/order", code="400203")

    created = await gateway.create()

    assert created.status == 422
    assert created.json["code"] == "provider_rejected"
    assert "400203" in created.json["detail"]
    order = await gateway.order(created.json["order"]["order_id"])
    assert order["status"] == "CANCELED"
    assert [e["type"] for e in await gateway.events()] == ["order.canceled"]
