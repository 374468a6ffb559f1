"""Our case, Binance's books, and what is on its way between them: values, and how they change."""

from collections.abc import Hashable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from checkstand.domain.case import Case
from checkstand.domain.money import Money
from checkstand.domain.refund import Refund
from checkstand.domain.refunding import RefundStep
from checkstand.domain.schedule import NextStep
from checkstand.operations.advance_attempt import PlannedCall
from checkstand.provider.gateway import Answer, RefundAnswer
from tests.domain.exploring import case_key

PRICE: Final = Money(Decimal("12.50"), "USDT")
PART: Final = Decimal("5.00")


@dataclass(frozen=True, slots=True)
class TheirRefund:
    """A refund as Binance has it; without a number of ours it was made in the portal."""

    refund_id: UUID | None
    amount: Decimal
    word: str = "REFUND_PENDING"


@dataclass(frozen=True, slots=True)
class TheirOrder:
    """An order as Binance has it, under the number of one attempt."""

    number: int
    expires_at: datetime
    status: str = "INITIAL"
    is_closing: bool = False  # a close was accepted and has not happened yet
    refunds: tuple[TheirRefund, ...] = ()

    @property
    def is_payable(self) -> bool:
        """Say whether money may still arrive."""
        return self.status in {"INITIAL", "PENDING"}

    @property
    def going_back(self) -> Decimal:
        """Say how much has gone back or is about to."""
        going = (r.amount for r in self.refunds if r.word != "REFUND_FAIL")
        return sum(going, Decimal(0))

    @property
    def word(self) -> str:
        """What a query says of it."""
        words = {refund.word for refund in self.refunds}
        if self.status != "PAID" or not words - {"REFUND_FAIL"}:
            return self.status
        if "REFUND_PENDING" in words:
            return "REFUNDING"
        return "FULL_REFUNDED" if self.going_back >= PRICE.amount else "REFUNDED"


@dataclass(frozen=True, slots=True)
class Hand:
    """A hand with a call under way: about an attempt, or about one of its refunds."""

    planned: PlannedCall | None
    refund: Refund | None
    step: NextStep | RefundStep
    at: datetime
    number: int  # of the attempt
    earlier: Refund | None = None  # that it is compared with
    answer: Answer | RefundAnswer | None = None  # what came of it, not recorded yet

    def key(self, case: Case) -> Hashable:
        """Say what this hand may still do."""
        hinted = self.planned is not None and (
            case.attempts[self.number - 1].hinted_at != self.planned.attempt.hinted_at
        )
        refund_id = self.refund.refund_id if self.refund else None
        earlier_id = self.earlier.refund_id if self.earlier else None
        return (self.step, self.number, refund_id, earlier_id, self.answer, self.at, hinted)


@dataclass(frozen=True, slots=True)
class HonestWorld:
    """Our case, Binance's books, and what is on its way between them."""

    now: datetime
    case: Case
    theirs: tuple[TheirOrder, ...] = ()
    hands: tuple[Hand | None, Hand | None] = (None, None)
    adrift: tuple[Hand, ...] = ()  # sent, given up by us, and landing some time or never
    faults_left: int = 2
    is_late: bool = False  # an answer was recorded more than a minute after it was asked for
    was_refused: bool = False  # Binance said no to a create or a refund
    was_cancelled: bool = False  # the shop asked for the order's end
    told: frozenset[UUID] = frozenset()

    def key(self) -> Hashable:
        """Say which state this is."""
        return (
            case_key(self.case, now=self.now),
            self.theirs,
            tuple(hand and hand.key(self.case) for hand in self.hands),
            tuple(hand.key(self.case) for hand in self.adrift),
            self.faults_left,
            self.is_late,
            self.was_refused,
            self.was_cancelled,
        )


def with_hand(world: HonestWorld, index: int, hand: Hand | None) -> HonestWorld:
    """Give a hand another call, or none."""
    first, second = world.hands
    return replace(world, hands=(hand, second) if index == 0 else (first, hand))


def busy_hand(world: HonestWorld, index: int) -> Hand:
    """Return a hand that has a call under way."""
    hand = world.hands[index]
    assert hand is not None
    return hand


def find_theirs(world: HonestWorld, number: int) -> TheirOrder | None:
    """Return Binance's order of an attempt, if it has one."""
    return next((order for order in world.theirs if order.number == number), None)


def find_their_refund(world: HonestWorld, hand: Hand) -> TheirRefund | None:
    """Return Binance's refund that a hand's call is about, if it has it."""
    order = find_theirs(world, hand.number)
    about = hand.earlier or hand.refund
    if order is None or about is None:
        return None
    return next((r for r in order.refunds if r.refund_id == about.refund_id), None)


def prepay_id_of(number: int) -> str:
    """Return the id that Binance gives an attempt's order."""
    return f"29{number:016}"


def change_theirs(world: HonestWorld, number: int, **changes: Any) -> HonestWorld:
    """Change one order in Binance's books."""
    changed = tuple(
        replace(order, **changes) if order.number == number else order for order in world.theirs
    )
    return replace(world, theirs=changed)
