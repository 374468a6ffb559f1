"""`checkstand ledger`: what an operator and an accountant ask the books for."""

import csv
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from beancount import loader
from beancount.core.data import Transaction

from checkstand.cli.commands import run
from checkstand.domain.ledger import Transfer
from checkstand.domain.seal import digest_of, make_seal
from checkstand.storage import ledger
from checkstand.storage.database import Database

ACCOUNT_ID = UUID("c0ffee00-0000-4000-8000-000000000001")
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def _moved(day: int, amount: str, **changes: Any) -> Transfer:
    fields: dict[str, Any] = {
        "account_id": ACCOUNT_ID,
        "kind": "moved",
        "fact": f"on-{day}",
        "asset": "USDT",
        "amount": Decimal(amount),
        "debit": "binance:funding",
        "credit": "external",
        "at": NOON.replace(day=day),
    }
    return Transfer(**fields | changes)


@pytest.fixture
async def books(on_postgres: Any, empty_database_url: str) -> Any:
    """The program, on books with three movements in one seal."""
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute(
        "INSERT INTO accounts VALUES ($1, 'shop0001', 'Teahouse', 'path', NULL, $2)",
        ACCOUNT_ID,
        NOON,
    )
    await connection.close()
    moved = [_moved(20, "10.00"), _moved(22, "5.25"), _moved(24, "0.00000001", asset="BTC")]
    digests = [digest_of(transfer) for transfer in moved]
    seal = make_seal(ACCOUNT_ID, moved, digests, previous=None, at=NOON)

    async def step(tx: Any) -> None:
        await ledger.append(tx, moved)
        await ledger.insert_seal(tx, ACCOUNT_ID, seal, list(zip(moved, digests, strict=True)))

    async with await Database.open(empty_database_url) as database:
        await database.run(step, name="book")
    return on_postgres


async def test_balances_are_printed_now_and_for_a_day(books: Any) -> None:
    now = books.ends("ledger", "balances")
    then = books.ends("ledger", "balances", "--at", "2026-11-21", "--asset", "USDT")

    assert (now.code, now.err) == (0, "")
    assert [line.split() for line in now.out.splitlines()] == [
        ["binance:funding", "0.00000001", "BTC"],
        ["external", "-0.00000001", "BTC"],
        ["binance:funding", "15.25", "USDT"],
        ["external", "-15.25", "USDT"],
    ]
    assert [line.split()[1] for line in then.out.splitlines()] == ["10.00", "-10.00"]


async def test_anchor_is_printed_and_verified(books: Any) -> None:
    anchor = books.ends("ledger", "anchor")
    (hash_,) = re.fullmatch(r"shop0001 1 ([0-9a-f]{64})\n", anchor.out).groups()  # type: ignore[union-attr]

    verified = books.ends("ledger", "verify", "--anchor", hash_)
    other = books.ends("ledger", "verify", "--anchor", "0" * 64)

    assert verified.code == 0
    assert verified.out == "3 transfers, 1 seals, 0 orders and 0 closed days checked\n"
    assert other.code == 3
    assert other.out.startswith(f"anchor_missing: no seal has the hash {'0' * 64}\n")


async def test_verify_says_what_it_found_and_exits_with_three(
    books: Any, empty_database_url: str
) -> None:
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute("UPDATE transfers SET amount = 11 WHERE fact = 'on-20'")
    await connection.close()

    ended = books.ends("ledger", "verify")

    assert ended.code == 3
    assert "transfer_altered: moved on-20 is not what seal 1 holds\n" in ended.out


@pytest.mark.parametrize("hash_", ["abc", "g" * 64, "A" * 64])
def test_anchor_that_is_no_hash_is_wrong_usage(bare: Any, hash_: str) -> None:
    assert bare.ends("ledger", "verify", "--anchor", hash_).code == 2


async def test_export_writes_the_days_that_were_asked_for(books: Any, tmp_path: Path) -> None:
    path = tmp_path / "books.csv"
    days = ("--from", "2026-11-21", "--to", "2026-11-22")

    ended = books.ends("ledger", "export", "--format", "csv", *days, "--output", str(path))

    assert (ended.code, ended.out) == (0, f"1 transfers written to {path}\n")
    with path.open(newline="") as file:
        assert [row["fact"] for row in csv.DictReader(file)] == ["on-22"]
    assert list(tmp_path.glob(".books*")) == []


async def test_export_for_beancount_carries_the_opening_forward(books: Any, tmp_path: Path) -> None:
    path = tmp_path / "books.beancount"
    options = ("--format", "beancount", "--from", "2026-11-22", "--output", str(path))

    assert books.ends("ledger", "export", *options).code == 0

    entries, errors, _ = loader.load_string(path.read_text("utf-8"))
    assert [error.message for error in errors] == []
    assert [e.narration for e in entries if isinstance(e, Transaction)] == [
        "opening balances",
        "moved",
        "moved",
    ]


async def test_export_that_fails_leaves_what_was_there(books: Any, tmp_path: Path) -> None:
    path = tmp_path / "books.csv"
    path.write_text("as it was")

    ended = books.ends(
        "ledger", "export", "--format", "csv", "--output", str(path),
        CHECKSTAND_DATABASE_URL="postgresql://127.0.0.1:9/none",
    )  # fmt: skip

    assert ended.code == 1
    assert path.read_text() == "as it was"
    missing = books.ends("ledger", "export", "--format", "csv", "--output", "/nowhere/books.csv")
    assert missing.code == 2
    assert "Traceback" not in missing.err


async def test_export_that_cannot_be_is_refused_by_its_option(books: Any, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    for options, words in (
        (
            ("--from", "2026-11-24", "--to", "2026-11-22", "--output", str(tmp_path / "a")),
            "--to 2026-11-22 comes before --from 2026-11-24",
        ),
        (("--output", str(tmp_path / "none" / "a")), f"no folder {tmp_path / 'none'}; make it"),
        (("--output", str(tmp_path)), f"{tmp_path} is a folder; name a file in it"),
        (("--output", str(tmp_path / ("x" * 250))), "cannot be written"),
    ):
        ended = books.ends("ledger", "export", "--format", "csv", *options)

        assert (ended.code, ended.out) == (2, "")
        assert ended.err.startswith("checkstand: --")
        assert words in ended.err
        assert "Errno" not in ended.err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("balances --at 2026-11-31", "--at: '2026-11-31' is no day; write it like 2026-01-31"),
        ("export --format csv --output a --from 2026-1-1", "--from: '2026-1-1' is no day"),
        ("export --format csv --output a --to 9999-12-31", "--to: 9999-12-31 is not between"),
    ],
)
def test_day_that_is_none_is_named(
    line: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(["ledger", *line.split()])

    said = capsys.readouterr()
    assert (code, said.out) == (2, "")
    assert said.err.startswith("checkstand: ")
    assert words in said.err
