"""The books as people read them: balances, transfers, seals, and what nobody could book yet."""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from checkstand.domain.ledger import Transfer
from checkstand.domain.seal import Seal
from checkstand.storage import accounts, ledger
from checkstand.storage.database import Database, Row, Transaction, statement

_SUMS = statement(
    "ledger.sums",
    """
    SELECT asset, debit, credit, sum(amount) AS amount FROM transfers
     WHERE account_id = $1 AND at < $2
     GROUP BY asset, debit, credit
    """,
)
_FEES_UNKNOWN = statement(
    "ledger.fees_unknown",
    """
    SELECT payment_id, order_id, amount, currency, received_at FROM payments
     WHERE account_id = $1 AND fee IS NULL AND (received_at, payment_id) > ($2, $3)
     ORDER BY received_at, payment_id LIMIT $4
    """,
)
_FEE_UNKNOWN_AT = statement(
    "ledger.fee_unknown_at",
    "SELECT received_at FROM payments WHERE account_id = $1 AND payment_id = $2",
)
_PAGE = statement(
    "ledger.page",
    """
    SELECT t.*, s.number AS seal
      FROM transfers t
      LEFT JOIN sealed_transfers s ON (s.account_id, s.kind, s.fact)
                                      = (t.account_id, t.kind, t.fact)
     WHERE t.account_id = $1 AND (t.at, t.kind, t.fact) < ($2, $3, $4)
     ORDER BY t.at DESC, t.kind DESC, t.fact DESC LIMIT $5
    """,
)
_PAGE_OF_ORDER = statement(
    "ledger.page_of_order",
    """
    SELECT t.*, s.number AS seal
      FROM transfers t
      LEFT JOIN sealed_transfers s ON (s.account_id, s.kind, s.fact)
                                      = (t.account_id, t.kind, t.fact)
     WHERE t.account_id = $1 AND (t.at, t.kind, t.fact) < ($2, $3, $4) AND t.order_id = $6
     ORDER BY t.at DESC, t.kind DESC, t.fact DESC LIMIT $5
    """,
)
_AT = statement(
    "ledger.at",
    "SELECT at FROM transfers WHERE account_id = $1 AND kind = $2 AND fact = $3",
)
_NEXT = statement(
    "ledger.next",
    """
    SELECT t.*, s.number AS seal, o.merchant_order_id
      FROM transfers t
      LEFT JOIN sealed_transfers s ON (s.account_id, s.kind, s.fact)
                                      = (t.account_id, t.kind, t.fact)
      LEFT JOIN orders o ON (o.account_id, o.order_id) = (t.account_id, t.order_id)
     WHERE t.account_id = $1 AND (t.at, t.kind, t.fact) > ($2, $3, $4) AND t.at < $5
     ORDER BY t.at, t.kind, t.fact LIMIT $6
    """,
)

_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
_NEVER: Final = datetime.max.replace(tzinfo=UTC)
_NO_ID: Final = UUID(int=0)
_EXPORT_PAGE: Final = 2000

#: What stands on each account in each asset, as (asset, account): debits less credits.
Balances = Mapping[tuple[str, str], Decimal]


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """The end of one account's chain of seals, to be kept outside the database."""

    account: str  # the account's reference
    seal: Seal


@dataclass(frozen=True, slots=True, kw_only=True)
class BookedTransfer:
    """A transfer, and what is around it."""

    transfer: Transfer
    seal: int | None  # None: not sealed yet
    merchant_order_id: str | None = None  # in exports alone

    @property
    def transfer_id(self) -> str:
        """Return the one name of a transfer within its account."""
        return f"{self.transfer.kind}:{self.transfer.fact}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownFee:
    """A payment whose fee Binance has not told: owed to the books, and not zero."""

    payment_id: UUID
    order_id: UUID
    amount: Decimal
    currency: str
    received_at: datetime


def end_of(day: date) -> datetime:
    """Return the moment at which a day is over, in UTC."""
    return _NEVER if day == date.max else start_of(day + timedelta(days=1))


def start_of(day: date) -> datetime:
    """Return the moment at which a day begins, in UTC."""
    return datetime.combine(day, time(), UTC)


async def list_anchors(database: Database) -> list[Anchor]:
    """Read the newest seal of every account that has one."""

    async def read(tx: Transaction) -> list[Anchor]:
        found = []
        for account in await accounts.list_all(tx):
            seal = await ledger.find_newest_seal(tx, account.account_id)
            if seal is not None:
                found.append(Anchor(account=account.reference, seal=seal))
        return found

    return await database.read(read)


async def get_balances(database: Database, account_id: UUID, *, before: datetime) -> Balances:
    """Add up everything booked before a moment; each asset's balances add up to zero."""

    async def read(tx: Transaction) -> Sequence[Row]:
        return await tx.rows(_SUMS, account_id, before)

    sums: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for row in await database.read(read):
        sums[row["asset"], row["debit"]] += row["amount"]
        sums[row["asset"], row["credit"]] -= row["amount"]
    return dict(sorted(sums.items()))


async def list_transfers(
    database: Database,
    account_id: UUID,
    *,
    order_id: UUID | None = None,
    starting_after: str | None = None,
    limit: int,
) -> tuple[list[BookedTransfer], bool] | None:
    """Read a page of transfers, newest first, and whether there are more behind it.

    None when there is no transfer called `starting_after`.
    """
    kind, _, fact = (starting_after or "").partition(":")

    async def read(tx: Transaction) -> tuple[list[BookedTransfer], bool] | None:
        at = _NEVER
        if starting_after is not None:
            row = await tx.row(_AT, account_id, kind, fact)
            if row is None:
                return None
            at = row["at"]
        values = (account_id, at, kind, fact, limit + 1)
        rows = (
            await tx.rows(_PAGE, *values)
            if order_id is None
            else await tx.rows(_PAGE_OF_ORDER, *values, order_id)
        )
        return [_booked(row) for row in rows[:limit]], len(rows) > limit

    return await database.read(read)


async def list_unknown_fees(
    database: Database, account_id: UUID, *, starting_after: UUID | None = None, limit: int
) -> tuple[list[UnknownFee], bool] | None:
    """Read a page of payments whose fee is not known, oldest first, and whether there are more.

    None when there is no payment called `starting_after`.
    """

    async def read(tx: Transaction) -> tuple[list[UnknownFee], bool] | None:
        place = (_LONG_AGO, _NO_ID)
        if starting_after is not None:
            row = await tx.row(_FEE_UNKNOWN_AT, account_id, starting_after)
            if row is None:
                return None
            place = (row["received_at"], starting_after)
        rows = await tx.rows(_FEES_UNKNOWN, account_id, *place, limit + 1)
        return [UnknownFee(**dict(row)) for row in rows[:limit]], len(rows) > limit

    return await database.read(read)


async def iterate_transfers(
    database: Database, account_id: UUID, *, since: datetime | None, before: datetime
) -> AsyncIterator[BookedTransfer]:
    """Go through transfers in the order of their time, in pages."""
    place = (since or _LONG_AGO, "", "")
    while True:

        async def read(tx: Transaction, place: tuple[datetime, str, str] = place) -> Sequence[Row]:
            return await tx.rows(_NEXT, account_id, *place, before, _EXPORT_PAGE)

        rows = await database.read(read)
        for row in rows:
            yield _booked(row, merchant_order_id=row["merchant_order_id"])
        if len(rows) < _EXPORT_PAGE:
            return
        place = (rows[-1]["at"], rows[-1]["kind"], rows[-1]["fact"])


def _booked(row: Row, *, merchant_order_id: str | None = None) -> BookedTransfer:
    return BookedTransfer(
        transfer=ledger.parse(row), seal=row["seal"], merchant_order_id=merchant_order_id
    )
