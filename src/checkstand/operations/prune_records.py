"""Forget what the retention policy lets go: in batches, each a transaction of its own.

Cut short anywhere it goes on at the next round: what is pruned is no longer found.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final
from uuid import UUID

from checkstand.domain.retention import Kept
from checkstand.operations.resources import Resources
from checkstand.storage import retention
from checkstand.storage.database import Transaction

#: Says from when on an account's books are not closed; None where nobody closes days.
OpenFrom = Callable[[Transaction, UUID], Awaitable[datetime | None]]

#: A batch holds its rows for some 20 ms. A round goes on for so many of them: hourly that is more
#: than a gateway takes in.
BATCH: Final = 500
BATCHES_MAX: Final = 1000


async def prune_records(
    resources: Resources,
    *,
    open_from: OpenFrom = retention.open_from,
    batch: int = BATCH,
    batches_max: int = BATCHES_MAX,
) -> dict[Kept, int]:
    """Forget what may go, up to so many batches a kind; return how many of each went."""
    pruned = dict.fromkeys((Kept.NOTICES, Kept.ORPHANS, Kept.BUYERS), 0)
    for account in resources.accounts.list_all():
        for kind in pruned:

            async def forget(account_id: UUID = account.account_id, kind: Kept = kind) -> int:
                return await _prune(resources, account_id, kind, open_from, batch)

            pruned[kind] += await in_batches(forget, batch=batch, batches_max=batches_max)
    return pruned


async def in_batches(forget: Callable[[], Awaitable[int]], *, batch: int, batches_max: int) -> int:
    """Forget one batch after the other until one is not full; return how many rows went."""
    forgotten = 0
    for _ in range(batches_max):
        number = await forget()
        forgotten += number
        if number < batch:
            break
    return forgotten


async def count_prunable(
    resources: Resources, *, open_from: OpenFrom = retention.open_from
) -> dict[Kept, int]:
    """Count what the next rounds would forget, and change nothing."""
    found = dict.fromkeys(Kept, 0)
    for account in resources.accounts.list_all():

        async def read(tx: Transaction, account_id: UUID = account.account_id) -> None:
            for kind in Kept:
                before = await _before(tx, resources, account_id, kind, open_from)
                found[kind] += await retention.count(tx, account_id, kind, before=before)

        await resources.database.read(read)
    return found


async def _prune(
    resources: Resources, account_id: UUID, kind: Kept, open_from: OpenFrom, batch: int
) -> int:
    async def step(tx: Transaction) -> int:
        before = await _before(tx, resources, account_id, kind, open_from)
        now = resources.clock.now()
        return await retention.prune(tx, account_id, kind, before=before, now=now, limit=batch)

    return await resources.database.run(step, name="prune_records")


async def _before(
    tx: Transaction,
    resources: Resources,
    account_id: UUID,
    kind: Kept,
    open_from: OpenFrom,
) -> datetime:
    floor = await open_from(tx, account_id)
    now = resources.clock.now()
    return resources.policy.retention.before(kind, now=now, open_from=floor)
