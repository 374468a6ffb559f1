"""The migration runner: once, whoever starts, and never past a file that does not fit."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from checkstand.errors import DatabaseUnavailable
from checkstand.storage.database import Database
from checkstand.storage.embedded import EmbeddedPostgres
from checkstand.storage.migrate import APP_ROLE, MigrationError, list_migrations, migrate


@pytest.fixture
def fresh_url(cluster: EmbeddedPostgres) -> str:
    """An empty database."""
    name = f"fresh_{uuid4().hex}"
    cluster.ensure_database(name)
    return cluster.url(database=name)


async def _sql(url: str, *texts: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url)
    rows: list[asyncpg.Record] = []
    try:
        for text in texts:
            rows = await connection.fetch(text)
    finally:
        await connection.close()
    return rows


async def test_every_file_is_applied_once(fresh_url: str) -> None:
    ours = list_migrations()

    assert await migrate(fresh_url) == ours
    assert await migrate(fresh_url) == []

    rows = await _sql(fresh_url, "SELECT number, name, checksum FROM schema_migrations")
    assert [tuple(row) for row in rows] == [(m.number, m.name, m.checksum) for m in ours]


def test_files_are_numbered_from_one_without_a_gap() -> None:
    assert [m.number for m in list_migrations()] == list(range(1, len(list_migrations()) + 1))


@pytest.mark.parametrize("_round", range(3))
async def test_several_that_start_together_migrate_once(fresh_url: str, _round: int) -> None:
    applied = await asyncio.gather(*(migrate(fresh_url) for _ in range(6)))

    assert sorted(len(migrations) for migrations in applied) == [0] * 5 + [len(list_migrations())]


async def test_edited_file_is_refused_by_name(fresh_url: str) -> None:
    await migrate(fresh_url)
    await _sql(fresh_url, "UPDATE schema_migrations SET checksum = 'another' WHERE number = 1")

    with pytest.raises(MigrationError, match=list_migrations()[0].name) as refused:
        await migrate(fresh_url)

    assert refused.value.code == "migration_edited"


async def test_newer_database_is_refused(fresh_url: str) -> None:
    await migrate(fresh_url)
    await _sql(
        fresh_url,
        "INSERT INTO schema_migrations (number, name, checksum) VALUES (9999, 'later.sql', '')",
    )

    with pytest.raises(MigrationError, match="9999") as refused:
        await migrate(fresh_url)

    assert refused.value.code == "schema_newer"


async def test_migration_that_fails_leaves_nothing(fresh_url: str) -> None:
    await _sql(fresh_url, "CREATE TABLE deliveries (in_the_way integer)")

    with pytest.raises(asyncpg.DuplicateTableError):
        await migrate(fresh_url)

    tables = await _sql(
        fresh_url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
    )
    assert [row["tablename"] for row in tables] == ["deliveries", "schema_migrations"]
    assert await _sql(fresh_url, "SELECT * FROM schema_migrations") == []


@pytest.mark.parametrize(
    "url", ["postgresql://127.0.0.1:1/none", "nonsense", "postgresql:///x?host=/nowhere"]
)
async def test_database_that_is_not_there_is_said_in_a_sentence(url: str) -> None:
    with pytest.raises(DatabaseUnavailable, match="cannot open the database"):
        await migrate(url)


async def _works_as_application(url: str) -> None:
    """Open the door as a gateway would, and use a table."""
    async with await Database.open(url) as database:

        async def step(tx: object) -> int:
            return int(await tx._connection.fetchval("SELECT count(*) FROM orders"))  # type: ignore[attr-defined]

        assert await database.run(step, name="count") == 0


async def test_owner_who_is_no_superuser_can_use_a_role_that_was_given_him(
    cluster: EmbeddedPostgres, database_url: str
) -> None:
    """An administrator made the database and the role, and gave the owner both."""
    owner, name = f"owner_{uuid4().hex}", f"owned_{uuid4().hex}"
    await _sql(
        database_url,
        f"CREATE ROLE {owner} LOGIN",
        f"GRANT {APP_ROLE} TO {owner}",
        f"CREATE DATABASE {name} OWNER {owner}",
    )
    url = cluster.url(database=name, user=owner)

    assert await migrate(url) == list_migrations()
    assert await migrate(url) == []
    await _works_as_application(url)


async def test_user_who_may_not_is_told_what_an_administrator_has_to_do(
    cluster: EmbeddedPostgres, database_url: str
) -> None:
    owner, name = f"owner_{uuid4().hex}", f"owned_{uuid4().hex}"
    await _sql(database_url, f"CREATE ROLE {owner} LOGIN", f"CREATE DATABASE {name} OWNER {owner}")

    with pytest.raises(DatabaseUnavailable, match=f"GRANT {APP_ROLE} TO"):
        await migrate(cluster.url(database=name, user=owner))


@pytest.fixture
def virgin_cluster(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server on which nobody made the application's role yet."""
    with EmbeddedPostgres.start(tmp_path / "postgres", settings={"fsync": "off"}) as server:
        yield server


async def test_owner_who_may_create_roles_needs_no_administrator(
    virgin_cluster: EmbeddedPostgres,
) -> None:
    admin = virgin_cluster.url(database="postgres")
    await _sql(
        admin,
        "CREATE ROLE owner LOGIN CREATEROLE",
        "CREATE DATABASE owned OWNER owner",
        "CREATE DATABASE owned_too OWNER owner",
    )
    urls = [virgin_cluster.url(database=name, user="owner") for name in ("owned", "owned_too")]

    applied = await asyncio.gather(*(migrate(url) for url in [*urls, *urls]))

    assert sorted(map(len, applied)) == [0, 0, len(list_migrations()), len(list_migrations())]
    for url in urls:
        await _works_as_application(url)
