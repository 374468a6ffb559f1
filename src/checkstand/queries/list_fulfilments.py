"""What the shop owes: paid orders that it has not acknowledged, the longest waiting first."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from checkstand.storage.database import Database, Transaction, statement

_PAGE = statement(
    "list_fulfilments.page",
    """
    SELECT order_id, merchant_order_id, paid_at, fulfilment_offers, fulfilment_until,
           fulfilment_due_at
      FROM orders
     WHERE account_id = $1 AND status = 'PAID'
       AND ($2::uuid IS NULL OR (paid_at, order_id) > (
           SELECT paid_at, order_id FROM orders WHERE account_id = $1 AND order_id = $2))
     ORDER BY paid_at, order_id
     LIMIT $3
    """,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwedOrder:
    """A paid order that nobody has acknowledged."""

    order_id: UUID
    merchant_order_id: str
    paid_at: datetime
    offers: int
    lease_until: datetime | None
    offered_again_at: datetime | None

    def lease_until_after(self, now: datetime) -> datetime | None:
        """Say until when somebody has it in hand; None when nobody has."""
        return self.lease_until if self.lease_until and self.lease_until > now else None


async def list_fulfilments(
    database: Database, account_id: UUID, *, starting_after: UUID | None, limit: int
) -> tuple[list[OwedOrder], bool]:
    """Read a page of unacknowledged orders behind `starting_after`, and whether there are more."""

    async def read(tx: Transaction) -> tuple[list[OwedOrder], bool]:
        rows = await tx.rows(_PAGE, account_id, starting_after, limit + 1)
        owed = [
            OwedOrder(
                order_id=row["order_id"],
                merchant_order_id=row["merchant_order_id"],
                paid_at=row["paid_at"],
                offers=row["fulfilment_offers"],
                lease_until=row["fulfilment_until"],
                offered_again_at=row["fulfilment_due_at"],
            )
            for row in rows[:limit]
        ]
        return owed, len(rows) > limit

    return await database.read(read)
