"""Walk through every state that can be reached, breadth first, and say how a wrong one was reached.

A world is any value with acts; two worlds with one key are taken for the same. Because the walk is
breadth first, the trail to a wrong state is among the shortest there are.

Time is a short list of moments, each past everything the domain may wait for since the one before,
so that a moment of the past is as good as its age: just now, a while ago, long ago.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from time import perf_counter
from typing import Final, Protocol, TypeVar
from uuid import UUID

from checkstand.domain import refunding
from checkstand.domain.attempt import Attempt
from checkstand.domain.case import Case, Decision
from checkstand.domain.money import Money
from checkstand.domain.payment import Payment
from checkstand.domain.refund import Refund

NOON: Final = datetime(2026, 11, 23, 12, tzinfo=UTC)
#: An order lives two hours here, an attempt one: its time and the margin after it are among these.
MOMENTS: Final = tuple(
    NOON + timedelta(minutes=minutes) for minutes in (0, 2, 61, 75, 120, 132, 1572, 6000)
)
_FRESH: Final = timedelta(minutes=1)
_MARGIN: Final = timedelta(minutes=10)


class World(Protocol):
    """A state to be in."""

    def key(self) -> Hashable:
        """Say which state this is."""
        ...


W = TypeVar("W", bound=World)
#: What may happen: its name, and how the world is then. Making it may raise AssertionError.
Act = tuple[str, Callable[[], W]]


class Violation(AssertionError):
    """A law was broken; the message is the trail."""


@dataclass(slots=True)
class Survey:
    """What a walk has seen."""

    states: int = 0
    transitions: int = 0
    depth: int = 0
    is_complete: bool = False  # every state there is, not only those of the first few steps
    seconds: float = 0.0
    acts: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        how = "all there are" if self.is_complete else "bounded"
        return (
            f"{self.states:,} states, {self.transitions:,} transitions, depth {self.depth} ({how}),"
            f" {len(self.acts)} kinds of act, {self.seconds:.1f} s"
        )


def explore(
    starts: Iterable[W],
    acts: Callable[[W], Iterator[Act[W]]],
    check: Callable[[W], None],
    *,
    depth_max: int,
    states_max: int = 10**9,
    watch: Callable[[Survey], None] | None = None,
) -> Survey:
    """Visit every state within so many acts of a start. Raises Violation with the trail."""
    survey, begun = Survey(), perf_counter()
    came_by: dict[Hashable, tuple[Hashable | None, str]] = {}
    layer: list[tuple[Hashable, W]] = []
    for world in starts:
        came_by[world.key()] = (None, "start")
        layer.append((world.key(), world))
    while layer and survey.depth < depth_max and len(came_by) < states_max:
        following: list[tuple[Hashable, W]] = []
        for key, world in layer:
            for name, perform in acts(world):
                survey.transitions += 1
                survey.acts[name.split(" #")[0]] += 1
                try:
                    reached = perform()
                    reached_key = reached.key()
                    if reached_key in came_by:
                        continue
                    check(reached)
                except Exception as error:
                    trail = " → ".join([*_trail(came_by, key), name])
                    raise Violation(f"{trail}\n{type(error).__name__}: {error}") from error
                came_by[reached_key] = (key, name)
                following.append((reached_key, reached))
            if len(came_by) >= states_max:
                break
        layer = following
        survey.depth += 1
        survey.states, survey.seconds = len(came_by), perf_counter() - begun
        if watch is not None:
            watch(survey)
    survey.is_complete = not layer
    survey.states, survey.seconds = len(came_by), perf_counter() - begun
    return survey


def _trail(came_by: dict[Hashable, tuple[Hashable | None, str]], key: Hashable) -> Sequence[str]:
    names: list[str] = []
    at: Hashable | None = key
    while at is not None:
        at, name = came_by[at]
        names.append(name)
    return names[::-1]


def next_moment(now: datetime) -> datetime | None:
    """Return the moment after this one, if there is one."""
    index = bisect_left(MOMENTS, now) + 1
    return MOMENTS[index] if index < len(MOMENTS) else None


def case_key(case: Case, *, now: datetime) -> Hashable:
    """Say which state a case is in: everything that what follows may depend on."""
    order = case.order
    numbers = {attempt.attempt_id: attempt.number for attempt in case.attempts}
    return (
        now,
        order.status,
        order.settled_by,
        order.cancel_requested_at is not None,
        tuple(_attempt_key(attempt, now=now) for attempt in case.attempts),
        tuple(
            (numbers[p.attempt_id], p.money, p.fee, p.held, p.refund_reserved, p.refunded)
            for p in case.payments
        ),
        frozenset((a.anomaly_id, a.is_open) for a in case.anomalies),
        tuple(_refund_key(refund, now=now) for refund in case.refunds),
    )


def _attempt_key(attempt: Attempt, *, now: datetime) -> Hashable:
    sent, absent = attempt.last_sent_at, attempt.last_absent_at
    return (
        attempt.status,
        attempt.prepay_id,
        attempt.expected,
        attempt.links is not None,
        attempt.payer_active,
        min(attempt.sends, 2),
        _age(sent, now=now),
        min(attempt.absences, 2),
        absent is not None and sent is not None and absent >= sent,
        attempt.close_reason,
        min(attempt.closes, 2),
        _age(attempt.close_accepted_at, now=now),
        _age(attempt.ended_at, now=now),
        attempt.hinted_at is not None,
        min(attempt.asks, 1),
        _index(attempt.due_at),
        _index(attempt.expires_at),
        attempt.lease_owner,
        attempt.lease_until is not None and attempt.lease_until > now,
    )


def _refund_key(refund: Refund, *, now: datetime) -> Hashable:
    return (
        refund.refund_id,
        refund.amount,
        refund.status,
        refund.is_elsewhere,
        refund.checked_at is not None,
        refund.compared_at is not None,
        min(refund.sends, 2),
        _age(refund.last_sent_at, now=now),
        refund.in_doubt,
        min(refund.absences, 2),
        refund.last_absent_at is not None,
        refund.returned,
        refund.remaining_attempts,
        _age(refund.ended_at, now=now),
        min(refund.asks, 1),
        _index(refund.due_at),
        refund.lease_owner,
        refund.lease_until is not None and refund.lease_until > now,
    )


def _age(moment: datetime | None, *, now: datetime) -> int:
    if moment is None:
        return 0
    age = now - moment
    return 1 if age < _FRESH else 2 if age < _MARGIN else 3


def _index(moment: datetime | None) -> int:
    """Say at which of the moments something is first due; -1 for never."""
    return -1 if moment is None else bisect_left(MOMENTS, moment)


def ask_back(case: Case, payment: Payment, amount: Decimal, *, now: datetime) -> Decision:
    """Let the merchant ask for a part of a payment, in a refund numbered like those before it."""
    number = len(case.refunds) + 1
    refund = Refund(
        account_id=payment.account_id,
        order_id=payment.order_id,
        attempt_id=payment.attempt_id,
        payment_id=payment.payment_id,
        refund_id=UUID(int=number),
        merchant_refund_id=f"r{number}",
        amount=Money(amount, payment.money.currency),
        requested_at=now,
        requested_by="merchant",
    )
    return refunding.request(Decision.nothing(case), refund, now=now)
