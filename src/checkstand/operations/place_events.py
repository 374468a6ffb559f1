"""Give committed events their position in the account's feed."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from checkstand.operations.resources import Resources
from checkstand.storage import event_positions
from checkstand.storage.database import Transaction

#: An event is committed some time after the moment it bears; what takes longer than the first
#: waits for the thorough look.
_LOOKS_BACK: Final = timedelta(minutes=2)
_LOOKS_BACK_FAR: Final = timedelta(days=1)

#: What one transaction places at most.
BATCH_MAX: Final = 1000


async def place_new_events(resources: Resources, *, batch: int = BATCH_MAX) -> int:
    """Place what was committed lately; return how many events. Any number of hosts may do it."""
    return await _place(resources, looks_back=_LOOKS_BACK, batch=batch)


async def place_late_events(resources: Resources, *, batch: int = BATCH_MAX) -> int:
    """Place what was committed long after it was made; return how many events."""
    return await _place(resources, looks_back=_LOOKS_BACK_FAR, batch=batch)


async def _place(resources: Resources, *, looks_back: timedelta, batch: int) -> int:
    placed = 0
    for account in resources.accounts.list_all():
        # Oldest first: what lies before the last of a batch need not be looked at again.
        since: datetime | None = None
        while made := await _place_once(
            resources, account.account_id, since=since, looks_back=looks_back, batch=batch
        ):
            count, since = made
            placed += count
            if count < batch:
                break
    return placed


async def _place_once(
    resources: Resources,
    account_id: UUID,
    *,
    since: datetime | None,
    looks_back: timedelta,
    batch: int,
) -> tuple[int, datetime] | None:
    """Place a batch; return how many, and when the last of them was made.

    None when there is nothing to place, or when somebody else places it.
    """

    async def step(tx: Transaction) -> tuple[int, datetime] | None:
        # First the end of the feed, then what has no place: whoever gets the next position has
        # seen every earlier one.
        newest = await event_positions.find_newest(tx, account_id)
        position, made_at = newest or (0, None)
        begin = since
        if begin is None and made_at is not None:
            begin = made_at - looks_back
        found = await event_positions.list_unplaced(tx, account_id, since=begin, limit=batch)
        if not found:
            return None
        ids = [event_id for event_id, _ in found]
        is_ours = await event_positions.insert(tx, account_id, after=position, event_ids=ids)
        return (len(ids), found[-1][1]) if is_ours else None

    return await resources.database.run(step, name="place_events")
