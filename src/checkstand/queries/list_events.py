"""Events as the shop was told them, newest first, with how each delivery stands."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from checkstand.storage.database import Database, Transaction, statement

_PAGE = statement(
    "list_events.page",
    """
    SELECT event_id, body FROM events
     WHERE account_id = $1
       AND ($2::uuid IS NULL OR (created_at, event_id) < (
           SELECT created_at, event_id FROM events WHERE account_id = $1 AND event_id = $2))
     ORDER BY created_at DESC, event_id DESC LIMIT $3
    """,
)
_DELIVERIES = statement(
    "list_events.deliveries",
    """
    SELECT event_id, endpoint_id, status, tries, due_at FROM deliveries
     WHERE account_id = $1 AND event_id = ANY($2)
     ORDER BY event_id, endpoint_id
    """,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryState:
    """How one delivery of an event stands."""

    endpoint_id: UUID
    status: str
    tries: int
    due_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldEvent:
    """An event with the very text that was delivered."""

    event_id: UUID
    body: str
    deliveries: Sequence[DeliveryState]


async def list_events(
    database: Database, account_id: UUID, *, starting_after: UUID | None, limit: int
) -> tuple[list[ToldEvent], bool]:
    """Read a page of events behind `starting_after`, and whether there are more."""

    async def read(tx: Transaction) -> tuple[list[ToldEvent], bool]:
        rows = await tx.rows(_PAGE, account_id, starting_after, limit + 1)
        page = rows[:limit]
        states: dict[UUID, list[DeliveryState]] = {row["event_id"]: [] for row in page}
        for row in await tx.rows(_DELIVERIES, account_id, list(states)):
            states[row["event_id"]].append(
                DeliveryState(
                    endpoint_id=row["endpoint_id"],
                    status=row["status"],
                    tries=row["tries"],
                    due_at=row["due_at"],
                )
            )
        told = [
            ToldEvent(event_id=r["event_id"], body=r["body"], deliveries=states[r["event_id"]])
            for r in page
        ]
        return told, len(rows) > limit

    return await database.read(read)
