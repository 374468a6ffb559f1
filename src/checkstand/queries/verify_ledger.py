"""Hold the books against themselves, against the facts and against an anchor kept elsewhere.

Everything is read in pages on one snapshot, so that memory stays flat however long the books are
and payments are seen together with their transfers.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from checkstand.domain.ledger import (
    Book,
    Positions,
    Transfer,
    entries_of,
    positions_in,
    positions_of,
)
from checkstand.domain.money import render_amount
from checkstand.domain.payment import Payment
from checkstand.domain.refund import Refund
from checkstand.domain.seal import NO_HASH, Seal, digest_of, hash_of
from checkstand.storage import accounts, ledger, payments, refunds
from checkstand.storage.database import Database, Row, Statement, Transaction, statement

#: Sealing takes seconds; what is unsealed after this was kept from it.
UNSEALED_MAX: Final = timedelta(hours=1)

_PAGE: Final = 2000
#: More than a person reads; the rest is counted.
_FLAWS_TOLD: Final = 100
_NO_ID: Final = UUID(int=0)
_BOOKS: Final = frozenset(Book)

_SEALS = statement(
    "verify_ledger.seals",
    """
    SELECT number, previous_hash, hash, count, newest_at, at FROM seals
     WHERE account_id = $1 AND number > $2
     ORDER BY number LIMIT $3
    """,
)
_SEALED = statement(
    "verify_ledger.sealed",
    """
    SELECT s.number, s.place, s.digest, s.kind AS sealed_kind, s.fact AS sealed_fact, t.*
      FROM sealed_transfers s
      LEFT JOIN transfers t ON (t.account_id, t.kind, t.fact) = (s.account_id, s.kind, s.fact)
     WHERE s.account_id = $1 AND (s.number, s.place) > ($2, $3)
     ORDER BY s.number, s.place LIMIT $4
    """,
)
_TRANSFERS = statement(
    "verify_ledger.transfers",
    """
    SELECT t.at, t.kind, t.fact, t.asset, t.amount, t.debit, t.credit,
           s.number IS NOT NULL AS is_sealed
      FROM transfers t
      LEFT JOIN sealed_transfers s ON (s.account_id, s.kind, s.fact)
                                      = (t.account_id, t.kind, t.fact)
     WHERE t.account_id = $1 AND (t.at, t.kind, t.fact) > ($2, $3, $4)
     ORDER BY t.at, t.kind, t.fact LIMIT $5
    """,
)
_DAYS = statement(
    "verify_ledger.days",
    """
    SELECT number, day, document FROM closed_days
     WHERE account_id = $1 AND number > $2
     ORDER BY number LIMIT $3
    """,
)
_ORDERS = statement(
    "verify_ledger.orders",
    """
    SELECT order_id FROM orders WHERE account_id = $1 AND order_id > $2
     ORDER BY order_id LIMIT $3
    """,
)
_PAYMENTS = statement(
    "verify_ledger.payments",
    "SELECT * FROM payments WHERE account_id = $1 AND order_id = ANY($2)",
)
_REFUNDS = statement(
    "verify_ledger.refunds",
    "SELECT * FROM refunds WHERE account_id = $1 AND order_id = ANY($2)",
)
_BOOKED = statement(
    "verify_ledger.booked",
    "SELECT * FROM transfers WHERE account_id = $1 AND order_id = ANY($2)",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """Something in the books that cannot be right."""

    account_id: UUID
    kind: str
    detail: str


@dataclass(slots=True, kw_only=True)
class Verdict:
    """What a verification went through, and what it found."""

    transfers: int = 0
    seals: int = 0
    orders: int = 0
    days: int = 0  # closed ones, each naming the summary before it
    flaws: list[Flaw] = field(default_factory=list)
    flaws_more: int = 0  # found beyond those that are told
    anchor_found: bool = False

    def add(self, account_id: UUID, kind: str, detail: str) -> None:
        """Note a flaw."""
        if len(self.flaws) < _FLAWS_TOLD:
            self.flaws.append(Flaw(account_id=account_id, kind=kind, detail=detail))
        else:
            self.flaws_more += 1


async def verify_ledger(
    database: Database, *, now: datetime, anchor: bytes | None = None, page: int = _PAGE
) -> Verdict:
    """Go through every account's books; with an anchor, look for that hash in the chains too."""

    async def read(tx: Transaction) -> Verdict:
        verdict = Verdict()
        for account in await accounts.list_all(tx):
            books = _Books(tx, account.account_id, verdict, page)
            await books.check_chain(anchor)
            await books.check_transfers(unsealed_before=now - UNSEALED_MAX)
            await books.check_facts()
            await books.check_days()
        return verdict

    return await database.read(read, snapshot=True)


class _Books:
    """One account's books, read in pages."""

    def __init__(self, tx: Transaction, account_id: UUID, verdict: Verdict, page: int) -> None:
        self._tx = tx
        self._account_id = account_id
        self._verdict = verdict
        self._page = page

    async def check_chain(self, anchor: bytes | None) -> None:
        """Recompute every hash from the transfers as they are now, link by link."""
        sealed = _Groups(self._rows(_SEALED, (0, 0), lambda row: (row["number"], row["place"])))
        previous: Seal | None = None
        async for row in self._rows(_SEALS, (0,), lambda row: (row["number"],)):
            seal = Seal(**dict(row))
            self._verdict.seals += 1
            self._check_link(seal, previous)
            digests = self._check_sealed(seal, await sealed.take(seal.number))
            computed = hash_of(self._account_id, seal, digests)
            if computed != seal.hash or len(digests) != seal.count:
                self._flaw("seal_broken", f"seal {seal.number} does not fit what it holds")
            self._verdict.anchor_found |= computed == anchor == seal.hash
            previous = seal
        async for row in sealed.rest():
            self._flaw("seal_missing", f"{_name(row)} is sealed by {row['number']}, which is gone")

    async def check_transfers(self, *, unsealed_before: datetime) -> None:
        """Add the accounts up, and see that each transfer was sealed in time."""
        sums: defaultdict[str, Decimal] = defaultdict(Decimal)
        first = (datetime.min.replace(tzinfo=unsealed_before.tzinfo), "", "")
        rows = self._rows(_TRANSFERS, first, lambda row: (row["at"], row["kind"], row["fact"]))
        async for row in rows:
            self._verdict.transfers += 1
            sums[row["asset"]] += row["amount"] if row["debit"] in _BOOKS else 0
            sums[row["asset"]] -= row["amount"] if row["credit"] in _BOOKS else 0
            if not row["is_sealed"] and row["at"] < unsealed_before:
                self._flaw("unsealed", f"{row['kind']} {row['fact']} was never sealed")
        for asset, total in sums.items():
            if total != 0:
                self._flaw("unbalanced", f"{asset} adds up to {render_amount(total)}, not to zero")

    async def check_facts(self) -> None:
        """Hold every payment, refund and fee against its transfers, and these against them."""
        async for orders in self._pages(_ORDERS, (_NO_ID,), lambda row: (row["order_id"],)):
            ids = [row["order_id"] for row in orders]
            self._verdict.orders += len(ids)
            known = await self._known(ids)
            booked = await self._booked(ids)
            for order_id in ids:
                self._compare(order_id, known.get(order_id, {}), booked.get(order_id, {}))

    async def check_days(self) -> None:
        """See that each closed day's summary names the one before it by its hash."""
        expected, previous = 1, None
        async for row in self._rows(_DAYS, (0,), lambda row: (row["number"],)):
            self._verdict.days += 1
            day, document = row["day"], row["document"]
            try:
                summary = json.loads(document)["summary"]
                named, is_its_own = summary["previous"], summary["day"] == day.isoformat()
            except (ValueError, TypeError, LookupError, RecursionError):
                named, is_its_own = None, False
            if not is_its_own:
                self._flaw("day_unreadable", f"the summary of {day} is not one of that day")
            elif row["number"] != expected or named != previous:
                self._flaw(
                    "day_chain_broken",
                    f"the summary of {day} does not name the one that was closed before it: "
                    "one of them was changed or is gone",
                )
            expected = row["number"] + 1
            previous = hashlib.sha256(document.encode()).hexdigest()

    def _check_link(self, seal: Seal, previous: Seal | None) -> None:
        expected = previous.number + 1 if previous else 1
        if seal.number != expected:
            self._flaw("seal_missing", f"seal {expected} is gone, before seal {seal.number}")
        elif seal.previous_hash != (previous.hash if previous else NO_HASH):
            self._flaw("chain_broken", f"seal {seal.number} does not follow seal {expected - 1}")

    def _check_sealed(self, seal: Seal, rows: Sequence[Row]) -> list[bytes]:
        """Return the digests of a seal's transfers as they are now."""
        digests = []
        for row in rows:
            if row["kind"] is None:
                self._flaw("transfer_missing", f"{_name(row)}, in seal {seal.number}, is gone")
                digests.append(row["digest"])
                continue
            digest = digest_of(ledger.parse(row))
            if digest != row["digest"]:
                self._flaw("transfer_altered", f"{_name(row)} is not what seal {seal.number} holds")
            digests.append(digest)
        return digests

    async def _known(self, ids: Sequence[UUID]) -> dict[UUID, Positions]:
        of_payments: defaultdict[UUID, list[Payment]] = defaultdict(list)
        of_refunds: defaultdict[UUID, list[Refund]] = defaultdict(list)
        for row in await self._tx.rows(_PAYMENTS, self._account_id, ids):
            of_payments[row["order_id"]].append(payments.parse(row))
        for row in await self._tx.rows(_REFUNDS, self._account_id, ids):
            of_refunds[row["order_id"]].append(refunds.parse(row))
        return {
            order_id: positions_of(entries_of(of_payments[order_id], of_refunds[order_id]))
            for order_id in {*of_payments, *of_refunds}
        }

    async def _booked(self, ids: Sequence[UUID]) -> dict[UUID, Positions]:
        of_transfers: defaultdict[UUID, list[Transfer]] = defaultdict(list)
        for row in await self._tx.rows(_BOOKED, self._account_id, ids):
            of_transfers[row["order_id"]].append(ledger.parse(row))
        return {order_id: positions_in(found) for order_id, found in of_transfers.items()}

    def _compare(self, order_id: UUID, known: Positions, booked: Positions) -> None:
        for fact, book, asset in sorted(known.keys() | booked.keys()):
            expected = known.get((fact, book, asset), Decimal(0))
            found = booked.get((fact, book, asset), Decimal(0))
            if expected != found:
                self._flaw(
                    "facts_differ",
                    f"order {order_id}, {fact}: {book} should hold {render_amount(expected)} "
                    f"{asset} and holds {render_amount(found)}",
                )

    def _flaw(self, kind: str, detail: str) -> None:
        self._verdict.add(self._account_id, kind, detail)

    async def _pages(
        self, sql: Statement, first: tuple[object, ...], place: Callable[[Row], tuple[object, ...]]
    ) -> AsyncIterator[Sequence[Row]]:
        last = first
        while rows := await self._tx.rows(sql, self._account_id, *last, self._page):
            yield rows
            last = place(rows[-1])

    async def _rows(
        self, sql: Statement, first: tuple[object, ...], place: Callable[[Row], tuple[object, ...]]
    ) -> AsyncIterator[Row]:
        async for rows in self._pages(sql, first, place):
            for row in rows:
                yield row


class _Groups:
    """Rows that come in the order of their number, taken a number at a time."""

    def __init__(self, rows: AsyncIterator[Row]) -> None:
        self._rows = rows
        self._next: Row | None = None

    async def take(self, number: int) -> list[Row]:
        """Take the rows of one number; those of numbers before it have been asked for."""
        taken = []
        while (row := await self._peek()) is not None and row["number"] <= number:
            self._next = None
            if row["number"] == number:
                taken.append(row)
        return taken

    async def rest(self) -> AsyncIterator[Row]:
        """Take what is left."""
        while (row := await self._peek()) is not None:
            self._next = None
            yield row

    async def _peek(self) -> Row | None:
        if self._next is None:
            self._next = await anext(self._rows, None)
        return self._next


def _name(row: Row) -> str:
    return f"{row['sealed_kind']} {row['sealed_fact']}"
