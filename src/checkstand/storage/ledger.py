"""The books: transfers written with the decision that makes them, and the seals over them.

Rows are added here and never changed. That two channels cannot book one fact twice is the key's
doing: (account, kind, fact).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from checkstand.domain.case import Decision
from checkstand.domain.ledger import Transfer, transfers_of
from checkstand.domain.seal import Seal
from checkstand.storage.database import Row, Transaction, statement

_COLUMN_TYPES: Final = {
    "account_id": "uuid",
    "kind": "text",
    "fact": "text",
    "asset": "text",
    "amount": "numeric",
    "debit": "text",
    "credit": "text",
    "at": "timestamptz",
    "order_id": "uuid",
    "payment_id": "uuid",
    "refund_id": "uuid",
    "group_id": "uuid",
}
COLUMNS: Final = ", ".join(_COLUMN_TYPES)
_ARRAYS = ", ".join(f"${n}::{type_}[]" for n, type_ in enumerate(_COLUMN_TYPES.values(), 1))

_INSERT = statement(
    "transfers.insert",
    f"""
    INSERT INTO transfers ({COLUMNS})
    SELECT {COLUMNS} FROM unnest({_ARRAYS}) AS n ({COLUMNS})
    ON CONFLICT DO NOTHING
    RETURNING kind, fact
    """,
)

_OF_FACTS = statement(
    "transfers.of_facts",
    f"""
    SELECT {COLUMNS} FROM transfers
     WHERE (account_id, kind, fact)
           IN (SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[]))
    """,
)

_NEWEST_SEAL = statement(
    "seals.newest",
    """
    SELECT number, previous_hash, hash, count, newest_at, at FROM seals
     WHERE account_id = $1 ORDER BY number DESC LIMIT 1
    """,
)

_UNSEALED = statement(
    "transfers.unsealed",
    f"""
    SELECT {COLUMNS} FROM transfers t
     WHERE t.account_id = $1 AND ($2::timestamptz IS NULL OR t.at >= $2)
       AND NOT EXISTS (
           SELECT 1 FROM sealed_transfers s
            WHERE (s.account_id, s.kind, s.fact) = (t.account_id, t.kind, t.fact))
     ORDER BY t.at, t.kind, t.fact LIMIT $3
    """,
)

_INSERT_SEAL = statement(
    "seals.insert",
    """
    INSERT INTO seals (account_id, number, previous_hash, hash, count, newest_at, at)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT DO NOTHING
    RETURNING number
    """,
)

_INSERT_SEALED = statement(
    "sealed_transfers.insert",
    """
    INSERT INTO sealed_transfers (account_id, number, place, kind, fact, digest)
    SELECT $1, $2, n.place, n.kind, n.fact, n.digest
      FROM unnest($3::int[], $4::text[], $5::text[], $6::bytea[]) AS n (place, kind, fact, digest)
    """,
)


class BookedOtherwise(RuntimeError):
    """A fact is in the books with another content: a bug in what makes facts, never in the input.

    Writing nothing would lose the difference in silence, so the whole decision is not written.
    """


async def record(tx: Transaction, decisions: Sequence[Decision]) -> None:
    """Book what decisions changed. The caller holds their orders."""
    await append(tx, [transfer for d in decisions for transfer in transfers_of(d)])


async def append(tx: Transaction, transfers: Sequence[Transfer]) -> None:
    """Write transfers, each fact once. Raises BookedOtherwise."""
    if not transfers:
        return
    # In one order, so that two that book the same facts wait for each other and no more.
    ordered = sorted(transfers, key=_key)
    rows = await tx.rows(_INSERT, *([getattr(t, name) for t in ordered] for name in _COLUMN_TYPES))
    if len(rows) == len(ordered):
        return
    written = {(row["kind"], row["fact"]) for row in rows}
    await _compare(tx, [t for t in ordered if (t.kind, t.fact) not in written])


async def find_newest_seal(tx: Transaction, account_id: UUID) -> Seal | None:
    """Read the end of an account's chain."""
    row = await tx.row(_NEWEST_SEAL, account_id)
    return Seal(**dict(row)) if row else None


async def list_unsealed(
    tx: Transaction, account_id: UUID, *, since: datetime | None, limit: int
) -> list[Transfer]:
    """List transfers that no seal holds, oldest first; those older than `since` are not seen."""
    return [parse(row) for row in await tx.rows(_UNSEALED, account_id, since, limit)]


async def insert_seal(
    tx: Transaction, account_id: UUID, seal: Seal, sealed: Sequence[tuple[Transfer, bytes]]
) -> bool:
    """Write a seal with what it holds; False when somebody else made this link of the chain."""
    row = await tx.row(
        _INSERT_SEAL,
        account_id,
        seal.number,
        seal.previous_hash,
        seal.hash,
        seal.count,
        seal.newest_at,
        seal.at,
    )
    if row is None:
        return False
    await tx.run(
        _INSERT_SEALED,
        account_id,
        seal.number,
        list(range(1, len(sealed) + 1)),
        [transfer.kind for transfer, _ in sealed],
        [transfer.fact for transfer, _ in sealed],
        [digest for _, digest in sealed],
    )
    return True


async def _compare(tx: Transaction, known: Sequence[Transfer]) -> None:
    """Hold facts that were in the books already against what they were booked as."""
    rows = await tx.rows(
        _OF_FACTS,
        [t.account_id for t in known],
        [t.kind for t in known],
        [t.fact for t in known],
    )
    booked = {_key(transfer): transfer for transfer in map(parse, rows)}
    for transfer in known:
        there = booked[_key(transfer)]
        if _content(transfer) != _content(there):
            raise BookedOtherwise(
                f"{transfer.kind} {transfer.fact} is booked as {_content(there)}, "
                f"and now is {_content(transfer)}"
            )


def _key(transfer: Transfer) -> tuple[UUID, str, str]:
    return (transfer.account_id, transfer.kind, transfer.fact)


def _content(transfer: Transfer) -> tuple[object, ...]:
    """Return what a fact says: the moment at which it was learnt is not part of it."""
    return (transfer.asset, transfer.amount, str(transfer.debit), str(transfer.credit))


def parse(row: Row) -> Transfer:
    """Make a transfer of its row."""
    return Transfer(**{name: row[name] for name in _COLUMN_TYPES})
