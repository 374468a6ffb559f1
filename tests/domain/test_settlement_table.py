"""Every report about every attempt of every order: none raises, none loses or doubles money.

The whole product of statuses, findings, channels, sums and times is tried, whether or not it can
come about: what Binance says is never refused.
"""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from checkstand.domain import settlement
from checkstand.domain.anomaly import Anomaly, AnomalyKind, anomaly_id_of
from checkstand.domain.attempt import Attempt, AttemptStatus
from checkstand.domain.case import Case, Decision
from checkstand.domain.event import EventType
from checkstand.domain.money import Money
from checkstand.domain.order import OrderStatus, allowed_moves
from checkstand.domain.report import Finding, Report, Source

_SETTLED = {OrderStatus.PAID, OrderStatus.FULFILLED, OrderStatus.REFUNDED}
_MONEY = {Finding.PAID, Finding.RETURNED}
_SUMS = (
    Money(Decimal("12.50000000"), "USDT"),  # what is expected, in Binance's digits
    Money(Decimal("12.49"), "USDT"),
    Money(Decimal("12.50"), "USDC"),
    None,
)
_MOMENTS = (
    timedelta(minutes=6),
    timedelta(hours=1, minutes=11),  # the attempt's time is over, and so is the margin
    timedelta(hours=24, minutes=11),  # so is the order's
)
_LEGAL = set(allowed_moves())


def _subject_of(case: Case) -> Attempt:
    assert case.current is not None
    return case.current


def _held(make: Any, case: Case, attempt: Attempt) -> Case:
    """Add what an attempt has that was paid another sum than expected."""
    payment = make.payment(attempt, money=_SUMS[1], held=True)
    anomaly = Anomaly(
        account_id=attempt.account_id,
        order_id=attempt.order_id,
        attempt_id=attempt.attempt_id,
        anomaly_id=anomaly_id_of(attempt.attempt_id, AnomalyKind.AMOUNT_DIFFERS),
        kind=AnomalyKind.AMOUNT_DIFFERS,
        detail="another sum",
        opened_at=make.noon,
    )
    return replace(case, payments=(*case.payments, payment), anomalies=(anomaly,))


def _cases(make: Any, status: AttemptStatus) -> Iterator[Case]:
    """Every order whose newest attempt is in this state, its expected sum known or not."""
    for order_status, knows in itertools.product(OrderStatus, [True, False]):
        expected = make.price if knows else None
        if order_status not in _SETTLED:
            attempt = make.attempt(status, expected=expected)
            case = make.case(attempt, status=order_status, previous_status=order_status)
            yield _held(make, case, attempt) if status is AttemptStatus.PAID else case
            continue
        if status is AttemptStatus.PAID:
            yield make.settled_case(make.attempt(status, expected=expected), status=order_status)
        second = make.attempt(status, number=2, expected=expected)
        case = make.settled_case(make.attempt("CLOSED"), second, status=order_status)
        yield _held(make, case, second) if status is AttemptStatus.PAID else case


def _reports(make: Any, finding: Finding) -> Iterator[Report]:
    for source, money in itertools.product(Source, _SUMS):
        yield make.report(finding, source, money=money)


@pytest.mark.parametrize("finding", Finding)
@pytest.mark.parametrize("status", AttemptStatus)
def test_truth_is_never_refused_lost_or_doubled(
    make: Any, status: AttemptStatus, finding: Finding
) -> None:
    for case, report, after in itertools.product(
        _cases(make, status), _reports(make, finding), _MOMENTS
    ):
        attempt_id = _subject_of(case).attempt_id
        given = make.given(after=after)

        decided = settlement.apply(Decision.nothing(case), attempt_id, report, given=given)

        _assert_lawful(decided)
        if finding in _MONEY:
            _assert_money_is_known(decided, attempt_id, report)
        else:
            assert decided.case.payments == case.payments
        _assert_no_busy_loop(decided, attempt_id, now=given.now)
        _assert_repeat_is_nothing(make, decided, attempt_id, report, after=after)


def _assert_lawful(decided: Decision) -> None:
    before, after = decided.before.order, decided.case.order
    assert len([a for a in decided.case.attempts if a.is_live]) <= 1
    assert len([p for p in decided.case.payments if not p.held]) <= 1
    versions = [step.version for step in decided.steps]
    assert versions == list(range(before.version + 1, after.version + 1))
    statuses = [before.status, *(step.status for step in decided.steps)]
    assert statuses[-1] is after.status
    assert [step.previous_status for step in decided.steps] == statuses[:-1]
    assert _LEGAL.issuperset(itertools.pairwise(statuses))
    moved = [step.version for step in decided.steps if step.previous_status is not step.status]
    assert set(moved) <= {event.order_version for event in decided.events} <= set(versions)
    assert len({event.event_id for event in decided.events}) == len(decided.events)
    assert (after.settled_by is not None) == (after.status in _SETTLED)
    if before.settled_by is not None:
        assert after.settled_by == before.settled_by
    is_now_paid = after.status in _SETTLED and before.status not in _SETTLED
    told = [event.type for event in decided.events]
    assert told.count(EventType.ORDER_PAID) == (1 if is_now_paid else 0)


def _assert_money_is_known(decided: Decision, attempt_id: Any, report: Report) -> None:
    before = decided.before
    subject, payment = decided.case.attempt(attempt_id), decided.case.payment_for(attempt_id)
    if payment is None:  # no sum was ever told: it is asked about again, and said to be odd
        assert report.money is None
        assert before.attempt(attempt_id).expected is None
        assert decided.case.has_unsettled_money
        return
    assert subject.status is AttemptStatus.PAID
    if before.payment_for(attempt_id) is not None:
        assert payment.money == before.payment_for(attempt_id).money  # type: ignore[union-attr]
        return
    is_second = before.order.settled_by is not None
    expected = before.attempt(attempt_id).expected
    differs = expected is not None and report.money not in {expected, None}
    assert payment.held == (is_second or differs)
    kinds = {a.kind for a in decided.case.anomalies if a.attempt_id == attempt_id and a.is_open}
    assert bool(kinds & {AnomalyKind.AMOUNT_DIFFERS, AnomalyKind.CURRENCY_DIFFERS}) == differs
    assert (AnomalyKind.PAID_TWICE in kinds) == is_second


def _assert_no_busy_loop(decided: Decision, attempt_id: Any, *, now: Any) -> None:
    subject = decided.case.attempt(attempt_id)
    if subject.due_at is None or subject.due_at > now:
        return
    assert subject.status in {
        AttemptStatus.PREPARED,  # to be sent at once
        AttemptStatus.SUBMITTING,  # proved not there: sent again at once
        AttemptStatus.CLOSING,  # to be closed at once
    }


def _assert_repeat_is_nothing(
    make: Any, decided: Decision, attempt_id: Any, report: Report, *, after: timedelta
) -> None:
    if report.finding is Finding.ABSENT:
        return  # asking twice proves more than asking once
    saved = Decision.nothing(decided.case)

    again = settlement.apply(saved, attempt_id, report, given=make.given(after=after, fresh=2))

    assert (again.steps, again.events) == ((), ())
    assert again.case.order == decided.case.order
    assert again.case.payments == decided.case.payments
    assert again.case.anomalies == decided.case.anomalies
    assert len(again.case.attempts) == len(decided.case.attempts)
