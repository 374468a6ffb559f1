"""Every status pair is tried, allowed or not."""

import itertools
from typing import Any

import pytest

from checkstand.domain.case import MoveRefused
from checkstand.domain.event import EVENT_OF
from checkstand.domain.order import TRANSITIONS, UNPAID, OrderStatus, allowed_moves

#: The law's table (who may become what), written down a second time on purpose.
_ALLOWED = {
    ("CREATED", "PENDING_PAYMENT"),
    ("CREATED", "CANCELED"),
    ("CREATED", "PAID"),
    ("CREATED", "EXPIRED"),
    ("PENDING_PAYMENT", "PAID"),
    ("PENDING_PAYMENT", "CANCELED"),
    ("PENDING_PAYMENT", "EXPIRED"),
    ("EXPIRED", "PENDING_PAYMENT"),
    ("EXPIRED", "PAID"),
    ("CANCELED", "PAID"),
    ("PAID", "FULFILLED"),
    ("PAID", "REFUNDED"),
    ("FULFILLED", "REFUNDED"),
}
_PAIRS = list(itertools.product(OrderStatus, repeat=2))


@pytest.mark.parametrize(("before", "after"), _PAIRS)
def test_a_move_is_made_exactly_if_the_table_has_it(
    make: Any, before: OrderStatus, after: OrderStatus
) -> None:
    decision = make.nothing(make.case(status=before, previous_status=before, version=4))

    if (str(before), str(after)) not in _ALLOWED:
        with pytest.raises(MoveRefused):
            decision.move(after, actor="person", reason="why", reference=None, at=make.noon)
        return
    moved = decision.move(after, actor="person", reason="why", reference="call:1", at=make.noon)

    assert (moved.case.order.status, moved.case.order.previous_status) == (after, before)
    assert moved.case.order.version == 5
    (step,) = moved.steps
    assert (step.previous_status, step.status, step.version) == (before, after, 5)
    assert (step.actor, step.reason, step.reference) == ("person", "why", "call:1")
    (event,) = moved.events
    assert (event.type, event.order_version) == (EVENT_OF[after], 5)


def test_the_table_is_the_law() -> None:
    moves = {(str(b), str(a)) for b, afters in TRANSITIONS.items() for a in afters}

    assert moves == _ALLOWED
    assert set(TRANSITIONS) == set(OrderStatus)


def test_the_database_is_told_every_move_and_that_a_status_may_stay() -> None:
    expected = _ALLOWED | {(str(status), str(status)) for status in OrderStatus}

    assert allowed_moves() == sorted(
        (OrderStatus(before), OrderStatus(after)) for before, after in expected
    )


def test_money_is_never_undone_by_a_move() -> None:
    paid = {OrderStatus.PAID, OrderStatus.FULFILLED, OrderStatus.REFUNDED}

    assert not any(TRANSITIONS[status] - paid for status in paid)
    assert all(OrderStatus.PAID in TRANSITIONS[status] for status in set(OrderStatus) - paid)
    assert {OrderStatus.CREATED, OrderStatus.PENDING_PAYMENT} == UNPAID
