"""The SQL keeps to the rules that let the data be spread later (design, section 8).

Read from the statements as they are sent, from the migrations as they are applied, and from the
catalogue of the migrated database.
"""

import importlib
import pkgutil
import re
from collections.abc import Iterator

import asyncpg
import pytest

from checkstand import queries, storage
from checkstand.storage.database import STATEMENTS
from checkstand.storage.migrate import list_migrations

#: The migrations' own book, and what is not any one merchant's.
_GLOBAL = {"accounts", "schema_migrations"}

#: Read by the snapshot of all accounts that a process keeps, or about the server itself.
_OF_NO_ACCOUNT = {"accounts.list", "health.ping"}

_FORBIDDEN = {
    "advisory locks": r"\bpg_(try_)?advisory",
    "sequences": r"\b(nextval|currval|setval|bigserial|generated|create sequence)\b",
    "stored code": r"\b(plpgsql|create (or replace )?(function|procedure|trigger|rule))\b",
    "deferrable constraints": r"\b(deferrable|set constraints)\b",
    "savepoints": r"\b(savepoint|release savepoint|rollback to)\b",
    "temporary tables": r"\b(temp|temporary|unlogged)\b",
    "listening": r"\b(listen|notify|pg_notify)\b",
    "upserts that write": r"\bon conflict\b[^;]*\bdo update\b",
}
#: Time, ids and randomness are parameters.
_AMBIENT = (
    r"\b(now|clock_timestamp|statement_timestamp|transaction_timestamp|timeofday|random"
    r"|gen_random_uuid|uuidv[47]|uuid_generate_\w+|gen_random_bytes)\s*\("
    r"|\bcurrent_(timestamp|date|time)\b|\blocaltime"
)


def _load() -> None:
    for room in (storage, queries):
        for module in pkgutil.walk_packages(room.__path__, f"{room.__name__}."):
            if ".embedded" not in module.name and not module.name.endswith("__main__"):
                importlib.import_module(module.name)


_load()
_STATEMENTS = sorted((s.name, s.text) for s in STATEMENTS.values())
_MIGRATIONS = [(m.name, re.sub(r"--.*", "", m.text)) for m in list_migrations()]


def _found(pattern: str, where: list[tuple[str, str]]) -> list[str]:
    """Name what the pattern is found in, with the words."""
    return [
        f"{name}: {match.group(0)}"
        for name, text in where
        for match in re.finditer(pattern, text, re.IGNORECASE)
    ]


@pytest.mark.parametrize("what", _FORBIDDEN)
def test_sql_uses_nothing_that_ties_it_to_one_server(what: str) -> None:
    assert _found(_FORBIDDEN[what], _STATEMENTS + _MIGRATIONS) == []


def test_time_ids_and_randomness_are_handed_to_sql() -> None:
    assert _found(_AMBIENT, _STATEMENTS + _MIGRATIONS) == []


def test_statements_are_named_for_their_family_and_verb() -> None:
    assert len(_STATEMENTS) > 50
    assert [n for n, _ in _STATEMENTS if not re.fullmatch(r"[a-z_]+\.[a-z_]+", n)] == []


def _levels(text: str) -> Iterator[str]:
    """Take a statement apart at its parentheses: each level without what is nested in it."""
    stack = [""]
    for sign in text:
        if sign == "(":
            stack.append("")
        elif sign == ")":
            yield stack.pop()
            stack[-1] += "()"
        else:
            stack[-1] += sign
    yield stack.pop()


def test_every_limit_follows_an_order_that_ends_in_a_key() -> None:
    levels = [(n, level) for n, text in _STATEMENTS for level in _levels(text) if "LIMIT" in level]
    assert len(levels) > 5
    for name, level in levels:
        order = re.search(r"\bORDER BY (.+?)\s+LIMIT\b", level)
        assert order, f"{name}: LIMIT without ORDER BY"
        last = order.group(1).split(",")[-1].split()[0].split(".")[-1]
        # `key` ends the key of an idempotency key, `number` that of one order's attempts.
        is_of_one_order = "order_id = $2" in level or "(n.account_id, n.order_id)" in level
        # A transfer's key ends in `fact`; one account's seals and feed are numbered.
        of_one_account = {"fact", "number", "position"}
        is_of_one_account = "account_id = $1" in level and last in of_one_account
        is_a_key = last.endswith("_id") or last == "key" or is_of_one_account
        assert is_a_key or "() = ()" in level or is_of_one_order, f"{name}: {level}"


def test_rows_are_locked_in_one_order() -> None:
    one_row = r"WHERE account_id = \$1 AND \w+ = \$2( AND \w+ = \$3)? FOR UPDATE"
    for name, text in _STATEMENTS:
        for level in _levels(text):
            if "FOR UPDATE" in level:
                assert "ORDER BY" in level or re.search(one_row, level), f"{name}: {level}"


def test_no_lock_is_taken_in_a_subquery_that_may_run_once_for_each_row() -> None:
    nested = r"\b(?:IN|EXISTS) \((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\bFOR UPDATE\b"
    assert re.search(nested, "WHERE k IN ( SELECT k FROM t WHERE k IN (SELECT 1) FOR UPDATE)")
    assert _found(nested, _STATEMENTS) == []


def _tables(text: str, known: set[str]) -> set[str]:
    words = r"\b(?:FROM|JOIN|INTO|UPDATE)\s+([a-z_]+)\b"
    return {table for table in re.findall(words, text) if table in known}


@pytest.fixture
async def catalogue(empty_database_url: str) -> dict[str, list[list[str]]]:
    """Every table with the columns of each of its unique keys, in order."""
    connection = await asyncpg.connect(empty_database_url)
    try:
        rows = await connection.fetch(
            """
            SELECT c.relname AS name, i.indexrelid::regclass::text AS index,
                   array_agg(a.attname ORDER BY k.place) AS columns
              FROM pg_class c
              JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'
              LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisunique
              LEFT JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (attnum, place) ON true
              LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
             WHERE c.relkind IN ('r', 'p')
             GROUP BY c.relname, i.indexrelid
            """
        )
    finally:
        await connection.close()
    tables: dict[str, list[list[str]]] = {}
    for row in rows:
        tables.setdefault(row["name"], []).append(list(row["columns"]))
    return tables


async def test_every_unique_key_begins_with_the_merchant_account(
    catalogue: dict[str, list[list[str]]],
) -> None:
    assert set(catalogue) > _GLOBAL
    for table, keys in catalogue.items():
        assert keys != [[None]], f"{table} has no key at all"
        if table not in _GLOBAL:
            assert all(key[0] == "account_id" for key in keys), (table, keys)


async def test_every_statement_about_an_account_s_rows_names_the_account(
    catalogue: dict[str, list[list[str]]],
) -> None:
    tables = set(catalogue)
    seen = set()
    for name, text in _STATEMENTS:
        about = _tables(text, tables)
        seen |= about
        assert about or name in _OF_NO_ACCOUNT, f"{name}: about no table?"
        if name not in _OF_NO_ACCOUNT:
            assert re.search(r"\baccount_id\b", text), name
    assert seen == tables - {"schema_migrations"}


async def test_no_foreign_key_leaves_the_account(empty_database_url: str) -> None:
    connection = await asyncpg.connect(empty_database_url)
    try:
        rows = await connection.fetch(
            "SELECT conrelid::regclass::text AS name, pg_get_constraintdef(oid) AS text"
            "  FROM pg_constraint WHERE contype = 'f'"
        )
    finally:
        await connection.close()

    assert len(rows) > 10
    for row in rows:
        assert row["text"].startswith("FOREIGN KEY (account_id"), tuple(row)
        assert "REFERENCES" in row["text"]
        assert "(account_id" in row["text"].split("REFERENCES")[1]


async def test_schema_has_no_sequence_trigger_function_or_deferrable_constraint(
    empty_database_url: str,
) -> None:
    connection = await asyncpg.connect(empty_database_url)
    try:
        rows = await connection.fetch(
            """
            SELECT relname AS name FROM pg_class
             WHERE relkind NOT IN ('r', 'p', 'i', 'I', 't')
               AND relnamespace = 'public'::regnamespace
            UNION ALL
            SELECT tgname FROM pg_trigger WHERE NOT tgisinternal
            UNION ALL
            SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
            UNION ALL
            SELECT conname FROM pg_constraint
             WHERE condeferrable AND connamespace = 'public'::regnamespace
            """
        )
    finally:
        await connection.close()

    assert [row["name"] for row in rows] == []
