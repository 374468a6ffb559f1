"""Give committed events their position in the account's feed."""

from datetime import timedelta
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
        while count := await _place_once(resources, account.account_id, looks_back, batch):
            placed += count
            if count < batch:
                break
    return placed


async def _place_once(
    resources: Resources, account_id: UUID, looks_back: timedelta, batch: int
) -> int:
    """Place a batch; nothing when there is none, or when somebody else places it."""

    async def step(tx: Transaction) -> int:
        # First the end of the feed, then what has no place: whoever gets the next position has
        # seen every earlier one.
        newest = await event_positions.find_newest(tx, account_id)
        position, made_at = newest or (0, None)
        since = None if made_at is None else made_at - looks_back
        ids = await event_positions.list_unplaced(tx, account_id, since=since, limit=batch)
        if not ids:
            return 0
        is_ours = await event_positions.insert(tx, account_id, after=position, event_ids=ids)
        return len(ids) if is_ours else 0

    return await resources.database.run(step, name="place_events")
