"""What happened to the account while an order was under way: it was stopped, or restored.

What began after the last thing that happened to the order is told only while the order still waits
for something: a shop that is stopped today says nothing about an order of last year.
"""

from typing import Final

from checkstand.queries.timeline.entry import Kind, TimelineEntry, because, texts
from checkstand.storage.database import Row, statement

#: Nothing may be created for a stopped account, so no stop is older than the order it concerned.
#: One that a gateway made before it left acts is known while it lasts.
_HALTS = statement(
    "timeline.halts",
    """
    WITH mine AS (
        SELECT o.account_id, o.created_at,
               CASE WHEN o.status IN ('CREATED', 'PENDING_PAYMENT', 'PAID') OR (
                   SELECT count(*) FROM refunds r
                    WHERE (r.account_id, r.order_id) = (o.account_id, o.order_id)
                      AND r.status NOT IN ('SUCCEEDED', 'FAILED')) > 0
               THEN 'infinity'::timestamptz ELSE $3::timestamptz END AS until
          FROM orders o WHERE o.account_id = $1 AND o.order_id = $2),
    acted AS (
        SELECT c.actor, c.who, c.what, c.reason, c.at, c.act_id::text AS id
          FROM mine m
          JOIN acts c ON c.account_id = m.account_id AND c.at >= m.created_at AND c.at <= m.until
         WHERE c.order_id IS NULL AND c.what IN ('halt account', 'resume account')
         UNION ALL
        SELECT 'checkstand', 'the gateway', 'halt account', a.halted_reason, a.halted_at, ''
          FROM mine m
          JOIN accounts a ON a.account_id = m.account_id
           AND a.halted_at >= m.created_at AND a.halted_at <= m.until
         WHERE NOT EXISTS (
             SELECT 1 FROM acts x
              WHERE x.account_id = a.account_id AND x.order_id IS NULL
                AND x.at = a.halted_at AND x.what = 'halt account'))
    SELECT actor, who, what, reason, at, id AS act_id FROM acted ORDER BY at, act_id LIMIT $4
    """,
)
_RECOVERIES = statement(
    "timeline.recoveries",
    """
    SELECT r.account_id, r.epoch, r.began_at, r.cause, r.finished_at, r.finished_by, r.reason,
           ARRAY(SELECT x.attempt_id FROM recovery_attempts x
                  WHERE (x.account_id, x.order_id, x.epoch) = ($1, $2, r.epoch)
                  ORDER BY x.attempt_id) AS attempts
      FROM orders o
      JOIN recoveries r ON r.account_id = o.account_id
       AND (r.finished_at IS NULL OR r.finished_at >= o.created_at)
     WHERE o.account_id = $1 AND o.order_id = $2
       AND (r.began_at <= $3 OR EXISTS (
                SELECT 1 FROM recovery_attempts y
                 WHERE (y.account_id, y.order_id, y.epoch) = ($1, $2, r.epoch))
            OR o.status IN ('CREATED', 'PENDING_PAYMENT', 'PAID') OR EXISTS (
                SELECT 1 FROM refunds u
                 WHERE (u.account_id, u.order_id) = ($1, $2)
                   AND u.status NOT IN ('SUCCEEDED', 'FAILED')))
     ORDER BY r.epoch, r.account_id LIMIT $4
    """,
)


def _halt(row: Row) -> list[TimelineEntry]:
    is_stop = row["what"] == "halt account"
    what = "stopped: no order is moved or sent to Binance" if is_stop else "going on again"
    return [
        TimelineEntry(
            at=row["at"],
            actor=row["actor"],
            kind=Kind.HALT,
            summary=f"the account is {what}, by {row['who']}{because(row['reason'])}",
            ref=f"act:{row['act_id']}" if row["act_id"] else None,
            detail={"who": row["who"], "reason": row["reason"]},
        )
    ]


def _recovery(row: Row) -> list[TimelineEntry]:
    ref = f"recovery:{row['epoch']}"
    asked = "; Binance is asked about this order" if row["attempts"] else ""
    began = TimelineEntry(
        at=row["began_at"],
        actor="checkstand",
        kind=Kind.RECOVERY,
        summary=f"the database was put back to an earlier point ({row['cause']}): refunds, closes, "
        f"deliveries and expiry are held{asked}",
        ref=ref,
        detail={"epoch": row["epoch"], "attempts": texts(row["attempts"])},
        fact=ref,
    )
    if row["finished_at"] is None:
        return [began]
    finished = TimelineEntry(
        at=row["finished_at"],
        actor="checkstand" if row["finished_by"] == "checkstand" else "person",
        kind=Kind.RECOVERY,
        summary=f"the recovery was ended by {row['finished_by']}{because(row['reason'])}: "
        "what was held goes on",
        ref=ref,
        detail={"epoch": row["epoch"], "by": row["finished_by"]},
        follows=(ref,),
    )
    return [began, finished]


SOURCES: Final = {_HALTS: _halt, _RECOVERIES: _recovery}
