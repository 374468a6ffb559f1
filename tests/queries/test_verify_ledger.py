"""Seals hold what was booked, for good: whatever is changed afterwards shows.

The gateway books for real; then the database's owner, past every door, does what a thief would.
"""

import asyncio
import itertools
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from checkstand.domain.seal import NO_HASH, Seal, digest_of, hash_of
from checkstand.operations.seal_transfers import seal_all_transfers, seal_new_transfers
from checkstand.queries.ledger import list_anchors
from checkstand.queries.verify_ledger import Verdict, verify_ledger
from checkstand.storage import ledger

_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Bookroom:
    """A gateway without a worker, with three orders paid, and its database's back door."""

    gateway: Any
    url: str

    @property
    def resources(self) -> Any:
        return self.gateway.resources

    async def sell(self, count: int = 1) -> list[str]:
        """Have so many orders paid; return their ids."""
        ids = []
        for _ in range(count):
            made = (await self.gateway.create()).json
            number = self.gateway.trade_numbers()[-1]
            self.gateway.simulator.control.pay(number)
            await self.gateway.until(made["order_id"], "PAID")
            ids.append(made["order_id"])
        return ids

    async def seal(self, **more: Any) -> int:
        return int(await seal_new_transfers(self.resources, **more))

    async def verify(self, *, after: timedelta = timedelta(), **more: Any) -> Verdict:
        now = self.resources.clock.now() + after
        return await verify_ledger(self.resources.database, now=now, **more)

    async def anchor(self) -> bytes:
        (anchor,) = await list_anchors(self.resources.database)
        return anchor.seal.hash

    async def owner(self, *texts: str) -> list[Any]:
        """Act as the owner, with constraints and triggers out of the way."""
        connection = await asyncpg.connect(self.url)
        rows: list[Any] = []
        try:
            await connection.execute("SET session_replication_role = replica")
            for text in texts:
                rows = list(await connection.fetch(text))
        finally:
            await connection.close()
        return rows

    async def put_back(self, kept: dict[str, list[Any]]) -> None:
        """Make tables what they were."""
        connection = await asyncpg.connect(self.url)
        try:
            await connection.execute("SET session_replication_role = replica")
            for table, rows in kept.items():
                await connection.execute(f"DELETE FROM {table}")
                await connection.copy_records_to_table(table, records=[tuple(r) for r in rows])
        finally:
            await connection.close()


@pytest.fixture
async def room(run_gateway: Any, empty_database_url: str) -> Any:
    async with run_gateway(with_worker=False, books_hold=False) as gateway:
        made = Bookroom(gateway, empty_database_url)
        await made.sell(3)
        yield made


def _kinds(verdict: Verdict) -> list[str]:
    return sorted({flaw.kind for flaw in verdict.flaws})


async def test_books_as_they_were_kept_have_no_flaw(room: Bookroom) -> None:
    sealed = await room.seal()
    verdict = await room.verify(after=2 * _HOUR, page=2)

    assert verdict.flaws == []
    assert sealed == verdict.transfers >= 3
    assert (verdict.seals, verdict.orders) == (1, 3)


async def test_seals_are_a_chain_in_batches(room: Bookroom) -> None:
    total = await room.seal(batch=2)
    await room.sell()
    total += await room.seal()
    assert await room.seal() == 0

    rows = await room.owner("SELECT * FROM seals ORDER BY number")
    sealed = await room.owner("SELECT * FROM sealed_transfers ORDER BY number, place")

    assert [row["number"] for row in rows] == list(range(1, len(rows) + 1))
    assert len(rows) > 2
    assert rows[0]["previous_hash"] == NO_HASH
    for before, after in itertools.pairwise(rows):
        assert after["previous_hash"] == before["hash"]
    assert sum(row["count"] for row in rows) == len(sealed) == total
    assert (await room.verify(page=2)).flaws == []


async def test_hash_covers_everything_a_seal_says(room: Bookroom) -> None:
    await room.seal()
    (row,) = await room.owner("SELECT * FROM seals")
    transfers = [ledger.parse(t) for t in await room.owner("SELECT * FROM transfers ORDER BY at")]
    account_id = row["account_id"]
    seal = Seal(**{name: row[name] for name in Seal.__slots__})
    digests = [digest_of(transfer) for transfer in transfers]

    others = [
        hash_of(UUID(int=1), seal, digests),
        hash_of(account_id, replace(seal, number=2), digests),
        hash_of(account_id, replace(seal, previous_hash=b"x" * 32), digests),
        hash_of(account_id, replace(seal, count=9), digests),
        hash_of(account_id, replace(seal, newest_at=seal.newest_at + _HOUR), digests),
        hash_of(account_id, replace(seal, at=seal.at + _HOUR), digests),
        hash_of(account_id, seal, digests[:-1]),
        hash_of(account_id, seal, list(reversed(digests))),
    ]

    assert len({*others, hash_of(account_id, seal, digests)}) == len(others) + 1


async def test_sealers_at_once_make_one_chain(room: Bookroom) -> None:
    for _ in range(4):
        await room.sell()
        counts = await asyncio.gather(
            *(seal_new_transfers(room.resources, batch=1) for _ in range(4)),
            *(seal_all_transfers(room.resources, batch=1) for _ in range(4)),
        )
        assert sum(counts) > 0
    while await room.seal():
        pass

    verdict = await room.verify()

    assert verdict.flaws == []
    assert verdict.seals == verdict.transfers


async def test_straggler_is_found_by_whoever_looks_at_everything(room: Bookroom) -> None:
    await room.seal()
    await room.sell()
    await room.owner(
        "UPDATE transfers t SET at = at - interval '3 hours' WHERE NOT EXISTS ("
        " SELECT 1 FROM sealed_transfers s WHERE (s.kind, s.fact) = (t.kind, t.fact))"
    )

    assert await room.seal() == 0
    assert await seal_all_transfers(room.resources) > 0
    assert (await room.verify(after=2 * _HOUR)).flaws == []


async def test_what_is_unsealed_for_an_hour_is_a_flaw(room: Bookroom) -> None:
    assert (await room.verify(after=0.9 * _HOUR)).flaws == []

    assert _kinds(await room.verify(after=1.1 * _HOUR)) == ["unsealed"]


#: What is done to the books behind their back, and how it must show.
_TAMPERING = [
    ("UPDATE transfers SET amount = amount + 1 WHERE kind = 'payment'", "transfer_altered"),
    ("UPDATE transfers SET at = at - interval '1 day'", "transfer_altered"),
    ("UPDATE transfers SET credit = 'suspense' WHERE kind = 'payment'", "transfer_altered"),
    ("UPDATE transfers SET asset = 'BTC'", "transfer_altered"),
    ("DELETE FROM transfers WHERE kind = 'payment'", "transfer_missing"),
    ("UPDATE payments SET amount = 1", "facts_differ"),
    ("UPDATE payments SET fee = 1", "facts_differ"),
    ("UPDATE payments SET held = true", "facts_differ"),
    ("DELETE FROM payments", "facts_differ"),
    ("DELETE FROM sealed_transfers WHERE kind = 'payment'", "seal_broken"),
    ("UPDATE sealed_transfers SET digest = '\\x00'", "transfer_altered"),
    ("UPDATE sealed_transfers SET place = place + 100 WHERE place = 1", "seal_broken"),
    ("UPDATE seals SET hash = '\\x00' WHERE number = 1", "chain_broken"),
    ("UPDATE seals SET at = at - interval '1 day' WHERE number = 2", "seal_broken"),
    ("UPDATE seals SET count = count + 1 WHERE number = 2", "seal_broken"),
    ("UPDATE seals SET previous_hash = '\\x00' WHERE number = 2", "chain_broken"),
    ("DELETE FROM seals WHERE number = 1", "seal_missing"),
    ("DELETE FROM seals WHERE number = 2", "seal_missing"),
    ("UPDATE seals SET number = 7 WHERE number = 2", "seal_missing"),
]
_TABLES = ("transfers", "seals", "sealed_transfers", "payments")


async def test_whatever_the_owner_changes_shows(room: Bookroom) -> None:
    await room.seal()
    await room.sell()
    await room.seal()
    kept = {table: await room.owner(f"SELECT * FROM {table}") for table in _TABLES}
    unseen = []

    for what, kind in _TAMPERING:
        assert (await room.verify(page=3)).flaws == []
        await room.owner(what)
        if kind not in _kinds(await room.verify(page=3)):
            unseen.append(what)
        await room.put_back(kept)

    assert unseen == []


async def test_account_that_the_chart_has_not_unbalances_the_books(room: Bookroom) -> None:
    (row,) = await room.owner(
        "SELECT pg_get_constraintdef(oid) AS text FROM pg_constraint"
        " WHERE conname = 'transfers_chart'"
    )
    await room.owner(
        "ALTER TABLE transfers DROP CONSTRAINT transfers_chart",
        "UPDATE transfers SET credit = 'pocket' WHERE kind = 'payment'",
    )

    kinds = _kinds(await room.verify())

    await room.owner(
        "DELETE FROM transfers",
        f"ALTER TABLE transfers ADD CONSTRAINT transfers_chart {row['text']}",
    )
    assert kinds == ["facts_differ", "unbalanced"]


async def test_transfer_that_no_fact_explains_shows_sealed_or_not(room: Bookroom) -> None:
    await room.owner(
        "INSERT INTO transfers SELECT account_id, kind, 'made-up', asset, 5, debit, credit, at,"
        " order_id, payment_id FROM transfers WHERE kind = 'payment' LIMIT 1"
    )
    assert _kinds(await room.verify()) == ["facts_differ"]

    await room.seal()

    assert _kinds(await room.verify()) == ["facts_differ"]


async def test_anchor_is_found_wherever_it_is_in_the_chain(room: Bookroom) -> None:
    await room.seal()
    old = await room.anchor()
    await room.sell()
    await room.seal()

    assert (await room.verify(anchor=old)).anchor_found
    assert (await room.verify(anchor=await room.anchor())).anchor_found
    assert not (await room.verify(anchor=b"x" * 32)).anchor_found


async def test_tail_that_was_cut_off_without_a_trace_misses_its_anchor(room: Bookroom) -> None:
    """Everything about the last sale goes, its seal too: only the anchor remembers."""
    await room.seal()
    before = await room.anchor()
    (order_id,) = await room.sell()
    await room.seal()
    after = await room.anchor()

    await room.owner(
        "DELETE FROM sealed_transfers WHERE number = 2",
        "DELETE FROM seals WHERE number = 2",
        f"DELETE FROM transfers WHERE order_id = '{order_id}'",
        f"DELETE FROM payments WHERE order_id = '{order_id}'",
    )

    verdict = await room.verify(anchor=after, after=2 * _HOUR)
    assert verdict.flaws == []
    assert not verdict.anchor_found
    assert (await room.verify(anchor=before)).anchor_found


async def test_chain_that_was_forged_throughout_misses_its_anchor(room: Bookroom) -> None:
    """Books, facts and every seal are rewritten to fit each other."""
    await room.seal()
    anchor = await room.anchor()
    await room.owner(
        "UPDATE payments SET amount = amount - 1",
        "UPDATE transfers SET amount = amount - 1 WHERE kind = 'payment'",
        "DELETE FROM sealed_transfers",
        "DELETE FROM seals",
    )
    await room.seal()

    verdict = await room.verify(anchor=anchor)

    assert verdict.flaws == []
    assert not verdict.anchor_found


async def test_many_flaws_are_told_up_to_a_hundred_and_counted(room: Bookroom) -> None:
    await room.seal()
    await room.owner(
        "INSERT INTO transfers SELECT account_id, kind, fact || n, asset, 5, debit, credit, at"
        " - interval '1 day' FROM transfers, generate_series(1, 150) n WHERE kind = 'payment'"
    )

    verdict = await room.verify()

    assert len(verdict.flaws) == 100
    assert verdict.flaws_more == 350
