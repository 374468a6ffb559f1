"""One order that cannot be changed stands in nobody else's way."""

import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from checkstand.domain.event import EventType, event_id_of
from checkstand.domain.payment import payment_id_of
from checkstand.operations.expire_orders import expire_orders
from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID
from checkstand.operations.retry_notices import retry_notices


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Written in full, with colours, an error takes longer than a sender waits."""
    with capture_logs():
        yield


@pytest.fixture
async def connection(empty_database_url: str) -> AsyncIterator[Any]:
    """The database behind the gateway's back."""
    connected = await asyncpg.connect(empty_database_url)
    try:
        yield connected
    finally:
        await connected.close()


async def _damage(connection: Any, gateway: Any, order_id: str, type_: EventType) -> uuid.UUID:
    """Put a row where the order's next event belongs, so that no transaction can write it."""
    key = uuid.UUID(order_id)
    fact = str((await gateway.order(order_id))["version"] + 1)
    if type_ is EventType.ORDER_PAID:
        attempt_id = await connection.fetchval(
            "SELECT attempt_id FROM attempts WHERE order_id = $1", key
        )
        fact = str(payment_id_of(attempt_id))
    event_id = event_id_of(key, type_, fact)
    await connection.execute(
        "INSERT INTO events VALUES ($1, $2, $3, 1, 'damage', $4, '')",
        DEFAULT_ACCOUNT_ID,
        event_id,
        key,
        gateway.resources.clock.now(),
    )
    return event_id


async def _outcomes(connection: Any) -> list[str]:
    rows = await connection.fetch("SELECT outcome FROM notices ORDER BY received_at")
    return [row["outcome"] for row in rows]


async def test_stored_notice_is_applied_beside_one_that_never_can_be(
    run_gateway: Any, connection: Any
) -> None:
    async with run_gateway(with_worker=False) as gateway:
        control, created = gateway.simulator.control, [await gateway.create() for _ in range(2)]
        ids = [answer.json["order_id"] for answer in created]
        damage = [
            await _damage(connection, gateway, order_id, EventType.ORDER_PAID) for order_id in ids
        ]
        for number in gateway.trade_numbers():
            control.pay(number)
            await control.settle()
        assert [n.tries[-1].http_status for n in control.webhooks_sent] == [200, 200]
        assert await _outcomes(connection) == ["stored", "stored"]
        await connection.execute("DELETE FROM events WHERE event_id = $1", damage[1])

        await retry_notices(gateway.resources)

        assert (await gateway.order(ids[1]))["status"] == "PAID"
        assert await _outcomes(connection) == ["stored", "applied"]


async def test_stored_notice_is_applied_however_many_orphans_there_are(
    run_gateway: Any, connection: Any
) -> None:
    async with run_gateway(with_worker=False) as gateway:
        control, created = gateway.simulator.control, await gateway.create()
        order_id = created.json["order_id"]
        now = gateway.resources.clock.now()
        await connection.executemany(
            "INSERT INTO notices VALUES ($1, $2, $3, 'PAYOUT', '1', 'X', '', $4, $4, true, '{}',"
            " 'orphan', 'of no interest')",
            [
                (DEFAULT_ACCOUNT_ID, uuid.uuid4(), uuid.uuid4().bytes, now - timedelta(hours=1))
                for _ in range(150)
            ],
        )
        damage = await _damage(connection, gateway, order_id, EventType.ORDER_PAID)
        control.pay(gateway.trade_numbers()[0])
        await control.settle()
        await connection.execute("DELETE FROM events WHERE event_id = $1", damage)

        await retry_notices(gateway.resources)

        assert (await gateway.order(order_id))["status"] == "PAID"


async def test_order_expires_beside_one_that_cannot(run_gateway: Any, connection: Any) -> None:
    async with run_gateway(with_worker=False) as gateway:
        control = gateway.simulator.control
        created = [await gateway.create(expires_in=300 + n) for n in range(2)]
        first, second = (answer.json["order_id"] for answer in created)
        for number in gateway.trade_numbers():
            control.expire(number)
        await control.settle()
        await control.advance(400)
        await _damage(connection, gateway, first, EventType.ORDER_EXPIRED)

        await expire_orders(gateway.resources)

        assert (await gateway.order(second))["status"] == "EXPIRED"
        assert (await gateway.order(first))["status"] == "PENDING_PAYMENT"
