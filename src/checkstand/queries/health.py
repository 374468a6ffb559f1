"""Whether the database answers, and how old the oldest unknown outcome is."""

from datetime import datetime

from checkstand.storage.database import Database, Transaction, statement

_PING = statement("health.ping", "SELECT 1 AS answer")

#: As the domain's doubts count it. Live attempts are few, and an index holds just them.
_OLDEST_DOUBT = statement(
    "health.oldest_doubt",
    """
    SELECT d.account_id, min(d.since) AS since
      FROM (SELECT account_id,
                   CASE status
                       WHEN 'SUBMITTING' THEN
                           CASE WHEN sends > 1 THEN created_at ELSE last_sent_at END
                       WHEN 'CLOSING' THEN close_requested_at
                       ELSE expires_at END AS since
              FROM attempts WHERE status IN ('SUBMITTING', 'OPEN', 'CLOSING')
             UNION ALL
            SELECT account_id, CASE WHEN in_doubt THEN requested_at ELSE last_sent_at END
              FROM refunds WHERE status IN ('SENT', 'UNKNOWN')) d
     WHERE d.since <= $1
     GROUP BY d.account_id
    """,
)


async def is_ready(database: Database) -> bool:
    """Ask the database anything. Raises DatabaseUnavailable."""

    async def read(tx: Transaction) -> bool:
        return await tx.row(_PING) is not None

    return await database.read(read)


async def oldest_doubt(database: Database, *, now: datetime) -> datetime | None:
    """Say since when the oldest unknown outcome has been unknown; None when there is none."""

    async def read(tx: Transaction) -> datetime | None:
        found: list[datetime] = [row["since"] for row in await tx.rows(_OLDEST_DOUBT, now)]
        return min(found, default=None)

    return await database.read(read)
