"""A world whose Binance never lies, and in which everything else may go wrong.

Two hands (workers, hosts) take calls under leases, and a call is four acts that anything may come
between: written down, landed there, answered, recorded. So an answer that was true when Binance
gave it is recorded after the other hand, a notice, the shopper or the shop has changed the order.
Faults: a call that never lands, one that lands unanswered, one that lands much later, a hand that
dies, a create refused, a wallet too empty for a refund.

The deciders are the real ones, those of the domain and those the operations wrap around them;
Binance is written here once more, from the reference, in as few states as it can be.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from types import SimpleNamespace
from typing import Any, Final, cast
from uuid import UUID

from checkstand.domain import refunding, settlement
from checkstand.domain.anomaly import AnomalyKind
from checkstand.domain.attempt import Attempt, AttemptStatus, Links
from checkstand.domain.case import Case, Decision
from checkstand.domain.money import Money
from checkstand.domain.order import Order, OrderStatus, Terms
from checkstand.domain.refund import Refund, RefundStatus
from checkstand.domain.refunding import RefundStep
from checkstand.domain.report import Finding, RefundFinding, RefundReport, Report, Source
from checkstand.domain.schedule import NextStep, next_step
from checkstand.domain.settlement import Circumstances
from checkstand.errors import CheckstandError
from checkstand.operations import cancel_order, fulfil_order, renew_order
from checkstand.operations.advance_attempt import (
    Lease,
    PlannedCall,
    decide_answer,
    note_sending,
)
from checkstand.operations.advance_refund import heed_answer
from checkstand.provider.gateway import Answer, Outcome, RefundAnswer
from checkstand.provider.translation import QUERY_WORDS, REFUND_QUERY_WORDS
from tests.domain import laws
from tests.domain.exploring import MOMENTS, NOON, Act, case_key, next_moment

PRICE: Final = Money(Decimal("12.50"), "USDT")
_ACCOUNT, _ORDER, _CREDENTIAL = UUID(int=0xACC), UUID(int=0x04DE4), UUID(int=0xC4ED)
_HANDS: Final = (UUID(int=0xA), UUID(int=0xB))
_LEASE: Final = timedelta(minutes=1)
_PART: Final = Decimal("5.00")
_LINKS: Final = Links(qr_content="q", deeplink="d", universal_url="u", checkout_url="c")
_REFUND_QUESTIONS = frozenset({RefundStep.ASK, RefundStep.CHECK, RefundStep.COMPARE})


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


def fresh_world(*, faults: int) -> HonestWorld:
    """An order that was just asked for."""
    terms = Terms(merchant_order_id="shop-1", price=PRICE, fiat_price=None, description="Tea")
    order = Order(
        account_id=_ACCOUNT,
        order_id=_ORDER,
        terms=terms,
        checkout_token="token",
        created_at=NOON,
        expires_at=NOON + timedelta(hours=2),
    )
    given = _given(NOON, number=1)
    first = settlement.prepare_attempt(order, number=1, given=given)
    return HonestWorld(now=NOON, case=Case(order=order, attempts=(first,)), faults_left=faults)


def opened_world(*, faults: int) -> HonestWorld:
    """An order whose first code is shown."""
    world = _claim_attempt(fresh_world(faults=faults), 0, 1)
    return _record(_land(world, 0), 0)


def paid_world(*, faults: int) -> HonestWorld:
    """An order that was paid, and we know it."""
    world = _change_theirs(opened_world(faults=faults), 1, status="PAID")
    return _pay_notice(world, 1)


def refunding_world(*, faults: int) -> HonestWorld:
    """A paid order with two refunds asked for: a part, then all the rest."""
    world = paid_world(faults=faults)
    world = _ask_refund(world, _PART)
    return _ask_refund(world, PRICE.amount - _PART)


def doubtful_world(*, faults: int) -> HonestWorld:
    """A refund that was sent, is not there yet, and is about to be sent again."""
    world = refunding_world(faults=faults + 1)
    refund_id = world.case.refunds[0].refund_id
    world = _record(_land(_claim_refund(world, 0, refund_id), 0), 0)  # the order is asked about
    world = _record(_drift(_claim_refund(world, 0, refund_id), 0), 0)
    world = replace(world, now=MOMENTS[1])
    world = _record(_land(_claim_refund(world, 0, refund_id), 0), 0)  # and it is not there
    return replace(world, now=MOMENTS[2])


# -- what may happen ------------------------------------------------------------------------------


def acts_of(world: HonestWorld) -> Iterator[Act[HonestWorld]]:
    """Yield everything that may happen next."""
    yield from _acts_of_hands(world)
    yield from _acts_of_binance(world)
    yield from _acts_of_people(world)
    yield from notices_of(world)
    later = next_moment(world.now)
    if later is not None:
        yield "time passes", partial(_pass_time, world, later)


def _acts_of_hands(world: HonestWorld) -> Iterator[Act[HonestWorld]]:
    for index, hand in enumerate(world.hands):
        if hand is None:
            if index == 1 and world.hands[0] is None:
                continue  # the hands are alike: with both idle the first one takes it
            yield from _claims(world, index)
        elif hand.answer is not None:
            yield f"recorded #{index} {hand.step}", partial(_record, world, index)
            if world.faults_left:
                yield f"dies answered #{index}", partial(_die, world, index)
        else:
            yield f"lands #{index} {hand.step}", partial(_land, world, index)
            if world.faults_left:
                yield from _faults(world, index, hand)
    for hand in world.adrift:
        yield f"lands late #{hand.step}", partial(_land_late, world, hand)


def _claims(world: HonestWorld, index: int) -> Iterator[Act[HonestWorld]]:
    for attempt in world.case.attempts:
        if _is_free(attempt, now=world.now):
            name = f"claims attempt #{attempt.number} by {index}"
            yield name, partial(_claim_attempt, world, index, attempt.number)
    for refund in world.case.refunds:
        if _is_free(refund, now=world.now):
            name = f"claims refund #{refund.refund_id.int} by {index}"
            yield name, partial(_claim_refund, world, index, refund.refund_id)


def _faults(world: HonestWorld, index: int, hand: Hand) -> Iterator[Act[HonestWorld]]:
    for outcome in (Outcome.UNAVAILABLE, Outcome.UNKNOWN):
        yield f"never lands #{index} {outcome}", partial(_lose, world, index, outcome)
    has_effect = hand.step not in {NextStep.ASK, *_REFUND_QUESTIONS}
    if not has_effect:
        return
    yield f"lands unanswered #{index} {hand.step}", partial(_land_unanswered, world, index)
    yield (
        f"dies after landing #{index} {hand.step}",
        partial(lambda: _die(_land(world, index), index)),
    )
    if not world.adrift:
        yield f"drifts #{index} {hand.step}", partial(_drift, world, index)
    if hand.step is NextStep.SUBMIT and not _theirs(world, hand.number):
        for about_time in (False, True):
            yield (
                f"create refused #{index} {about_time}",
                partial(_refuse_create, world, index, about_time=about_time),
            )
    if hand.step is RefundStep.SEND and not _their_refund(world, hand):
        yield f"wallet empty #{index}", partial(_refuse_refund, world, index, for_balance=True)


def _acts_of_binance(world: HonestWorld) -> Iterator[Act[HonestWorld]]:
    for order in world.theirs:
        change = partial(partial, _change_theirs, world, order.number)
        name = f"#{order.number}"
        if order.is_closing and order.status == "INITIAL":
            yield f"Binance closes {name}", change(status="CANCELED", is_closing=False)
        if order.status == "INITIAL" and world.now >= order.expires_at:
            yield f"Binance lets it lapse {name}", change(status="EXPIRED", is_closing=False)
        for refund in order.refunds:
            if refund.word == "REFUND_PENDING":
                for word in ("REFUND_SUCCESS", "REFUND_FAIL"):
                    done = tuple(replace(r, word=word) if r is refund else r for r in order.refunds)
                    yield f"Binance ends a refund {word} {name}", change(refunds=done)


def _acts_of_people(world: HonestWorld) -> Iterator[Act[HonestWorld]]:
    for order in world.theirs:
        change = partial(partial, _change_theirs, world, order.number)
        name = f"#{order.number}"
        if order.status == "INITIAL" and world.now < order.expires_at:
            yield f"shopper begins to pay {name}", change(status="PENDING")
            yield f"shopper pays {name}", change(status="PAID", is_closing=False)
        if order.status == "PENDING":
            yield f"shopper pays {name}", change(status="PAID", is_closing=False)
            yield f"shopper gives up {name}", change(status="INITIAL")
        has_portal = any(refund.refund_id is None for refund in order.refunds)
        has_rest = order.going_back + _PART <= PRICE.amount
        if order.status == "PAID" and has_rest and not has_portal:
            portal = TheirRefund(None, _PART, "REFUND_SUCCESS")
            yield f"portal refund {name}", change(refunds=(*order.refunds, portal))
    yield "merchant cancels", partial(_decide, world, cancel_order._decide)
    yield "merchant renews", partial(_decide, world, renew_order._decide)
    yield (
        "merchant fulfils",
        partial(_decide, world, partial(fulfil_order.decide_fulfilment, actor="merchant")),
    )
    yield "expiry job", partial(_decide, world, _expire)
    if len(world.case.refunds) < 2 and world.case.payments:
        for amount in (_PART, PRICE.amount):
            yield f"merchant asks for {amount} back", partial(_ask_refund, world, amount)


def notices_of(world: HonestWorld) -> Iterator[Act[HonestWorld]]:
    """Yield every notice Binance may send now, for the first or the seventh time."""
    for order in world.theirs:
        if order.status in {"PAID", "CANCELED", "EXPIRED"}:
            name = f"notice {'PAY_SUCCESS' if order.status == 'PAID' else 'PAY_CLOSED'}"
            yield f"{name} #{order.number}", partial(_pay_notice, world, order.number)
            yield f"hint #{order.number}", partial(_hint, world, order.number)
        for refund in order.refunds:
            if refund.refund_id is not None and refund.word != "REFUND_PENDING":
                yield (
                    f"notice {refund.word} #{order.number}",
                    partial(_refund_notice, world, order.number, refund),
                )


# -- our side -------------------------------------------------------------------------------------


def _given(now: datetime, *, number: int) -> Circumstances:
    return Circumstances(now=now, fresh_id=UUID(int=0xA77E0 + number), credential_id=_CREDENTIAL)


def _circumstances(world: HonestWorld) -> Circumstances:
    return _given(world.now, number=len(world.case.attempts) + 1)


def accept(world: HonestWorld, decided: Decision, *, has_followed: bool = True) -> HonestWorld:
    """Save a decision as storage would, after holding it against the law."""
    laws.hold_decision(decided)
    laws.hold_state(decided.case, now=world.now, has_followed=has_followed)
    told = {event.event_id for event in decided.events}
    assert not told & world.told, "an event was told again"
    return replace(world, case=decided.case, told=world.told | told)


def _decide(world: HonestWorld, decide: Any) -> HonestWorld:
    try:
        decided = decide(world.case, _circumstances(world))
    except CheckstandError:
        return world  # refused: nothing changed
    if decide is cancel_order._decide:
        world = replace(world, was_cancelled=True)
    return accept(world, decided, has_followed=False)


def _expire(case: Case, given: Circumstances) -> Decision:
    order = case.order
    if order.status not in {OrderStatus.CREATED, OrderStatus.PENDING_PAYMENT}:
        return Decision.nothing(case)
    if given.now < order.expires_at or case.has_unsettled_money:
        return Decision.nothing(case)
    return settlement.follow(Decision.nothing(case), given=given)


def _is_free(row: Attempt | Refund, *, now: datetime) -> bool:
    due, until = row.due_at, row.lease_until
    return due is not None and due <= now and (until is None or until <= now)


def _claim_attempt(world: HonestWorld, index: int, number: int) -> HonestWorld:
    attempt = world.case.attempts[number - 1]
    now, owner = world.now, _HANDS[index]
    attempt = replace(attempt, lease_owner=owner, lease_until=now + _LEASE)
    decision = Decision.nothing(world.case)
    if attempt.status is AttemptStatus.NEVER_EXISTED and attempt.sends == 0:
        return accept(world, decision.with_attempt(attempt), has_followed=False)
    step = next_step(attempt, now=now)
    if step is NextStep.REPLACE:
        gone = replace(attempt, status=AttemptStatus.NEVER_EXISTED, ended_at=now, due_at=None)
        gone = replace(gone, lease_owner=None, lease_until=None)
        decided = settlement.follow(decision.with_attempt(gone), given=_circumstances(world))
        return accept(world, decided)
    decided = decision.with_attempt(note_sending(attempt, step, now=now))
    lease = Lease(account_id=_ACCOUNT, order_id=_ORDER, attempt_id=attempt.attempt_id, owner=owner)
    planned = PlannedCall(lease=lease, call_id=UUID(int=0), step=step, case=decided.case)
    hand = Hand(planned, None, step, now, number)
    return _with_hand(accept(world, decided, has_followed=False), index, hand)


def _claim_refund(world: HonestWorld, index: int, refund_id: UUID) -> HonestWorld:
    now = world.now
    refund = world.case.refund(refund_id)
    refund = replace(refund, lease_owner=_HANDS[index], lease_until=now + _LEASE)
    step = refunding.next_step(refund)
    decision = Decision.nothing(world.case).with_refund(refund)
    if step is RefundStep.SEND:
        decision = refunding.plan_send(decision, refund, now=now)
        if decision.case.refund(refund_id).status is not RefundStatus.SENT:
            return accept(world, _released(decision, refund_id, index), has_followed=False)
    earlier = refunding.find_to_compare(world.case, refund)
    if step is RefundStep.COMPARE and earlier is None:
        decision = refunding.note_comparison(decision, refund_id, now=now)
        return accept(world, _released(decision, refund_id, index), has_followed=False)
    number = world.case.attempt(refund.attempt_id).number
    about = decision.case.refund(refund_id)
    hand = Hand(None, about, step, now, number, earlier if step is RefundStep.COMPARE else None)
    return _with_hand(accept(world, decision, has_followed=False), index, hand)


def _record(world: HonestWorld, index: int) -> HonestWorld:
    hand = world.hands[index]
    assert hand is not None
    is_late = world.is_late or world.now - hand.at >= _LEASE
    if hand.planned is not None:
        decided = _answered(world.case, hand, _circumstances(world))
    else:
        decided = _refund_answered(world, hand, index)
    freed = replace(_with_hand(world, index, None), is_late=is_late)
    return accept(freed, decided, has_followed=_has_report(hand) and hand.planned is not None)


class _Heedless:
    """A budget for calls that no answer changes."""

    async def hear(self, *_: object, **__: object) -> None:
        """Hear of an answer."""


class _NothingOdd:
    """A transaction that reads an account which moves, and no other calls that found nothing."""

    async def row(self, *_: object) -> object:
        """Read the account."""
        return {"account_id": _ACCOUNT, "reference": "aaaaaaaa", "name": "Tea", "notice_path": "x"}

    async def rows(self, *_: object) -> list[object]:
        """Read the latest calls."""
        return []


def _answered(case: Case, hand: Hand, given: Circumstances) -> Decision:
    """Run the operation's own decider; with no merchant to pin it needs no database."""
    planned, answer = cast(PlannedCall, hand.planned), cast(Answer, hand.answer)
    nothing = cast(Any, _NothingOdd())
    house = cast(Any, SimpleNamespace(budget=_Heedless()))
    coroutine = decide_answer(nothing, house, case, planned, answer, given=given)
    try:
        coroutine.send(None)
    except StopIteration as returned:
        return cast(Decision, returned.value)
    raise AssertionError("it waited for something")


def _refund_answered(world: HonestWorld, hand: Hand, index: int) -> Decision:
    refund, now = cast(Refund, hand.refund), world.now
    decision = Decision.nothing(world.case)
    if hand.step is RefundStep.CHECK:
        answer = cast(Answer, hand.answer)
        if answer.report is None:
            decision = refunding.note_silence(
                decision, refund.refund_id, owner=_HANDS[index], sent=False, now=now
            )
        else:
            given = _circumstances(world)
            decision = settlement.apply(decision, refund.attempt_id, answer.report, given=given)
            decision = refunding.note_check(decision, refund.refund_id, now=now)
        return _released(decision, refund.refund_id, index)
    decision = heed_answer(
        decision,
        refund.refund_id,
        cast(RefundAnswer, hand.answer),
        subject=hand.earlier or refund,
        owner=_HANDS[index],
        given=_circumstances(world),
    )
    return _released(decision, refund.refund_id, index)


def _released(decision: Decision, refund_id: UUID, index: int) -> Decision:
    refund = decision.case.refund(refund_id)
    if refund.lease_owner != _HANDS[index]:
        return decision
    return decision.with_refund(replace(refund, lease_owner=None, lease_until=None))


def _has_report(hand: Hand) -> bool:
    return hand.answer is not None and hand.answer.report is not None


def _pay_notice(world: HonestWorld, number: int) -> HonestWorld:
    attempt, order = world.case.attempts[number - 1], _theirs(world, number)
    assert order is not None
    if attempt.prepay_id is None:
        return _hint(world, number)
    finding = Finding.PAID if order.status == "PAID" else Finding.CLOSED
    report = Report(
        finding=finding,
        source=Source.NOTICE,
        reference="notice:1",
        word="PAY_SUCCESS" if finding is Finding.PAID else "PAY_CLOSED",
        prepay_id=_prepay_id(number),
        money=PRICE,
    )
    return _hear(world, attempt.attempt_id, report)


def _hear(world: HonestWorld, attempt_id: UUID, report: Report) -> HonestWorld:
    """Apply a report, and again: the second time nothing may follow from it."""
    given = _circumstances(world)
    decided = settlement.apply(Decision.nothing(world.case), attempt_id, report, given=given)
    again = settlement.apply(Decision.nothing(decided.case), attempt_id, report, given=given)
    assert (again.steps, again.events) == ((), ()), "the same news again made news"
    assert laws.outcome_of(again.case) == laws.outcome_of(decided.case)
    is_old_close = (
        report.finding is Finding.CLOSED and attempt_id != world.case.attempts[-1].attempt_id
    )
    if is_old_close:
        alone = settlement.follow(Decision.nothing(world.case), given=given)
        assert decided.case.order.status is alone.case.order.status, "an old close moved the order"
    return accept(world, decided)


def _hint(world: HonestWorld, number: int) -> HonestWorld:
    attempt = world.case.attempts[number - 1]
    hinted = replace(attempt, hinted_at=world.now, due_at=world.now)
    return accept(world, Decision.nothing(world.case).with_attempt(hinted), has_followed=False)


def _refund_notice(world: HonestWorld, number: int, theirs: TheirRefund) -> HonestWorld:
    attempt, refund_id = world.case.attempts[number - 1], cast(UUID, theirs.refund_id)
    if attempt.prepay_id is None:
        return _hint(world, number)
    refund = world.case.refund(refund_id)
    is_done = theirs.word == "REFUND_SUCCESS"
    report = _refund_report(
        RefundFinding.SUCCEEDED if is_done else RefundFinding.FAILED,
        Source.NOTICE,
        theirs.word if is_done else "REFUND_REJECTED",
        cast(TheirOrder, _theirs(world, number)),
        theirs,
    )
    given = _circumstances(world)
    decided = refunding.apply(Decision.nothing(world.case), refund.refund_id, report, given=given)
    again = refunding.apply(Decision.nothing(decided.case), refund.refund_id, report, given=given)
    assert (again.steps, again.events) == ((), ()), "the same news again made news"
    assert laws.outcome_of(again.case) == laws.outcome_of(decided.case)
    return accept(world, decided)


def _ask_refund(world: HonestWorld, amount: Decimal) -> HonestWorld:
    case = world.case
    payment = next((p for p in case.payments if p.payment_id == case.order.settled_by), None)
    payment = payment or case.payments[0]
    if refunding.find_obstacle(case, payment, amount) is not None:
        return world
    number = len(case.refunds) + 1
    refund = Refund(
        account_id=_ACCOUNT,
        order_id=_ORDER,
        attempt_id=payment.attempt_id,
        payment_id=payment.payment_id,
        refund_id=UUID(int=number),
        merchant_refund_id=f"r{number}",
        amount=Money(amount, PRICE.currency),
        requested_at=world.now,
        requested_by="merchant",
    )
    decided = refunding.request(Decision.nothing(case), refund, now=world.now)
    return accept(world, decided, has_followed=False)


# -- the way there, and Binance -------------------------------------------------------------------


def _with_hand(world: HonestWorld, index: int, hand: Hand | None) -> HonestWorld:
    first, second = world.hands
    return replace(world, hands=(hand, second) if index == 0 else (first, hand))


def _hand(world: HonestWorld, index: int) -> Hand:
    hand = world.hands[index]
    assert hand is not None
    return hand


def _theirs(world: HonestWorld, number: int) -> TheirOrder | None:
    return next((order for order in world.theirs if order.number == number), None)


def _their_refund(world: HonestWorld, hand: Hand) -> TheirRefund | None:
    order = _theirs(world, hand.number)
    about = hand.earlier or hand.refund
    if order is None or about is None:
        return None
    return next((r for r in order.refunds if r.refund_id == about.refund_id), None)


def _prepay_id(number: int) -> str:
    return f"29{number:016}"


def _change_theirs(world: HonestWorld, number: int, **changes: Any) -> HonestWorld:
    changed = tuple(
        replace(order, **changes) if order.number == number else order for order in world.theirs
    )
    return replace(world, theirs=changed)


def _pass_time(world: HonestWorld, later: datetime) -> HonestWorld:
    return replace(world, now=later)


def _lose(world: HonestWorld, index: int, outcome: Outcome) -> HonestWorld:
    """Let a call go astray before it lands; we know that (UNAVAILABLE) or do not."""
    hand = replace(_hand(world, index), answer=_silence(_hand(world, index), outcome))
    return _with_hand(replace(world, faults_left=world.faults_left - 1), index, hand)


def _land_unanswered(world: HonestWorld, index: int) -> HonestWorld:
    landed = _land(world, index)
    hand = replace(_hand(landed, index), answer=_silence(_hand(landed, index), Outcome.UNKNOWN))
    return _with_hand(replace(landed, faults_left=world.faults_left - 1), index, hand)


def _drift(world: HonestWorld, index: int) -> HonestWorld:
    adrift = (*world.adrift, _hand(world, index))
    return replace(_lose(world, index, Outcome.UNKNOWN), adrift=adrift)


def _land_late(world: HonestWorld, hand: Hand) -> HonestWorld:
    adrift = tuple(other for other in world.adrift if other is not hand)
    landed, _ = _perform(world, hand)
    return replace(landed, adrift=adrift)


def _die(world: HonestWorld, index: int) -> HonestWorld:
    return _with_hand(replace(world, faults_left=world.faults_left - 1), index, None)


def _silence(hand: Hand, outcome: Outcome) -> Answer | RefundAnswer:
    if hand.planned is not None or hand.step is RefundStep.CHECK:
        return Answer(outcome=outcome, code=None, summary=outcome)
    return RefundAnswer(outcome=outcome, code=None, summary=outcome)


def _refuse_create(world: HonestWorld, index: int, *, about_time: bool) -> HonestWorld:
    hand = _hand(world, index)
    refused = replace(world, faults_left=world.faults_left - 1, was_refused=True)
    answer = _create_refused(hand, about_time=about_time)
    return _with_hand(refused, index, replace(hand, answer=answer))


def _create_refused(hand: Hand, *, about_time: bool) -> Answer:
    attempt = cast(PlannedCall, hand.planned).attempt
    if attempt.sends > 1:  # as the provider room has it: an earlier send may have landed
        return Answer(outcome=Outcome.UNKNOWN, code="400201", summary="no")
    report = Report(
        finding=Finding.REFUSED,
        source=Source.ANSWER,
        reference="call:1",
        word="no",
        refusal_is_about_time=about_time,
    )
    return Answer(outcome=Outcome.REJECTED, code="400003", summary="no", report=report)


def _refuse_refund(world: HonestWorld, index: int, *, for_balance: bool) -> HonestWorld:
    hand = _hand(world, index)
    answer = _refund_refused(for_balance=for_balance)
    refused = replace(world, faults_left=world.faults_left - 1, was_refused=True)
    return _with_hand(refused, index, replace(hand, answer=answer))


def _refund_refused(*, for_balance: bool) -> RefundAnswer:
    report = RefundReport(
        finding=RefundFinding.REFUSED,
        source=Source.ANSWER,
        reference="call:1",
        word="no",
        waits_for_balance=for_balance,
    )
    return RefundAnswer(outcome=Outcome.REJECTED, code="400304", summary="no", report=report)


def _land(world: HonestWorld, index: int) -> HonestWorld:
    """Let a call arrive there and be answered truly; the answer is recorded later, or never."""
    hand = _hand(world, index)
    landed, answer = _perform(world, hand)
    return _with_hand(landed, index, replace(hand, answer=answer))


def _perform(world: HonestWorld, hand: Hand) -> tuple[HonestWorld, Answer | RefundAnswer]:
    # The two kinds of step have words in common, and as text they are equal.
    if hand.planned is None and hand.step is not RefundStep.CHECK:
        is_send = hand.step is RefundStep.SEND
        return _refund(world, hand) if is_send else (world, _refund_queried(world, hand))
    if hand.step is NextStep.SUBMIT:
        return _create(world, hand)
    return _close(world, hand) if hand.step is NextStep.CLOSE else (world, _queried(world, hand))


def _create(world: HonestWorld, hand: Hand) -> tuple[HonestWorld, Answer]:
    attempt = cast(PlannedCall, hand.planned).attempt
    if _theirs(world, hand.number) is not None:
        return world, Answer(outcome=Outcome.UNKNOWN, code="400201", summary="duplicate")
    if world.now >= attempt.expires_at:
        return replace(world, was_refused=True), _create_refused(hand, about_time=True)
    made = TheirOrder(hand.number, attempt.expires_at)
    report = Report(
        finding=Finding.OPEN,
        source=Source.ANSWER,
        reference="call:1",
        word="created",
        prepay_id=_prepay_id(hand.number),
        money=PRICE,
        expires_at=attempt.expires_at,
        links=_LINKS,
    )
    theirs = tuple(sorted((*world.theirs, made), key=lambda order: order.number))
    answer = Answer(outcome=Outcome.ACCEPTED, code="000000", summary="created", report=report)
    return replace(world, theirs=theirs), answer


def _close(world: HonestWorld, hand: Hand) -> tuple[HonestWorld, Answer]:
    order = _theirs(world, hand.number)
    if order is None or order.status != "INITIAL":
        return world, Answer(outcome=Outcome.REJECTED, code="400204", summary="no")
    closing = _change_theirs(world, hand.number, is_closing=True)
    return closing, Answer(outcome=Outcome.ACCEPTED, code="000000", summary="accepted")


def _queried(world: HonestWorld, hand: Hand) -> Answer:
    order = _theirs(world, hand.number)
    word = order.word if order else "400202"
    report = Report(
        finding=QUERY_WORDS[word] if order else Finding.ABSENT,
        source=Source.QUERY,
        reference="call:1",
        word=word,
        prepay_id=_prepay_id(hand.number) if order else None,
        money=PRICE if order else None,
        returned_in_full=word == "FULL_REFUNDED",
    )
    return Answer(outcome=Outcome.ACCEPTED, code="000000", summary=word, report=report)


def _refund(world: HonestWorld, hand: Hand) -> tuple[HonestWorld, RefundAnswer]:
    order, refund = _theirs(world, hand.number), cast(Refund, hand.refund)
    amount = refund.amount.amount
    is_known = _their_refund(world, hand) is not None
    if order is None or is_known or order.going_back + amount > PRICE.amount:
        return replace(world, was_refused=True), _refund_refused(for_balance=False)
    made = TheirRefund(refund.refund_id, amount)
    changed = _change_theirs(world, hand.number, refunds=(*order.refunds, made))
    now_theirs = cast(TheirOrder, _theirs(changed, hand.number))
    report = _refund_report(RefundFinding.TAKEN, Source.ANSWER, "taken", now_theirs, made)
    answer = RefundAnswer(outcome=Outcome.ACCEPTED, code="000000", summary="taken", report=report)
    return changed, answer


def _refund_queried(world: HonestWorld, hand: Hand) -> RefundAnswer:
    theirs = _their_refund(world, hand)
    order = cast(TheirOrder, _theirs(world, hand.number))
    if theirs is None:
        report = RefundReport(
            finding=RefundFinding.ABSENT, source=Source.QUERY, reference="call:1", word="none"
        )
    else:
        finding = REFUND_QUERY_WORDS[theirs.word]
        report = _refund_report(finding, Source.QUERY, theirs.word, order, theirs)
    return RefundAnswer(outcome=Outcome.ACCEPTED, code="000000", summary="", report=report)


def _refund_report(
    finding: RefundFinding, source: Source, word: str, order: TheirOrder, theirs: TheirRefund
) -> RefundReport:
    return RefundReport(
        finding=finding,
        source=source,
        reference=f"{source}:1",
        word=word,
        returned=theirs.amount,
        returned_in_all=order.going_back,
        remaining_attempts=10 - len(order.refunds),
    )


# -- what must hold -------------------------------------------------------------------------------


def check(world: HonestWorld) -> None:
    """Hold a state against Binance's own books. Raises AssertionError."""
    payable = [order for order in world.theirs if order.is_payable]
    assert len(payable) <= 1, "two codes can be paid"
    order = world.case.order
    if order.status in laws.OVER:
        assert not payable, f"{order.status}, and a code can still be paid"
    if order.status is OrderStatus.CANCELED:
        assert world.was_cancelled or world.was_refused, "CANCELED, and nobody wanted that"
    if order.status is OrderStatus.EXPIRED:
        assert world.now >= order.expires_at, "EXPIRED before its time"
    for payment in world.case.payments:
        attempt = world.case.attempt(payment.attempt_id)
        theirs = _theirs(world, attempt.number)
        assert theirs is not None, "a payment for an order Binance never had"
        assert theirs.status == "PAID", "a payment Binance knows nothing of"
        returned = sum((r.amount for r in theirs.refunds if r.word == "REFUND_SUCCESS"), Decimal(0))
        assert payment.refunded <= returned, "booked as returned, and it was not"
        assert theirs.going_back <= payment.money.amount, "more went back than came"
        promised = payment.refund_reserved + payment.refunded
        assert promised <= payment.money.amount, "more was promised back than came"
    for refund in world.case.refunds:
        _check_refund(world, refund)
    if not world.is_late:
        kinds = {anomaly.kind for anomaly in world.case.anomalies}
        assert AnomalyKind.PROVIDER_CONTRADICTS not in kinds, "an honest Binance called a liar"


def _check_refund(world: HonestWorld, refund: Refund) -> None:
    number = world.case.attempt(refund.attempt_id).number
    order = cast(TheirOrder, _theirs(world, number))
    same = [theirs for theirs in order.refunds if theirs.refund_id == refund.refund_id]
    assert len(same) <= 1, "one refund was taken twice"
    word = same[0].word if same else None
    if refund.status is RefundStatus.SUCCEEDED:
        assert word == "REFUND_SUCCESS", f"SUCCEEDED, and Binance has {word}"
    if refund.status is RefundStatus.FAILED:
        assert word in {None, "REFUND_FAIL"}, f"FAILED, and Binance has {word}"
        on_its_way = [
            h for h in world.adrift if h.refund and h.refund.refund_id == refund.refund_id
        ]
        # A number that Binance knows is taken no second time.
        assert word or not on_its_way, "FAILED, and it may still land"


def drain(world: HonestWorld) -> HonestWorld:
    """Let everything that is due be done, without further faults, until nothing is left to do."""
    world = replace(world, adrift=(), faults_left=0)
    for index in (0, 1):
        hand = world.hands[index]
        if hand is not None:
            world = _record(_land(world, index) if hand.answer is None else world, index)
    for _ in range(400):
        world = _let_binance_finish(world)
        world = _decide(world, _expire)
        rows: list[Attempt | Refund] = [*world.case.attempts, *world.case.refunds]
        due = [_ready_at(row, now=world.now) for row in rows]
        expiry = world.case.order.expires_at
        if not laws.is_settled_or_over(world.case) and expiry > world.now:
            due.append(expiry)
        moments = [moment for moment in due if moment is not None]
        if not moments:
            return world
        world = replace(world, now=max(world.now, min(moments)))
        world = _work_once(world)
    raise AssertionError("there is no end of it")


def _ready_at(row: Attempt | Refund, *, now: datetime) -> datetime | None:
    if row.due_at is None:
        return None
    until = row.lease_until
    return row.due_at if until is None or until <= row.due_at else until


def _let_binance_finish(world: HonestWorld) -> HonestWorld:
    for order in world.theirs:
        done = tuple(
            replace(r, word="REFUND_SUCCESS") if r.word == "REFUND_PENDING" else r
            for r in order.refunds
        )
        status = {"PENDING": "PAID"}.get(order.status, order.status)
        if status == "INITIAL" and order.is_closing:
            status = "CANCELED"
        elif status == "INITIAL" and world.now >= order.expires_at:
            status = "EXPIRED"
        world = _change_theirs(world, order.number, status=status, is_closing=False, refunds=done)
    return world


def _work_once(world: HonestWorld) -> HonestWorld:
    for attempt in world.case.attempts:
        if _is_free(attempt, now=world.now):
            claimed = _claim_attempt(world, 0, attempt.number)
            return _record(_land(claimed, 0), 0) if claimed.hands[0] else claimed
    for refund in world.case.refunds:
        if _is_free(refund, now=world.now):
            claimed = _claim_refund(world, 0, refund.refund_id)
            return _record(_land(claimed, 0), 0) if claimed.hands[0] else claimed
    return world


def check_end(world: HonestWorld) -> None:
    """Hold the end of a drained world against Binance's books. Raises AssertionError."""
    case = world.case
    assert case.live is None, "an attempt is live for ever"
    assert laws.is_settled_or_over(case), f"{case.order.status} for ever"
    for order in world.theirs:
        payment = case.payment_for(case.attempts[order.number - 1].attempt_id)
        assert (payment is not None) == (order.status == "PAID"), "money that we never heard of"
        if payment is None:
            continue
        returned = sum((r.amount for r in order.refunds if r.word == "REFUND_SUCCESS"), Decimal(0))
        is_told = any(a.kind is AnomalyKind.REFUNDED_ELSEWHERE for a in case.anomalies)
        is_portal = any(r.refund_id is None for r in order.refunds)
        # A query tells that something went back and not how much: ours may explain it.
        is_explained = any(r.refund_id is not None for r in order.refunds)
        known = is_told or is_explained or not is_portal
        assert known, "a refund in the portal that we never heard of"
        assert is_portal or payment.refunded == returned, "money went back, and we know nothing"
    assert not [r for r in case.refunds if r.is_open], "a refund that never ends"


def check_commutes(world: HonestWorld) -> None:
    """Hold that news of a fact and an answer already given may come in either order.

    But for an answer by which a refund goes on: a portal refund may have been made since, and
    whether it is found before the send or by it is chance. Binance's books hold for both.
    """
    is_portal = any(r.refund_id is None for order in world.theirs for r in order.refunds)
    for index, hand in enumerate(world.hands):
        if hand is None or hand.answer is None:
            continue
        if is_portal and hand.step in {RefundStep.CHECK, RefundStep.COMPARE}:
            continue
        for name, _ in notices_of(world):
            before = _deliver(_record(world, index), name)
            after = _record(_deliver(world, name), index)
            if before.is_late or after.is_late:
                continue  # what it may contradict by then is another story
            first, second = laws.outcome_of(drain(before).case), laws.outcome_of(drain(after).case)
            assert first == second, f"{name}: {first} or {second}, by the order of news"


def _deliver(world: HonestWorld, name: str) -> HonestWorld:
    perform = dict(notices_of(world)).get(name)
    return perform() if perform else world
