"""The budget for calls to Binance, held against the simulator's own count of them."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

QUERY = "/v2/order/query"


@pytest.fixture
def count(empty_database_url: str) -> Any:
    async def counted(endpoint: str = QUERY, *, after: Any = None) -> int:
        connection = await asyncpg.connect(empty_database_url)
        try:
            number = await connection.fetchval(
                "SELECT count(*) FROM calls WHERE endpoint = $1"
                " AND ($2::timestamptz IS NULL OR started_at > $2)",
                endpoint,
                after,
            )
        finally:
            await connection.close()
        return int(number)

    return counted


async def _quiet(count: Any, *, least: int) -> int:
    """Wait until the worker has asked so often, and then no more; return how often it has."""
    async with asyncio.timeout(20):
        while await count() < least:
            await asyncio.sleep(0.05)
    before, number = -1, await count()
    while number != before:
        await asyncio.sleep(1.3)  # longer than the worker's own round
        before, number = number, await count()
    return int(number)


async def test_polls_keep_to_the_budget_while_creates_pass(run_gateway: Any, count: Any) -> None:
    async with run_gateway(calls_per_minute=6) as gateway:
        control = gateway.simulator.control
        control.clock.freeze()
        created = [await gateway.create() for _ in range(12)]
        assert [answer.status for answer in created] == [201] * 12

        # Every one of them is due at once, and the creates have used up the budget.
        await control.advance(6)
        early = await _quiet(count, least=1)
        assert early == 1
        await control.advance(60)
        later = await _quiet(count, least=2)
        assert (await gateway.create()).status == 201

        assert later - early <= 6 + 1


async def test_nothing_is_lost_by_waiting(run_gateway: Any, count: Any) -> None:
    async with run_gateway(calls_per_minute=60) as gateway:
        control = gateway.simulator.control
        created = [await gateway.create() for _ in range(6)]
        for number in gateway.trade_numbers():
            control.pay(number, webhook=False)

        for answer in created:
            await _pass_time(gateway, answer.json["order_id"], step=5)


async def _pass_time(gateway: Any, order_id: str, *, step: float) -> None:
    """Let time pass until the order is paid: a jump under a call makes Binance refuse its time."""
    for _ in range(200):
        if (await gateway.order(order_id))["status"] == "PAID":
            break
        await gateway.simulator.control.advance(step)
        await asyncio.sleep(0.05)
    await gateway.until(order_id, "PAID")


@pytest.mark.parametrize("fault", ["too_many_requests", "html", "http_5xx_before_effect"])
async def test_refused_account_is_left_in_peace_and_creates_pass(
    run_gateway: Any, count: Any, fault: str
) -> None:
    async with run_gateway() as gateway:
        control = gateway.simulator.control
        created = await gateway.create()
        control.clock.freeze()
        struck = control.faults.add(fault, endpoint=QUERY, times=None)
        await control.advance(5)
        assert await _quiet(count, least=1) == 1

        # Another process knows of it too, and a create is never refused.
        async with run_gateway() as other:
            assert await _quiet(count, least=1) == 1
            assert (await other.create()).status == 201
            order_id = created.json["order_id"]
            path = f"/api/payments/binance/orders/{order_id}/refresh"
            assert (await other.request("POST", path)).status == 200
            assert await _quiet(count, least=1) == 1

        # It is asked again after its rest, and rests longer; then all is well and money is found.
        await control.advance(10.5)
        assert await _quiet(count, least=2) in {2, 3}  # both orders are due by now
        control.faults.remove(struck.number)
        control.pay(gateway.trade_numbers()[0], webhook=False)
        await _pass_time(gateway, created.json["order_id"], step=30)


async def test_rest_of_one_account_does_not_hold_up_another(
    gateway: Any, empty_database_url: str
) -> None:
    created = await gateway.create()
    resting = uuid4()
    connection = await asyncpg.connect(empty_database_url)
    try:
        await connection.execute(
            "INSERT INTO accounts (account_id, reference, name, notice_path, created_at)"
            " VALUES ($1, 'other000', 'Other', 'other', now())",
            resting,
        )
        await connection.execute(
            "INSERT INTO provider_rests (account_id, trouble, rest_until, reason, began_at)"
            " VALUES ($1, 'too_many', $2, 'HTTP 429', now())",
            resting,
            gateway.resources.clock.now() + timedelta(days=1),
        )
    finally:
        await connection.close()
    gateway.simulator.control.pay(gateway.trade_numbers()[0], webhook=False)

    await gateway.simulator.control.advance(6)

    await gateway.until(created.json["order_id"], "PAID")
