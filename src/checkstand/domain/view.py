"""The order as the shop sees it: the same words in API answers and in events.

Amounts are decimal text, times RFC 3339 in UTC, ids text; absent values are null, never missing.
"""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from checkstand.domain.anomaly import Anomaly
from checkstand.domain.case import Case
from checkstand.domain.event import Event, EventType
from checkstand.domain.fulfilment import token_of
from checkstand.domain.money import Money, render_amount
from checkstand.domain.payment import Payment
from checkstand.domain.reconciliation import Discrepancy, plain_amount
from checkstand.domain.refund import Refund, RefundStatus
from checkstand.domain.resolution import EFFECTS


def render_order(case: Case, *, public_url: str) -> dict[str, Any]:
    """Describe an order for the shop."""
    order, terms = case.order, case.order.terms
    settled = [payment for payment in case.payments if not payment.held]
    # Money of another asset may have been accepted beside it: amounts of two assets do not add.
    counted = [p for p in settled if p.money.currency == settled[0].money.currency]
    # A fiat price is quoted anew for each attempt; a paid order keeps the quote it was paid by.
    quoted = case.attempt(settled[0].attempt_id) if settled else case.current
    price = terms.price or (quoted.expected if quoted else None)
    fiat = terms.fiat_price
    return {
        "order_id": str(order.order_id),
        "merchant_order_id": terms.merchant_order_id,
        "status": str(order.status),
        "anomalies": [str(a.kind) for a in case.anomalies if a.is_open],
        "amount": _amount(price),
        "currency": price.currency if price else None,
        "fiat_amount": _amount(fiat),
        "fiat_currency": fiat.currency if fiat else None,
        "description": terms.description,
        "cart_id": terms.cart_id,
        "paid_amount": render_amount(sum((p.money.amount for p in counted), Decimal(0))),
        "refunded_amount": render_amount(sum((p.refunded for p in counted), Decimal(0))),
        "checkout_url": f"{public_url}/checkout/{order.checkout_token}",
        **render_links(case),
        "created_at": render_time(order.created_at),
        "expires_at": render_time(order.expires_at),
        "paid_at": render_time(order.paid_at),
        "fulfilled_at": render_time(order.fulfilled_at),
        "version": order.version,
        "metadata": dict(terms.metadata),
        "payments": [_payment(case, payment) for payment in case.payments],
    }


def _payment(case: Case, payment: Payment) -> dict[str, Any]:
    return {
        "payment_id": str(payment.payment_id),
        "attempt": case.attempt(payment.attempt_id).number,
        "amount": render_amount(payment.money.amount),
        "currency": payment.money.currency,
        "fee": None if payment.fee is None else render_amount(payment.fee),
        "refunded_amount": render_amount(payment.refunded),
        "held": payment.held,
        "paid_at": render_time(payment.paid_at),
    }


def render_anomaly(anomaly: Anomaly) -> dict[str, Any]:
    """Describe an anomaly for whoever has to settle it."""
    return {
        "anomaly_id": str(anomaly.anomaly_id),
        "order_id": str(anomaly.order_id),
        "kind": str(anomaly.kind),
        "detail": anomaly.detail,
        "is_open": anomaly.is_open,
        "opened_at": render_time(anomaly.opened_at),
        "resolved_at": render_time(anomaly.resolved_at),
        "resolved_by": anomaly.resolved_by,
        "resolution": None if anomaly.resolution is None else str(anomaly.resolution),
        "reason": anomaly.reason,
        "resolutions": [str(r) for r in EFFECTS[anomaly.kind]] if anomaly.is_open else [],
    }


def render_refund(refund: Refund) -> dict[str, Any]:
    """Describe a refund for the shop."""
    return {
        "refund_id": str(refund.refund_id),
        "merchant_refund_id": refund.merchant_refund_id,
        "order_id": str(refund.order_id),
        "payment_id": str(refund.payment_id),
        "status": str(refund.status),
        "amount": render_amount(refund.amount.amount),
        "currency": refund.amount.currency,
        "returned_amount": None if refund.returned is None else render_amount(refund.returned),
        "reason": refund.reason,
        "failure": refund.failure,
        "requested_at": render_time(refund.requested_at),
        "ended_at": render_time(refund.ended_at),
        "returned_at": render_time(_returned_at(refund)),
    }


def render_discrepancy(found: Discrepancy) -> dict[str, Any]:
    """Describe a discrepancy for the shop."""
    finding = found.finding
    return {
        "discrepancy_id": str(found.discrepancy_id),
        "day": found.day.isoformat(),
        "bucket": str(finding.bucket),
        "kind": str(finding.kind),
        "subject": finding.subject,
        "order_id": str(finding.order_id) if finding.order_id else None,
        "refund_id": str(finding.refund_id) if finding.refund_id else None,
        "amount": None if finding.amount is None else plain_amount(finding.amount),
        "currency": finding.currency,
        "ours": finding.ours,
        "theirs": finding.theirs,
        "asked_at": render_time(found.asked_at),
        "found_at": render_time(found.found_at),
        "resolved_at": render_time(found.resolved_at),
        "resolved_by": found.resolved_by,
        "resolution": str(found.resolution) if found.resolution else None,
        "reason": found.reason,
        "closed_in": found.closed_in.isoformat() if found.closed_in else None,
    }


def render_links(case: Case) -> dict[str, str | None]:
    """Describe the ways to pay; all null unless the current attempt can be paid and shown."""
    current = case.current
    may_show = current is not None and current.is_live and not current.close_reason
    # With money there that nobody has decided about, nobody is asked for more.
    links = current.links if current and may_show and not case.has_unsettled_money else None
    return {
        "qr_content": links.qr_content if links else None,
        "deeplink": links.deeplink if links else None,
        "universal_url": links.universal_url if links else None,
        "binance_checkout_url": links.checkout_url if links else None,
    }


def render_event(event: Event, case: Case, *, public_url: str) -> str:
    """Write the text that is delivered for an event, the same at every try.

    The order is as it was when the event was written; `order_version` is the fact's own.
    """
    data: dict[str, Any] = {"order": render_order(case, public_url=public_url)}
    if event.refund_id is not None:
        data["refund"] = render_refund(case.refund(event.refund_id))
    if event.type is EventType.ORDER_PAID:
        data["fulfilment"] = {
            "token": token_of(event.event_id),
            "lease_until": render_time(case.order.fulfilment_due_at),
        }
    if event.discrepancy is not None:
        data["discrepancy"] = render_discrepancy(event.discrepancy)
    return json.dumps(
        {
            "id": str(event.event_id),
            "type": str(event.type),
            "created_at": render_time(event.created_at),
            "account_id": str(event.account_id),
            "order_version": event.order_version,
            "data": data,
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )


def render_time(moment: datetime | None) -> str | None:
    """Write a moment as RFC 3339 in UTC, to the millisecond."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _returned_at(refund: Refund) -> datetime | None:
    is_back = refund.status is RefundStatus.SUCCEEDED
    return (refund.returned_at or refund.ended_at) if is_back else None


def parse_time(text: object) -> datetime:
    """Read a moment with its zone, such as RFC 3339. Raises ValueError saying what to write."""
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
        if moment is not None and moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError("must be a time with its zone, such as 2026-01-31T12:00:00Z")


def _amount(money: Money | None) -> str | None:
    return render_amount(money.amount) if money else None
