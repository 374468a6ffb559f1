"""What a person's word about an anomaly does, for every kind and every resolution."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from checkstand.domain.anomaly import AnomalyKind, Resolution, anomaly_id_of
from checkstand.domain.attempt import AttemptStatus
from checkstand.domain.case import Case, Decision
from checkstand.domain.event import EventType
from checkstand.domain.ledger import transfers_of
from checkstand.domain.money import Money
from checkstand.domain.order import OrderStatus
from checkstand.domain.resolution import (
    EFFECTS,
    Effect,
    Obstacle,
    WentBack,
    obstacle_to,
    resolve_anomaly,
    settle_returned,
)

_ODD = Money(Decimal("12.00"), "USDT")
_KINDS = list(AnomalyKind)


def _odd_case(make: Any, *kinds: AnomalyKind, status: str = "PENDING_PAYMENT") -> Case:
    """An unpaid order whose attempt was paid another sum, with these anomalies open."""
    attempt = make.attempt("PAID")
    case = make.case(attempt, status=status, previous_status=status)
    payment = make.payment(attempt, money=_ODD, held=True)
    return _open(make, replace(case, payments=(payment,)), *kinds)


def _open(make: Any, case: Case, *kinds: AnomalyKind, number: int = 1) -> Case:
    decision = Decision.nothing(case)
    attempt = next(a for a in case.attempts if a.number == number)
    for kind in kinds:
        decision = decision.open_anomaly(kind, attempt, detail="odd", reference=None, at=make.noon)
    return replace(decision.case, order=case.order)


def _resolve(
    make: Any, case: Case, kind: AnomalyKind, resolution: Resolution, **more: Any
) -> Decision:
    anomaly = next(a for a in case.anomalies if a.kind == kind and a.is_open)
    return resolve_anomaly(
        make.nothing(case),
        anomaly.anomaly_id,
        resolution,
        by="operator jo",
        reason="the shopper rang",
        given=make.given(),
        **more,
    )


def _obstacle(make: Any, case: Case, kind: AnomalyKind, how: Resolution, **more: Any) -> Any:
    anomaly = next(a for a in case.anomalies if a.kind == kind)
    fields = {"went_back": None, "now": make.given().now} | more
    return obstacle_to(case, anomaly, how, **fields)


@pytest.mark.parametrize("kind", [AnomalyKind.AMOUNT_DIFFERS, AnomalyKind.CURRENCY_DIFFERS])
@pytest.mark.parametrize("status", ["CREATED", "PENDING_PAYMENT", "CANCELED", "EXPIRED"])
def test_accepted_money_pays_the_order_once(make: Any, kind: AnomalyKind, status: str) -> None:
    case = _odd_case(make, kind, status=status)

    decided = _resolve(make, case, kind, Resolution.ACCEPT)

    (payment,) = decided.case.payments
    assert not payment.held
    assert decided.case.order.status is OrderStatus.PAID
    assert decided.case.order.settled_by == payment.payment_id
    assert [event.type for event in decided.events] == [EventType.ORDER_PAID]
    assert [step.actor for step in decided.steps] == ["person", "person"]
    # The move rests on the decision, so that the timeline leads from one to the other.
    assert decided.steps[-1].reference == f"anomaly:{decided.case.anomalies[0].anomaly_id}"
    again = resolve_anomaly(
        make.nothing(decided.case),
        decided.case.anomalies[0].anomaly_id,
        Resolution.ACCEPT,
        by="somebody else",
        reason="again",
        given=make.given(after=90),
    )
    assert (again.case, again.events) == (decided.case, ())


@pytest.mark.parametrize("status", ["CANCELED", "EXPIRED"])
def test_late_money_that_was_odd_is_late_too_once_it_is_accepted(make: Any, status: str) -> None:
    case = _odd_case(make, AnomalyKind.AMOUNT_DIFFERS, status=status)

    decided = _resolve(make, case, AnomalyKind.AMOUNT_DIFFERS, Resolution.ACCEPT)

    late = next(a for a in decided.case.anomalies if a.kind is AnomalyKind.PAID_LATE)
    assert (late.resolved_by, late.resolution) == ("operator jo", Resolution.ACCEPT)
    assert decided.case.order.status is OrderStatus.PAID


def test_money_with_two_oddities_counts_only_when_both_are_accepted(make: Any) -> None:
    first, second = AnomalyKind.AMOUNT_DIFFERS, AnomalyKind.CURRENCY_DIFFERS
    case = _odd_case(make, first, second)

    half = _resolve(make, case, first, Resolution.ACCEPT)

    assert half.case.payments[0].held
    assert half.case.order.status is OrderStatus.PENDING_PAYMENT
    whole = _resolve(make, half.case, second, Resolution.ACCEPT)
    assert whole.case.order.status is OrderStatus.PAID
    refused = _resolve(make, half.case, second, Resolution.WRITE_OFF)
    assert refused.case.payments[0].held
    assert refused.case.order.status is OrderStatus.PENDING_PAYMENT


def test_second_payment_accepted_is_income_beside_a_paid_order(make: Any) -> None:
    second = make.attempt("PAID", number=2)
    case = make.settled_case(make.attempt("CLOSED"), second)
    held = make.payment(second, held=True)
    case = _open(
        make, replace(case, payments=(*case.payments, held)), AnomalyKind.PAID_TWICE, number=2
    )

    decided = _resolve(make, case, AnomalyKind.PAID_TWICE, Resolution.ACCEPT)

    assert [payment.held for payment in decided.case.payments] == [False, False]
    assert decided.case.order.settled_by == case.order.settled_by
    assert decided.case.order.status is OrderStatus.PAID
    assert decided.events == ()


def test_odd_money_of_an_order_that_was_paid_meanwhile_does_not_pay_it_again(make: Any) -> None:
    odd = make.attempt("PAID", number=2)
    case = make.settled_case(make.attempt("CLOSED"), odd)
    held = make.payment(odd, money=_ODD, held=True)
    case = _open(
        make, replace(case, payments=(*case.payments, held)), AnomalyKind.AMOUNT_DIFFERS, number=2
    )

    decided = _resolve(make, case, AnomalyKind.AMOUNT_DIFFERS, Resolution.ACCEPT)

    assert decided.case.order.settled_by == case.order.settled_by
    assert decided.events == ()


def test_money_written_off_stays_held_and_the_order_goes_its_way(make: Any) -> None:
    case = _odd_case(make, AnomalyKind.AMOUNT_DIFFERS)
    late = make.given(after=timedelta(hours=25))
    anomaly_id = case.anomalies[0].anomaly_id

    decided = resolve_anomaly(
        make.nothing(case),
        anomaly_id,
        Resolution.WRITE_OFF,
        by="operator jo",
        reason="dust",
        given=late,
    )

    assert decided.case.payments[0].held
    assert decided.case.order.status is OrderStatus.EXPIRED


def test_money_that_is_to_go_back_is_resolved_by_going_back(make: Any) -> None:
    case = _odd_case(make, AnomalyKind.AMOUNT_DIFFERS, AnomalyKind.PAID_TWICE)
    (payment,) = case.payments
    for kind in (AnomalyKind.AMOUNT_DIFFERS, AnomalyKind.PAID_TWICE):
        obstacle = _obstacle(make, case, kind, Resolution.REFUND)
        assert obstacle is Obstacle.REFUND_FIRST

    part = replace(payment, refunded=Decimal(1))
    assert settle_returned(make.nothing(case), part, given=make.given()).case == case
    whole = replace(payment, refunded=payment.money.amount)
    decision = make.nothing(case).with_payment(whole)
    decided = settle_returned(decision, whole, given=make.given())

    assert not any(anomaly.is_open for anomaly in decided.case.anomalies)
    assert {a.resolution for a in decided.case.anomalies} == {Resolution.REFUND}
    assert {a.resolved_by for a in decided.case.anomalies} == {"policy"}
    assert decided.case.payments[0].held
    assert decided.case.order.status is OrderStatus.PENDING_PAYMENT


def test_money_on_its_way_back_cannot_be_accepted(make: Any) -> None:
    case = _odd_case(make, AnomalyKind.AMOUNT_DIFFERS)
    payment = replace(case.payments[0], refund_reserved=Decimal(1))

    obstacle = _obstacle(
        make,
        replace(case, payments=(payment,)),
        AnomalyKind.AMOUNT_DIFFERS,
        Resolution.ACCEPT,
    )

    assert obstacle is Obstacle.REFUND_UNDER_WAY


@pytest.mark.parametrize("status", ["PAID", "FULFILLED"])
@pytest.mark.parametrize(
    ("amount", "ends"), [("12.50", OrderStatus.REFUNDED), ("2.50", None), ("12.49", None)]
)
def test_return_found_elsewhere_is_booked_as_a_refund(
    make: Any, status: str, amount: str, ends: OrderStatus | None
) -> None:
    kind = AnomalyKind.REFUNDED_ELSEWHERE
    case = _open(make, make.settled_case(make.attempt("PAID"), status=status), kind)

    decided = _resolve(
        make, case, kind, Resolution.ACCEPT, went_back=WentBack(amount=Decimal(amount))
    )

    (refund,), (payment,) = decided.case.refunds, decided.case.payments
    assert refund.is_elsewhere
    assert refund.returned == payment.refunded == Decimal(amount)
    assert not refund.is_open
    assert decided.case.order.status is (ends or OrderStatus(status))
    told = [event.type for event in decided.events]
    assert told == [EventType.REFUND_SUCCEEDED, *([EventType.ORDER_REFUNDED] if ends else [])]


@pytest.mark.parametrize(
    ("amount", "obstacle"),
    [(None, Obstacle.AMOUNT_NEEDED), ("12.51", Obstacle.AMOUNT_TOO_LARGE), ("12.50", None)],
)
def test_return_found_elsewhere_needs_a_sum_that_can_be(
    make: Any, amount: str | None, obstacle: Obstacle | None
) -> None:
    kind = AnomalyKind.REFUNDED_ELSEWHERE
    case = _open(make, make.settled_case(make.attempt("PAID")), kind)
    went_back = None if amount is None else WentBack(amount=Decimal(amount))

    assert _obstacle(make, case, kind, Resolution.ACCEPT, went_back=went_back) is obstacle


@pytest.mark.parametrize(
    ("minutes", "fee", "obstacle"),
    [
        (-60, "0.12", None),
        (0, None, None),
        (1, None, Obstacle.RETURNED_IN_FUTURE),
        (-60_000, None, Obstacle.RETURNED_BEFORE_PAID),
        (None, "0.13", Obstacle.FEE_TOO_LARGE),
    ],
)
def test_return_found_elsewhere_needs_a_time_and_a_fee_that_can_be(
    make: Any, minutes: int | None, fee: str | None, obstacle: Obstacle | None
) -> None:
    kind, now = AnomalyKind.REFUNDED_ELSEWHERE, make.given().now
    case = make.settled_case(make.attempt("PAID"))
    (payment,) = case.payments
    paid = replace(payment, fee=Decimal("0.12"), paid_at=now - timedelta(days=2))
    case = _open(make, replace(case, payments=(paid,)), kind)
    went_back = WentBack(
        amount=Decimal(1),
        at=None if minutes is None else now + timedelta(minutes=minutes),
        fee=None if fee is None else Decimal(fee),
    )

    assert _obstacle(make, case, kind, Resolution.ACCEPT, went_back=went_back) is obstacle


def test_return_found_elsewhere_is_booked_now_and_belongs_to_when_it_left(make: Any) -> None:
    kind, now = AnomalyKind.REFUNDED_ELSEWHERE, make.given().now
    case = _open(make, make.settled_case(make.attempt("PAID")), kind)
    left = now - timedelta(days=2)
    went_back = WentBack(amount=Decimal(5), at=left, fee=Decimal("0.05"))

    decided = _resolve(make, case, kind, Resolution.ACCEPT, went_back=went_back)

    (refund,) = decided.case.refunds
    assert (refund.returned_at, refund.ended_at, refund.fee_returned) == (
        left,
        now,
        Decimal("0.05"),
    )
    booked = {transfer.kind: (transfer.amount, transfer.at) for transfer in transfers_of(decided)}
    assert booked == {"refund": (Decimal(5), now), "fee_returned": (Decimal("0.05"), now)}


def test_contradiction_that_is_waved_through_lets_things_move(make: Any) -> None:
    kind = AnomalyKind.PROVIDER_CONTRADICTS
    attempt = make.attempt("OPEN", due_at=None)
    case = _open(make, make.case(attempt, status="PENDING_PAYMENT"), kind)
    assert case.has_unsettled_money

    decided = _resolve(make, case, kind, Resolution.ACCEPT)

    assert not decided.case.has_unsettled_money
    assert decided.case.live is not None
    assert decided.case.live.due_at == make.given().now


def test_attempt_is_given_up_only_when_nobody_can_pay_by_it(make: Any) -> None:
    kind = AnomalyKind.PROVIDER_CONTRADICTS
    case = _open(make, make.case(make.attempt("OPEN"), status="PENDING_PAYMENT"), kind)

    soon = _obstacle(make, case, kind, Resolution.WRITE_OFF)
    over = make.given(after=timedelta(hours=1, minutes=11))
    later = _obstacle(make, case, kind, Resolution.WRITE_OFF, now=over.now)

    assert (soon, later) == (Obstacle.MAY_BE_PAYABLE, None)
    decided = resolve_anomaly(
        make.nothing(case),
        case.anomalies[0].anomaly_id,
        Resolution.WRITE_OFF,
        by="operator jo",
        reason="asked Binance's support",
        given=over,
    )
    assert decided.case.live is None
    assert decided.case.attempts[0].status is AttemptStatus.LAPSED


def test_unknown_attempt_that_is_given_up_is_replaced_and_looked_at_once_more(make: Any) -> None:
    kind = AnomalyKind.UNKNOWN_TOO_LONG
    case = _open(make, make.case(make.attempt("SUBMITTING")), kind)
    assert _obstacle(make, case, kind, Resolution.ACCEPT) is None

    decided = _resolve(make, case, kind, Resolution.ACCEPT)

    old, fresh = decided.case.attempts
    assert old.status is AttemptStatus.NEVER_EXISTED
    assert old.due_at is not None
    assert old.due_at >= old.expires_at
    assert fresh.status is AttemptStatus.PREPARED


def test_doubt_about_a_payer_gives_nothing_up(make: Any) -> None:
    attempt = make.attempt("OPEN", payer_active=True)
    case = make.case(attempt, status="PENDING_PAYMENT")
    kind = AnomalyKind.UNKNOWN_TOO_LONG
    opened = make.nothing(case).open_anomaly(
        kind, attempt, detail="paying", reference=None, at=make.noon, fact="paying"
    )
    assert opened.case.anomalies[0].anomaly_id != anomaly_id_of(attempt.attempt_id, kind)

    decided = _resolve(make, opened.case, kind, Resolution.ACCEPT)

    assert decided.case.live is not None
    assert decided.case.live.payer_active


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("resolution", list(Resolution))
def test_every_resolution_ends_once_and_moves_no_money_but_into_books(
    make: Any, kind: AnomalyKind, resolution: Resolution
) -> None:
    """Whatever the table offers closes the anomaly; the rest is refused."""
    case = _odd_case(make, kind)
    effect = EFFECTS[kind].get(resolution)
    went_back = WentBack(amount=Decimal(1)) if effect is Effect.BOOK_RETURN else None

    obstacle = _obstacle(make, case, kind, resolution, went_back=went_back)

    if effect is None:
        assert obstacle is Obstacle.NOT_OFFERED
        return
    if effect is Effect.RETURN:
        assert obstacle is Obstacle.REFUND_FIRST
        return
    assert obstacle is None
    decided = _resolve(make, case, kind, resolution, went_back=went_back)
    (anomaly,) = decided.case.anomalies
    assert (anomaly.resolution, anomaly.resolved_by) == (resolution, "operator jo")
    assert sum(p.money.amount for p in decided.case.payments) == _ODD.amount
    released = not decided.case.payments[0].held
    assert released == (effect is Effect.COUNT)
    other = next(r for r in Resolution if r is not resolution)
    assert _obstacle(make, decided.case, kind, other) is Obstacle.RESOLVED_OTHERWISE
    assert _obstacle(make, decided.case, kind, resolution) is None
