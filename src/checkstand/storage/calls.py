"""Calls to Binance: written before they are sent where they may have an effect there."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from checkstand.storage.database import Transaction, statement

#: Whether the account is stopped comes with it: what a process remembers of that may be old.
_INSERT = statement(
    "calls.insert",
    """
    INSERT INTO calls (account_id, call_id, order_id, attempt_id, endpoint, started_at)
    VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT DO NOTHING
    RETURNING (SELECT a.halted_reason FROM accounts a WHERE a.account_id = $1) AS halted_reason
    """,
)

_END = statement(
    "calls.end",
    """
    UPDATE calls SET ended_at = $3, outcome = $4, code = $5, summary = $6
     WHERE account_id = $1 AND call_id = $2
    """,
)

#: The newest answers to queries, each about an attempt that Binance itself gave an id. That one is
#: missing of which a person has accepted it tells nothing new.
_RECENT_QUERIES = statement(
    "calls.recent_queries",
    """
    SELECT c.attempt_id, c.code
      FROM calls c
      JOIN attempts a ON (a.account_id, a.attempt_id) = (c.account_id, c.attempt_id)
      JOIN accounts h ON h.account_id = c.account_id
     WHERE c.account_id = $1 AND c.endpoint = '/v2/order/query' AND c.outcome = 'accepted'
       AND a.prepay_id IS NOT NULL AND c.ended_at > coalesce(h.resumed_at, $2)
       AND NOT EXISTS (
           SELECT 1 FROM anomalies y
            WHERE (y.account_id, y.order_id) = (a.account_id, a.order_id)
              AND y.attempt_id = a.attempt_id AND y.kind = 'provider_contradicts'
              AND y.resolution = 'accept' AND y.resolved_by <> 'policy')
     ORDER BY c.ended_at DESC, c.call_id DESC
     LIMIT $3
    """,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """What came of writing down a call."""

    is_new: bool  # else it was written before: a commit of our own, not heard of
    halted_reason: str | None = None  # why the account is stopped, if it is


async def begin(
    tx: Transaction,
    *,
    account_id: UUID,
    call_id: UUID,
    order_id: UUID,
    attempt_id: UUID,
    endpoint: str,
    started_at: datetime,
) -> Begun:
    """Write down that a call is about to be sent."""
    row = await tx.row(_INSERT, account_id, call_id, order_id, attempt_id, endpoint, started_at)
    return Begun(is_new=row is not None, halted_reason=row["halted_reason"] if row else None)


async def end(
    tx: Transaction,
    *,
    account_id: UUID,
    call_id: UUID,
    ended_at: datetime,
    outcome: str,
    code: str | None,
    summary: str,
) -> None:
    """Write down what came of a call. Answers from a crash stay open, which says so."""
    await tx.run(_END, account_id, call_id, ended_at, outcome, code, summary)


async def recent_queries(
    tx: Transaction, account_id: UUID, *, since: datetime, limit: int
) -> list[tuple[UUID, str | None]]:
    """Read what the newest queries said, newest first: (attempt_id, Binance's code).

    Only of attempts that were there, and nothing from before a person let the account go on.
    """
    rows = await tx.rows(_RECENT_QUERIES, account_id, since, limit)
    return [(row["attempt_id"], row["code"]) for row in rows]
