"""A decision starts from a case and ends in one; versions, history and events go together."""

from typing import Any
from uuid import UUID

import pytest

from checkstand.domain.anomaly import AnomalyKind, anomaly_id_of
from checkstand.domain.case import Decision
from checkstand.domain.event import EVENT_OF, URGENT, EventType, event_id_of
from checkstand.domain.order import OrderStatus
from checkstand.domain.payment import payment_id_of


def _move(decision: Decision, status: str, make: Any, **more: Any) -> Decision:
    return decision.move(
        OrderStatus(status), actor="person", reason="why", reference=None, at=make.noon, **more
    )


def test_several_moves_in_one_decision_have_consecutive_versions(make: Any) -> None:
    decision = Decision.nothing(make.case(make.attempt(), version=7))

    for status in ("PENDING_PAYMENT", "PAID", "FULFILLED"):
        decision = _move(decision, status, make)

    assert [step.version for step in decision.steps] == [8, 9, 10]
    assert [event.order_version for event in decision.events] == [8, 9, 10]
    assert decision.case.order.version == 10
    assert decision.before.order.version == 7


def test_an_event_s_id_is_the_fact_s_own(make: Any) -> None:
    case = make.case(make.attempt())

    once = _move(Decision.nothing(case), "PAID", make, fact="payment-1").events[0]
    again = _move(Decision.nothing(case), "PAID", make, fact="payment-1").events[0]
    other = _move(Decision.nothing(case), "PAID", make, fact="payment-2").events[0]

    assert once.event_id == again.event_id != other.event_id


def test_ids_of_facts_never_change() -> None:
    """They are in shops' databases: another derivation would make old facts new ones."""
    fixed = UUID(int=1)

    assert payment_id_of(fixed) == UUID("c14c3469-f156-5225-83a0-ef96ba61d6b2")
    event_id = event_id_of(fixed, EventType.ORDER_PAID, "7")
    assert event_id == UUID("495b5f4b-1e25-52e9-b8ab-f36a8b85b41d")
    anomaly_id = anomaly_id_of(fixed, AnomalyKind.PAID_TWICE)
    assert anomaly_id == UUID("c9bd7e0f-6f8d-5784-97b1-65020d9ea016")


def test_the_same_oddity_told_twice_is_one_anomaly_and_one_event(make: Any) -> None:
    attempt = make.attempt()
    decision = Decision.nothing(make.case(attempt))

    for _ in range(2):
        decision = decision.open_anomaly(
            AnomalyKind.PAID_TWICE, attempt, detail="again", reference="call:1", at=make.noon
        )

    assert len(decision.case.anomalies) == 1
    assert [event.type for event in decision.events] == [EventType.ORDER_ATTENTION]
    (step,) = decision.steps
    assert (step.previous_status, step.status) == (OrderStatus.CREATED, OrderStatus.CREATED)
    assert step.version == decision.case.order.version == 2


def test_several_oddities_of_one_order_are_several_anomalies(make: Any) -> None:
    first, second = make.attempt("CLOSED"), make.attempt(number=2)
    decision = Decision.nothing(make.case(first, second))

    for attempt in (first, second):
        for kind in AnomalyKind:
            decision = decision.open_anomaly(
                kind, attempt, detail="odd", reference=None, at=make.noon
            )

    assert len({a.anomaly_id for a in decision.case.anomalies}) == 2 * len(AnomalyKind)
    assert len({e.event_id for e in decision.events}) == 2 * len(AnomalyKind)


@pytest.mark.parametrize("status", OrderStatus)
def test_every_status_an_order_can_move_to_has_an_event(status: OrderStatus) -> None:
    assert (status in EVENT_OF) == (status is not OrderStatus.CREATED)


def test_the_shop_hears_of_money_even_behind_a_stuck_delivery() -> None:
    paid, attention, refunded = (
        EventType.ORDER_PAID,
        EventType.ORDER_ATTENTION,
        EventType.REFUND_SUCCEEDED,
    )
    assert {paid, attention, refunded} == URGENT


def test_attempts_stay_in_order_whatever_is_put_in(make: Any) -> None:
    one, two, three = (make.attempt("CLOSED", number=n) for n in (1, 2, 3))
    decision = Decision.nothing(make.case(two))

    decided = decision.with_attempt(three).with_attempt(one).with_attempt(two)

    assert [a.number for a in decided.case.attempts] == [1, 2, 3]
    assert decided.case.current == three


def test_trade_number_is_the_attempt_s_own_and_says_nothing_of_the_shop(make: Any) -> None:
    attempt = make.attempt()

    assert attempt.merchant_trade_no == attempt.attempt_id.hex
    assert len(attempt.merchant_trade_no) == 32
    assert attempt.merchant_trade_no.isalnum()
