"""Doubts: how long the outcome that has been unknown the longest has been so."""

from datetime import datetime

from checkstand.storage.database import Transaction, statement

#: As the domain's doubts count it. Live attempts are few, and an index holds just them.
_OLDEST = statement(
    "doubts.oldest",
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


async def oldest(tx: Transaction, *, now: datetime) -> datetime | None:
    """Say since when the oldest unknown outcome has been unknown; None when there is none."""
    found: list[datetime] = [row["since"] for row in await tx.rows(_OLDEST, now)]
    return min(found, default=None)
