"""Events as the shop was told them, newest first or as a feed, with how each delivery stands."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from checkstand.storage.database import Database, Row, Transaction, statement

_PAGE = statement(
    "list_events.page",
    """
    SELECT e.event_id, e.body, p.position
      FROM events e
      LEFT JOIN event_positions p ON (p.account_id, p.event_id) = (e.account_id, e.event_id)
     WHERE e.account_id = $1
       AND ($2::uuid IS NULL OR (e.created_at, e.event_id) < (
           SELECT created_at, event_id FROM events WHERE account_id = $1 AND event_id = $2))
     ORDER BY e.created_at DESC, e.event_id DESC LIMIT $3
    """,
)
_FEED = statement(
    "list_events.feed",
    """
    SELECT e.event_id, e.body, p.position
      FROM event_positions p
      JOIN events e ON (e.account_id, e.event_id) = (p.account_id, p.event_id)
     WHERE p.account_id = $1 AND p.position > $2
     ORDER BY p.position LIMIT $3
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
    position: int | None  # in the account's feed; None until it has one, moments after the event
    body: str
    deliveries: Sequence[DeliveryState]


async def list_events(
    database: Database, account_id: UUID, *, starting_after: UUID | None, limit: int
) -> tuple[list[ToldEvent], bool]:
    """Read a page of events behind `starting_after`, and whether there are more."""

    async def read(tx: Transaction) -> tuple[list[ToldEvent], bool]:
        rows = await tx.rows(_PAGE, account_id, starting_after, limit + 1)
        return await _told(tx, account_id, rows[:limit]), len(rows) > limit

    return await database.read(read)


async def read_feed(
    database: Database, account_id: UUID, *, after: int, limit: int
) -> tuple[list[ToldEvent], bool]:
    """Read the events behind a position, in the order of the feed, and whether there are more.

    Whoever goes on from the last position he saw misses none, however late it was committed.
    """

    async def read(tx: Transaction) -> tuple[list[ToldEvent], bool]:
        rows = await tx.rows(_FEED, account_id, after, limit + 1)
        return await _told(tx, account_id, rows[:limit]), len(rows) > limit

    return await database.read(read)


async def _told(tx: Transaction, account_id: UUID, page: Sequence[Row]) -> list[ToldEvent]:
    """Put to each event how its deliveries stand."""
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
    return [
        ToldEvent(
            event_id=row["event_id"],
            position=row["position"],
            body=row["body"],
            deliveries=states[row["event_id"]],
        )
        for row in page
    ]
