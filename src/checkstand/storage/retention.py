"""Forget what the policy lets go, a batch at a time; the application's role deletes no row here.

Nothing of an order goes while an anomaly on it is open. A pruned notice keeps its fingerprint, its
ids, its outcome and the SHA-256 of the raw bytes, so it is still recognised and can be proved.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, time
from typing import Final
from uuid import UUID

from checkstand.domain.retention import Kept
from checkstand.storage.database import Statement, Transaction, statement

#: The columns in parentheses are what a batch of rows is found by.
_NOTICES = """
    n.account_id = $1 AND n.raw_pruned_at IS NULL AND n.received_at < $2 AND n.outcome IN ({})
       AND NOT EXISTS (
           SELECT 1 FROM anomalies y
            WHERE (y.account_id, y.order_id) = (n.account_id, n.order_id)
              AND y.resolved_at IS NULL)
"""
_WHICH: Final = {
    Kept.NOTICES: _NOTICES.format("'applied', 'hint'"),
    # One that was only stored is applied by a worker from its raw bytes: it is never among these.
    Kept.ORPHANS: _NOTICES.format("'orphan'"),
}
_BUYERS = """
    o.account_id = $1 AND o.created_at < $2
       AND (o.buyer_reference IS NOT NULL OR o.client_ip IS NOT NULL)
       AND o.status NOT IN ('CREATED', 'PENDING_PAYMENT')
       AND NOT EXISTS (
           SELECT 1 FROM anomalies y
            WHERE (y.account_id, y.order_id) = (o.account_id, o.order_id)
              AND y.resolved_at IS NULL)
"""


def _prune_raw(which: str) -> str:
    return f"""
    WITH old AS MATERIALIZED (
        SELECT n.account_id, n.notice_id FROM notices n
         WHERE {which}
         ORDER BY n.received_at, n.account_id, n.notice_id
         LIMIT $4
           FOR UPDATE OF n SKIP LOCKED)
    UPDATE notices t
       SET raw_sha256 = sha256(t.raw), raw = ''::bytea, raw_pruned_at = $3
      FROM old
     WHERE (t.account_id, t.notice_id) = (old.account_id, old.notice_id)
    RETURNING t.notice_id
    """


#: The day after the first run of closed days: one that was left open in between keeps what is after
#: it. Days from before anybody closed one go by their age alone, and so does everything where only
#: days from before the account's first order or payment were closed: by a slip of the pen.
_OPEN_FROM = statement(
    "retention.open_from",
    """
    SELECT min(c.day) + 1 AS day FROM closed_days c
     WHERE c.account_id = $1
       AND NOT EXISTS (
           SELECT 1 FROM closed_days n WHERE n.account_id = c.account_id AND n.day = c.day + 1)
       AND c.day >= (least(
               (SELECT created_at FROM accounts WHERE account_id = $1),
               (SELECT min(created_at) FROM orders WHERE account_id = $1),
               (SELECT min(coalesce(paid_at, received_at)) FROM payments WHERE account_id = $1)
           ) AT TIME ZONE 'UTC')::date - 1
    """,
)
_PRUNE: Final[Mapping[Kept, Statement]] = {
    Kept.NOTICES: statement("retention.prune_notices", _prune_raw(_WHICH[Kept.NOTICES])),
    Kept.ORPHANS: statement("retention.prune_orphans", _prune_raw(_WHICH[Kept.ORPHANS])),
    Kept.BUYERS: statement(
        "retention.prune_buyers",
        f"""
        WITH old AS MATERIALIZED (
            SELECT o.account_id, o.order_id FROM orders o
             WHERE {_BUYERS} AND $3::timestamptz IS NOT NULL
             ORDER BY o.created_at, o.account_id, o.order_id
             LIMIT $4
               FOR UPDATE OF o SKIP LOCKED)
        UPDATE orders t SET buyer_reference = NULL, client_ip = NULL
          FROM old
         WHERE (t.account_id, t.order_id) = (old.account_id, old.order_id)
        RETURNING t.order_id
        """,
    ),
}
_COUNT: Final[Mapping[Kept, Statement]] = {
    Kept.NOTICES: statement(
        "retention.count_notices",
        f"SELECT count(*) AS number FROM notices n WHERE {_WHICH[Kept.NOTICES]}",
    ),
    Kept.ORPHANS: statement(
        "retention.count_orphans",
        f"SELECT count(*) AS number FROM notices n WHERE {_WHICH[Kept.ORPHANS]}",
    ),
    Kept.BUYERS: statement(
        "retention.count_buyers", f"SELECT count(*) AS number FROM orders o WHERE {_BUYERS}"
    ),
    Kept.KEYS: statement(
        "retention.count_keys",
        "SELECT count(*) AS number FROM idempotency_keys WHERE account_id = $1 AND created_at < $2",
    ),
}


async def open_from(tx: Transaction, account_id: UUID) -> datetime | None:
    """Return from when on the account's days are not closed; None where nobody closes days."""
    (row,) = await tx.rows(_OPEN_FROM, account_id)
    return None if row["day"] is None else datetime.combine(row["day"], time(), tzinfo=UTC)


async def prune(
    tx: Transaction, account_id: UUID, kind: Kept, *, before: datetime, now: datetime, limit: int
) -> int:
    """Forget the oldest of what may go; return how many. Keys have a chore of their own."""
    return len(await tx.rows(_PRUNE[kind], account_id, before, now, limit))


async def count(tx: Transaction, account_id: UUID, kind: Kept, *, before: datetime) -> int:
    """Count what may go."""
    (row,) = await tx.rows(_COUNT[kind], account_id, before)
    return int(row["number"])
