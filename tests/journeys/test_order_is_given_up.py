"""Cancel, renew and expire: the end of a code is believed only when Binance confirms it."""

import asyncio
from typing import Any


async def _act(gateway: Any, order_id: str, act: str) -> Any:
    return await gateway.request("POST", f"/api/payments/binance/orders/{order_id}/{act}")


async def test_cancelled_order_is_closed_at_binance_first(gateway: Any) -> None:
    created = await gateway.create()
    order_id = created.json["order_id"]

    asked = await _act(gateway, order_id, "cancel")
    assert asked.status == 202
    assert asked.json["status"] == "PENDING_PAYMENT"
    assert asked.json["universal_url"] is None

    await _pass_seconds(gateway, order_id, "CANCELED")
    assert str(gateway.simulator.control.orders[0].status) == "CANCELED"
    assert [e["type"] for e in await gateway.events()] == ["order.pending", "order.canceled"]
    again = await _act(gateway, order_id, "cancel")
    assert again.status == 200


async def test_payment_that_wins_against_the_close_counts(gateway: Any) -> None:
    created = await gateway.create()
    order_id = created.json["order_id"]
    control = gateway.simulator.control
    control.faults.add("drop", biz_status="PAY_SUCCESS")
    late = control.faults.add("delay", endpoint="/order/close", seconds=0.5)
    control.clock.freeze()

    await _act(gateway, order_id, "cancel")
    async with asyncio.timeout(20):
        while late in control.faults.listed:
            await asyncio.sleep(0.01)
    control.pay(gateway.trade_numbers()[0])  # the close is still on its way
    control.clock.resume()
    order = await _pass_seconds(gateway, order_id, "PAID")

    assert order["anomalies"] == []
    assert [e["type"] for e in await gateway.events()].count("order.canceled") == 0


async def test_close_accepted_then_paid_counts(gateway: Any) -> None:
    created = await gateway.create()
    order_id = created.json["order_id"]
    control = gateway.simulator.control
    control.clock.freeze()  # accepted, and not yet closed
    control.faults.add("drop", biz_status="PAY_SUCCESS")
    await _act(gateway, order_id, "cancel")
    for _ in range(400):
        timeline = await gateway.timeline(order_id)
        if any("/order/close accepted" in e["summary"] for e in timeline):
            break
        await asyncio.sleep(0.02)
    else:
        raise AssertionError("the close was never accepted")
    control.pay(gateway.trade_numbers()[0])
    control.clock.resume()

    await _pass_seconds(gateway, order_id, "PAID")


async def test_somebody_paying_cannot_be_closed_under_their_hands(gateway: Any) -> None:
    created = await gateway.create()
    order_id = created.json["order_id"]
    gateway.simulator.control.pending(gateway.trade_numbers()[0])
    await _act(gateway, order_id, "refresh")

    refused = await _act(gateway, order_id, "cancel")

    assert refused.status == 409
    assert refused.json["code"] == "payment_under_way"


async def test_renewed_ten_times_there_is_never_more_than_one_payable_code(gateway: Any) -> None:
    created = await gateway.create()
    order_id = created.json["order_id"]
    control = gateway.simulator.control
    shown = {created.json["qr_content"]}

    for _ in range(10):
        assert (await _act(gateway, order_id, "renew")).status == 202
        for _ in range(100):
            await control.advance(1)
            payable = [o for o in control.orders if str(o.status) == "INITIAL"]
            assert len(payable) <= 1
            order = await gateway.order(order_id)
            if order["qr_content"] and order["qr_content"] not in shown:
                shown.add(order["qr_content"])
                break
            await asyncio.sleep(0.02)

    assert len(shown) == 11
    assert (await gateway.order(order_id))["status"] == "PENDING_PAYMENT"
    control.pay(control.orders[-1].merchant_trade_no)
    await gateway.until(order_id, "PAID")


async def test_delayed_close_of_an_old_code_does_not_cancel_the_order(gateway: Any) -> None:
    created = await gateway.create()
    order_id = created.json["order_id"]
    control = gateway.simulator.control
    control.faults.add("webhook_delay", biz_status="PAY_CLOSED", seconds=300)
    await _act(gateway, order_id, "renew")
    for _ in range(400):
        await control.advance(0.5)
        if (await gateway.order(order_id))["qr_content"] not in {
            None,
            created.json["qr_content"],
        }:
            break
        await asyncio.sleep(0.02)
    else:
        raise AssertionError("it was never renewed")

    await control.advance(310)
    assert any(notice.biz_status == "PAY_CLOSED" for notice in control.webhooks_sent)

    assert (await gateway.order(order_id))["status"] == "PENDING_PAYMENT"


async def test_order_whose_code_lapses_lives_on_until_its_own_time_is_over(gateway: Any) -> None:
    created = await gateway.create(expires_in=7200)
    order_id = created.json["order_id"]
    control = gateway.simulator.control

    await control.advance(3700)
    order = await gateway.until(order_id, lambda order: order["universal_url"] is None)
    assert order["status"] == "PENDING_PAYMENT"

    await control.advance(3600)
    await _pass_seconds(gateway, order_id, "EXPIRED")
    assert [e["type"] for e in await gateway.events()] == ["order.pending", "order.expired"]


async def _pass_seconds(gateway: Any, order_id: str, status: str, *, step: float = 1) -> Any:
    """Let simulated seconds go by, as work needs them, until the order is as wanted."""
    for _ in range(200):
        if (await gateway.order(order_id))["status"] == status:
            break
        await gateway.simulator.control.advance(step)
        await asyncio.sleep(0.02)
    return await gateway.until(order_id, status)


async def test_money_that_crossed_the_close_is_found_by_asking_again(gateway: Any) -> None:
    created = await gateway.create()
    order_id = created.json["order_id"]
    control = gateway.simulator.control
    await _act(gateway, order_id, "cancel")
    await _pass_seconds(gateway, order_id, "CANCELED")

    control.pay(control.orders[0].merchant_trade_no, force=True, webhook=False)
    await control.advance(130)
    paid = await _pass_seconds(gateway, order_id, "PAID", step=30)

    assert paid["anomalies"] == []
    assert [e["type"] for e in await gateway.events()][-1] == "order.paid"


async def test_second_payment_of_an_order_is_held_and_told(gateway: Any) -> None:
    created = await gateway.create()
    order_id = created.json["order_id"]
    control = gateway.simulator.control
    await _act(gateway, order_id, "renew")
    for _ in range(100):
        await control.advance(1)
        if len(control.orders) == 2 and (await gateway.order(order_id))["universal_url"]:
            break
        await asyncio.sleep(0.02)
    first, second = (order.merchant_trade_no for order in control.orders)

    control.pay(second)
    await gateway.until(order_id, "PAID")
    control.pay(first, force=True, webhook=True)
    order = await gateway.until(order_id, lambda order: order["anomalies"] == ["paid_twice"])

    assert order["status"] == "PAID"
    assert order["paid_amount"] == "12.50"
    types = [event["type"] for event in await gateway.events()]
    assert types.count("order.paid") == 1
    assert types[-1] == "order.attention"
