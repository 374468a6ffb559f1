"""Take the attempts whose time has come, and take each one step on."""

import asyncio

import structlog

from checkstand.errors import CheckstandError
from checkstand.operations.advance_attempt import Lease, advance_attempt
from checkstand.operations.resources import Resources
from checkstand.storage import attempts
from checkstand.storage.database import Transaction

_log = structlog.get_logger()


async def advance_due_attempts(resources: Resources, *, limit: int = 20) -> int:
    """Claim due attempts and advance them side by side; return how many were claimed.

    One that fails keeps its lease until it runs out, and is tried again by whoever comes then.
    """
    owner = resources.ids.new()
    now = resources.clock.now()

    async def claim(tx: Transaction) -> list[Lease]:
        claimed = await attempts.claim_due(
            tx, owner=owner, now=now, until=now + resources.provider_lease, limit=limit
        )
        return [
            Lease(account_id=account, order_id=order, attempt_id=attempt, owner=owner)
            for account, order, attempt in claimed
        ]

    leases = await resources.database.run(claim, name="advance_due_attempts.claim")
    await asyncio.gather(*(_advance(resources, lease) for lease in leases))
    return len(leases)


async def _advance(resources: Resources, lease: Lease) -> None:
    try:
        await advance_attempt(resources, lease=lease)
    except CheckstandError as error:
        _log.warning("attempt not advanced", attempt_id=str(lease.attempt_id), error=error.message)
