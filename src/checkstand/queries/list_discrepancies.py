"""Discrepancies as people work through them: newest first, or the open ones alone."""

from dataclasses import dataclass
from datetime import date
from uuid import UUID

from checkstand.domain.reconciliation import Discrepancy
from checkstand.storage import discrepancies
from checkstand.storage.database import Database, Transaction, statement

_PAGE = statement(
    "list_discrepancies.page",
    """
    SELECT account_id, discrepancy_id, day, bucket, kind, subject, order_id, attempt_id,
           refund_id, currency, amount, ours, theirs, can_heal, found_at, seen_at, asked_at,
           told_at, resolved_at, resolved_by, resolution, reason, closed_in
      FROM discrepancies
     WHERE account_id = $1
       AND ($2::bool IS NULL OR (resolved_at IS NULL) = $2)
       AND ($3::date IS NULL OR day = $3)
       AND ($4::text IS NULL OR kind = $4)
       AND ($5::uuid IS NULL OR (found_at, discrepancy_id) < (
           SELECT found_at, discrepancy_id FROM discrepancies
            WHERE account_id = $1 AND discrepancy_id = $5))
     ORDER BY found_at DESC, discrepancy_id DESC LIMIT $6
    """,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscrepancyFilter:
    """Which discrepancies are wanted; what is None is of no matter."""

    is_open: bool | None = None
    day: date | None = None
    kind: str | None = None


async def list_discrepancies(
    database: Database,
    account_id: UUID,
    *,
    wanted: DiscrepancyFilter,
    starting_after: UUID | None,
    limit: int,
) -> tuple[list[Discrepancy], bool]:
    """Read a page of discrepancies behind `starting_after`, and whether there are more."""

    async def read(tx: Transaction) -> tuple[list[Discrepancy], bool]:
        rows = await tx.rows(
            _PAGE, account_id, wanted.is_open, wanted.day, wanted.kind, starting_after, limit + 1
        )
        return [discrepancies.parse(row) for row in rows[:limit]], len(rows) > limit

    return await database.read(read)
