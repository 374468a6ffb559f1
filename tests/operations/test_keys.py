"""API keys: stored hashed, recognised by their text, forgotten when revoked."""

import uuid
from collections.abc import AsyncIterator
from typing import Any, Final

import asyncpg
import pytest

from checkstand.errors import Refused
from checkstand.operations.manage_keys import SCOPES, create_key, find_key
from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID


@pytest.fixture
async def gateway(run_gateway: Any) -> AsyncIterator[Any]:
    """A gateway without a worker."""
    async with run_gateway(with_worker=False) as running:
        yield running


@pytest.fixture
async def database(empty_database_url: str) -> AsyncIterator[Any]:
    """Look into the database."""
    connection = await asyncpg.connect(empty_database_url)
    yield connection
    await connection.close()


async def make(gateway: Any, name: str, *scopes: str) -> str:
    """Make a key."""
    house = gateway.resources
    return await create_key(
        house.database,
        account_id=DEFAULT_ACCOUNT_ID,
        reference=house.accounts.get(DEFAULT_ACCOUNT_ID).reference,
        name=name,
        scopes=list(scopes) or None,
        clock=house.clock,
        ids=house.ids,
        random=house.random,
    )


async def test_key_is_found_by_its_text_and_stored_without_it(gateway: Any, database: Any) -> None:
    text = await make(gateway, "shop", "orders:read")

    found = await find_key(gateway.resources, text=text)

    assert found is not None
    assert (found.name, list(found.scopes)) == ("shop", ["orders:read"])
    stored = await database.fetchval("SELECT k::text FROM api_keys k WHERE name = 'shop'")
    assert text.rpartition("_")[2] not in stored
    for wrong in (text[:-1], text + "x", text.upper(), text[4:], "csk_", "", "csk__", "\0"):
        assert await find_key(gateway.resources, text=wrong) is None


async def test_key_without_scopes_said_may_do_everything(gateway: Any) -> None:
    found = await find_key(gateway.resources, text=await make(gateway, "shop"))

    assert found is not None
    assert set(found.scopes) == set(SCOPES)


async def test_revoked_key_is_unknown_at_once(gateway: Any, database: Any) -> None:
    text = await make(gateway, "shop")
    assert await find_key(gateway.resources, text=text) is not None

    await database.execute("UPDATE api_keys SET revoked_at = now() WHERE name = 'shop'")

    assert await find_key(gateway.resources, text=text) is None


async def test_last_use_is_kept_to_the_minute(gateway: Any, database: Any) -> None:
    text, clock = await make(gateway, "shop"), gateway.simulator.clock
    uses = []

    for seconds in (0, 30, 31, 10, 60):
        clock.advance(seconds)
        await find_key(gateway.resources, text=text)
        uses.append(
            await database.fetchval("SELECT last_used_at FROM api_keys WHERE name = 'shop'")
        )

    assert uses[0] == uses[1] < uses[2] == uses[3] < uses[4]


NOT_MADE: Final[list[tuple[str, tuple[str, ...], str, str]]] = [
    ("", (), "invalid_request", "name"),
    ("   ", (), "invalid_request", "name"),
    ("a" * 101, (), "invalid_request", "name"),
    ("a\nb", (), "invalid_request", "name"),
    ("a\0", (), "invalid_request", "name"),
    ("\ud800", (), "invalid_request", "name"),
    ("a", ("orders:erase",), "scope_unknown", "scope"),
    ("taken", (), "key_name_taken", "name"),
]


async def test_key_that_cannot_be_made_is_refused_and_leaves_no_row(
    gateway: Any, database: Any
) -> None:
    await make(gateway, "taken")
    before = await database.fetchval("SELECT count(*) FROM api_keys")

    for name, scopes, code, field in NOT_MADE:
        with pytest.raises(Refused) as caught:
            await make(gateway, name, *scopes)
        assert (caught.value.code, caught.value.field) == (code, field), name

    assert await database.fetchval("SELECT count(*) FROM api_keys") == before


async def test_stored_secret_opens_only_in_its_place_and_whole(gateway: Any) -> None:
    vault, row_id = gateway.resources.vault, uuid.uuid4()
    place = {"account_id": DEFAULT_ACCOUNT_ID, "row_id": row_id, "column": "secret"}
    sealed = vault.encrypt("hush", **place)

    assert b"hush" not in sealed
    assert vault.decrypt(sealed, **place) == "hush"
    for other in ({"row_id": uuid.uuid4()}, {"account_id": uuid.uuid4()}, {"column": "other"}):
        with pytest.raises(Refused, match="does not open"):
            vault.decrypt(sealed, **place | other)
    for damaged in (sealed[:-1], sealed[:5], sealed[:4], sealed[:-1] + b"\0", sealed + b"\0"):
        with pytest.raises(Refused, match="does not open"):
            vault.decrypt(damaged, **place)
    for unknown in (b"", b"\0" * 64):
        with pytest.raises(Refused, match="another CHECKSTAND_SECRET_KEY"):
            vault.decrypt(unknown, **place)
