"""Take leases on the attempts whose time has come; `advance_attempt` takes each one step on."""

from checkstand.operations.advance_attempt import Lease
from checkstand.operations.resources import Resources
from checkstand.storage import attempts
from checkstand.storage.database import Transaction


async def claim_due_attempts(resources: Resources, *, limit: int) -> list[Lease]:
    """Claim attempts that are due; any number of workers share them.

    Work that fails keeps its lease until it runs out, and is done by whoever comes then.
    """
    owner = resources.ids.new()
    now = resources.clock.now()

    async def step(tx: Transaction) -> list[Lease]:
        claimed = await attempts.claim_due(
            tx, owner=owner, now=now, until=now + resources.provider_lease, limit=limit
        )
        return [
            Lease(account_id=account, order_id=order, attempt_id=attempt, owner=owner)
            for account, order, attempt in claimed
        ]

    return await resources.database.run(step, name="claim_due_attempts")
