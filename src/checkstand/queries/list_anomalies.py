"""What is odd across an account, newest first: what waits for somebody, or what was settled."""

from uuid import UUID

from checkstand.domain.anomaly import Anomaly
from checkstand.errors import NotFound
from checkstand.storage import anomalies
from checkstand.storage.database import Database, Transaction, statement

_POSITION = statement(
    "list_anomalies.position",
    "SELECT opened_at FROM anomalies WHERE account_id = $1 AND anomaly_id = $2",
)
#: Two statements, since each has an index of its own. An anomaly that is settled while somebody
#: turns the pages moves to the other list, and nothing behind it is skipped for that.
_OPEN = statement(
    "list_anomalies.open",
    """
    SELECT account_id, order_id, attempt_id, anomaly_id, kind, detail, opened_at, resolved_at,
           resolved_by, resolution, reason
      FROM anomalies
     WHERE account_id = $1 AND resolved_at IS NULL
       AND ($2::timestamptz IS NULL OR (opened_at, anomaly_id) < ($2, $3::uuid))
     ORDER BY opened_at DESC, anomaly_id DESC LIMIT $4
    """,
)
_RESOLVED = statement(
    "list_anomalies.resolved",
    """
    SELECT account_id, order_id, attempt_id, anomaly_id, kind, detail, opened_at, resolved_at,
           resolved_by, resolution, reason
      FROM anomalies
     WHERE account_id = $1 AND resolved_at IS NOT NULL
       AND ($2::timestamptz IS NULL OR (opened_at, anomaly_id) < ($2, $3::uuid))
     ORDER BY opened_at DESC, anomaly_id DESC LIMIT $4
    """,
)


async def list_anomalies(
    database: Database,
    account_id: UUID,
    *,
    is_resolved: bool,
    starting_after: UUID | None,
    limit: int,
) -> tuple[list[Anomaly], bool]:
    """Read a page of anomalies behind `starting_after`, and whether there are more.

    Raises NotFound for a place that is not one.
    """

    async def read(tx: Transaction) -> tuple[list[Anomaly], bool]:
        opened_at = None
        if starting_after is not None:
            row = await tx.row(_POSITION, account_id, starting_after)
            if row is None:
                raise NotFound(
                    "anomaly_not_found",
                    f"there is no anomaly {starting_after}",
                    field="starting_after",
                )
            opened_at = row["opened_at"]
        sql = _RESOLVED if is_resolved else _OPEN
        rows = await tx.rows(sql, account_id, opened_at, starting_after, limit + 1)
        return [anomalies.parse(row) for row in rows[:limit]], len(rows) > limit

    return await database.read(read)
