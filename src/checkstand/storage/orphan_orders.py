"""Orders at Binance that carry our own mark and that our rows do not know: only theirs."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from checkstand.storage.database import Transaction, statement


@dataclass(frozen=True, slots=True, kw_only=True)
class OrphanOrder:
    """One of them, as its notice and our query tell of it."""

    account_id: UUID
    merchant_trade_no: str
    notice_id: UUID
    order_id: UUID
    attempt_id: UUID
    prepay_id: str | None
    status: str | None
    amount: Decimal | None
    currency: str | None
    transaction_id: str | None
    explanation: str
    found_at: datetime
    asked_at: datetime


_COLUMNS = ", ".join(field.name for field in fields(OrphanOrder))
_VALUES = ", ".join(f"${number}" for number, _ in enumerate(fields(OrphanOrder), 1))

_INSERT = statement(
    "orphan_orders.insert",
    f"""
    INSERT INTO orphan_orders ({_COLUMNS}) VALUES ({_VALUES})
    ON CONFLICT DO NOTHING
    RETURNING account_id
    """,
)
_UPDATE = statement(
    "orphan_orders.update",
    """
    UPDATE orphan_orders
       SET prepay_id = $3, status = $4, amount = $5, currency = $6, transaction_id = $7,
           explanation = $8, asked_at = $9
     WHERE account_id = $1 AND merchant_trade_no = $2
    """,
)
_FIND = statement(
    "orphan_orders.find",
    f"SELECT {_COLUMNS} FROM orphan_orders WHERE account_id = $1 AND merchant_trade_no = $2",
)
_LIST = statement(
    "orphan_orders.list",
    f"SELECT {_COLUMNS} FROM orphan_orders WHERE account_id = $1 ORDER BY found_at",
)


async def put(tx: Transaction, orphan: OrphanOrder) -> None:
    """Write down what is known of one."""
    if await tx.row(_INSERT, *astuple(orphan)) is None:
        await tx.run(
            _UPDATE,
            orphan.account_id,
            orphan.merchant_trade_no,
            orphan.prepay_id,
            orphan.status,
            orphan.amount,
            orphan.currency,
            orphan.transaction_id,
            orphan.explanation,
            orphan.asked_at,
        )


async def find(tx: Transaction, account_id: UUID, merchant_trade_no: str) -> OrphanOrder | None:
    """Look one up by its number."""
    row = await tx.row(_FIND, account_id, merchant_trade_no)
    return OrphanOrder(**dict(row)) if row else None


async def list_of(tx: Transaction, account_id: UUID) -> Sequence[OrphanOrder]:
    """List an account's, oldest first."""
    return [OrphanOrder(**dict(row)) for row in await tx.rows(_LIST, account_id)]
