"""Keep the answer of a request that changes something under its key, around whatever it does.

For requests that are safe to repeat by themselves: what a crash leaves unanswered is done again by
whoever repeats it. A create, a refund and a renewal are not, and keep their answers in their own
transactions.
"""

from dataclasses import dataclass
from uuid import UUID

from checkstand.operations.answer_once import answered_before
from checkstand.operations.resources import Resources
from checkstand.storage import idempotency
from checkstand.storage.database import Transaction
from checkstand.storage.idempotency import ClaimOutcome, KeyedRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedKey:
    """A key that is ours to answer under, or the answer that it has already."""

    request: KeyedRequest
    status: int | None = None
    answer: str | None = None


async def claim_key(
    resources: Resources, *, account_id: UUID, route: str, key: str, request_hash: bytes
) -> ClaimedKey:
    """Take a key, or find its answer.

    Raises Conflict for a key that is running or was used for something else.
    """
    now = resources.clock.now()
    request = KeyedRequest(
        account_id=account_id,
        route=route,
        key=key,
        request_hash=request_hash,
        owner=resources.ids.new(),
    )

    async def step(tx: Transaction) -> ClaimedKey:
        claim = await idempotency.claim(tx, request, now=now, until=now + resources.provider_lease)
        if claim.outcome is ClaimOutcome.OURS:
            return ClaimedKey(request=request)
        status, answer = answered_before(claim)
        return ClaimedKey(request=request, status=status, answer=answer)

    return await resources.database.run(step, name="claim_key")


async def keep_answer(
    resources: Resources, *, claimed: ClaimedKey, status: int, answer: str
) -> None:
    """Store the answer that whoever repeats the request gets."""

    async def step(tx: Transaction) -> None:
        await idempotency.finish(tx, claimed.request, status=status, answer=answer)

    await resources.database.run(step, name="keep_answer")


async def let_go_of_key(resources: Resources, *, claimed: ClaimedKey) -> None:
    """Let a request be tried again under its key: it was refused, or failed."""

    async def step(tx: Transaction) -> None:
        await idempotency.let_go(tx, claimed.request)

    await resources.database.run(step, name="let_go_of_key")
