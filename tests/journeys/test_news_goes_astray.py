"""Notices that come late, twice, too early, never, or that are not about us."""

import asyncio
from typing import Any

from checkstand.simulator.records import Merchant


async def test_lost_notice_is_made_up_for_by_asking(gateway: Any) -> None:
    created = await gateway.create()
    gateway.simulator.control.faults.add("drop", biz_status="PAY_SUCCESS")
    gateway.simulator.control.pay(gateway.trade_numbers()[0])
    assert (await gateway.order(created.json["order_id"]))["status"] == "PENDING_PAYMENT"

    await gateway.simulator.control.advance(11)

    paid = await gateway.until(created.json["order_id"], "PAID")
    assert paid["anomalies"] == []


async def test_duplicate_notice_changes_nothing(gateway: Any) -> None:
    created = await gateway.create()
    gateway.simulator.control.faults.add("duplicate", copies=3, biz_status="PAY_SUCCESS")

    gateway.simulator.control.pay(gateway.trade_numbers()[0])
    await gateway.until(created.json["order_id"], "PAID")
    await gateway.simulator.control.settle()

    assert len(gateway.simulator.control.notices) == 4
    assert [event["type"] for event in await gateway.events()] == ["order.pending", "order.paid"]
    notices = [e for e in await gateway.timeline(created.json["order_id"]) if e["kind"] == "notice"]
    assert len(notices) == 1


async def test_notice_before_the_create_answer_is_a_hint_then_a_query_then_paid(
    gateway: Any,
) -> None:
    # The answer to the create takes its time; the shopper pays by a link of Binance's own page.
    gateway.simulator.control.faults.add("slow", endpoint="/v3/order", seconds=3600)
    creating = asyncio.create_task(gateway.create())
    while not gateway.simulator.control.orders:
        await asyncio.sleep(0.01)
    number = gateway.trade_numbers()[0]
    gateway.simulator.control.pay(number)
    await gateway.simulator.control.settle()
    assert gateway.simulator.control.webhooks_sent[-1].tries[-1].http_status == 200

    created = await creating  # our own patience with the create runs out

    assert created.status == 202
    paid = await gateway.until(created.json["order_id"], "PAID")
    assert paid["paid_amount"] == "12.50"
    timeline = await gateway.timeline(created.json["order_id"])
    checks = [entry for entry in timeline if entry["kind"] == "check"]
    assert checks[0]["detail"]["outcome"] == "hint"
    assert "order.paid" in [event["type"] for event in await gateway.events()]


async def test_foreign_merchants_notice_with_our_number_amount_and_currency_pays_nothing(
    gateway: Any,
) -> None:
    created = await gateway.create()
    control = gateway.simulator.control
    ours = control.orders[0]
    stranger = Merchant(api_key="stranger", api_secret="stranger", merchant_id="900000666")
    control.add_merchant(stranger)
    from checkstand.binance import AsyncBinancePay, Goods

    async with AsyncBinancePay(
        api_key="stranger",
        api_secret="stranger",
        base_url=gateway.simulator.base_url,
        clock=gateway.simulator.clock,
    ) as client:
        await client.orders.create(
            merchant_trade_no=ours.merchant_trade_no,
            description="not yours",
            goods_details=[
                Goods(
                    goods_type="02",
                    goods_category="Z000",
                    reference_goods_id="x",
                    goods_name="x",
                )
            ],
            order_amount=ours.amount,
            currency=ours.currency,
            webhook_url=ours.webhook_url,
        )
    control.pay(ours.merchant_trade_no, merchant_id="900000666")
    await control.settle()

    assert control.webhooks_sent[-1].merchant_id == "900000666"
    assert (
        control.webhooks_sent[-1].tries[-1].http_status == 200
    )  # genuine, so kept and acknowledged
    timeline = []
    for _ in range(200):  # the hint leads to a query, which says that ours is unpaid
        timeline = await gateway.timeline(created.json["order_id"])
        if any("INITIAL" in entry["summary"] for entry in timeline):
            break
        await asyncio.sleep(0.02)
    assert any("INITIAL" in entry["summary"] for entry in timeline)
    order = await gateway.order(created.json["order_id"])
    assert order["status"] == "PENDING_PAYMENT"
    assert order["anomalies"] == []


async def test_notice_about_another_amount_holds_the_money(gateway: Any) -> None:
    created = await gateway.create()

    gateway.simulator.control.pay(gateway.trade_numbers()[0], amount="1.00")
    order = await gateway.until(
        created.json["order_id"], lambda order: order["anomalies"] == ["amount_differs"]
    )

    assert order["status"] == "PENDING_PAYMENT"
    assert order["paid_amount"] == "0"
    types = [event["type"] for event in await gateway.events()]
    assert types == ["order.pending", "order.attention"]


async def test_late_notice_of_an_expired_order_still_counts(gateway: Any) -> None:
    created = await gateway.create(expires_in=120)
    control = gateway.simulator.control
    await control.advance(200)
    await gateway.until(created.json["order_id"], "EXPIRED")

    control.pay(gateway.trade_numbers()[0], force=True)
    paid = await gateway.until(created.json["order_id"], "PAID")

    assert paid["anomalies"] == []  # the policy for late money is to fulfil
    timeline = await gateway.timeline(created.json["order_id"])
    assert any("paid_late resolved (accept)" in entry["summary"] for entry in timeline)
