"""Payments: rows in, domain values out."""

from collections.abc import Sequence
from decimal import Decimal
from uuid import UUID

from checkstand.domain.case import Decision
from checkstand.domain.money import Money
from checkstand.domain.payment import Payment
from checkstand.storage.database import Row, Transaction, render_rows, statement

_COLUMNS = """
    account_id, order_id, attempt_id, payment_id, amount, currency, fee, transaction_id, paid_at,
    received_at, held, refund_reserved, refunded, fee_learnt_at
"""

#: No ON CONFLICT: the order is held, so a payment that is there was seen when the case was read.
_INSERT = statement(
    "payments.insert",
    f"""
    INSERT INTO payments ({_COLUMNS})
    SELECT account_id, order_id, attempt_id, payment_id, (money ->> 'amount')::numeric,
            money ->> 'currency', fee, transaction_id, paid_at, received_at, held,
            refund_reserved, refunded, fee_learnt_at
       FROM jsonb_to_recordset($1::jsonb) AS n (
                account_id uuid, order_id uuid, attempt_id uuid, payment_id uuid, money jsonb,
                fee numeric, transaction_id text, paid_at timestamptz, received_at timestamptz,
                held bool, refund_reserved numeric, refunded numeric, fee_learnt_at timestamptz)
    """,
)

_UPDATE = statement(
    "payments.update",
    """
    UPDATE payments p
       SET fee = n.fee, transaction_id = n.transaction_id, paid_at = n.paid_at, held = n.held,
           refund_reserved = n.refund_reserved, refunded = n.refunded,
           fee_learnt_at = n.fee_learnt_at
      FROM unnest($1::uuid[], $2::uuid[], $3::numeric[], $4::text[], $5::timestamptz[], $6::bool[],
                  $7::numeric[], $8::numeric[], $9::timestamptz[])
           AS n (account_id, payment_id, fee, transaction_id, paid_at, held, refund_reserved,
                 refunded, fee_learnt_at)
     WHERE (p.account_id, p.payment_id) = (n.account_id, n.payment_id)
    """,
)

#: What an open refund asks back is added here and nowhere else, so that whatever else is wrong no
#: two refunds ever ask for the same money.
_RESERVE = statement(
    "payments.reserve",
    """
    UPDATE payments SET refund_reserved = refund_reserved + $3
     WHERE account_id = $1 AND payment_id = $2 AND refunded + refund_reserved + $3 <= amount
    RETURNING refund_reserved
    """,
)

_OF_ORDERS = statement(
    "payments.of_orders",
    f"""
    SELECT {_COLUMNS} FROM payments
     WHERE (account_id, order_id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[]))
     ORDER BY account_id, order_id, received_at, payment_id
    """,
)


async def of_orders(tx: Transaction, keys: Sequence[tuple[UUID, UUID]]) -> list[Payment]:
    """Read the payments of orders, oldest first."""
    if not keys:
        return []
    rows = await tx.rows(_OF_ORDERS, [k[0] for k in keys], [k[1] for k in keys])
    return [parse(row) for row in rows]


async def save(tx: Transaction, decisions: Sequence[Decision]) -> None:
    """Write new payments, and what was learnt about known ones. The caller holds the orders."""
    known = {p.payment_id: p for d in decisions for p in d.before.payments}
    after = [p for d in decisions for p in d.case.payments]
    fresh = [p for p in after if p.payment_id not in known]
    fuller = [p for p in after if p.payment_id in known and p != known[p.payment_id]]
    if fresh:
        await tx.run(_INSERT, render_rows(fresh))
    if fuller:
        await tx.run(
            _UPDATE,
            [p.account_id for p in fuller],
            [p.payment_id for p in fuller],
            [p.fee for p in fuller],
            [p.transaction_id for p in fuller],
            [p.paid_at for p in fuller],
            [p.held for p in fuller],
            [p.refund_reserved for p in fuller],
            [p.refunded for p in fuller],
            [p.fee_learnt_at for p in fuller],
        )


async def reserve(tx: Transaction, account_id: UUID, payment_id: UUID, amount: Decimal) -> bool:
    """Set money of a payment aside for a refund; False when that much is not left of it."""
    return await tx.row(_RESERVE, account_id, payment_id, amount) is not None


def parse(row: Row) -> Payment:
    """Make a payment of its row."""
    return Payment(
        account_id=row["account_id"],
        order_id=row["order_id"],
        attempt_id=row["attempt_id"],
        payment_id=row["payment_id"],
        money=Money(row["amount"], row["currency"]),
        fee=row["fee"],
        fee_learnt_at=row["fee_learnt_at"],
        transaction_id=row["transaction_id"],
        paid_at=row["paid_at"],
        received_at=row["received_at"],
        held=row["held"],
        refund_reserved=row["refund_reserved"],
        refunded=row["refunded"],
    )
