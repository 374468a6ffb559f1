"""Fulfilment: the goods of a paid order are owed, by one hand at a time, until it is acknowledged.

Whoever works on it holds a lease under a token. A delivery of `order.paid` carries a token made
from the event's id, so that its text is the same at every try; a consumer that claims an order is
given one of its own. Fulfilment and the return of the money exclude one another.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID, uuid5

from checkstand.domain.anomaly import AnomalyKind
from checkstand.domain.case import Case, Decision
from checkstand.domain.event import EventType, event_id_of
from checkstand.domain.order import Order, OrderStatus

#: How many leases long the wait for an acknowledgement is, offer by offer: a quarter of an hour at
#: first, then an hour, six hours, and a day from then on.
_WAITS: Final = (1, 4, 24, 96)
#: A shop that took no notice of so many will not notice more; the order stays on the list.
OFFERS_MAX: Final = 10


class Obstacle(StrEnum):
    """Why goods may not be claimed, sent or offered just now."""

    NOT_PAID = "not paid"
    REFUND_UNDER_WAY = "refund under way"
    HELD = "held"
    WENT_BACK = "went back"  # or may have: Binance said something that nobody has settled yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """The event by which a paid order's goods are asked for."""

    event_id: UUID
    token: str


def offer_of(order: Order) -> Offer | None:
    """Return how an order's goods were asked for; None when nothing has paid it."""
    if order.settled_by is None:
        return None
    event_id = event_id_of(order.order_id, EventType.ORDER_PAID, str(order.settled_by))
    return Offer(event_id=event_id, token=token_of(event_id))


def token_of(event_id: UUID) -> str:
    """Make the token that every delivery of this event carries."""
    return uuid5(event_id, "fulfilment").hex


def is_held(order: Order, *, now: datetime) -> bool:
    """Say whether somebody has the goods in hand."""
    until = order.fulfilment_until
    return order.status is OrderStatus.PAID and until is not None and until > now


def why_not_claim(case: Case, token: str | None, *, now: datetime) -> Obstacle | None:
    """Say what keeps the holder of a token (or somebody new) from taking the goods in hand."""
    obstacle = why_not_fulfil(case, None, now=now)
    if obstacle is None and _is_odd(case, AnomalyKind.REFUNDED_ELSEWHERE):
        return Obstacle.WENT_BACK
    if obstacle is None and is_held(case.order, now=now) and case.order.fulfilment_token != token:
        return Obstacle.HELD
    return obstacle


def why_not_fulfil(case: Case, token: str | None, *, now: datetime) -> Obstacle | None:
    """Say what keeps the goods from being acknowledged.

    Without a token nobody's lease is in the way: the shop says what it has done.
    """
    if case.order.status is not OrderStatus.PAID:
        return Obstacle.NOT_PAID
    if _is_going_back(case):
        return Obstacle.REFUND_UNDER_WAY
    is_anothers = token is not None and case.order.fulfilment_token != token
    return Obstacle.HELD if is_anothers and is_held(case.order, now=now) else None


def why_not_offer(case: Case, *, now: datetime) -> Obstacle | None:
    """Say what keeps the goods from being offered to the shop again."""
    obstacle = why_not_claim(case, None, now=now)
    if obstacle is None and _is_odd(case, AnomalyKind.PROVIDER_CONTRADICTS):
        return Obstacle.WENT_BACK
    return obstacle


def why_not_refund(case: Case, now: datetime, *, payment_id: UUID | None = None) -> str | None:
    """Say in a sentence why money may not be asked back now; None when it may.

    A payment that pays for nothing (a second one, say) can always go back.
    """
    order = case.order
    is_other = payment_id is not None and payment_id != order.settled_by
    if is_other or not is_held(order, now=now):
        return None
    return (
        "the shop is fulfilling this order, and says so or lets go by "
        f"{order.fulfilment_until:%Y-%m-%d %H:%M:%S} UTC; ask again then, or force it"
    )


def claim(decision: Decision, token: str, *, now: datetime, lease: timedelta) -> Decision:
    """Take the goods in hand, or keep them there for longer."""
    order = decision.case.order
    until = now + lease
    if order.fulfilment_token == token and order.fulfilment_until is not None:
        # Never shorter, and longer by a hair at least: `release` tells by it who took it last.
        until = max(until, order.fulfilment_until + timedelta(microseconds=1))
    due_at = order.fulfilment_due_at
    return decision.with_order(
        fulfilment_token=token,
        fulfilment_until=until,
        fulfilment_due_at=None if due_at is None else max(due_at, until),
    )


def take_for_delivery(
    decision: Decision, token: str, *, now: datetime, lease: timedelta
) -> tuple[Decision, datetime | None]:
    """Take the goods in hand for a delivery that asks for them, and say until when.

    None where they were in hand already, by an earlier try or a claim: a refusal of this delivery
    does not speak for that.
    """
    had_before = is_held(decision.case.order, now=now)
    taken = claim(decision, token, now=now, lease=lease)
    return taken, None if had_before else taken.case.order.fulfilment_until


def release(decision: Decision, token: str, *, until: datetime, now: datetime) -> Decision:
    """Let go what was taken in hand under this token until then, and no longer: it was refused.

    Story: a packer claims with the token of a delivery and packs, and then the delivery is refused.
    """
    order = decision.case.order
    is_same = order.fulfilment_token == token and order.fulfilment_until == until
    if not (is_same and is_held(order, now=now)):
        return decision
    return decision.with_order(fulfilment_until=now)


def offered(decision: Decision, *, now: datetime, lease: timedelta) -> Decision:
    """Count one more offer, and say when the next one is due."""
    offers = decision.case.order.fulfilment_offers + 1
    wait = lease * _WAITS[min(offers, len(_WAITS) - 1)]
    return decision.with_order(
        fulfilment_offers=offers,
        fulfilment_due_at=None if offers >= OFFERS_MAX else now + wait,
    )


def _is_going_back(case: Case) -> bool:
    settled_by = case.order.settled_by
    return any(r.is_open and r.payment_id == settled_by for r in case.refunds)


def _is_odd(case: Case, kind: AnomalyKind) -> bool:
    """Say whether Binance has said something of the money that nobody has settled yet."""
    settled_by = case.order.settled_by
    attempts = {p.attempt_id for p in case.payments if p.payment_id == settled_by}
    return any(a.is_open and a.kind is kind and a.attempt_id in attempts for a in case.anomalies)
