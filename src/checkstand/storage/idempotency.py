"""Idempotency keys: one answer to one request, however often and wherever it arrives."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from checkstand.storage.database import Transaction, statement

_INSERT = statement(
    "idempotency_keys.insert",
    """
    INSERT INTO idempotency_keys (
        account_id, route, key, request_hash, created_at, lease_owner, lease_until
    )
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT DO NOTHING
    RETURNING key
    """,
)
_LOCK = statement(
    "idempotency_keys.lock",
    """
    SELECT request_hash, lease_owner, lease_until, order_id, answer_status, answer
      FROM idempotency_keys
     WHERE account_id = $1 AND route = $2 AND key = $3
       FOR UPDATE
    """,
)
_TAKE_OVER = statement(
    "idempotency_keys.take_over",
    """
    UPDATE idempotency_keys SET lease_owner = $4, lease_until = $5
     WHERE account_id = $1 AND route = $2 AND key = $3
    """,
)
_LET_GO = statement(
    "idempotency_keys.let_go",
    """
    DELETE FROM idempotency_keys
     WHERE account_id = $1 AND route = $2 AND key = $3 AND lease_owner = $4
       AND answer_status IS NULL
    """,
)
_CONCERN = statement(
    "idempotency_keys.concern",
    """
    UPDATE idempotency_keys SET order_id = $4
     WHERE account_id = $1 AND route = $2 AND key = $3
    """,
)
_FINISH = statement(
    "idempotency_keys.finish",
    """
    UPDATE idempotency_keys
       SET answer_status = $5, answer = $6, lease_owner = NULL, lease_until = NULL
     WHERE account_id = $1 AND route = $2 AND key = $3 AND lease_owner = $4
    """,
)
_PRUNE = statement(
    "idempotency_keys.prune",
    """
    DELETE FROM idempotency_keys
     WHERE (account_id, route, key) IN (
        SELECT account_id, route, key FROM idempotency_keys
         WHERE created_at < $1
         ORDER BY created_at, account_id, route, key
         LIMIT $2)
    RETURNING key
    """,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedRequest:
    """A request under its key, and who is answering it."""

    account_id: UUID
    route: str
    key: str
    request_hash: bytes
    owner: UUID


class ClaimOutcome(StrEnum):
    """What a key turned out to be."""

    OURS = "ours"  # new, or its holder is gone: go on
    RUNNING = "running"  # somebody is at it
    FINISHED = "finished"  # answered before
    REUSED = "reused"  # answered or running, for another request


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The key's state, and what was done under it so far."""

    outcome: ClaimOutcome
    order_id: UUID | None = None
    answer_status: int | None = None
    answer: str | None = None
    lease_until: datetime | None = None


async def claim(tx: Transaction, request: KeyedRequest, *, now: datetime, until: datetime) -> Claim:
    """Take a key, or say who has it. The row stays locked until the caller commits."""
    place = (request.account_id, request.route, request.key)
    if await tx.row(_INSERT, *place, request.request_hash, now, request.owner, until):
        return Claim(outcome=ClaimOutcome.OURS)
    row = await tx.row(_LOCK, *place)
    if row is None:  # pruned between the two statements: as good as new
        return await claim(tx, request, now=now, until=until)
    if bytes(row["request_hash"]) != request.request_hash:
        return Claim(outcome=ClaimOutcome.REUSED)
    if row["answer_status"] is not None:
        return Claim(
            outcome=ClaimOutcome.FINISHED,
            order_id=row["order_id"],
            answer_status=row["answer_status"],
            answer=row["answer"],
        )
    # A step that runs again finds its own lease, and goes on under it.
    if row["lease_owner"] != request.owner and row["lease_until"] > now:
        return Claim(
            outcome=ClaimOutcome.RUNNING, order_id=row["order_id"], lease_until=row["lease_until"]
        )
    await tx.run(_TAKE_OVER, *place, request.owner, until)
    return Claim(outcome=ClaimOutcome.OURS, order_id=row["order_id"])


async def concern(tx: Transaction, request: KeyedRequest, order_id: UUID) -> None:
    """Write down which order a key's request is about, so that a successor goes on with it."""
    await tx.run(_CONCERN, request.account_id, request.route, request.key, order_id)


async def finish(tx: Transaction, request: KeyedRequest, *, status: int, answer: str) -> None:
    """Store the answer, if the key is still ours."""
    await tx.run(
        _FINISH, request.account_id, request.route, request.key, request.owner, status, answer
    )


async def let_go(tx: Transaction, request: KeyedRequest) -> None:
    """Forget a key that led to nothing, if it is still ours."""
    await tx.run(_LET_GO, request.account_id, request.route, request.key, request.owner)


async def prune(tx: Transaction, *, before: datetime, limit: int) -> int:
    """Forget keys from before a moment; return how many."""
    return len(await tx.rows(_PRUNE, before, limit))
