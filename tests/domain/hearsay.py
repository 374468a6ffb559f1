"""A world in which anything may be said of anything at any time, more confused than Binance can be.

Every report that the types allow about every attempt and every refund, by every channel, in every
state that can be reached by them, crossed with what the shop, the shopper and the workers do. There
is no truth here to hold the case against; what must hold is the law.
"""

import itertools
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final
from uuid import UUID

from checkstand.domain import refunding, settlement
from checkstand.domain.attempt import AttemptStatus, Links
from checkstand.domain.case import Case, Decision
from checkstand.domain.event import EventType
from checkstand.domain.money import Money
from checkstand.domain.order import UNPAID, Order, Terms
from checkstand.domain.refund import Refund, RefundStatus
from checkstand.domain.refunding import RefundStep
from checkstand.domain.report import Finding, RefundFinding, RefundReport, Report, Source
from checkstand.domain.schedule import NextStep, next_look, next_step
from checkstand.domain.settlement import Circumstances
from checkstand.errors import CheckstandError
from checkstand.operations import cancel_order, fulfil_order, renew_order
from checkstand.operations.advance_attempt import note_sending
from tests.domain import laws
from tests.domain.exploring import NOON, Act, ask_back, case_key, next_moment

PRICE: Final = Money(Decimal("12.50"), "USDT")
_ACCOUNT, _ORDER, _CREDENTIAL = UUID(int=0xACC), UUID(int=0x04DE4), UUID(int=0xC4ED)
_LINKS: Final = Links(qr_content="q", deeplink="d", universal_url="u", checkout_url="c")
_SUMS: Final = (PRICE, Money(Decimal("12.49"), "USDT"), Money(Decimal("12.50"), "USDC"), None)
_RETURNED: Final = (None, Decimal("5.00"), Decimal("12.50"), Decimal("20.00"))
_ATTEMPTS_MAX: Final = 2  # that the shop asks for; the order may make another by itself


def _reports() -> Iterator[Report]:
    for finding, source in itertools.product(Finding, Source):
        sums = _SUMS if finding in {Finding.PAID, Finding.RETURNED, Finding.OPEN} else (PRICE,)
        flags = (False, True) if finding in {Finding.REFUSED, Finding.RETURNED} else (False,)
        links = (None, _LINKS) if finding is Finding.OPEN else (None,)
        tells = finding not in {Finding.ABSENT, Finding.REFUSED}
        for money, flag, way in itertools.product(sums, flags, links):
            yield Report(
                finding=finding,
                source=source,
                reference=f"{source}:1",
                word=str(finding),
                money=money if tells else None,
                prepay_id="29" if tells else None,
                links=way,
                refusal_is_about_time=flag and finding is Finding.REFUSED,
                returned_in_full=flag and finding is Finding.RETURNED,
                fee=Decimal("0.1") if money is None else None,
            )


def _refund_reports() -> Iterator[RefundReport]:
    for finding, source in itertools.product(RefundFinding, Source):
        tells = finding in {RefundFinding.TAKEN, RefundFinding.SUCCEEDED, RefundFinding.FAILED}
        is_refused = finding is RefundFinding.REFUSED
        sums = _RETURNED if tells else (None,)
        for returned, flag in itertools.product(sums, (False, True) if is_refused else (False,)):
            yield RefundReport(
                finding=finding,
                source=source,
                reference=f"{source}:1",
                word=str(finding),
                returned=returned,
                returned_in_all=returned,
                remaining_attempts=None if returned is None else 1,
                waits_for_balance=flag,
            )


#: Everything that can be said of an attempt, and of a refund.
REPORTS: Final = tuple(_reports())
REFUND_REPORTS: Final = tuple(_refund_reports())


@dataclass(frozen=True, slots=True)
class Hearsay:
    """A case and the time; there is nothing else."""

    now: datetime
    case: Case
    told: frozenset[UUID] = frozenset()

    def key(self) -> Hashable:
        """Say which state this is."""
        return case_key(self.case, now=self.now)


def fresh_world(*, price: Money | None = PRICE) -> Hearsay:
    """An order that was just asked for; without a price in crypto it is priced in fiat."""
    fiat = None if price else Money(Decimal("11.00"), "EUR")
    terms = Terms(merchant_order_id="shop-1", price=price, fiat_price=fiat, description="Tea")
    order = Order(
        account_id=_ACCOUNT,
        order_id=_ORDER,
        terms=terms,
        checkout_token="token",
        created_at=NOON,
        expires_at=NOON + timedelta(hours=2),
    )
    given = Circumstances(now=NOON, fresh_id=UUID(int=0xA77E1), credential_id=_CREDENTIAL)
    first = settlement.prepare_attempt(order, number=1, given=given)
    return Hearsay(NOON, Case(order=order, attempts=(first,)))


def paid_world() -> Hearsay:
    """An order that was paid, with two refunds asked for."""
    world = _send(fresh_world(), 0)
    report = next(r for r in REPORTS if r.finding is Finding.PAID and r.source is Source.QUERY)
    world = _hear(world, 0, report)
    return _ask_refund(_ask_refund(world, Decimal("5.00")), Decimal("7.50"))


def acts_of(world: Hearsay) -> Iterator[Act[Hearsay]]:
    """Yield everything that may happen next."""
    for index, attempt in enumerate(world.case.attempts):
        for number, report in enumerate(REPORTS):
            name = f"{report.source} says {report.finding} #{number} of {attempt.number}"
            yield name, partial(_hear, world, index, report)
        if attempt.is_live:
            yield f"worker {next_step(attempt, now=world.now)} #", partial(_send, world, index)
    for refund in world.case.refunds:
        for number, said in enumerate(REFUND_REPORTS):
            name = f"{said.source} says refund {said.finding} #{number} of {refund.refund_id.int}"
            yield name, partial(_hear_of_refund, world, refund.refund_id, said)
        yield "worker takes a refund #", partial(_advance_refund, world, refund.refund_id)
        for sent in (False, True):
            yield f"silence about a refund #{sent}", partial(_silence, world, refund, sent=sent)
    yield "merchant cancels", partial(_decide, world, cancel_order._decide)
    if len(world.case.attempts) < _ATTEMPTS_MAX:
        yield "merchant renews", partial(_decide, world, renew_order._decide)
    fulfil = partial(fulfil_order.decide_fulfilment, actor="merchant")
    yield "merchant fulfils", partial(_decide, world, fulfil)
    if world.case.payments and len(world.case.refunds) < 2:
        yield "merchant asks a part back", partial(_ask_refund, world, Decimal("5.00"))
        yield "merchant asks all back", partial(_ask_refund, world, Decimal("12.50"))
    later = next_moment(world.now)
    if later is not None:
        yield "time passes", partial(_pass_time, world, later)


def check(world: Hearsay) -> None:
    """Nothing is true here but the law, and `_accept` has held that."""


def _given(world: Hearsay) -> Circumstances:
    fresh_id = UUID(int=0xA77E1 + len(world.case.attempts))
    return Circumstances(now=world.now, fresh_id=fresh_id, credential_id=_CREDENTIAL)


def _accept(world: Hearsay, decided: Decision, *, has_followed: bool = True) -> Hearsay:
    laws.hold_decision(decided)
    laws.hold_state(decided.case, now=world.now, has_followed=has_followed)
    told = {event.event_id for event in decided.events}
    assert not told & world.told, "an event was told again"
    return replace(world, case=decided.case, told=world.told | told)


def _hear(world: Hearsay, index: int, report: Report) -> Hearsay:
    case, given = world.case, _given(world)
    attempt = case.attempts[index]
    decided = settlement.apply(Decision.nothing(case), attempt.attempt_id, report, given=given)
    is_money = report.finding in {Finding.PAID, Finding.RETURNED}
    if is_money and report.money is not None:
        assert decided.case.payment_for(attempt.attempt_id) is not None, "money was refused"
    if not is_money:
        assert len(decided.case.payments) == len(case.payments), "money out of nothing"
    if report.finding in {Finding.CLOSED, Finding.LAPSED} and attempt is not case.current:
        alone = settlement.follow(Decision.nothing(case), given=given)
        assert decided.case.order.status is alone.case.order.status, "an old close moved the order"
    if report.finding is not Finding.ABSENT:  # asking twice proves more than asking once
        _hold_repeat(world, decided, attempt.attempt_id, report)
    return _accept(world, decided)


def _hold_repeat(world: Hearsay, decided: Decision, attempt_id: UUID, report: Report) -> None:
    given = replace(_given(world), fresh_id=UUID(int=0xF4E5))
    again = settlement.apply(Decision.nothing(decided.case), attempt_id, report, given=given)
    assert (again.steps, again.events) == ((), ()), "the same news again made news"
    assert laws.outcome_of(again.case) == laws.outcome_of(decided.case), "again is not the same"


def _hear_of_refund(world: Hearsay, refund_id: UUID, report: RefundReport) -> Hearsay:
    given = _given(world)
    decided = refunding.apply(Decision.nothing(world.case), refund_id, report, given=given)
    before, after = world.case.refund(refund_id), decided.case.refund(refund_id)
    if before.status is RefundStatus.SUCCEEDED:
        assert after.status is RefundStatus.SUCCEEDED, "money that went back came again"
        booked, now = before.returned or Decimal(0), after.returned or Decimal(0)
        assert now >= booked, "less went back than was booked"
    if report.finding is RefundFinding.SUCCEEDED:
        assert after.status is RefundStatus.SUCCEEDED, "money went back and was not booked"
    told = [event.type for event in decided.events]
    assert told.count(EventType.REFUND_SUCCEEDED) == (
        after.status is RefundStatus.SUCCEEDED and before.status is not after.status
    )
    if report.finding is not RefundFinding.ABSENT:
        again = refunding.apply(Decision.nothing(decided.case), refund_id, report, given=given)
        assert (again.steps, again.events) == ((), ()), "the same news again made news"
        assert laws.outcome_of(again.case) == laws.outcome_of(decided.case), "again is not the same"
    return _accept(world, decided, has_followed=False)


def _send(world: Hearsay, index: int) -> Hearsay:
    """Do what the row says, as far as it is written before the call."""
    attempt, now = world.case.attempts[index], world.now
    step = next_step(attempt, now=now)
    decision = Decision.nothing(world.case)
    if step is NextStep.REPLACE:
        gone = replace(attempt, status=AttemptStatus.NEVER_EXISTED, ended_at=now, due_at=None)
        decided = settlement.follow(decision.with_attempt(gone), given=_given(world))
        return _accept(world, decided)
    sent = note_sending(attempt, step, now=now)
    sent = replace(sent, due_at=next_look(sent, now=now))
    if step is NextStep.CLOSE:
        sent = replace(sent, close_accepted_at=now)
    return _accept(world, decision.with_attempt(sent), has_followed=False)


def _advance_refund(world: Hearsay, refund_id: UUID) -> Hearsay:
    """Do what a refund's row says, as far as it is written before the call; never out of turn."""
    refund, now = world.case.refund(refund_id), world.now
    if refund.due_at is None or refund.due_at > now:
        return world
    decision = Decision.nothing(world.case)
    match refunding.next_step(refund):
        case RefundStep.CHECK:
            decision = refunding.note_check(decision, refund_id, now=now)
        case RefundStep.COMPARE:
            decision = refunding.note_comparison(decision, refund_id, now=now)
        case RefundStep.SEND:
            decision = refunding.plan_send(decision, refund, now=now)
        case _:
            return world
    return _accept(world, decision, has_followed=False)


def _silence(world: Hearsay, refund: Refund, *, sent: bool) -> Hearsay:
    decision = Decision.nothing(world.case)
    decided = refunding.note_silence(
        decision, refund.refund_id, owner=refund.lease_owner, sent=sent, now=world.now
    )
    return _accept(world, decided, has_followed=False)


def _ask_refund(world: Hearsay, amount: Decimal) -> Hearsay:
    case = world.case
    payment = case.payments[-1]
    if refunding.find_obstacle(case, payment, amount) is not None:
        return world
    decided = ask_back(case, payment, amount, now=world.now)
    return _accept(world, decided, has_followed=False)


def _decide(world: Hearsay, decide: Any) -> Hearsay:
    try:
        decided = decide(world.case, _given(world))
    except CheckstandError:
        return world  # refused: nothing changed
    return _accept(world, decided, has_followed=False)


def _pass_time(world: Hearsay, later: datetime) -> Hearsay:
    """Let time go by and, as the job does, let an unpaid order whose time is over expire."""
    passed, order = replace(world, now=later), world.case.order
    if order.status not in UNPAID or later < order.expires_at or world.case.has_unsettled_money:
        return passed
    return _accept(passed, settlement.follow(Decision.nothing(world.case), given=_given(passed)))
