"""Forget idempotency keys after their time."""

from checkstand.domain.retention import Kept
from checkstand.operations.resources import Resources
from checkstand.storage import idempotency
from checkstand.storage.database import Transaction


async def prune_keys(resources: Resources, *, limit: int = 1000) -> int:
    """Delete keys older than the policy says; return how many went."""
    before = resources.policy.retention.before(Kept.KEYS, now=resources.clock.now())

    async def step(tx: Transaction) -> int:
        return await idempotency.prune(tx, before=before, limit=limit)

    return await resources.database.run(step, name="prune_keys")
