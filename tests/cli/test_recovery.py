"""`checkstand backup`, `restore` and `recover` as the program it is, with databases of its own."""

import asyncio
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from checkstand.simulator.server import DEFAULT_API_KEY, DEFAULT_API_SECRET
from checkstand.storage.embedded import EmbeddedPostgres
from checkstand.storage.migrate import APP_ROLE

KEYS = {
    "BINANCE_PAY_API_KEY": DEFAULT_API_KEY,
    "BINANCE_PAY_API_SECRET": DEFAULT_API_SECRET,
    "BINANCE_PAY_BASE_URL": "http://127.0.0.1:9",
}


def test_backup_is_restored_into_a_new_directory_and_starts_in_recovery(
    bare: Any, tmp_path: Path
) -> None:
    second = KEYS | {"CHECKSTAND_DATA_DIR": str(tmp_path / "second")}
    limited = bare.ends(
        "accounts", "limits", "set", "refunds_per_day", "7", "--currency=USDT", **KEYS
    )
    assert limited.code == 0, limited.err
    before = bare.ends("recover", "status", **KEYS)
    assert (before.code, before.out) == (0, "epoch 1: never restored\n")

    made = bare.ends("backup", "copy", **KEYS)
    again = bare.ends("backup", "copy", **KEYS)
    over = bare.ends("restore", "copy", **KEYS)
    restored = bare.ends("restore", "copy", **second)

    assert (made.code, made.out) == (0, "backed up to copy\n")
    modes = [path.stat().st_mode & 0o777 for path in (tmp_path / "copy").iterdir()]
    assert modes == [0o600] * 3
    assert (again.code, over.code) == (2, 2)
    assert "is not empty" in again.err
    assert "holds a database" in over.err
    assert restored.code == 0, restored.err
    assert "start the gateway" in restored.out
    kept = bare.ends("accounts", "limits", "show", **second)
    assert kept.out == "refunds_per_day 7 USDT\n"
    recovering = bare.ends("recover", "status", **second).out.splitlines()
    assert recovering[0].startswith("epoch 2: restored from a backup made at ")
    assert recovering[2:] == [
        "asked about 0 of 0 attempts found so far; the worker finds out",
        "held: 0 refunds, 0 deliveries",
    ]
    finished = bare.ends("recover", "--finish", "--by", "alice", **second)
    assert finished.out.splitlines()[1].endswith(" by alice")


@pytest.mark.parametrize("damage", ["dump", "description"])
def test_backup_that_is_not_whole_is_refused(bare: Any, tmp_path: Path, damage: str) -> None:
    assert bare.ends("backup", "copy", **KEYS).code == 0
    if damage == "dump":
        with (tmp_path / "copy" / "database.dump").open("ab") as dump:
            dump.write(b"more")
    else:
        (tmp_path / "copy" / "backup.json").unlink()

    refused = bare.ends("restore", "copy", CHECKSTAND_DATA_DIR=str(tmp_path / "second"), **KEYS)

    assert refused.code == 2
    assert "is no whole backup" in refused.err
    assert not (tmp_path / "second").exists()


def test_database_of_ones_own_needs_the_programs(on_postgres: Any) -> None:
    refused = on_postgres.ends("backup", "copy", PATH="/nowhere")

    assert refused.code == 2
    assert "pg_dump is not installed" in refused.err


@pytest.fixture
async def another_database(cluster: EmbeddedPostgres, database_url: str) -> dict[str, str]:
    """A new, empty database as an administrator hands it out: an owner, and a user for the shop."""
    name, owner, till = (f"{prefix}_{uuid4().hex}" for prefix in ("restored", "owner", "till"))
    connection = await asyncpg.connect(database_url)
    try:
        for sql in (
            f"CREATE ROLE {owner} LOGIN",
            f"CREATE ROLE {till} LOGIN",
            f"GRANT {APP_ROLE} TO {owner}, {till}",
            f"CREATE DATABASE {name} OWNER {owner}",
        ):
            await connection.execute(sql)
    finally:
        await connection.close()
    return {
        "CHECKSTAND_DATABASE_URL": cluster.url(database=name, user=till),
        "CHECKSTAND_DATABASE_OWNER_URL": cluster.url(database=name, user=owner),
    }


async def test_backup_is_restored_into_a_database_of_ones_own(
    run_gateway: Any,
    gateway_settings: Any,
    cluster: EmbeddedPostgres,
    bare: Any,
    another_database: dict[str, str],
    tmp_path: Path,
) -> None:
    settings = {
        "CHECKSTAND_DATABASE_URL": gateway_settings.database_url,
        "CHECKSTAND_SECRET_KEY": gateway_settings.secret_keys[0],
        "CHECKSTAND_LOG_LEVEL": "error",
        "PATH": f"{cluster.bin('pg_dump').parent}:{os.environ['PATH']}",
    }
    program = replace(bare, environment=bare.environment | settings)
    elsewhere = another_database | {"CHECKSTAND_DATA_DIR": str(tmp_path / "second")}

    async def run(*arguments: str, **more: str) -> Any:
        ended = await asyncio.to_thread(program.ends, *arguments, **more)
        assert ended.code == 0, ended.err
        return ended.out

    async with run_gateway(with_worker=False) as gateway:
        created = await gateway.create(merchant_order_id="shop-77")
        gateway.simulator.control.pay(gateway.trade_numbers()[-1])
        await gateway.simulator.control.settle()
        await gateway.until(created.json["order_id"], lambda order: order["status"] == "PAID")
        made = await run("backup", "copy")
        in_use = await asyncio.to_thread(program.ends, "restore", "copy")
    await run("restore", "copy", **elsewhere)

    assert "without CHECKSTAND_SECRET_KEY" in made
    assert not (tmp_path / "copy" / "secret_key").exists()
    assert in_use.code == 2
    assert "the database is in use" in in_use.err
    order = json.loads(await run("orders", "show", "shop-77", "--json", **elsewhere))
    assert (order["order_id"], order["status"]) == (created.json["order_id"], "PAID")
    assert (await run("recover", "status", **elsewhere)).startswith("epoch 2: restored from")
    assert "epoch 1" in await run("recover", "status")
    assert "2 transfers, 0 seals, 1 orders" in await run("ledger", "verify", **elsewhere)
    # The user of the shop may do again what it could: write, and not change history.
    till = await asyncpg.connect(another_database["CHECKSTAND_DATABASE_URL"])
    try:
        await till.execute(f"SET ROLE {APP_ROLE}")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await till.execute("DELETE FROM transfers")
    finally:
        await till.close()
