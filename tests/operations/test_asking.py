"""Asking Binance: on the shopper's word, on the merchant's, and about prices in fiat."""

import asyncio
from typing import Any

import asyncpg

from checkstand.operations.advance_attempt import advance_attempt
from checkstand.operations.claim_due_attempts import claim_due_attempts
from checkstand.operations.resources import Resources
from checkstand.web.checkout.desk import CheckoutDesk


def _token(order: dict[str, Any]) -> str:
    return str(order["checkout_url"].rsplit("/", 1)[1])


async def _queries(gateway: Any, order_id: str) -> int:
    timeline = await gateway.timeline(order_id)
    return sum(entry["summary"].startswith("asking Binance /v2/order/query") for entry in timeline)


async def test_many_shoppers_saying_paid_cost_one_query_in_five_seconds(run_gateway: Any) -> None:
    async with run_gateway(with_worker=False) as gateway:
        created, house = await gateway.create(), gateway.resources
        desk, clock = CheckoutDesk(house), gateway.simulator.control.clock
        clock.freeze()
        clock.advance(121)  # asked about now, by its timetable it is not for another minute
        assert await _ask_all_due(house) == 1

        async def many_ask() -> list[bool]:
            return await asyncio.gather(*(desk.check(_token(created.json)) for _ in range(20)))

        assert all(await many_ask())
        assert await _ask_all_due(house) == 1
        assert all(await many_ask())
        assert await _ask_all_due(house) == 0

        clock.advance(5)
        assert await _ask_all_due(house) == 0
        assert await desk.check(_token(created.json))
        assert await _ask_all_due(house) == 1
        assert await _queries(gateway, created.json["order_id"]) == 3


async def _ask_all_due(house: Resources) -> int:
    """Do what is due as a worker would; return how much it was."""
    leases = await claim_due_attempts(house, limit=20)
    for lease in leases:
        await advance_attempt(house, lease=lease)
    return len(leases)


async def test_shopper_who_says_paid_is_right_without_any_notice(gateway: Any) -> None:
    created = await gateway.create()
    gateway.simulator.control.faults.add("drop", biz_status="PAY_SUCCESS")
    gateway.simulator.control.pay(gateway.trade_numbers()[0])

    assert await CheckoutDesk(gateway.resources).check(_token(created.json))

    await gateway.until(created.json["order_id"], "PAID")


async def test_refresh_asks_at_once(gateway: Any) -> None:
    created = await gateway.create()
    order_id = created.json["order_id"]
    gateway.simulator.control.faults.add("drop", biz_status="PAY_SUCCESS")
    gateway.simulator.control.pay(gateway.trade_numbers()[0])

    answer = await gateway.request("POST", f"/api/payments/binance/orders/{order_id}/refresh")

    assert answer.status == 200
    assert answer.json["status"] == "PAID"


async def test_fiat_price_is_paid_by_what_binance_quoted(gateway: Any) -> None:
    created = await gateway.create(
        amount=None, currency=None, fiat_amount="10.00", fiat_currency="EUR"
    )
    assert created.status == 201, created.content
    assert (created.json["fiat_amount"], created.json["fiat_currency"]) == ("10.00", "EUR")
    assert created.json["currency"] == "USDT"

    gateway.simulator.control.pay(gateway.trade_numbers()[0])
    paid = await gateway.until(created.json["order_id"], "PAID")

    assert paid["paid_amount"] == created.json["amount"]
    assert paid["anomalies"] == []


async def test_fiat_price_whose_quote_was_lost_is_settled_by_our_own_query(gateway: Any) -> None:
    control = gateway.simulator.control
    control.faults.add("answer_lost_after_effect", endpoint="/v3/order")
    control.faults.add("http_5xx_before_effect", endpoint="/v2/order/query", times=2)
    created = await gateway.create(
        amount=None, currency=None, fiat_amount="10.00", fiat_currency="EUR"
    )
    assert created.status == 202
    assert created.json["amount"] is None

    control.pay(gateway.trade_numbers()[0])
    for _ in range(20):
        await control.advance(2)
        await asyncio.sleep(0.02)
    paid = await gateway.until(created.json["order_id"], "PAID")

    assert paid["anomalies"] == []
    assert paid["currency"] == "USDT"


async def test_queries_that_answer_for_another_merchant_stop_the_account(
    gateway: Any, empty_database_url: str
) -> None:
    created = await gateway.create()
    order_id = created.json["order_id"]
    path = f"/api/payments/binance/orders/{order_id}/refresh"
    assert (await gateway.request("POST", path)).status == 200  # pins the merchant
    credential_id = gateway.resources.accounts.credential_for(
        gateway.resources.accounts.list_all()[0].account_id
    )
    assert gateway.resources.provider.credential(credential_id).merchant_id == "900000001"
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute("UPDATE accounts SET merchant_id = '900000777'")
    await connection.close()
    house = gateway.resources
    await house.accounts.reload(house.database, house.provider, house.vault, now=house.clock.now())

    gateway.simulator.control.pay(gateway.trade_numbers()[0], webhook=False)
    answer = await gateway.request("POST", path)

    assert answer.json["status"] == "PENDING_PAYMENT"  # whoever answers there is not believed
    await gateway.resources.accounts.reload(
        gateway.resources.database,
        gateway.resources.provider,
        gateway.resources.vault,
        now=gateway.resources.clock.now(),
    )
    assert "900000001" in str(gateway.resources.accounts.list_all()[0].halted_reason)


async def test_last_look_is_taken_again_when_binance_was_away(gateway: Any) -> None:
    created = await gateway.create(expires_in=60)
    order_id = created.json["order_id"]
    control = gateway.simulator.control
    await control.advance(70)
    await gateway.until(order_id, "EXPIRED")
    for hours in (1, 3, 25):
        before = await _queries(gateway, order_id)
        await control.advance(hours * 3600)
        await _asked(gateway, order_id, before + 1)

    # More than one call tries in its own patience, at the look 72 hours after the end.
    fault = control.faults.add("http_5xx_before_effect", endpoint="/v2/order/query", times=None)
    before = await _queries(gateway, order_id)
    await control.advance(48 * 3600)
    await _asked(gateway, order_id, before + 1)
    control.faults.remove(fault.number)
    control.pay(gateway.trade_numbers()[0], force=True, webhook=False)
    await control.advance(3700)

    await gateway.until(order_id, "PAID")


async def test_look_that_told_nothing_does_not_wait_for_the_next_one(gateway: Any) -> None:
    created = await gateway.create(expires_in=60)
    order_id = created.json["order_id"]
    control = gateway.simulator.control
    await control.advance(70)
    await gateway.until(order_id, "EXPIRED")

    # At the look two minutes after the end; the next would be thirteen minutes later.
    fault = control.faults.add("http_5xx_before_effect", endpoint="/v2/order/query", times=None)
    before = await _queries(gateway, order_id)
    await control.advance(150)
    await _asked(gateway, order_id, before + 1)
    control.faults.remove(fault.number)
    control.pay(gateway.trade_numbers()[0], force=True, webhook=False)
    await control.advance(330)

    await gateway.until(order_id, "PAID")


async def _asked(gateway: Any, order_id: str, number: int) -> None:
    """Wait until that many queries were answered, one way or another."""
    for _ in range(400):
        timeline = await gateway.timeline(order_id)
        answers = [e for e in timeline if e["actor"] == "binance" and "/query" in e["summary"]]
        if len(answers) >= number:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{number} queries were never answered")
