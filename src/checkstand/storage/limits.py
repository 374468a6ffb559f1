"""Limits of accounts, what they are counted by, and the gates that make a count exact.

Two requests at once must not both pass under one limit. Whoever counts holds a gate until it
commits: a row for each kind and each of a few hundred hashes of what is counted, so that unrelated
buyers seldom meet and no row tells who they are.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from checkstand.domain.limits import Limit, LimitKind, Limits, OpenOrders, RefundsOfDay
from checkstand.domain.order import Terms
from checkstand.storage.database import Transaction, statement

_LIST = statement(
    "account_limits.list",
    """
    SELECT kind, currency, most FROM account_limits
     WHERE account_id = $1 AND most IS NOT NULL ORDER BY kind, currency
    """,
)
_INSERT = statement(
    "account_limits.insert",
    """
    INSERT INTO account_limits (account_id, kind, currency, most, set_at)
    VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT DO NOTHING
    RETURNING kind
    """,
)
_UPDATE = statement(
    "account_limits.update",
    """
    UPDATE account_limits SET most = $4, set_at = $5
     WHERE account_id = $1 AND kind = $2 AND currency = $3
    """,
)
_ENSURE_GATES = statement(
    "limit_gates.ensure",
    """
    INSERT INTO limit_gates (account_id, kind, gate)
    SELECT $1, n.kind, n.gate FROM unnest($2::text[], $3::int[]) AS n (kind, gate)
    ON CONFLICT DO NOTHING
    """,
)
_LOCK_GATES = statement(
    "limit_gates.lock",
    """
    SELECT gate FROM limit_gates
     WHERE account_id = $1
       AND (kind, gate) IN (SELECT * FROM unnest($2::text[], $3::int[]))
     ORDER BY account_id, kind, gate
       FOR UPDATE
    """,
)
_COUNT_OPEN = statement(
    "orders.count_open",
    """
    SELECT (SELECT count(*) FROM orders
             WHERE account_id = $1 AND buyer_reference = $2
               AND status IN ('CREATED', 'PENDING_PAYMENT')) AS of_buyer,
           (SELECT count(*) FROM orders
             WHERE account_id = $1 AND client_ip = $3
               AND status IN ('CREATED', 'PENDING_PAYMENT')) AS of_address
    """,
)
_OF_DAY = statement(
    "refunds.of_day",
    """
    SELECT coalesce(sum(amount), 0) AS amount, count(*) AS number
      FROM refunds
     WHERE account_id = $1 AND currency = $2 AND requested_at > $3
       AND status <> 'FAILED' AND NOT is_elsewhere
       AND (approval_reason IS NULL OR approved_at IS NOT NULL OR in_doubt
            OR status <> 'REQUESTED')
    """,
)

_GATES: Final = 256


async def list_of(tx: Transaction, account_id: UUID) -> Limits:
    """Read an account's limits."""
    rows = await tx.rows(_LIST, account_id)
    return Limits.of(
        Limit(kind=LimitKind(row["kind"]), currency=row["currency"], most=row["most"])
        for row in rows
    )


async def put(
    tx: Transaction,
    account_id: UUID,
    *,
    kind: LimitKind,
    currency: str,
    most: Decimal | None,
    now: datetime,
) -> None:
    """Set a limit, or with None take it back."""
    if await tx.row(_INSERT, account_id, kind, currency, most, now) is None:
        await tx.run(_UPDATE, account_id, kind, currency, most, now)


async def count_open_orders(tx: Transaction, account_id: UUID, terms: Terms) -> OpenOrders:
    """Count the unpaid orders of a buyer and of an address, exactly until the caller commits."""
    subjects = [
        (LimitKind.OPEN_ORDERS_PER_BUYER, terms.buyer_reference),
        (LimitKind.OPEN_ORDERS_PER_ADDRESS, terms.client_ip),
    ]
    await _hold(tx, account_id, [(kind, subject) for kind, subject in subjects if subject])
    (row,) = await tx.rows(_COUNT_OPEN, account_id, terms.buyer_reference, terms.client_ip)
    return OpenOrders(of_buyer=row["of_buyer"], of_address=row["of_address"])


async def sum_refunds(
    tx: Transaction, account_id: UUID, currency: str, *, since: datetime
) -> RefundsOfDay:
    """Sum up an asset's refunds since a moment, exactly until the caller commits."""
    await _hold(tx, account_id, [(LimitKind.REFUNDS_PER_DAY, currency)])
    (row,) = await tx.rows(_OF_DAY, account_id, currency, since)
    return RefundsOfDay(amount=row["amount"], number=row["number"])


async def _hold(
    tx: Transaction, account_id: UUID, subjects: Sequence[tuple[LimitKind, str]]
) -> None:
    kinds = [kind for kind, _ in subjects]
    gates = [_gate_of(subject) for _, subject in subjects]
    await tx.run(_ENSURE_GATES, account_id, kinds, gates)
    # What is counted next sees all that whoever held the gates before has committed.
    await tx.rows(_LOCK_GATES, account_id, kinds, gates)


def _gate_of(subject: str) -> int:
    return int.from_bytes(hashlib.sha256(subject.encode()).digest()[:4]) % _GATES
