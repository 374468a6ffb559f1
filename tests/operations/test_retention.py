"""Forgetting by policy: what goes, what stays, and that a forgotten notice is still known."""

import hashlib
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from checkstand.domain.retention import Kept
from checkstand.operations.prune_keys import prune_keys
from checkstand.operations.prune_records import count_prunable, prune_records


@pytest.fixture
def sql(empty_database_url: str) -> Any:
    async def ask(text: str, *values: Any) -> list[Any]:
        connection = await asyncpg.connect(empty_database_url)
        try:
            return list(await connection.fetch(text, *values))
        finally:
            await connection.close()

    return ask


async def _paid(gateway: Any, **fields: Any) -> str:
    created = await gateway.create(**fields)
    gateway.simulator.control.pay(gateway.trade_numbers()[-1])
    await gateway.until(created.json["order_id"], "PAID")
    await gateway.simulator.control.settle()
    return str(created.json["order_id"])


DAY = 86_400
CLOSE = (
    "INSERT INTO closed_days (account_id, day, closed_at, closed_by, document, number)"
    " SELECT $1, $2, now(), 'alice', '{}', count(*) + 1 FROM closed_days"
)


async def test_raw_notice_goes_after_its_time_and_is_still_recognised(
    run_gateway: Any, sql: Any
) -> None:
    async with run_gateway(with_worker=False) as gateway:
        control = gateway.simulator.control
        await _paid(gateway)
        (before,) = await sql("SELECT * FROM notices")
        await control.advance(89 * DAY)
        assert (await prune_records(gateway.resources))[Kept.NOTICES] == 0

        await control.advance(2 * DAY)
        assert (await count_prunable(gateway.resources))[Kept.NOTICES] == 1
        (counted,) = await sql("SELECT * FROM notices")
        assert counted == before  # counting changes nothing
        assert (await prune_records(gateway.resources))[Kept.NOTICES] == 1
        assert (await prune_records(gateway.resources))[Kept.NOTICES] == 0

        (after,) = await sql("SELECT * FROM notices")
        assert after["raw"] == b""
        assert after["raw_sha256"] == hashlib.sha256(before["raw"]).digest()
        kept = [c for c in before.keys() if c not in {"raw", "raw_sha256", "raw_pruned_at"}]  # noqa: SIM118
        assert [after[name] for name in kept] == [before[name] for name in kept]
        # The same notice again is no second one.
        (told,) = control.webhooks_sent
        body = bytes(before["raw"])
        assert bytes(told.body) == body
        await control.send_webhook(gateway.trade_numbers()[0], biz_status="PAY_SUCCESS")
        assert (
            len(await sql("SELECT 1 FROM notices WHERE fingerprint = $1", before["fingerprint"]))
            == 1
        )


async def test_open_anomaly_and_open_day_keep_the_raw_notice(run_gateway: Any, sql: Any) -> None:
    async with run_gateway(with_worker=False) as gateway:
        control = gateway.simulator.control
        held = await gateway.create(buyer_reference="b-1")
        control.pay(gateway.trade_numbers()[0], amount="1")
        await control.settle()
        refreshed = f"/api/payments/binance/orders/{held.json['order_id']}/refresh"
        await gateway.request("POST", refreshed)
        assert (await gateway.order(held.json["order_id"]))["anomalies"] == ["amount_differs"]
        await _paid(gateway, buyer_reference="b-2", client_ip="203.0.113.7")
        beginning: datetime = gateway.resources.clock.now() - timedelta(days=1)
        await control.advance(400 * DAY)

        async def still_open(_tx: Any, _account_id: UUID) -> datetime | None:
            return beginning

        nothing = await prune_records(gateway.resources, open_from=still_open)
        assert nothing[Kept.NOTICES] == 0
        pruned = await prune_records(gateway.resources)
        assert pruned[Kept.NOTICES] == 1
        buyers = await sql("SELECT buyer_reference, client_ip FROM orders ORDER BY created_at")
        assert [tuple(row) for row in buyers] == [("b-1", None), (None, None)]

        await sql("UPDATE anomalies SET resolved_at = now()")
        await sql("UPDATE orders SET status = 'EXPIRED' WHERE status = 'PENDING_PAYMENT'")
        again = await prune_records(gateway.resources)
        assert (again[Kept.NOTICES], again[Kept.BUYERS]) == (1, 1)


async def test_notice_that_was_only_stored_is_never_pruned(run_gateway: Any, sql: Any) -> None:
    async with run_gateway(with_worker=False) as gateway:
        await _paid(gateway)
        await sql("UPDATE notices SET outcome = 'stored'")
        await gateway.simulator.control.advance(4000 * DAY)

        assert sum((await prune_records(gateway.resources)).values()) == 0
        await sql("UPDATE notices SET outcome = 'orphan'")
        assert (await prune_records(gateway.resources))[Kept.ORPHANS] == 1


async def test_batches_are_bounded_and_a_round_goes_on_where_the_last_one_ended(
    run_gateway: Any, sql: Any
) -> None:
    async with run_gateway(with_worker=False) as gateway:
        for number in range(7):
            answer = await gateway.create(buyer_reference=f"b-{number}")
            assert answer.status == 201
        await sql("UPDATE orders SET status = 'EXPIRED', previous_status = 'PENDING_PAYMENT'")
        await gateway.simulator.control.advance(181 * DAY)

        first = await prune_records(gateway.resources, batch=2, batches_max=2)
        second = await prune_records(gateway.resources, batch=2, batches_max=2)

        assert (first[Kept.BUYERS], second[Kept.BUYERS]) == (4, 3)


async def test_every_key_goes_after_its_time_however_many_there_are(
    run_gateway: Any, sql: Any
) -> None:
    async with run_gateway(with_worker=False) as gateway:
        for number in range(3):
            await gateway.create(merchant_order_id=f"old-{number}")
        await gateway.simulator.control.advance(31 * DAY)
        await gateway.create(merchant_order_id="new")

        assert await prune_keys(gateway.resources, batch=1, batches_max=2) == 2
        assert await prune_keys(gateway.resources, batch=1) == 1

        assert await sql("SELECT count(*) FROM idempotency_keys") == [(1,)]


async def test_pruned_order_is_the_same_order_when_it_is_asked_for_again(
    run_gateway: Any, sql: Any
) -> None:
    async with run_gateway(with_worker=False) as gateway:
        first = await gateway.create(merchant_order_id="m", buyer_reference="b")
        await sql("UPDATE orders SET status = 'EXPIRED', previous_status = 'PENDING_PAYMENT'")
        await gateway.simulator.control.advance(181 * DAY)
        await prune_records(gateway.resources)

        again = await gateway.create(merchant_order_id="m", buyer_reference="b")

        assert (again.status, again.json["order_id"]) == (200, first.json["order_id"])


async def test_raw_notice_stays_until_its_day_is_closed(run_gateway: Any, sql: Any) -> None:
    async with run_gateway(with_worker=False, books_hold=False) as gateway:
        await _paid(gateway)
        (account,) = await sql("SELECT account_id FROM accounts")
        today = gateway.resources.clock.now().date()

        async def close(day: Any) -> None:
            await sql(CLOSE, account["account_id"], day)

        await gateway.simulator.control.advance(100 * DAY)
        await close(today - timedelta(days=1))
        assert (await prune_records(gateway.resources))[Kept.NOTICES] == 0
        await close(today + timedelta(days=1))  # a later one, with a gap before it
        assert (await prune_records(gateway.resources))[Kept.NOTICES] == 0
        await close(today)
        assert (await prune_records(gateway.resources))[Kept.NOTICES] == 1
