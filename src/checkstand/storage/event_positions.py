"""Positions of events: a number each, given once it is committed, so that a cursor skips none.

An event bears the moment and the id it was made with, and is committed some time later, behind
others that were made after it. Its position says where it came in the order of commits as far as
anybody can see: a reader who sees a position sees every one before it.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from checkstand.storage.database import Transaction, statement

_NEWEST = statement(
    "event_positions.newest",
    """
    SELECT p.position, e.created_at
      FROM event_positions p
      JOIN events e ON (e.account_id, e.event_id) = (p.account_id, p.event_id)
     WHERE p.account_id = $1 ORDER BY p.position DESC LIMIT 1
    """,
)

_UNPLACED = statement(
    "event_positions.unplaced",
    """
    SELECT e.event_id, e.created_at FROM events e
     WHERE e.account_id = $1 AND ($2::timestamptz IS NULL OR e.created_at >= $2)
       AND NOT EXISTS (
           SELECT 1 FROM event_positions p
            WHERE (p.account_id, p.event_id) = (e.account_id, e.event_id))
     ORDER BY e.created_at, e.order_version, e.event_id LIMIT $3
    """,
)

_CLAIM = statement(
    "event_positions.claim",
    """
    INSERT INTO event_positions (account_id, position, event_id) VALUES ($1, $2, $3)
    ON CONFLICT DO NOTHING
    RETURNING position
    """,
)

_INSERT = statement(
    "event_positions.insert",
    """
    INSERT INTO event_positions (account_id, position, event_id)
    SELECT $1, $2 + n.place, n.event_id
      FROM unnest($3::uuid[]) WITH ORDINALITY AS n (event_id, place)
    """,
)


async def find_newest(tx: Transaction, account_id: UUID) -> tuple[int, datetime] | None:
    """Read an account's last position, and when the event there was made."""
    row = await tx.row(_NEWEST, account_id)
    return (row["position"], row["created_at"]) if row else None


async def list_unplaced(
    tx: Transaction, account_id: UUID, *, since: datetime | None, limit: int
) -> list[tuple[UUID, datetime]]:
    """List events without a position and when they were made, oldest first; none before `since`."""
    rows = await tx.rows(_UNPLACED, account_id, since, limit)
    return [(row["event_id"], row["created_at"]) for row in rows]


async def insert(
    tx: Transaction, account_id: UUID, *, after: int, event_ids: Sequence[UUID]
) -> bool:
    """Give events the positions behind `after`; False when somebody else is giving those.

    The first position is the claim to all: a rival waits for it, and finds it taken.
    """
    if await tx.row(_CLAIM, account_id, after + 1, event_ids[0]) is None:
        return False
    if len(event_ids) > 1:
        await tx.run(_INSERT, account_id, after + 1, list(event_ids[1:]))
    return True
