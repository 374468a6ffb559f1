"""Forget idempotency keys after their time: in batches, each a transaction of its own."""

from typing import Final

from checkstand.domain.retention import Kept
from checkstand.operations.resources import Resources
from checkstand.storage import idempotency
from checkstand.storage.database import Transaction

#: As in `prune_records`: a round goes on for so many, which is more than comes in until the next.
_BATCH: Final = 500
_BATCHES_MAX: Final = 1000


async def prune_keys(
    resources: Resources, *, batch: int = _BATCH, batches_max: int = _BATCHES_MAX
) -> int:
    """Delete keys older than the policy says, up to so many batches; return how many went."""
    before = resources.policy.retention.before(Kept.KEYS, now=resources.clock.now())

    async def step(tx: Transaction) -> int:
        return await idempotency.prune(tx, before=before, limit=batch)

    pruned = 0
    for _ in range(batches_max):
        number = await resources.database.run(step, name="prune_keys")
        pruned += number
        if number < batch:
            break
    return pruned
