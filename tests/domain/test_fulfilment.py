"""Whose the goods of a paid order are, and what stands against each next thing."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from checkstand.domain import fulfilment
from checkstand.domain.anomaly import AnomalyKind
from checkstand.domain.case import Case
from checkstand.domain.fulfilment import OFFERS_MAX, Obstacle, token_of
from checkstand.domain.order import OrderStatus
from checkstand.domain.refund import OPEN, Refund, RefundStatus

_LEASE = timedelta(minutes=15)


def _paid(make: Any, **order: Any) -> Case:
    case: Case = make.settled_case(make.attempt("PAID"))
    return replace(case, order=replace(case.order, **order))


def _with_refund(case: Case, status: RefundStatus, **changes: Any) -> Case:
    payment = case.payments[0]
    fields: dict[str, Any] = {
        "account_id": payment.account_id,
        "order_id": payment.order_id,
        "attempt_id": payment.attempt_id,
        "payment_id": payment.payment_id,
        "refund_id": UUID(int=7),
        "merchant_refund_id": "back-1",
        "amount": payment.money,
        "requested_at": payment.received_at,
        "requested_by": "merchant",
        "status": status,
    }
    return replace(case, refunds=(Refund(**fields | changes),))


@pytest.mark.parametrize("status", [s for s in OrderStatus if s is not OrderStatus.PAID])
def test_only_a_paid_order_owes_goods(make: Any, status: OrderStatus) -> None:
    case, now = _paid(make, status=status), make.given().now

    assert fulfilment.why_not_claim(case, None, now=now) is Obstacle.NOT_PAID
    assert fulfilment.why_not_fulfil(case, None, now=now) is Obstacle.NOT_PAID
    assert fulfilment.why_not_offer(case, now=now) is Obstacle.NOT_PAID
    assert fulfilment.why_not_refund(case, now) is None


def test_goods_are_one_hand_s_until_its_lease_is_over(make: Any) -> None:
    now = make.given().now
    decision = fulfilment.claim(make.nothing(_paid(make)), "mine", now=now, lease=_LEASE)
    case, later = decision.case, now + _LEASE

    assert fulfilment.why_not_claim(case, "mine", now=now) is None
    assert fulfilment.why_not_fulfil(case, "mine", now=now) is None
    assert fulfilment.why_not_fulfil(case, None, now=now) is None
    for token in ("yours", None):
        assert fulfilment.why_not_claim(case, token, now=now) is Obstacle.HELD
        assert fulfilment.why_not_claim(case, token, now=later) is None
    assert fulfilment.why_not_fulfil(case, "yours", now=now) is Obstacle.HELD
    assert fulfilment.why_not_refund(case, now) is not None
    assert fulfilment.why_not_refund(case, now, payment_id=UUID(int=9)) is None
    assert fulfilment.why_not_refund(case, later) is None


@pytest.mark.parametrize("status", list(RefundStatus))
def test_goods_and_an_open_refund_of_their_money_exclude_one_another(
    make: Any, status: RefundStatus
) -> None:
    case, now = _with_refund(_paid(make), status), make.given().now
    expected = Obstacle.REFUND_UNDER_WAY if status in OPEN else None

    assert fulfilment.why_not_claim(case, None, now=now) is expected
    assert fulfilment.why_not_fulfil(case, None, now=now) is expected
    assert fulfilment.why_not_offer(case, now=now) is expected
    other = _with_refund(_paid(make), status, payment_id=UUID(int=9))
    assert fulfilment.why_not_fulfil(other, None, now=now) is None


@pytest.mark.parametrize(
    ("kind", "claim", "offer"),
    [
        (AnomalyKind.REFUNDED_ELSEWHERE, Obstacle.WENT_BACK, Obstacle.WENT_BACK),
        (AnomalyKind.PROVIDER_CONTRADICTS, None, Obstacle.WENT_BACK),
        (AnomalyKind.FEE_DIFFERS, None, None),
    ],
)
def test_doubt_about_the_money_keeps_the_goods(
    make: Any, kind: AnomalyKind, claim: Any, offer: Any
) -> None:
    case, now = _paid(make), make.given().now
    decision = make.nothing(case).open_anomaly(
        kind, case.attempts[0], detail="odd", reference=None, at=now
    )

    assert fulfilment.why_not_claim(decision.case, None, now=now) is claim
    assert fulfilment.why_not_offer(decision.case, now=now) is offer


def test_offers_are_ever_farther_apart_and_end(make: Any) -> None:
    now = make.given().now
    decision, waits = make.nothing(_paid(make)), []
    for _ in range(OFFERS_MAX):
        decision = fulfilment.offered(decision, now=now, lease=_LEASE)
        due_at = decision.case.order.fulfilment_due_at
        waits.append(None if due_at is None else (due_at - now) // _LEASE)

    assert waits == [4, 24, *[96] * (OFFERS_MAX - 3), None]


def test_whoever_says_no_lets_go_and_nobody_else_can(make: Any) -> None:
    now = make.given().now
    decision, until = fulfilment.take_for_delivery(
        make.nothing(_paid(make)), "mine", now=now, lease=_LEASE
    )
    assert until == now + _LEASE

    assert fulfilment.release(decision, "yours", until=until, now=now) == decision
    let_go = fulfilment.release(decision, "mine", until=until, now=now)
    assert not fulfilment.is_held(let_go.case.order, now=now)


def test_news_speak_for_nobody_who_has_the_goods_besides(make: Any) -> None:
    now = make.given().now
    decision, until = fulfilment.take_for_delivery(
        make.nothing(_paid(make)), "news", now=now, lease=_LEASE
    )
    assert until is not None
    packed = fulfilment.claim(decision, "news", now=now, lease=_LEASE)
    again, besides = fulfilment.take_for_delivery(
        packed, "news", now=now, lease=timedelta(minutes=1)
    )

    assert fulfilment.release(packed, "news", until=until, now=now) == packed
    assert besides is None
    assert again.case.order.fulfilment_until > now + _LEASE


def test_token_is_the_same_at_every_try_and_another_for_every_event() -> None:
    assert token_of(UUID(int=1)) == token_of(UUID(int=1)) != token_of(UUID(int=2))
