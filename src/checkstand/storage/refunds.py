"""Refunds: rows in, domain values out, and the claim of those that are due."""

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import Final
from uuid import UUID

from checkstand.domain.case import Decision
from checkstand.domain.money import Money
from checkstand.domain.refund import Refund, RefundStatus
from checkstand.storage.database import Row, Transaction, statement

#: Every column with its type, in the order in which they are sent.
_COLUMN_TYPES: Final = {
    "account_id": "uuid",
    "order_id": "uuid",
    "attempt_id": "uuid",
    "payment_id": "uuid",
    "refund_id": "uuid",
    "merchant_refund_id": "text",
    "amount": "numeric",
    "currency": "text",
    "requested_at": "timestamptz",
    "requested_by": "text",
    "reason": "text",
    "status": "text",
    "is_elsewhere": "bool",
    "checked_at": "timestamptz",
    "compared_at": "timestamptz",
    "sends": "int",
    "last_sent_at": "timestamptz",
    "in_doubt": "bool",
    "absences": "int",
    "last_absent_at": "timestamptz",
    "returned": "numeric",
    "fee_returned": "numeric",
    "fee_return_learnt_at": "timestamptz",
    "remaining_attempts": "int",
    "failure": "text",
    "ended_at": "timestamptz",
    "returned_at": "timestamptz",
    "asks": "int",
    "due_at": "timestamptz",
    "lease_owner": "uuid",
    "lease_until": "timestamptz",
    "requester": "text",
    "approval_reason": "text",
    "approved_by": "text",
    "approved_at": "timestamptz",
}
_COLUMNS = ", ".join(_COLUMN_TYPES)
_ARRAYS = ", ".join(f"${n}::{type_}[]" for n, type_ in enumerate(_COLUMN_TYPES.values(), 1))
#: What a refund is for never changes; where it stands does.
_CHANGING = list(_COLUMN_TYPES)[list(_COLUMN_TYPES).index("status") :]

#: No ON CONFLICT: whether the shop's id is taken was seen under the lock on the order's payments,
#: and a second order that uses it meets the unique key.
_INSERT = statement(
    "refunds.insert",
    f"INSERT INTO refunds ({_COLUMNS}) SELECT {_COLUMNS} FROM unnest({_ARRAYS}) AS n ({_COLUMNS})",
)

#: Written only under the lock on the refund's order, so no version of its own is needed.
_UPDATE = statement(
    "refunds.update",
    f"""
    UPDATE refunds r
       SET {", ".join(f"{name} = n.{name}" for name in _CHANGING)}
      FROM unnest({_ARRAYS}) AS n ({_COLUMNS})
     WHERE (r.account_id, r.refund_id) = (n.account_id, n.refund_id)
    """,
)

_OF_ORDERS = statement(
    "refunds.of_orders",
    f"""
    SELECT {_COLUMNS} FROM refunds
     WHERE (account_id, order_id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[]))
     ORDER BY account_id, order_id, requested_at, refund_id
    """,
)

_LOCK_OF_ORDERS = statement("refunds.lock_of_orders", _OF_ORDERS.text + " FOR UPDATE")

#: The lease is taken on the refund alone and in a transaction of its own. Whatever made it due, one
#: that waits for a second person is not taken.
_CLAIM_DUE = statement(
    "refunds.claim_due",
    """
    WITH due AS MATERIALIZED (
        SELECT r.account_id, r.refund_id
          FROM refunds r
         WHERE r.due_at <= $2 AND (r.lease_until IS NULL OR r.lease_until <= $2)
           AND NOT (r.status = 'REQUESTED' AND r.approval_reason IS NOT NULL
                    AND r.approved_at IS NULL)
           AND NOT EXISTS (
               SELECT 1 FROM accounts c
                WHERE c.account_id = r.account_id AND c.halted_reason IS NOT NULL)
           AND NOT EXISTS (
               SELECT 1 FROM provider_rests p
                WHERE p.account_id = r.account_id AND p.rest_until > $2
                  AND p.trouble = 'too_many')
           AND NOT EXISTS (
               SELECT 1 FROM recoveries v
                WHERE v.account_id = r.account_id AND v.finished_at IS NULL)
         ORDER BY r.due_at, r.account_id, r.refund_id
         LIMIT $4
           FOR UPDATE OF r SKIP LOCKED)
    UPDATE refunds u
       SET lease_owner = $1, lease_until = $3
      FROM due
     WHERE (u.account_id, u.refund_id) = (due.account_id, due.refund_id)
    RETURNING u.account_id, u.order_id, u.refund_id
    """,
)

_LIST_IN_DOUBT = statement(
    "refunds.list_in_doubt",
    """
    SELECT r.account_id, r.order_id FROM refunds r
     WHERE r.status IN ('SENT', 'UNKNOWN') AND r.requested_at <= $1
       AND NOT EXISTS (
           SELECT 1 FROM anomalies y
            WHERE (y.account_id, y.order_id) = (r.account_id, r.order_id)
              AND y.attempt_id = r.attempt_id AND y.kind = 'unknown_too_long'
              AND y.resolved_at IS NULL)
       AND NOT EXISTS (
           SELECT 1 FROM accounts c
            WHERE c.account_id = r.account_id AND c.halted_reason IS NOT NULL)
     ORDER BY r.requested_at, r.account_id, r.refund_id
     LIMIT $2
    """,
)

_FIND_BY_MERCHANT_REFUND_ID = statement(
    "refunds.find_by_merchant_refund_id",
    f"SELECT {_COLUMNS} FROM refunds WHERE account_id = $1 AND merchant_refund_id = $2",
)


async def list_in_doubt(
    tx: Transaction, *, unknown_before: datetime, limit: int
) -> list[tuple[UUID, UUID]]:
    """List the orders, as (account_id, order_id), of refunds whose fate stays unknown."""
    rows = await tx.rows(_LIST_IN_DOUBT, unknown_before, limit)
    return [(row["account_id"], row["order_id"]) for row in rows]


async def of_orders(
    tx: Transaction, keys: Sequence[tuple[UUID, UUID]], *, lock: bool
) -> list[Refund]:
    """Read the refunds of orders, oldest first; hold them too when the order is held."""
    if not keys:
        return []
    sql = _LOCK_OF_ORDERS if lock else _OF_ORDERS
    rows = await tx.rows(sql, [k[0] for k in keys], [k[1] for k in keys])
    return [parse(row) for row in rows]


async def find_by_merchant_id(
    tx: Transaction, account_id: UUID, merchant_refund_id: str
) -> Refund | None:
    """Look a refund up by the shop's own id."""
    row = await tx.row(_FIND_BY_MERCHANT_REFUND_ID, account_id, merchant_refund_id)
    return parse(row) if row else None


async def claim_due(
    tx: Transaction, *, owner: UUID, now: datetime, until: datetime, limit: int
) -> list[tuple[UUID, UUID, UUID]]:
    """Take leases on refunds whose time has come; return (account_id, order_id, refund_id)."""
    rows = await tx.rows(_CLAIM_DUE, owner, now, until, limit)
    return [(row["account_id"], row["order_id"], row["refund_id"]) for row in rows]


async def save(tx: Transaction, decisions: Sequence[Decision]) -> None:
    """Write new and changed refunds. The caller holds their orders.

    Changed ones go first: one must have left its flight before another takes off.
    """
    known = {r.refund_id: r for d in decisions for r in d.before.refunds}
    after = [r for d in decisions for r in d.case.refunds]
    changed = [r for r in after if r.refund_id in known and r != known[r.refund_id]]
    # Within one statement too: a unique key is checked row by row.
    changed.sort(key=lambda refund: refund.is_open)
    for sql, refunds in (
        (_UPDATE, changed),
        (_INSERT, [r for r in after if r.refund_id not in known]),
    ):
        if refunds:
            await tx.run(sql, *_columns(refunds))


def _columns(refunds: Sequence[Refund]) -> list[list[object]]:
    """Turn refunds into one array a column, in the order of the columns."""
    rows = [
        {name: getattr(refund, name, None) for name in _COLUMN_TYPES}
        | {"amount": refund.amount.amount, "currency": refund.amount.currency}
        for refund in refunds
    ]
    return [[row[name] for row in rows] for name in _COLUMN_TYPES]


def parse(row: Row) -> Refund:
    """Make a refund of its row."""
    values = {field.name: row[field.name] for field in fields(Refund)}
    values |= {
        "amount": Money(row["amount"], row["currency"]),
        "status": RefundStatus(row["status"]),
    }
    return Refund(**values)
