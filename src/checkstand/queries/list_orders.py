"""Orders, newest first, a page at a time."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from checkstand.domain.case import Case
from checkstand.storage import cases, orders
from checkstand.storage.database import Database, Transaction, statement

_PAGE = statement(
    "list_orders.page",
    """
    SELECT order_id FROM orders
     WHERE account_id = $1 AND (created_at, order_id) < ($2, $3)
     ORDER BY created_at DESC, order_id DESC LIMIT $4
    """,
)
_PAGE_OF_STATUS = statement(
    "list_orders.page_of_status",
    """
    SELECT order_id FROM orders
     WHERE account_id = $1 AND status = $5 AND (created_at, order_id) < ($2, $3)
     ORDER BY created_at DESC, order_id DESC LIMIT $4
    """,
)
_POSITION = statement(
    "list_orders.position",
    "SELECT created_at FROM orders WHERE account_id = $1 AND order_id = $2",
)

_LAST_ID = UUID(int=2**128 - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderPage:
    """One page of orders, and whether there are more behind it."""

    cases: list[Case]
    has_more: bool


async def list_orders(
    database: Database,
    account_id: UUID,
    *,
    status: str | None,
    starting_after: UUID | None,
    limit: int,
    now: datetime,
) -> OrderPage:
    """Read a page of orders behind `starting_after`. Stable while orders are added."""

    async def read(tx: Transaction) -> OrderPage:
        before = (now + timedelta(days=1), _LAST_ID)
        if starting_after is not None:
            row = await tx.row(_POSITION, account_id, starting_after)
            if row is None:
                return OrderPage(cases=[], has_more=False)
            before = (row["created_at"], starting_after)
        values = [account_id, *before, limit + 1]
        rows = (
            await tx.rows(_PAGE, *values)
            if status is None
            else await tx.rows(_PAGE_OF_STATUS, *values, status)
        )
        keys = [(account_id, row["order_id"]) for row in rows[:limit]]
        found = await cases.get_many(tx, keys)
        return OrderPage(cases=[found[key] for key in keys], has_more=len(rows) > limit)

    # On one snapshot: an order and its payments are written together and must be read so.
    return await database.read(read, snapshot=True)


async def find_order(database: Database, account_id: UUID, order_id: UUID) -> Case | None:
    """Read one order."""
    key = (account_id, order_id)

    async def read(tx: Transaction) -> Case | None:
        return (await cases.get_many(tx, [key])).get(key)

    return await database.read(read, snapshot=True)


async def find_order_by_merchant_id(
    database: Database, account_id: UUID, merchant_order_id: str
) -> Case | None:
    """Read the one order that the shop knows by this id."""

    async def read(tx: Transaction) -> UUID | None:
        return await orders.find_id(tx, account_id, merchant_order_id=merchant_order_id)

    order_id = await database.read(read)
    return None if order_id is None else await find_order(database, account_id, order_id)
