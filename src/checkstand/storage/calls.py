"""Calls to Binance: written before they are sent where they may have an effect there."""

from datetime import datetime
from uuid import UUID

from checkstand.storage.database import Transaction, statement

_INSERT = statement(
    "calls.insert",
    """
    INSERT INTO calls (account_id, call_id, order_id, attempt_id, endpoint, started_at)
    VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT DO NOTHING
    RETURNING call_id
    """,
)

_END = statement(
    "calls.end",
    """
    UPDATE calls SET ended_at = $3, outcome = $4, code = $5, summary = $6
     WHERE account_id = $1 AND call_id = $2
    """,
)


async def begin(
    tx: Transaction,
    *,
    account_id: UUID,
    call_id: UUID,
    order_id: UUID,
    attempt_id: UUID,
    endpoint: str,
    started_at: datetime,
) -> bool:
    """Write down that a call is about to be sent; False when that is written already."""
    row = await tx.row(_INSERT, account_id, call_id, order_id, attempt_id, endpoint, started_at)
    return row is not None


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
