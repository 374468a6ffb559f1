"""What must hold of every case in every state, and of every decision, whatever led to it."""

import itertools
from collections import Counter
from datetime import datetime
from decimal import Decimal
from typing import Final

from checkstand.domain import settlement
from checkstand.domain.anomaly import AnomalyKind
from checkstand.domain.attempt import AttemptStatus
from checkstand.domain.case import Case, Decision
from checkstand.domain.event import EventType
from checkstand.domain.order import UNPAID, OrderStatus, allowed_moves
from checkstand.domain.refund import IN_FLIGHT, RefundStatus

SETTLED: Final = frozenset({OrderStatus.PAID, OrderStatus.FULFILLED, OrderStatus.REFUNDED})
OVER: Final = frozenset({OrderStatus.CANCELED, OrderStatus.EXPIRED})
_LEGAL: Final = frozenset(allowed_moves())
_ODD_MONEY: Final = frozenset(
    {AnomalyKind.AMOUNT_DIFFERS, AnomalyKind.CURRENCY_DIFFERS, AnomalyKind.PAID_TWICE}
)


def hold_decision(decided: Decision) -> None:
    """Hold a decision against what was before it. Raises AssertionError."""
    before, after = decided.before.order, decided.case.order
    versions = [step.version for step in decided.steps]
    assert versions == list(range(before.version + 1, after.version + 1)), "a version is missing"
    statuses = [before.status, *(step.status for step in decided.steps)]
    assert statuses[-1] is after.status, "a move has no line in the history"
    assert [step.previous_status for step in decided.steps] == statuses[:-1]
    assert _LEGAL.issuperset(itertools.pairwise(statuses)), f"no such move: {statuses}"
    assert len({event.event_id for event in decided.events}) == len(decided.events)
    if before.settled_by is not None:
        assert after.settled_by == before.settled_by, "another payment pays the order now"
    known = {payment.payment_id: payment for payment in decided.case.payments}
    for payment in decided.before.payments:
        now = known[payment.payment_id]
        assert now.money == payment.money, "booked money changed"
        assert now.held == payment.held, "money was held or let go without a word"
        assert now.refunded >= payment.refunded, "money that went back came again"
    if decided.before.has_unsettled_money and decided.case.has_unsettled_money:
        assert len(decided.case.attempts) == len(decided.before.attempts), "a code for held money"
    reached = {b for a, b in itertools.pairwise(statuses) if a is not b}
    told = Counter(event.type for event in decided.events)
    paid = told[EventType.ORDER_PAID]
    assert paid == (OrderStatus.PAID in reached), "paid, and told another number of times"
    assert (told[EventType.ORDER_CANCELED] + told[EventType.ORDER_EXPIRED]) == bool(OVER & reached)


def hold_state(case: Case, *, now: datetime, has_followed: bool = True) -> None:
    """Hold a whole case against the law. Raises AssertionError.

    With `has_followed` the order was just brought to where its facts say it is.
    """
    _hold_order(case)
    _hold_attempts(case)
    _hold_payments(case)
    _hold_refunds(case)
    if has_followed:
        said = settlement.status_of(case, now=now)
        assert said is case.order.status, f"{case.order.status}, and the facts say {said}"


def _hold_order(case: Case) -> None:
    order = case.order
    unheld = [payment for payment in case.payments if not payment.held]
    assert len(unheld) <= 1, "two payments pay one order"
    assert (order.settled_by is not None) == (order.status in SETTLED), "settled by nothing"
    assert [p.payment_id for p in unheld] == ([order.settled_by] if order.settled_by else [])
    if order.status in SETTLED:
        returned = unheld[0].is_returned
        assert (order.status is OrderStatus.REFUNDED) == returned, "REFUNDED, and it is not"
    if order.status in OVER:
        assert case.live is None, f"{order.status}, and an attempt is live"
    current = case.current
    if current is not None and current.status is AttemptStatus.OPEN:
        assert order.status is not OrderStatus.CREATED, "a code is shown, and the order waits"


def _hold_attempts(case: Case) -> None:
    live = [attempt for attempt in case.attempts if attempt.is_live]
    assert len(live) <= 1, "two attempts are live"
    assert not live or live[0] is case.current, "an older attempt is the live one"
    for attempt in live:
        assert attempt.due_at is not None, f"{attempt.status}, and nobody will look at it"
    for attempt in case.attempts:
        paid = attempt.status is AttemptStatus.PAID
        assert paid == (case.payment_for(attempt.attempt_id) is not None), "PAID without a payment"


def _hold_payments(case: Case) -> None:
    odd = {(a.attempt_id) for a in case.anomalies if a.kind in _ODD_MONEY}
    for payment in case.payments:
        # An anomaly of these kinds is opened with order.attention; settling tells order.paid.
        assert not payment.held or payment.attempt_id in odd, "held, and nobody was told why"
        refunds = case.refunds_of(payment.payment_id)
        reserved = sum((r.amount.amount for r in refunds if r.is_open), Decimal(0))
        assert payment.refund_reserved == reserved, "reserved is not what open refunds ask"
        ended = [r for r in refunds if r.status is RefundStatus.SUCCEEDED]
        returned = sum((r.returned or Decimal(0) for r in ended), Decimal(0))
        assert payment.refunded == returned, "refunded is not what refunds returned"


def _hold_refunds(case: Case) -> None:
    for payment in case.payments:
        refunds = case.refunds_of(payment.payment_id)
        in_flight = [r for r in refunds if r.status in IN_FLIGHT]
        assert len(in_flight) <= 1, "two refunds of one payment are on their way"
        waits_ahead = bool(in_flight)
        for refund in refunds:
            if refund.status is RefundStatus.REQUESTED:
                assert refund.due_at is not None or waits_ahead, "a refund nobody will send"
                waits_ahead = True
            elif refund.is_open:
                assert refund.due_at is not None, f"{refund.status}, and nobody will ask"
            if refund.status is RefundStatus.SUCCEEDED:
                assert refund.returned is not None
            elif refund.status is RefundStatus.FAILED:
                assert refund.returned is None, "FAILED, and something is said to go back"


def outcome_of(case: Case) -> object:
    """Say how everything stands, without when and why: what two orders of news must agree on.

    Whether an attempt was closed or had lapsed is such a why: the notice says only that it ended.
    """
    lapsed_or_closed = {AttemptStatus.LAPSED: AttemptStatus.CLOSED}
    return (
        case.order.status,
        case.order.settled_by,
        tuple((a.number, lapsed_or_closed.get(a.status, a.status)) for a in case.attempts),
        frozenset((p.payment_id, p.money, p.held, p.refunded) for p in case.payments),
        frozenset(a.anomaly_id for a in case.anomalies),
        tuple((r.refund_id, r.status, r.returned) for r in case.refunds),
    )


def is_settled_or_over(case: Case) -> bool:
    """Say whether an order has come to an end of some kind."""
    return case.order.status not in UNPAID or case.has_unsettled_money
