"""The timeline: everything that happened to one order, by everybody, in causal order.

It is not kept: it is read from the rows that the facts left, so it cannot disagree with them.
Bodies and links stay out of it; payer data never comes near it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from checkstand.domain.money import render_amount
from checkstand.domain.view import render_time
from checkstand.storage.database import Database, Row, Transaction, statement

#: Facts of one moment in the order in which one leads to the next.
_RANKS: Final = {
    "act": 0,
    "call": 1,
    "notice": 2,
    "check": 3,
    "refund": 4,
    "anomaly": 4,
    "transition": 5,
    "event": 6,
    "delivery": 7,
}

_ORDER = statement(
    "timeline.order",
    """
    SELECT created_at, merchant_order_id FROM orders
     WHERE account_id = $1 AND order_id = $2
    """,
)
_HISTORY = statement(
    "timeline.history",
    """
    SELECT version, previous_status, status, actor, reason, reference, at FROM order_history
     WHERE account_id = $1 AND order_id = $2 ORDER BY version
    """,
)
_CALLS = statement(
    "timeline.calls",
    """
    SELECT c.call_id, c.endpoint, c.started_at, c.ended_at, c.outcome, c.code, c.summary, a.number
      FROM calls c JOIN attempts a
        ON (a.account_id, a.attempt_id) = (c.account_id, c.attempt_id)
     WHERE c.account_id = $1 AND c.order_id = $2 ORDER BY c.started_at, c.call_id
    """,
)
_NOTICES = statement(
    "timeline.notices",
    """
    SELECT notice_id, biz_type, biz_status, serial, signed_at, received_at, own_path, outcome,
           explanation
      FROM notices
     WHERE account_id = $1 AND order_id = $2 ORDER BY received_at, notice_id
    """,
)
_ANOMALIES = statement(
    "timeline.anomalies",
    """
    SELECT anomaly_id, kind, detail, opened_at, resolved_at, resolved_by, resolution, reason
      FROM anomalies
     WHERE account_id = $1 AND order_id = $2 ORDER BY opened_at, anomaly_id
    """,
)
_ACTS = statement(
    "timeline.acts",
    """
    SELECT actor, who, what, subject, reason, at FROM acts
     WHERE account_id = $1 AND order_id = $2 ORDER BY at, act_id
    """,
)
_REFUNDS = statement(
    "timeline.refunds",
    """
    SELECT refund_id, merchant_refund_id, amount, currency, requested_at, requested_by, reason,
           status, is_elsewhere, sends, returned, failure, ended_at
      FROM refunds
     WHERE account_id = $1 AND order_id = $2 ORDER BY requested_at, refund_id
    """,
)
_EVENTS = statement(
    "timeline.events",
    """
    SELECT event_id, type, order_version, created_at FROM events
     WHERE account_id = $1 AND order_id = $2 ORDER BY created_at, order_version
    """,
)
_TRIES = statement(
    "timeline.tries",
    """
    SELECT t.event_id, t.number, t.at, t.status_code, t.summary, v.type, e.url
      FROM delivery_tries t
      JOIN events v ON (v.account_id, v.event_id) = (t.account_id, t.event_id)
      JOIN webhook_endpoints e ON (e.account_id, e.endpoint_id) = (t.account_id, t.endpoint_id)
     WHERE t.account_id = $1 AND t.order_id = $2 ORDER BY t.at, t.event_id, t.number
    """,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEntry:
    """One thing that happened. `status_before` and `status_after` are set by transitions alone."""

    at: datetime
    actor: str  # merchant, shopper, binance, checkstand or person
    kind: str  # act, call, notice, check, refund, anomaly, transition, event or delivery
    summary: str
    status_before: str | None = None
    status_after: str | None = None
    ref: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)


async def list_timeline(
    database: Database, account_id: UUID, order_id: UUID
) -> Sequence[TimelineEntry]:
    """Read an order's timeline, oldest first; empty when there is no such order."""

    async def read(tx: Transaction) -> list[TimelineEntry]:
        order = await tx.row(_ORDER, account_id, order_id)
        if order is None:
            return []
        entries = [_created(order)]
        for sql, render in _SOURCES:
            for row in await tx.rows(sql, account_id, order_id):
                entries.extend(render(row))
        return entries

    entries = await database.read(read)
    return sorted(entries, key=lambda entry: (entry.at, _RANKS[entry.kind]))


def render_timeline(entries: Sequence[TimelineEntry]) -> list[dict[str, Any]]:
    """Write a timeline as the API and the command line tell it."""
    return [
        {
            "at": render_time(entry.at),
            "seq": seq,
            "actor": entry.actor,
            "kind": entry.kind,
            "summary": entry.summary,
            "from": entry.status_before,
            "to": entry.status_after,
            "ref": entry.ref,
            "detail": entry.detail,
        }
        for seq, entry in enumerate(entries, 1)
    ]


def _created(row: Row) -> TimelineEntry:
    return TimelineEntry(
        at=row["created_at"],
        actor="merchant",
        kind="act",
        summary=f"CREATED as {row['merchant_order_id']}",
        status_after="CREATED",
    )


def _step(row: Row) -> list[TimelineEntry]:
    stays = row["previous_status"] == row["status"]
    move = row["status"] if stays else f"{row['previous_status']} → {row['status']}"
    return [
        TimelineEntry(
            at=row["at"],
            actor=row["actor"],
            kind="transition",
            summary=f"{move}: {row['reason']}",
            status_before=row["previous_status"],
            status_after=row["status"],
            ref=row["reference"],
            detail={"version": row["version"]},
        )
    ]


def _call(row: Row) -> list[TimelineEntry]:
    ref = f"call:{row['call_id']}"
    sent = TimelineEntry(
        at=row["started_at"],
        actor="checkstand",
        kind="call",
        summary=f"asking Binance {row['endpoint']} for attempt {row['number']}",
        ref=ref,
        detail={"endpoint": row["endpoint"], "attempt": row["number"]},
    )
    if row["ended_at"] is None:
        return [sent]
    answered = TimelineEntry(
        at=row["ended_at"],
        actor="binance",
        kind="call",
        summary=f"{row['endpoint']} {row['outcome']}: {row['summary']}",
        ref=ref,
        detail={"outcome": row["outcome"], "code": row["code"]},
    )
    return [sent, answered]


def _notice(row: Row) -> list[TimelineEntry]:
    ref = f"notice:{row['notice_id']}"
    address = "the account's own address" if row["own_path"] else "the shared address"
    return [
        TimelineEntry(
            at=row["received_at"],
            actor="binance",
            kind="notice",
            summary=f"{row['biz_type']} {row['biz_status']} came to {address}",
            ref=ref,
            detail={"signed_at": row["signed_at"].isoformat()},
        ),
        TimelineEntry(
            at=row["received_at"],
            actor="checkstand",
            kind="check",
            summary=f"signature verified with certificate {row['serial']}; "
            f"{row['outcome']}: {row['explanation']}",
            ref=ref,
            detail={"outcome": row["outcome"], "serial": row["serial"]},
        ),
    ]


def _anomaly(row: Row) -> list[TimelineEntry]:
    ref = f"anomaly:{row['anomaly_id']}"
    opened = TimelineEntry(
        at=row["opened_at"],
        actor="checkstand",
        kind="anomaly",
        summary=f"{row['kind']} opened: {row['detail']}",
        ref=ref,
    )
    if row["resolved_at"] is None:
        return [opened]
    resolved = TimelineEntry(
        at=row["resolved_at"],
        actor="checkstand" if row["resolved_by"] == "policy" else "person",
        kind="anomaly",
        summary=f"{row['kind']} resolved ({row['resolution']}): {row['reason']}",
        ref=ref,
        detail={"by": row["resolved_by"]},
    )
    return [opened, resolved]


def _act(row: Row) -> list[TimelineEntry]:
    why = f": {row['reason']}" if row["reason"] else ""
    return [
        TimelineEntry(
            at=row["at"],
            actor=row["actor"],
            kind="act",
            summary=f"{row['what']} by {row['who']}{why}",
            ref=row["subject"],
            detail={"who": row["who"], "what": row["what"], "reason": row["reason"]},
        )
    ]


def _refund(row: Row) -> list[TimelineEntry]:
    ref = f"refund:{row['refund_id']}"
    name = f"refund {row['merchant_refund_id']}"
    wanted = f"{render_amount(row['amount'])} {row['currency']}"
    how = "found at Binance, not asked for by us" if row["is_elsewhere"] else "requested"
    why = f" ({row['reason']})" if row["reason"] else ""
    asked = TimelineEntry(
        at=row["requested_at"],
        actor="binance" if row["is_elsewhere"] else row["requested_by"],
        kind="refund",
        summary=f"{name} of {wanted} {how}{why}",
        ref=ref,
        detail={"amount": render_amount(row["amount"]), "currency": row["currency"]},
    )
    if row["ended_at"] is None:
        return [asked]
    returned = "nothing" if row["returned"] is None else render_amount(row["returned"])
    told = f": {row['failure']}" if row["failure"] else f", {returned} went back"
    ended = TimelineEntry(
        at=row["ended_at"],
        actor="binance",
        kind="refund",
        summary=f"{name} {row['status']}{told}",
        ref=ref,
        detail={"status": row["status"], "sends": row["sends"]},
    )
    return [asked, ended]


def _event(row: Row) -> list[TimelineEntry]:
    return [
        TimelineEntry(
            at=row["created_at"],
            actor="checkstand",
            kind="event",
            summary=f"{row['type']} written for the shop",
            ref=f"event:{row['event_id']}",
            detail={"order_version": row["order_version"]},
        )
    ]


def _try(row: Row) -> list[TimelineEntry]:
    return [
        TimelineEntry(
            at=row["at"],
            actor="checkstand",
            kind="delivery",
            summary=f"{row['type']} to {row['url']}, try {row['number']}: {row['summary']}",
            ref=f"event:{row['event_id']}",
            detail={"status_code": row["status_code"], "try": row["number"]},
        )
    ]


_SOURCES: Final = (
    (_ACTS, _act),
    (_REFUNDS, _refund),
    (_HISTORY, _step),
    (_CALLS, _call),
    (_NOTICES, _notice),
    (_ANOMALIES, _anomaly),
    (_EVENTS, _event),
    (_TRIES, _try),
)
