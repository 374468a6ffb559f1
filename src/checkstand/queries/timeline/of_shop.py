"""What the shop was told of an order: events, each try to deliver one, and how that ended."""

from typing import Final

from checkstand.domain.event import EventType
from checkstand.queries.timeline.entry import Kind, TimelineEntry, show_url, texts
from checkstand.storage.database import Row, statement

_EVENTS = statement(
    "timeline.events",
    """
    SELECT v.event_id, v.type, v.order_version, v.created_at,
           ARRAY(SELECT d.endpoint_id FROM deliveries d
                  WHERE (d.account_id, d.event_id) = (v.account_id, v.event_id)
                  ORDER BY d.endpoint_id) AS endpoints,
           v.body::jsonb #>> '{data,discrepancy,discrepancy_id}' AS discrepancy_id
      FROM events v
     WHERE v.account_id = $1 AND v.order_id = $2
     ORDER BY v.created_at, v.order_version, v.event_id LIMIT $3
    """,
)
_TRIES = statement(
    "timeline.tries",
    """
    SELECT t.event_id, t.endpoint_id, t.number, t.at, t.status_code, t.summary, v.type, e.url
      FROM delivery_tries t
      JOIN events v ON (v.account_id, v.event_id) = (t.account_id, t.event_id)
      JOIN webhook_endpoints e ON (e.account_id, e.endpoint_id) = (t.account_id, t.endpoint_id)
     WHERE t.account_id = $1 AND t.order_id = $2
     ORDER BY t.at, t.event_id, t.number, t.endpoint_id LIMIT $3
    """,
)
#: How a delivery ended other than by a 2xx, which its last try tells.
_ENDS = statement(
    "timeline.deliveries",
    """
    SELECT d.event_id, d.endpoint_id, d.tries, d.status, v.type, e.url,
           CASE WHEN d.status = 'given_up' THEN d.ended_at
                ELSE greatest(e.disabled_at, d.created_at) END AS at
      FROM events v
      JOIN deliveries d ON (d.account_id, d.event_id) = (v.account_id, v.event_id)
      JOIN webhook_endpoints e ON (e.account_id, e.endpoint_id) = (d.account_id, d.endpoint_id)
     WHERE v.account_id = $1 AND v.order_id = $2
       AND (d.status = 'given_up' OR (d.status = 'pending' AND e.disabled_at IS NOT NULL))
     ORDER BY at, d.event_id, d.endpoint_id LIMIT $3
    """,
)


def _event(row: Row) -> list[TimelineEntry]:
    ref = f"event:{row['event_id']}"
    cause = f"version:{row['order_version']}"
    if row["type"] == EventType.RECONCILIATION_DISCREPANCY:
        cause = f"discrepancy:{row['discrepancy_id']}"
    return [
        TimelineEntry(
            at=row["created_at"],
            actor="checkstand",
            kind=Kind.EVENT,
            summary=f"{row['type']} written for the shop",
            ref=ref,
            detail={
                "order_version": row["order_version"],
                "endpoints": texts(row["endpoints"]),
            },
            fact=ref,
            follows=(cause,),
        )
    ]


def _try(row: Row) -> list[TimelineEntry]:
    ref = f"event:{row['event_id']}"
    fact = f"{ref} {row['endpoint_id']}"
    return [
        TimelineEntry(
            at=row["at"],
            actor="checkstand",
            kind=Kind.DELIVERY,
            summary=f"{row['type']} to {show_url(row['url'])}, "
            f"try {row['number']}: {row['summary']}",
            ref=ref,
            detail={
                "status_code": row["status_code"],
                "try": row["number"],
                "endpoint_id": str(row["endpoint_id"]),
            },
            fact=f"{fact} {row['number']}",
            follows=(ref, f"{fact} {row['number'] - 1}"),
        )
    ]


def _end(row: Row) -> list[TimelineEntry]:
    ref = f"event:{row['event_id']}"
    tries = f"after {row['tries']} {'try' if row['tries'] == 1 else 'tries'}"
    why = "given up" if row["status"] == "given_up" else "ended: the endpoint was removed"
    return [
        TimelineEntry(
            at=row["at"],
            actor="checkstand",
            kind=Kind.DELIVERY,
            summary=f"{row['type']} to {show_url(row['url'])} {why} {tries}",
            ref=ref,
            detail={"endpoint_id": str(row["endpoint_id"]), "tries": row["tries"]},
            follows=(ref, f"{ref} {row['endpoint_id']} {row['tries']}"),
        )
    ]


SOURCES: Final = {_EVENTS: _event, _TRIES: _try, _ENDS: _end}
