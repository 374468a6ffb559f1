"""Notices: what Binance told us unasked, stored before it is believed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from checkstand.storage.database import Transaction, statement

_INSERT_ONCE = statement(
    "notices.insert_once",
    """
    INSERT INTO notices (
        account_id, notice_id, fingerprint, biz_type, biz_id, biz_status, serial, signed_at,
        received_at, own_path, raw, outcome, explanation
    )
    SELECT n.*, 'stored', 'not looked at yet'
      FROM unnest(
               $1::uuid[], $2::uuid[], $3::bytea[], $4::text[], $5::text[], $6::text[],
               $7::text[], $8::timestamptz[], $9::timestamptz[], $10::bool[], $11::bytea[]
           ) AS n
    ON CONFLICT DO NOTHING
    RETURNING notice_id
    """,
)
_MARK = statement(
    "notices.mark",
    """
    UPDATE notices t
       SET outcome = n.outcome, explanation = n.explanation, order_id = n.order_id,
           attempt_id = n.attempt_id
      FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::uuid[], $6::uuid[])
           AS n (account_id, notice_id, outcome, explanation, order_id, attempt_id)
     WHERE (t.account_id, t.notice_id) = (n.account_id, n.notice_id)
    """,
)
#: What was only stored comes first: strangers can make any number of orphans.
_LIST_UNMATCHED = statement(
    "notices.list_unmatched",
    """
    SELECT account_id, notice_id, fingerprint, biz_type, biz_id, biz_status, serial, signed_at,
           received_at, own_path, raw
      FROM notices
     WHERE outcome IN ('orphan', 'stored') AND received_at > $1
     ORDER BY outcome = 'stored' DESC, received_at DESC, account_id, notice_id
     LIMIT $2
    """,
)


class NoticeOutcome(StrEnum):
    """What became of a notice. All of them are answered with SUCCESS."""

    APPLIED = "applied"  # it settled what it is about by itself
    HINT = "hint"  # it let us ask Binance at once
    ORPHAN = "orphan"  # nothing of ours fits; kept, and matched again later
    STORED = "stored"  # kept as it came; a worker applies it


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredNotice:
    """A verified notice as it came in."""

    account_id: UUID
    notice_id: UUID
    fingerprint: bytes
    biz_type: str
    biz_id: str
    biz_status: str
    serial: str
    signed_at: datetime
    received_at: datetime
    own_path: bool
    raw: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeMark:
    """What a decision made of one notice."""

    account_id: UUID
    notice_id: UUID
    outcome: NoticeOutcome
    explanation: str
    order_id: UUID | None = None
    attempt_id: UUID | None = None


async def insert_once(tx: Transaction, batch: Sequence[StoredNotice]) -> set[UUID]:
    """Store each notice once; return the ids of those that were not there before."""
    # Sorted, so that two gateways that insert crossed duplicates wait rather than deadlock.
    ordered = sorted(batch, key=lambda n: (n.account_id, n.fingerprint))
    rows = await tx.rows(
        _INSERT_ONCE,
        [n.account_id for n in ordered],
        [n.notice_id for n in ordered],
        [n.fingerprint for n in ordered],
        [n.biz_type for n in ordered],
        [n.biz_id for n in ordered],
        [n.biz_status for n in ordered],
        [n.serial for n in ordered],
        [n.signed_at for n in ordered],
        [n.received_at for n in ordered],
        [n.own_path for n in ordered],
        [n.raw for n in ordered],
    )
    return {row["notice_id"] for row in rows}


async def mark(tx: Transaction, marks: Sequence[NoticeMark]) -> None:
    """Write down what became of notices."""
    if marks:
        await tx.run(
            _MARK,
            [m.account_id for m in marks],
            [m.notice_id for m in marks],
            [m.outcome for m in marks],
            [m.explanation for m in marks],
            [m.order_id for m in marks],
            [m.attempt_id for m in marks],
        )


async def list_unmatched(
    tx: Transaction, *, received_after: datetime, limit: int
) -> list[StoredNotice]:
    """Read notices that fitted nothing, or were only stored, so that they are tried again."""
    rows = await tx.rows(_LIST_UNMATCHED, received_after, limit)
    return [StoredNotice(**dict(row)) for row in rows]
