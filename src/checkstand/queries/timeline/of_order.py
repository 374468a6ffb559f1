"""What an order's own rows tell: its attempts, money, oddities, history, and who did what."""

from typing import Final

from checkstand.queries.timeline.entry import (
    Kind,
    TimelineEntry,
    because,
    follows,
    money,
)
from checkstand.storage.database import Row, statement

_ORDER = statement(
    "timeline.order",
    """
    SELECT order_id, created_at, merchant_order_id, amount, currency, fiat_amount, fiat_currency
      FROM orders
     WHERE account_id = $1 AND order_id = $2 ORDER BY order_id LIMIT $3
    """,
)
_KEYS = statement(
    "timeline.requests",
    """
    SELECT route, key, created_at, answer_status FROM idempotency_keys
     WHERE account_id = $1 AND order_id = $2 ORDER BY created_at, route, key LIMIT $3
    """,
)
_ACTS = statement(
    "timeline.acts",
    """
    SELECT act_id, actor, who, what, subject, reason, at FROM acts
     WHERE account_id = $1 AND order_id = $2 ORDER BY at, act_id LIMIT $3
    """,
)
_HISTORY = statement(
    "timeline.transitions",
    """
    SELECT version, previous_status, status, actor, reason, reference, at FROM order_history
     WHERE account_id = $1 AND order_id = $2 ORDER BY version LIMIT $3
    """,
)
_ATTEMPTS = statement(
    "timeline.attempts",
    """
    SELECT attempt_id, number, status, expected_amount, expected_currency, created_at, expires_at,
           close_reason, close_requested_at, ended_at
      FROM attempts
     WHERE account_id = $1 AND order_id = $2 ORDER BY number LIMIT $3
    """,
)
#: What a payment rests on is not in its row: the step of the same decision says it. So it is with
#: the end of a refund, and with an anomaly.
_PAYMENTS = statement(
    "timeline.payments",
    """
    SELECT p.payment_id, p.attempt_id, a.number, p.amount, p.currency, p.fee, p.fee_learnt_at,
           p.transaction_id, p.received_at, s.reference, s.version
      FROM payments p
      JOIN attempts a ON (a.account_id, a.attempt_id) = (p.account_id, p.attempt_id)
      LEFT JOIN LATERAL (
           SELECT h.reference, h.version FROM order_history h
            WHERE (h.account_id, h.order_id, h.at) = (p.account_id, p.order_id, p.received_at)
              AND (h.reference LIKE 'call:%' OR h.reference LIKE 'notice:%')
            ORDER BY (h.status = 'PAID' AND h.previous_status <> 'PAID'
                      OR h.reason LIKE 'anomaly %') DESC, h.version, h.order_id LIMIT 1) s ON true
     WHERE p.account_id = $1 AND p.order_id = $2
     ORDER BY p.received_at, p.payment_id LIMIT $3
    """,
)
_REFUNDS = statement(
    "timeline.refunds",
    """
    SELECT r.refund_id, r.payment_id, r.merchant_refund_id, r.amount, r.currency, r.requested_at,
           r.requested_by, r.reason, r.approval_reason, r.approved_at, r.status, r.is_elsewhere,
           r.sends, r.returned, r.fee_returned, r.fee_return_learnt_at, r.failure, r.ended_at,
           r.returned_at,
           k.name AS key_name, s.reference, s.version
      FROM refunds r
      LEFT JOIN api_keys k ON k.account_id = r.account_id AND 'key:' || k.key_id = r.requester
      LEFT JOIN LATERAL (
           SELECT h.reference, h.version FROM order_history h
            WHERE (h.account_id, h.order_id, h.at) = (r.account_id, r.order_id, r.ended_at)
              AND (h.reason LIKE '% went back' OR h.reason LIKE 'a refund of % failed: %')
            ORDER BY h.version, h.order_id LIMIT 1) s ON true
     WHERE r.account_id = $1 AND r.order_id = $2
     ORDER BY r.requested_at, r.refund_id LIMIT $3
    """,
)
_ANOMALIES = statement(
    "timeline.anomalies",
    """
    SELECT y.anomaly_id, y.kind, y.detail, y.opened_at, y.resolved_at, y.resolved_by, y.resolution,
           y.reason, s.reference, s.version
      FROM anomalies y
      LEFT JOIN LATERAL (
           SELECT h.reference, h.version FROM order_history h
            WHERE (h.account_id, h.order_id, h.at) = (y.account_id, y.order_id, y.opened_at)
              AND h.reason = 'anomaly ' || y.kind || ': ' || y.detail
            ORDER BY h.version, h.order_id LIMIT 1) s ON true
     WHERE y.account_id = $1 AND y.order_id = $2
     ORDER BY y.opened_at, y.anomaly_id LIMIT $3
    """,
)


def _created(row: Row) -> list[TimelineEntry]:
    price = (
        money(row["amount"], row["currency"])
        if row["amount"] is not None
        else money(row["fiat_amount"], row["fiat_currency"])
    )
    return [
        TimelineEntry(
            at=row["created_at"],
            actor="merchant",
            kind=Kind.ACT,
            summary=f"CREATED as {row['merchant_order_id']} for {price}",
            status_after="CREATED",
            ref=f"order:{row['order_id']}",
            fact="version:1",
        )
    ]


def _request(row: Row) -> list[TimelineEntry]:
    answered = f", answered {row['answer_status']}" if row["answer_status"] else ", not answered"
    return [
        TimelineEntry(
            at=row["created_at"],
            actor="merchant",
            kind=Kind.REQUEST,
            summary=f"the shop asked to {row['route']} it under an idempotency key{answered}",
            ref=f"key:{row['key']}",
            detail={"route": row["route"], "key": row["key"]},
        )
    ]


def _act(row: Row) -> list[TimelineEntry]:
    return [
        TimelineEntry(
            at=row["at"],
            actor=row["actor"],
            kind=Kind.ACT,
            summary=f"{row['what']} by {row['who']}{because(row['reason'])}",
            ref=row["subject"],
            detail={
                "act_id": str(row["act_id"]),
                "who": row["who"],
                "what": row["what"],
                "reason": row["reason"],
            },
        )
    ]


def _step(row: Row) -> list[TimelineEntry]:
    stays = row["previous_status"] == row["status"]
    move = row["status"] if stays else f"{row['previous_status']} → {row['status']}"
    version = row["version"]
    return [
        TimelineEntry(
            at=row["at"],
            actor=row["actor"],
            kind=Kind.TRANSITION,
            summary=f"{move}: {row['reason']}",
            status_before=row["previous_status"],
            status_after=row["status"],
            ref=row["reference"],
            detail={"version": version},
            fact=f"version:{version}",
            follows=follows(f"version:{version - 1}", row["reference"]),
        )
    ]


def _attempt(row: Row) -> list[TimelineEntry]:
    ref, name = f"attempt:{row['attempt_id']}", f"attempt {row['number']}"
    expected = row["expected_amount"]
    price = "" if expected is None else f" for {money(expected, row['expected_currency'])}"
    entries = [
        TimelineEntry(
            at=row["created_at"],
            actor="checkstand",
            kind=Kind.ATTEMPT,
            summary=f"{name} prepared{price}, payable until "
            f"{row['expires_at']:%Y-%m-%d %H:%M:%S} UTC at most",
            ref=ref,
            detail={"attempt": row["number"]},
            fact=ref,
            follows=follows("version:1", f"attempt {row['number'] - 1} ended"),
        )
    ]
    if row["close_requested_at"] is not None:
        entries.append(
            TimelineEntry(
                at=row["close_requested_at"],
                actor="checkstand",
                kind=Kind.ATTEMPT,
                summary=f"{name} is to be closed at Binance ({row['close_reason']})",
                ref=ref,
                detail={"attempt": row["number"], "reason": row["close_reason"]},
                follows=(ref,),
            )
        )
    if row["ended_at"] is not None:
        entries.append(
            TimelineEntry(
                at=row["ended_at"],
                actor="checkstand",
                kind=Kind.ATTEMPT,
                summary=f"{name} ended {row['status']}",
                ref=ref,
                detail={"attempt": row["number"], "status": row["status"]},
                fact=f"{name} ended",
                follows=(ref,),
            )
        )
    return entries


def _payment(row: Row) -> list[TimelineEntry]:
    ref = f"payment:{row['payment_id']}"
    arrived = TimelineEntry(
        at=row["received_at"],
        actor="binance",
        kind=Kind.PAYMENT,
        summary=f"{money(row['amount'], row['currency'])} arrived for attempt {row['number']}",
        ref=ref,
        detail={"attempt": row["number"], "transaction_id": row["transaction_id"]},
        fact=ref,
        follows=(f"attempt:{row['attempt_id']}", *_before_its_step(row)),
    )
    if row["fee"] is None:
        return [arrived]
    fee = TimelineEntry(
        at=row["fee_learnt_at"] or row["received_at"],
        actor="binance",
        kind=Kind.PAYMENT,
        summary=f"Binance's fee for it is {money(row['fee'], row['currency'])}",
        ref=ref,
        fact=f"{ref} fee",
        follows=(ref,),
    )
    return [arrived, fee]


def _refund(row: Row) -> list[TimelineEntry]:
    ref = f"refund:{row['refund_id']}"
    name = f"refund {row['merchant_refund_id']}"
    currency = row["currency"]
    wanted = money(row["amount"], currency)
    by = f" by API key {row['key_name']}" if row["key_name"] else ""
    how = "found at Binance, not asked for by us" if row["is_elsewhere"] else f"requested{by}"
    why = f" ({row['reason']})" if row["reason"] else ""
    waits = f"; a second person has to approve: {row['approval_reason']}"
    asked = TimelineEntry(
        at=row["requested_at"],
        actor="binance" if row["is_elsewhere"] else row["requested_by"],
        kind=Kind.REFUND,
        summary=f"{name} of {wanted} {how}{why}{waits if row['approval_reason'] else ''}",
        ref=ref,
        detail={"amount": f"{row['amount']:f}", "currency": currency},
        fact=ref,
        follows=(f"payment:{row['payment_id']}",),
    )
    if row["ended_at"] is None:
        return [asked]
    back = "nothing" if row["returned"] is None else money(row["returned"], currency)
    left = f", on {row['returned_at']:%Y-%m-%d %H:%M} UTC" if row["returned_at"] else ""
    told = f": {row['failure']}" if row["failure"] else f", {back} went back{left}"
    ended = TimelineEntry(
        at=row["ended_at"],
        actor="binance" if row["sends"] or row["is_elsewhere"] else "checkstand",
        kind=Kind.REFUND,
        summary=f"{name} {row['status']}{told}",
        ref=ref,
        detail={"status": row["status"], "sends": row["sends"]},
        fact=f"{ref} ended",
        follows=(ref, *_before_its_step(row)),
    )
    if row["fee_returned"] is None:
        return [asked, ended]
    fee = TimelineEntry(
        at=row["fee_return_learnt_at"] or row["ended_at"],
        actor="binance",
        kind=Kind.REFUND,
        summary=f"of Binance's fee {money(row['fee_returned'], currency)} came back with {name}",
        ref=ref,
        follows=(f"{ref} ended",),
    )
    return [asked, ended, fee]


def _anomaly(row: Row) -> list[TimelineEntry]:
    ref = f"anomaly:{row['anomaly_id']}"
    opened = TimelineEntry(
        at=row["opened_at"],
        actor="checkstand",
        kind=Kind.ANOMALY,
        summary=f"{row['kind']} opened: {row['detail']}",
        ref=ref,
        fact=f"{ref} opened",
        follows=_before_its_step(row),
    )
    if row["resolved_at"] is None:
        return [opened]
    resolved = TimelineEntry(
        at=row["resolved_at"],
        actor="checkstand" if row["resolved_by"] == "policy" else "person",
        kind=Kind.ANOMALY,
        summary=f"{row['kind']} resolved ({row['resolution']}): {row['reason']}"
        f" (by {row['resolved_by']})",
        ref=ref,
        detail={"by": row["resolved_by"]},
        fact=ref,
        follows=(f"{ref} opened",),
    )
    return [opened, resolved]


def _before_its_step(row: Row) -> tuple[str, ...]:
    """Name what comes before the step of the same decision: the step before, and the cause."""
    if row["version"] is None:
        return ()
    return follows(f"version:{row['version'] - 1}", row["reference"])


SOURCES: Final = {
    _ORDER: _created,
    _KEYS: _request,
    _ACTS: _act,
    _ATTEMPTS: _attempt,
    _PAYMENTS: _payment,
    _REFUNDS: _refund,
    _ANOMALIES: _anomaly,
    _HISTORY: _step,
}
