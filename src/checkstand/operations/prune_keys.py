"""Forget idempotency keys after their time: in batches, each a transaction of its own."""

from checkstand.domain.retention import Kept
from checkstand.operations.prune_records import BATCH, BATCHES_MAX, in_batches
from checkstand.operations.resources import Resources
from checkstand.storage import idempotency
from checkstand.storage.database import Transaction


async def prune_keys(
    resources: Resources, *, batch: int = BATCH, batches_max: int = BATCHES_MAX
) -> int:
    """Delete keys older than the policy says, up to so many batches; return how many went."""
    before = resources.policy.retention.before(Kept.KEYS, now=resources.clock.now())

    async def step(tx: Transaction) -> int:
        return await idempotency.prune(tx, before=before, limit=batch)

    async def forget() -> int:
        return await resources.database.run(step, name="prune_keys")

    return await in_batches(forget, batch=batch, batches_max=batches_max)
