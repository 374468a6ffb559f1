"""`checkstand backup`, `restore` and `recover` as the program it is, with databases of its own."""

from pathlib import Path
from typing import Any

import pytest

from checkstand.simulator.server import DEFAULT_API_KEY, DEFAULT_API_SECRET

KEYS = {
    "BINANCE_PAY_API_KEY": DEFAULT_API_KEY,
    "BINANCE_PAY_API_SECRET": DEFAULT_API_SECRET,
    "BINANCE_PAY_BASE_URL": "http://127.0.0.1:9",
}


def test_backup_is_restored_into_a_new_directory_and_starts_in_recovery(
    bare: Any, tmp_path: Path
) -> None:
    second = KEYS | {"CHECKSTAND_DATA_DIR": str(tmp_path / "second")}
    assert bare.ends("accounts", "limits", "set", "refunds_per_day", "7", "--currency=USDT", **KEYS)
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
