"""One answer for one idempotency key: stored with what it tells of, replayed to whoever repeats."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from checkstand.errors import Conflict
from checkstand.storage import idempotency
from checkstand.storage.database import Transaction
from checkstand.storage.idempotency import Claim, ClaimOutcome, KeyedRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer:
    """What a request led to: a status in HTTP's numbers, as stored, and the body."""

    status: int
    body: Mapping[str, Any]
    replayed: bool = False


async def answer_once(
    tx: Transaction,
    request: KeyedRequest,
    *,
    now: datetime,
    work: Callable[[], Awaitable[StoredAnswer]],
) -> StoredAnswer:
    """Do work that needs this transaction alone, and store its answer; or replay the stored one.

    Raises Conflict for a key that was used for something else.
    """
    # No lease is needed: the row is locked until the answer is there.
    claim = await idempotency.claim(tx, request, now=now, until=now)
    if claim.outcome is not ClaimOutcome.OURS:
        status, text = answered_before(claim)
        return StoredAnswer(status=status, body=json.loads(text), replayed=True)
    answer = await work()
    await idempotency.finish(
        tx, request, status=answer.status, answer=json.dumps(dict(answer.body))
    )
    return answer


def answered_before(claim: Claim) -> tuple[int, str]:
    """Return the stored answer of a key. Raises Conflict where there is none for this request."""
    if claim.outcome is ClaimOutcome.REUSED:
        raise Conflict(
            "idempotency_key_reused",
            "this Idempotency-Key was used for another request; use a new key for a new request",
            field="Idempotency-Key",
        )
    if claim.answer is None or claim.answer_status is None:
        raise Conflict(
            "idempotency_key_running",
            "a request with this Idempotency-Key is being answered; repeat it in a moment",
            field="Idempotency-Key",
            facts={"retry_after_seconds": 2},
        )
    return claim.answer_status, claim.answer
