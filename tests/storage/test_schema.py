"""The migrated schema: what it refuses, and what the application's role may not do."""

import itertools
import re
from typing import Any

import asyncpg
import pytest

from checkstand.domain.attempt import LIVE, AttemptStatus
from checkstand.domain.ledger import Book
from checkstand.domain.order import UNPAID, OrderStatus, allowed_moves
from checkstand.storage.migrate import APP_ROLE

_INSERT_ONLY = [
    "order_history",
    "events",
    "delivery_tries",
    "transfers",
    "seals",
    "sealed_transfers",
    "event_positions",
    "acts",
]


async def test_moves_the_database_accepts_are_the_domain_s(store: Any) -> None:
    """The CHECK as PostgreSQL keeps it is asked about every pair, and about words unknown."""
    (check,) = await store.sql(
        "SELECT pg_get_expr(conbin, conrelid) AS text FROM pg_constraint"
        " WHERE conname = 'orders_move' AND conrelid = 'orders'::regclass AND convalidated"
    )
    words = [*(str(status) for status in OrderStatus), "", "paid", "REFUNDING"]
    pairs = list(itertools.product(words, repeat=2))

    accepted = await store.sql(
        "SELECT previous_status, status FROM unnest($1::text[], $2::text[])"
        f" AS orders (previous_status, status) WHERE {check['text']}",
        [before for before, _ in pairs],
        [after for _, after in pairs],
    )

    moves = sorted((row["previous_status"], row["status"]) for row in accepted)
    assert moves == [(str(before), str(after)) for before, after in allowed_moves()]


async def test_chart_of_accounts_in_the_schema_is_the_domain_s(store: Any) -> None:
    (check,) = await store.sql(
        "SELECT pg_get_constraintdef(oid) AS text FROM pg_constraint"
        " WHERE conname = 'transfers_chart'"
    )

    for side in ("debit", "credit"):
        (words,) = re.findall(rf"{side} = ANY \(ARRAY\[(.*?)\]\)", check["text"])
        assert set(re.findall(r"'([a-z_:]+)'", words)) == {str(book) for book in Book}


async def _index(store: Any, name: str) -> str:
    (row,) = await store.sql("SELECT indexdef FROM pg_indexes WHERE indexname = $1", name)
    return str(row["indexdef"])


async def test_a_move_the_domain_has_not_is_refused(store: Any) -> None:
    order = store.order()
    await store.write(order)

    with pytest.raises(asyncpg.CheckViolationError, match="orders_move"):
        await store.sql(
            "UPDATE orders SET previous_status = 'PAID', status = 'CANCELED' WHERE order_id = $1",
            order.order_id,
        )


async def test_states_in_the_schema_are_the_domain_s(store: Any) -> None:
    checks = await store.sql(
        "SELECT pg_get_constraintdef(oid) AS text FROM pg_constraint"
        " WHERE conrelid = 'attempts'::regclass AND contype = 'c'"
    )
    states = {word for row in checks for word in re.findall(r"'([A-Z_]+)'::text", row["text"])}
    assert states == {str(status) for status in AttemptStatus}

    one_live = await _index(store, "attempts_one_live")
    assert set(re.findall(r"'([A-Z_]+)'", one_live)) == {str(status) for status in LIVE}

    one_cart = await _index(store, "orders_one_live_per_cart")
    assert set(re.findall(r"'([A-Z_]+)'", one_cart)) == {str(status) for status in UNPAID}


@pytest.mark.parametrize("table", _INSERT_ONLY)
@pytest.mark.parametrize("act", ["UPDATE {0} SET account_id = account_id", "DELETE FROM {0}"])
async def test_application_cannot_rewrite_what_happened(store: Any, table: str, act: str) -> None:
    await _refused(store, act.format(table))


@pytest.mark.parametrize("table", [*_INSERT_ONLY, "orders", "payments", "notices"])
async def test_application_cannot_empty_a_table(store: Any, table: str) -> None:
    await _refused(store, f"TRUNCATE {table} CASCADE")


@pytest.mark.parametrize(
    "table", ["accounts", "orders", "attempts", "payments", "anomalies", "notices", "calls"]
)
async def test_application_cannot_make_money_s_rows_disappear(store: Any, table: str) -> None:
    await _refused(store, f"DELETE FROM {table}")


@pytest.mark.parametrize(
    "ddl",
    [
        "CREATE TABLE public.more (x integer)",
        "ALTER TABLE orders ADD COLUMN more integer",
        "ALTER TABLE orders DROP CONSTRAINT orders_move",
        "DROP TABLE order_history",
        "DROP INDEX attempts_one_live",
        "CREATE SCHEMA more",
        "CREATE ROLE more",
        "ALTER ROLE checkstand_app SUPERUSER",
        "INSERT INTO schema_migrations (number, name, checksum) VALUES (99, '', '')",
        "UPDATE schema_migrations SET checksum = ''",
    ],
)
async def test_application_cannot_change_the_schema(store: Any, ddl: str) -> None:
    await _refused(store, ddl)


async def test_application_may_add_to_what_happened(store: Any) -> None:
    rights = await store.sql(
        "SELECT relname, has_table_privilege($1, oid, 'INSERT') AS may FROM pg_class"
        " WHERE relname = ANY($2)",
        APP_ROLE,
        _INSERT_ONLY,
    )

    assert {row["relname"]: row["may"] for row in rights} == dict.fromkeys(_INSERT_ONLY, True)


async def test_the_door_connects_as_the_application(store: Any) -> None:
    async def ask(tx: Any) -> Any:
        return await tx._connection.fetchval("SELECT current_user")

    assert await store.run(ask) == APP_ROLE


async def _refused(store: Any, text: str) -> None:
    connection = await asyncpg.connect(store.url)
    try:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL ROLE {APP_ROLE}")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                # In a block of its own, so that the refusal ends this alone.
                async with connection.transaction():
                    await connection.execute(text)
    finally:
        await connection.close()
