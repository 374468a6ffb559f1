"""Refunds that report files list: when one that was made in Binance's portal went back."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from checkstand.storage.database import Transaction, statement

#: Exports write a moment to the second or to the minute.
_SAME: Final = timedelta(minutes=1)

#: Refunds that are not ours, of the very amount. A line without a number may be one of ours, where
#: one has that amount; and a line is one refund, so what was written down at its time is out.
_FIND = statement(
    "report_lines.find_returns",
    """
    SELECT DISTINCT m.at
      FROM anomalies y
      JOIN payments p ON (p.account_id, p.attempt_id) = (y.account_id, y.attempt_id)
      JOIN report_lines l ON (l.account_id, l.attempt_id) = (y.account_id, y.attempt_id)
      JOIN report_files f ON (f.account_id, f.file_id) = (l.account_id, l.file_id)
       AND f.taken_at IS NOT NULL
     CROSS JOIN LATERAL (
           SELECT greatest(l.at, coalesce(p.paid_at, p.received_at)) AS at) AS m
     WHERE y.account_id = $1 AND y.anomaly_id = $2 AND l.at <= $4
       AND l.kind = 'refund' AND l.settled AND l.refund_id IS NULL
       AND l.amount = $3 AND l.currency = p.currency
       AND NOT EXISTS (
           SELECT 1 FROM refunds r
            WHERE (r.account_id, r.order_id) = (y.account_id, y.order_id)
              AND r.attempt_id = y.attempt_id
              AND CASE WHEN r.is_elsewhere THEN r.returned_at = m.at
                       ELSE l.refund_ref IS NULL AND coalesce(r.returned, r.amount) = l.amount END)
     ORDER BY m.at
    """,
)


async def find_time(
    tx: Transaction, account_id: UUID, anomaly_id: UUID, amount: Decimal, *, now: datetime
) -> datetime | None:
    """Return when files list a refund of this amount that explains an anomaly, if they list one.

    None where they list none, or several at different times: then nobody can say.
    """
    moments = [row["at"] for row in await tx.rows(_FIND, account_id, anomaly_id, amount, now)]
    if not moments or moments[-1] - moments[0] >= _SAME:
        return None
    found: datetime = moments[0]
    return found
