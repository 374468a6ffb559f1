"""Take leases on the attempts whose time has come; `advance_attempt` takes each one step on.

What somebody waits for comes first and is only counted. Polls wait, by staying due, while their
account's calls are used up: no lane is held meanwhile, and no other account waits with them.
"""

from collections.abc import Sequence
from uuid import UUID

from checkstand.operations.advance_attempt import Lease
from checkstand.operations.resources import Resources
from checkstand.storage import attempts
from checkstand.storage.attempts import PollAllowance
from checkstand.storage.database import Transaction

Claimed = Sequence[tuple[UUID, UUID, UUID]]  # account, order, attempt


async def claim_due_attempts(resources: Resources, *, limit: int) -> list[Lease]:
    """Claim attempts that are due; any number of workers share them.

    Work that fails keeps its lease until it runs out, and is done by whoever comes then.
    """
    owner = resources.ids.new()
    now = resources.clock.now()
    until = now + resources.provider_lease
    rate = resources.policy.call_rate
    accounts = [account.account_id for account in resources.accounts.list_all()]
    allowances = resources.budget.allowances(accounts, rate=rate, now=now)

    async def step(tx: Transaction) -> tuple[Claimed, Claimed]:
        first = await attempts.claim_due(tx, owner=owner, now=now, until=until, limit=limit)
        most = min(limit - len(first), sum(allowances.values()))
        if most <= 0:
            return first, []
        allowed = PollAllowance(
            most=most, none_of=[account for account, number in allowances.items() if number <= 0]
        )
        polls = await attempts.claim_polls(tx, owner=owner, now=now, until=until, allowed=allowed)
        return first, polls

    first, polls = await resources.database.run(step, name="claim_due_attempts")
    # One that claims for several accounts may take a few more of one than it has: they are owed.
    for account_id, _, _ in first:
        resources.budget.spend(account_id, rate=rate, now=now)
    for account_id, _, _ in polls:
        resources.budget.spend_on_poll(account_id, rate=rate, now=now)
    return [
        Lease(account_id=account, order_id=order, attempt_id=attempt, owner=owner)
        for account, order, attempt in (*first, *polls)
    ]
