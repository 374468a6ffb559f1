"""Our side: the real deciders, those of the domain and those the operations wrap around them."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, Final, cast
from uuid import UUID

from checkstand.domain import refunding, settlement
from checkstand.domain.attempt import Attempt, AttemptStatus
from checkstand.domain.case import Case, Decision
from checkstand.domain.order import Order, OrderStatus, Terms
from checkstand.domain.refund import Refund, RefundStatus
from checkstand.domain.refunding import RefundStep
from checkstand.domain.report import Finding, RefundFinding, Report, Source
from checkstand.domain.schedule import NextStep, next_step
from checkstand.domain.settlement import Circumstances
from checkstand.errors import CheckstandError
from checkstand.operations import cancel_order
from checkstand.operations.advance_attempt import (
    Lease,
    PlannedCall,
    decide_answer,
    note_sending,
)
from checkstand.operations.advance_refund import heed_answer
from checkstand.provider.gateway import Answer, RefundAnswer
from tests.domain import laws
from tests.domain.exploring import NOON, ask_back
from tests.domain.honest.binance import refund_report
from tests.domain.honest.world import (
    PRICE,
    Hand,
    HonestWorld,
    TheirOrder,
    TheirRefund,
    find_theirs,
    prepay_id_of,
    with_hand,
)

_ACCOUNT, _ORDER, _CREDENTIAL = UUID(int=0xACC), UUID(int=0x04DE4), UUID(int=0xC4ED)
_HANDS: Final = (UUID(int=0xA), UUID(int=0xB))
_LEASE: Final = timedelta(minutes=1)


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


def let_decide(world: HonestWorld, decide: Any) -> HonestWorld:
    """Let somebody wish for something; what is refused changes nothing."""
    try:
        decided = decide(world.case, _circumstances(world))
    except CheckstandError:
        return world  # refused: nothing changed
    if decide is cancel_order._decide:
        world = replace(world, was_cancelled=True)
    return accept(world, decided, has_followed=False)


def expire(case: Case, given: Circumstances) -> Decision:
    """Let the expiry job look at the order."""
    order = case.order
    if order.status not in {OrderStatus.CREATED, OrderStatus.PENDING_PAYMENT}:
        return Decision.nothing(case)
    if given.now < order.expires_at or case.has_unsettled_money:
        return Decision.nothing(case)
    return settlement.follow(Decision.nothing(case), given=given)


def is_free(row: Attempt | Refund, *, now: datetime) -> bool:
    """Say whether an attempt or a refund is due, and in nobody's hands."""
    due, until = row.due_at, row.lease_until
    return due is not None and due <= now and (until is None or until <= now)


def claim_attempt(world: HonestWorld, index: int, number: int) -> HonestWorld:
    """Take an attempt's lease, and write down the call that is due."""
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
    return with_hand(accept(world, decided, has_followed=False), index, hand)


def claim_refund(world: HonestWorld, index: int, refund_id: UUID) -> HonestWorld:
    """Take a refund's lease, and write down the call that is due."""
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
    return with_hand(accept(world, decision, has_followed=False), index, hand)


def record(world: HonestWorld, index: int) -> HonestWorld:
    """Accept what came of a hand's call."""
    hand = world.hands[index]
    assert hand is not None
    is_late = world.is_late or world.now - hand.at >= _LEASE
    if hand.planned is not None:
        decided = _answered(world.case, hand, _circumstances(world))
    else:
        decided = _refund_answered(world, hand, index)
    freed = replace(with_hand(world, index, None), is_late=is_late)
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


def pay_notice(world: HonestWorld, number: int) -> HonestWorld:
    """Receive a notice of a payment, or of an end without one."""
    attempt, order = world.case.attempts[number - 1], find_theirs(world, number)
    assert order is not None
    if attempt.prepay_id is None:
        return hint(world, number)
    finding = Finding.PAID if order.status == "PAID" else Finding.CLOSED
    report = Report(
        finding=finding,
        source=Source.NOTICE,
        reference="notice:1",
        word="PAY_SUCCESS" if finding is Finding.PAID else "PAY_CLOSED",
        prepay_id=prepay_id_of(number),
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


def hint(world: HonestWorld, number: int) -> HonestWorld:
    """Receive a signed notice that binds to nothing yet."""
    attempt = world.case.attempts[number - 1]
    hinted = replace(attempt, hinted_at=world.now, due_at=world.now)
    return accept(world, Decision.nothing(world.case).with_attempt(hinted), has_followed=False)


def refund_notice(world: HonestWorld, number: int, theirs: TheirRefund) -> HonestWorld:
    """Receive a notice of a refund."""
    attempt, refund_id = world.case.attempts[number - 1], cast(UUID, theirs.refund_id)
    if attempt.prepay_id is None:
        return hint(world, number)
    refund = world.case.refund(refund_id)
    is_done = theirs.word == "REFUND_SUCCESS"
    report = refund_report(
        RefundFinding.SUCCEEDED if is_done else RefundFinding.FAILED,
        Source.NOTICE,
        theirs.word if is_done else "REFUND_REJECTED",
        cast(TheirOrder, find_theirs(world, number)),
        theirs,
    )
    given = _circumstances(world)
    decided = refunding.apply(Decision.nothing(world.case), refund.refund_id, report, given=given)
    again = refunding.apply(Decision.nothing(decided.case), refund.refund_id, report, given=given)
    assert (again.steps, again.events) == ((), ()), "the same news again made news"
    assert laws.outcome_of(again.case) == laws.outcome_of(decided.case)
    return accept(world, decided)


def ask_refund(world: HonestWorld, amount: Decimal) -> HonestWorld:
    """Ask money back, if nothing is against it."""
    case = world.case
    payment = next((p for p in case.payments if p.payment_id == case.order.settled_by), None)
    payment = payment or case.payments[0]
    if refunding.find_obstacle(case, payment, amount) is not None:
        return world
    decided = ask_back(case, payment, amount, now=world.now)
    return accept(world, decided, has_followed=False)
