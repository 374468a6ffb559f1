"""Any sequence of reports, renewals, cancels, work and time keeps the law's promises.

Reports are drawn without sense or memory: more confused than Binance could ever be.
"""

import itertools
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from checkstand.domain import settlement
from checkstand.domain.anomaly import AnomalyKind
from checkstand.domain.attempt import Attempt, AttemptStatus
from checkstand.domain.case import Case, Decision, Step
from checkstand.domain.event import Event, EventType
from checkstand.domain.money import Money
from checkstand.domain.order import UNPAID, OrderStatus, allowed_moves
from checkstand.domain.payment import Payment
from checkstand.domain.report import Finding, Report, Source
from checkstand.domain.schedule import NextStep, next_look, next_step
from checkstand.domain.settlement import Circumstances

_SETTLED = {OrderStatus.PAID, OrderStatus.FULFILLED}
_MONEY = {Finding.PAID, Finding.RETURNED}
_LEGAL = set(allowed_moves())
_ENDED_UNPAID = {AttemptStatus.CLOSED, AttemptStatus.LAPSED}
_LAST_LOOK = timedelta(hours=72)


class OrderLife(RuleBasedStateMachine):
    """One order, pushed about."""

    def __init__(self, make: Any) -> None:
        super().__init__()
        self.make = make
        self.now: datetime = make.noon
        self.ids = itertools.count(1)
        order = make.order()
        first = settlement.prepare_attempt(order, number=1, given=self.given())
        self.case = Case(order=order, attempts=(first,))
        self.steps: list[Step] = []
        self.events: list[Event] = []
        self.payments_seen: dict[UUID, Payment] = {}

    def given(self) -> Circumstances:
        return Circumstances(
            now=self.now, fresh_id=UUID(int=next(self.ids)), credential_id=UUID(int=0)
        )

    def accept(self, decision: Decision) -> None:
        """Save a decision as storage would, and hold it against what was before."""
        before, after = decision.before, decision.case
        statuses = [before.order.status, *(step.status for step in decision.steps)]
        assert _LEGAL.issuperset(itertools.pairwise(statuses))
        assert statuses[-1] is after.order.status
        if before.order.status in _SETTLED:
            assert after.order.status in _SETTLED
            assert after.order.settled_by == before.order.settled_by
            assert len(after.attempts) == len(before.attempts)
        reached = {b for a, b in itertools.pairwise(statuses) if a is not b}
        is_over = bool({OrderStatus.CANCELED, OrderStatus.EXPIRED} & reached)
        if before.has_unsettled_money and after.has_unsettled_money:  # it may settle itself
            assert len(after.attempts) == len(before.attempts)
            assert not is_over
        assert not (is_over and after.live)
        self.case = after
        self.steps += decision.steps
        self.events += decision.events

    # -- what may happen ----------------------------------------------------------------------

    @rule(
        data=st.data(),
        finding=st.sampled_from(Finding),
        source=st.sampled_from(Source),
        amount=st.sampled_from(["12.50", "12.50", "12.50", "12.49"]),
        fee=st.sampled_from([None, Decimal(0), Decimal("0.125")]),
        is_about_time=st.booleans(),
        with_links=st.booleans(),
    )
    def hear(
        self,
        data: st.DataObject,
        finding: Finding,
        source: Source,
        amount: str,
        fee: Decimal | None,
        is_about_time: bool,
        with_links: bool,
    ) -> None:
        """Binance says anything about any attempt, by any channel."""
        attempt = data.draw(st.sampled_from(self.case.attempts))
        report: Report = self.make.report(
            finding,
            source,
            fee=fee,
            refusal_is_about_time=is_about_time,
            links=self.make.links() if with_links else None,
        )
        if report.money is not None:
            report = replace(report, money=Money(Decimal(amount), "USDT"))
        is_current = attempt is self.case.current
        alone = settlement.follow(Decision.nothing(self.case), given=self.given())
        decided = settlement.apply(
            Decision.nothing(self.case), attempt.attempt_id, report, given=self.given()
        )
        if finding in _MONEY:
            assert decided.case.payment_for(attempt.attempt_id) is not None
        elif finding in {Finding.CLOSED, Finding.LAPSED} and not is_current:
            assert decided.case.order.status is alone.case.order.status
        self.accept(decided)

    @rule(seconds=st.sampled_from([1, 5, 30, 120, 900, 3600, 11 * 3600]))
    def pass_time(self, seconds: int) -> None:
        """Let time go by, and look at the order as the worker does."""
        self.now += timedelta(seconds=seconds)
        self.accept(settlement.follow(Decision.nothing(self.case), given=self.given()))

    @precondition(lambda self: self.case.live is not None)
    @rule()
    def work(self) -> None:
        """Do what the live attempt's row says, as far as it is written before the call."""
        live = self.case.live
        assert live is not None
        decision = Decision.nothing(self.case)
        match next_step(live, now=self.now):
            case NextStep.SUBMIT:
                sent = replace(
                    live,
                    status=AttemptStatus.SUBMITTING,
                    sends=live.sends + 1,
                    last_sent_at=self.now,
                )
                self.accept(decision.with_attempt(self._due(sent)))
            case NextStep.CLOSE:
                sent = replace(live, closes=live.closes + 1, asks=0)
                self.accept(decision.with_attempt(self._due(sent)))
            case NextStep.REPLACE:
                gone = replace(
                    live, status=AttemptStatus.NEVER_EXISTED, ended_at=self.now, due_at=None
                )
                decided = settlement.follow(decision.with_attempt(gone), given=self.given())
                self.accept(decided)

    @rule()
    def renew(self) -> None:
        """Ask for a new code, where the operation would."""
        order = self.case.order
        may = order.status in UNPAID and not order.cancel_requested_at
        may = may and self.now < order.expires_at and not self.case.payments
        if may and not self.case.has_unsettled_money:
            self.accept(settlement.renew(Decision.nothing(self.case), given=self.given()))

    @rule()
    def cancel(self) -> None:
        """Ask for the order's end, where the operation would."""
        if self.case.order.status in UNPAID and not self.case.has_unsettled_money:
            decision = Decision.nothing(self.case).with_order(cancel_requested_at=self.now)
            self.accept(settlement.follow(decision, given=self.given()))

    @precondition(lambda self: self.case.order.status is OrderStatus.PAID)
    @rule()
    def fulfil(self) -> None:
        """The shop acknowledges."""
        self.accept(
            Decision.nothing(self.case).move(
                OrderStatus.FULFILLED, actor="merchant", reason="", reference=None, at=self.now
            )
        )

    def _due(self, attempt: Attempt) -> Attempt:
        return replace(attempt, due_at=next_look(attempt, now=self.now))

    # -- what must hold -----------------------------------------------------------------------

    @invariant()
    def nobody_can_pay_by_two_codes(self) -> None:
        assert len([a for a in self.case.attempts if a.is_live]) <= 1

    @invariant()
    def history_has_one_line_for_each_version(self) -> None:
        versions = [step.version for step in self.steps]
        assert versions == list(range(2, self.case.order.version + 1))
        for earlier, later in itertools.pairwise(self.steps):
            assert later.previous_status is earlier.status

    @invariant()
    def each_fact_is_told_once(self) -> None:
        assert len({event.event_id for event in self.events}) == len(self.events)
        told = [event.order_version for event in self.events]
        # What resolves itself is written down, and nobody needs to be told.
        quiet = {s.version for s in self.steps if " resolved" in s.reason}
        assert told == [s.version for s in self.steps if s.version not in quiet]
        types = [event.type for event in self.events]
        assert types.count(EventType.ORDER_PAID) == (self.case.order.settled_by is not None)

    @invariant()
    def money_stays_as_it_was_booked(self) -> None:
        now = {payment.payment_id: payment for payment in self.case.payments}
        for payment_id, payment in self.payments_seen.items():
            assert now[payment_id].money == payment.money
            assert now[payment_id].held == payment.held
        self.payments_seen = now

    @invariant()
    def one_payment_pays_and_every_other_is_held_with_a_reason(self) -> None:
        paying = [p.payment_id for p in self.case.payments if not p.held]
        settled_by = self.case.order.settled_by
        assert paying == ([settled_by] if settled_by else [])
        open_of = {(a.attempt_id, a.kind) for a in self.case.anomalies if a.is_open}
        for payment in self.case.payments:
            if payment.held:
                assert open_of & {
                    (payment.attempt_id, AnomalyKind.PAID_TWICE),
                    (payment.attempt_id, AnomalyKind.AMOUNT_DIFFERS),
                }

    @invariant()
    def paid_attempts_and_payments_are_the_same(self) -> None:
        paid = {a.attempt_id for a in self.case.attempts if a.status is AttemptStatus.PAID}
        assert paid == {payment.attempt_id for payment in self.case.payments}

    @invariant()
    def late_money_is_resolved_by_policy(self) -> None:
        for anomaly in self.case.anomalies:
            if anomaly.kind is AnomalyKind.PAID_LATE:
                assert anomaly.resolved_by == "policy"

    @invariant()
    def nothing_is_forgotten(self) -> None:
        """A live attempt is always due some time, and an unpaid end for three days more."""
        for attempt in self.case.attempts:
            if attempt.is_live:
                assert attempt.due_at is not None
            elif attempt.status in _ENDED_UNPAID and attempt.ended_at is not None:
                is_over = self.now >= attempt.ended_at + _LAST_LOOK
                assert is_over or attempt.due_at is not None


def test_no_sequence_of_events_breaks_the_law(make: Any) -> None:
    run_state_machine_as_test(
        partial(OrderLife, make),  # type: ignore[arg-type]  # any factory will do
        settings=settings(
            max_examples=150,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
