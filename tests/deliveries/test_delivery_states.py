"""Every state that the deliveries of one order can reach, by two workers and a moody shop.

The claim is the statement's, written here once more; what follows from an answer is the schedule's
own word. A worker may die with a delivery in its hands, and may write down what came of it after
its lease went to the other. A try that a worker died over counts, so that there may be more than
the schedule has.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import pytest

from checkstand.deliveries import schedule
from checkstand.domain.event import URGENT, EventType
from tests.domain.exploring import NOON, Act, explore

_LEASE: Final = timedelta(seconds=20)
_TRIES_MAX: Final = len(schedule.PAUSES) + 1
_TYPES: Final = (EventType.ORDER_PENDING, EventType.ORDER_PAID, EventType.ORDER_FULFILLED)
_ANSWERS: Final = (200, 404, 409, 410, 500, None)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One row of the table."""

    status: str = "pending"
    tries: int = 0
    due_at: datetime | None = NOON
    lets_next_go: bool = False
    lease_owner: int | None = None
    lease_until: datetime | None = None
    was_gone: bool = False  # the shop answered 410 at last
    received: int = 0  # how often the shop took it with a 2xx; 2 is "more than once"


@dataclass(frozen=True, slots=True)
class Deliveries:
    """The deliveries of one order to one endpoint, oldest first, and two workers' hands."""

    now: datetime = NOON
    rows: tuple[Delivery, ...] = tuple(Delivery() for _ in _TYPES)
    hands: tuple[tuple[int, int] | None, ...] = (None, None)  # which row, at which try

    def key(self) -> Hashable:
        """Say which state this is: times count from now, and waits beyond a minute are alike."""
        rows = tuple(
            replace(row, due_at=None, lease_until=None)
            if row.status != "pending"
            else (
                replace(row, due_at=None, lease_until=None),
                _left(row.due_at, self.now),
                _left(row.lease_until, self.now),
            )
            for row in self.rows
        )
        return rows, self.hands, min(self.now - NOON, schedule.OVERTAKES_AFTER)


def _left(moment: datetime | None, now: datetime) -> timedelta | None:
    return None if moment is None else max(moment - now, timedelta())


def acts_of(world: Deliveries) -> Iterator[Act[Deliveries]]:
    for hand, held in enumerate(world.hands):
        if held is None:
            for index in range(len(world.rows)):
                if _may_claim(world, index):
                    yield f"claims #{index} by {hand}", partial(_claim, world, hand, index)
            continue
        for answer in _ANSWERS:
            yield f"answered {answer} #{held[0]}", partial(_record, world, hand, answer)
        yield f"dies #{hand}", partial(_let_go, world, hand)
    moments = [m for row in world.rows for m in (row.due_at, row.lease_until) if m]
    later = [m for m in [*moments, NOON + schedule.OVERTAKES_AFTER] if m > world.now]
    if later:
        yield "time passes", lambda: replace(world, now=min(later))


def _may_claim(world: Deliveries, index: int) -> bool:
    row = world.rows[index]
    if row.status != "pending" or row.due_at is None or row.due_at > world.now:
        return False
    if row.lease_until is not None and row.lease_until > world.now:
        return False
    waits = any(r.status == "pending" and not r.lets_next_go for r in world.rows[:index])
    overtakes = _TYPES[index] in URGENT and world.now - NOON >= schedule.OVERTAKES_AFTER
    return overtakes or not waits


def _claim(world: Deliveries, hand: int, index: int) -> Deliveries:
    row = world.rows[index]
    behind = [r for r in world.rows[:index] if r.status == "pending" and not r.lets_next_go]
    waited = world.now - NOON
    assert not behind or schedule.may_overtake(event_type=_TYPES[index], waited=waited)
    claimed = replace(row, lease_owner=hand, lease_until=world.now + _LEASE, tries=row.tries + 1)
    return _with_hand(_with_row(world, index, claimed), hand, (index, claimed.tries))


def _record(world: Deliveries, hand: int, answer: int | None) -> Deliveries:
    held = world.hands[hand]
    assert held is not None
    index, tries = held
    row = world.rows[index]
    is_delivered = answer is not None and 200 <= answer < 300
    if is_delivered:
        row = replace(row, received=min(row.received + 1, 2))
    freed = _with_hand(_with_row(world, index, row), hand, None)
    if row.lease_owner != hand or row.status != "pending":
        return freed  # somebody else has it: what came of this try is only written down
    due_at = None
    if not is_delivered:
        due_at = schedule.next_try_at(tries_made=tries, now=world.now, fraction=0.0, status=answer)
    ended = replace(
        row,
        status="delivered" if is_delivered else "pending" if due_at else "given_up",
        due_at=due_at,
        lets_next_go=not schedule.holds_back_later(status=answer, is_given_up=due_at is None),
        lease_owner=None,
        lease_until=None,
        was_gone=answer == schedule.GONE,
    )
    return _with_row(freed, index, ended)


def _let_go(world: Deliveries, hand: int) -> Deliveries:
    return _with_hand(world, hand, None)


def _with_row(world: Deliveries, index: int, row: Delivery) -> Deliveries:
    rows = tuple(row if i == index else other for i, other in enumerate(world.rows))
    return replace(world, rows=rows)


def _with_hand(world: Deliveries, hand: int, held: tuple[int, int] | None) -> Deliveries:
    hands = tuple(held if i == hand else other for i, other in enumerate(world.hands))
    return replace(world, hands=hands)


def check(world: Deliveries) -> None:
    for row in world.rows:
        assert (row.due_at is not None) == (row.status == "pending"), "owed, and never due"
        if row.status == "delivered":
            assert row.received, "delivered, and the shop never took it"
        if row.status == "given_up":
            assert row.was_gone or row.tries >= _TRIES_MAX, "given up too early"


def end(world: Deliveries, answer: int | None) -> Deliveries:
    """Let one worker go on, with a shop of one mind, until nothing is owed."""
    world = replace(world, hands=(None, None))
    for _ in range(200):
        index = next((i for i in range(len(world.rows)) if _may_claim(world, i)), None)
        if index is not None:
            world = _record(_claim(world, 0, index), 0, answer)
            continue
        moments = [m for row in world.rows for m in (row.due_at, row.lease_until) if m]
        later = [moment for moment in moments if moment > world.now]
        if not later:
            return world
        world = replace(world, now=min(later))
    raise AssertionError("there is no end of it")


@pytest.mark.parametrize("already_tried", [0, _TRIES_MAX - 2])
def test_every_state_of_an_orders_deliveries_keeps_the_law(already_tried: int) -> None:
    def hold(world: Deliveries) -> None:
        check(world)
        taken = end(world, 200)
        check(taken)
        for row in taken.rows:
            assert row.status == "delivered" or row.was_gone or row.tries >= _TRIES_MAX
        refused = end(world, 500)
        check(refused)
        assert all(row.status != "pending" for row in refused.rows)

    start = Deliveries(rows=tuple(Delivery(tries=already_tried) for _ in _TYPES))

    survey = explore([start], acts_of, hold, depth_max=9, states_max=1_000)

    assert survey.states >= 1_000, survey
    assert len(survey.acts) == len(_ANSWERS) + 3, survey.acts


def test_what_overtakes_is_said_in_one_way() -> None:
    assert {str(type_) for type_ in URGENT} == schedule.OVERTAKING_EVENTS
