"""When a doubt is told, once, and when it is over."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from checkstand.domain import doubt
from checkstand.domain.anomaly import AnomalyKind
from checkstand.domain.attempt import AttemptStatus
from checkstand.domain.doubt import Patience
from checkstand.domain.event import EventType
from checkstand.domain.money import Money
from checkstand.domain.refund import Refund, RefundStatus

_PATIENCE = Patience()


def _look(make: Any, case: Any, after: float) -> Any:
    now = make.given(after=after).now
    decision = doubt.open_overdue(make.nothing(case), patience=_PATIENCE, now=now)
    return doubt.settle_known(decision, now=now)


@pytest.mark.parametrize(
    ("attempt", "told_after"),
    [
        ({"status": "SUBMITTING"}, 900),
        ({"status": "SUBMITTING", "sends": 7, "last_sent_at": None}, 900),
        ({"status": "OPEN"}, 3600 + 900),
        ({"status": "OPEN", "payer_active": True}, 7200),
        ({"status": "CLOSING", "close_requested_at": None}, 900),
    ],
)
def test_doubt_is_told_once_when_patience_is_over(
    make: Any, attempt: dict[str, Any], told_after: float
) -> None:
    case = make.case(make.attempt(**attempt), status="PENDING_PAYMENT")

    early = _look(make, case, told_after - 1)
    told = _look(make, case, told_after)
    again = _look(make, told.case, told_after + 600)

    assert early.case == case
    assert [event.type for event in told.events] == [EventType.ORDER_ATTENTION]
    assert [a.kind for a in told.case.anomalies] == [AnomalyKind.UNKNOWN_TOO_LONG]
    assert (again.case, again.events) == (told.case, ())


def test_resending_does_not_begin_the_wait_anew(make: Any) -> None:
    late = make.noon + timedelta(minutes=14)
    case = make.case(make.attempt("SUBMITTING", sends=9, last_sent_at=late))

    assert _look(make, case, 901).case.anomalies


@pytest.mark.parametrize(
    "status", [s for s in AttemptStatus if s not in {"SUBMITTING", "OPEN", "CLOSING"}]
)
def test_what_is_known_is_no_doubt(make: Any, status: AttemptStatus) -> None:
    case = make.case(make.attempt(status), status="PENDING_PAYMENT")

    assert doubt.doubts_of(case, now=make.given(after=timedelta(days=9)).now) == ()


@pytest.mark.parametrize("status", ["OPEN", "PAID", "LAPSED", "NEVER_EXISTED"])
def test_doubt_ends_when_the_fate_is_known(make: Any, status: str) -> None:
    case = make.case(make.attempt("SUBMITTING"), status="CREATED")
    told = _look(make, case, 1000)
    known = replace(told.case, attempts=(make.attempt(status),))

    decided = _look(make, known, 1200)

    (anomaly,) = decided.case.anomalies
    assert anomaly.resolved_by == "policy"
    assert decided.events == ()
    assert decided.case.order.version == told.case.order.version + 1


def test_later_doubt_of_the_same_attempt_is_told_anew(make: Any) -> None:
    unknown = _look(make, make.case(make.attempt("SUBMITTING")), 900)
    opened = make.attempt("OPEN", expires_at=make.noon + timedelta(days=2))
    known = _look(make, replace(unknown.case, attempts=(opened,)), 910)
    assert [a.is_open for a in known.case.anomalies] == [False]

    for number in (2, 3):  # it is to be closed, twice: a close is asked for anew after hours
        closing = make.attempt("CLOSING", close_requested_at=make.noon)
        told = _look(make, replace(known.case, attempts=(closing,)), 3600 * number)
        assert [event.type for event in told.events] == [EventType.ORDER_ATTENTION]
        assert len(told.case.anomalies) == number
        known = _look(make, replace(told.case, attempts=(opened,)), 3600 * number + 60)
        assert not [a for a in known.case.anomalies if a.is_open]


def _refund(make: Any, status: RefundStatus, **changes: Any) -> Any:
    case = make.settled_case(make.attempt("PAID"))
    payment = case.payments[0]
    fields: dict[str, Any] = {
        "account_id": payment.account_id,
        "order_id": payment.order_id,
        "attempt_id": payment.attempt_id,
        "payment_id": payment.payment_id,
        "refund_id": payment.payment_id,
        "merchant_refund_id": "back-1",
        "amount": Money(payment.money.amount, "USDT"),
        "requested_at": make.noon,
        "requested_by": "merchant",
        "status": status,
        "last_sent_at": make.noon + timedelta(minutes=10),
    }
    return replace(case, refunds=(Refund(**fields | changes),))


def test_refund_of_unknown_fate_is_told_and_closed(make: Any) -> None:
    case = _refund(make, RefundStatus.UNKNOWN)
    assert _look(make, case, 1000).case.anomalies == ()
    assert _look(make, _refund(make, RefundStatus.UNKNOWN, in_doubt=True), 1000).case.anomalies

    told = _look(make, case, 1500)
    assert "back-1" in told.case.anomalies[0].detail
    done = replace(told.case, refunds=(replace(case.refunds[0], status=RefundStatus.SUCCEEDED),))

    assert not _look(make, done, 1600).case.anomalies[0].is_open
