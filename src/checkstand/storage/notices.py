"""Notices: what Binance told us unasked, stored before it is believed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from checkstand.storage.database import Transaction, render_rows, statement

Key = tuple[UUID, bytes]  # account_id, fingerprint

_INSERT_ONCE = statement(
    "notices.insert_once",
    """
    INSERT INTO notices (
        account_id, notice_id, fingerprint, biz_type, biz_id, biz_status, serial, signed_at,
        received_at, own_path, raw, outcome, explanation, order_id, attempt_id
    )
    SELECT n.account_id, n.notice_id, decode(n.fingerprint, 'base64'), n.biz_type, n.biz_id,
           n.biz_status, n.serial, n.signed_at, n.received_at, n.own_path,
           decode(n.raw, 'base64'), m.outcome, m.explanation, m.order_id, m.attempt_id
      FROM jsonb_to_recordset($1::jsonb) AS pair (notice jsonb, mark jsonb),
           jsonb_to_record(pair.notice) AS n (
               account_id uuid, notice_id uuid, fingerprint text, biz_type text, biz_id text,
               biz_status text, serial text, signed_at timestamptz, received_at timestamptz,
               own_path bool, raw text),
           jsonb_to_record(pair.mark) AS m (
               outcome text, explanation text, order_id uuid, attempt_id uuid)
    ON CONFLICT DO NOTHING
    RETURNING notice_id
    """,
)
_FIND_KNOWN = statement(
    "notices.find_known",
    """
    SELECT account_id, fingerprint, notice_id, signed_at, received_at, own_path, outcome
      FROM notices
     WHERE (account_id, fingerprint) IN (SELECT * FROM unnest($1::uuid[], $2::bytea[]))
    """,
)
_MARK = statement(
    "notices.mark",
    """
    UPDATE notices t
       SET outcome = n.outcome, explanation = n.explanation, order_id = n.order_id,
           attempt_id = n.attempt_id,
           matched_at = CASE WHEN n.order_id IS NULL THEN t.matched_at
                             ELSE coalesce(t.matched_at, $7) END
      FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::uuid[], $6::uuid[])
           AS n (account_id, notice_id, outcome, explanation, order_id, attempt_id)
     WHERE (t.account_id, t.notice_id) = (n.account_id, n.notice_id)
    """,
)
_STORED_COLUMNS = """
    n.account_id, n.notice_id, n.fingerprint, n.biz_type, n.biz_id, n.biz_status, n.serial,
    n.signed_at, n.received_at, n.own_path, n.raw
"""
#: What came last comes first: it may just have its order, and strangers can make any number.
_LIST_ORPHANS = statement(
    "notices.list_orphans",
    f"""
    SELECT {_STORED_COLUMNS} FROM notices n
     WHERE n.outcome = 'orphan' AND n.received_at > $1
     ORDER BY n.received_at DESC, n.account_id, n.notice_id
     LIMIT $2
    """,
)
#: Orphans are told by Binance's id, which an attempt may have learnt since; what was only stored
#: has to be tried again whatever it is about.
_LIST_DUE = statement(
    "notices.list_due",
    f"""
    SELECT {_STORED_COLUMNS} FROM notices n
     WHERE n.outcome IN ('orphan', 'stored') AND n.received_at > $1
       AND (n.outcome = 'stored'
            OR (n.received_at > $2 AND n.biz_type IN ('PAY', 'PAY_REFUND') AND EXISTS (
                SELECT 1 FROM attempts a
                 WHERE (a.account_id, a.prepay_id) = (n.account_id, n.biz_id))))
     ORDER BY n.received_at DESC, n.account_id, n.notice_id
     LIMIT $3
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


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownNotice:
    """What is known of a notice that is in the table."""

    notice_id: UUID
    signed_at: datetime
    received_at: datetime
    own_path: bool
    outcome: NoticeOutcome


def only_stored(notice: StoredNotice, reason: str) -> NoticeMark:
    """Mark a notice that is kept as it came, for a worker to apply."""
    return NoticeMark(
        account_id=notice.account_id,
        notice_id=notice.notice_id,
        outcome=NoticeOutcome.STORED,
        explanation=reason,
    )


async def insert_once(
    tx: Transaction, batch: Sequence[tuple[StoredNotice, NoticeMark]]
) -> set[UUID]:
    """Store each notice once, with what became of it; return the ids of those that were new."""
    # Sorted, so that two gateways that insert crossed duplicates wait rather than deadlock.
    ordered = sorted(batch, key=lambda pair: (pair[0].account_id, pair[0].fingerprint))
    pairs = [{"notice": notice, "mark": mark} for notice, mark in ordered]
    rows = await tx.rows(_INSERT_ONCE, render_rows(pairs))
    return {row["notice_id"] for row in rows}


async def find_known(tx: Transaction, keys: Sequence[Key]) -> dict[Key, KnownNotice]:
    """Find the notices that are in the table already, by account and fingerprint."""
    if not keys:
        return {}
    rows = await tx.rows(_FIND_KNOWN, [k[0] for k in keys], [k[1] for k in keys])
    return {
        (row["account_id"], row["fingerprint"]): KnownNotice(
            notice_id=row["notice_id"],
            signed_at=row["signed_at"],
            received_at=row["received_at"],
            own_path=row["own_path"],
            outcome=NoticeOutcome(row["outcome"]),
        )
        for row in rows
    }


async def mark(tx: Transaction, marks: Sequence[NoticeMark], *, now: datetime) -> None:
    """Write down what became of notices that were stored before."""
    if marks:
        await tx.run(
            _MARK,
            [m.account_id for m in marks],
            [m.notice_id for m in marks],
            [m.outcome for m in marks],
            [m.explanation for m in marks],
            [m.order_id for m in marks],
            [m.attempt_id for m in marks],
            now,
        )


async def list_due(
    tx: Transaction, *, received_after: datetime, orphans_after: datetime, limit: int
) -> list[StoredNotice]:
    """Read notices that can be applied: those only stored, and orphans that have an attempt now."""
    rows = await tx.rows(_LIST_DUE, received_after, orphans_after, limit)
    return [StoredNotice(**dict(row)) for row in rows]


async def list_orphans(
    tx: Transaction, *, received_after: datetime, limit: int
) -> list[StoredNotice]:
    """Read the newest notices that fitted nothing, so that they are matched again."""
    rows = await tx.rows(_LIST_ORPHANS, received_after, limit)
    return [StoredNotice(**dict(row)) for row in rows]
