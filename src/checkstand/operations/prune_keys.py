"""Forget idempotency keys after their time."""

from datetime import timedelta

from checkstand.operations.resources import Resources
from checkstand.storage import idempotency
from checkstand.storage.database import Transaction


async def prune_keys(resources: Resources, *, limit: int = 1000) -> int:
    """Delete keys older than the policy says; return how many went."""
    before = resources.clock.now() - timedelta(days=resources.policy.idempotency_days)

    async def step(tx: Transaction) -> int:
        return await idempotency.prune(tx, before=before, limit=limit)

    return await resources.database.run(step, name="prune_keys")
