"""Do the next thing with one refund under its lease: check the order, compare, send, or ask.

Three phases, as with an attempt: a transaction that writes down what is about to be sent, the
call with nothing held, a transaction that accepts what Binance said. Whoever comes after a
crash decides from the row alone.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from checkstand.domain import refunding, settlement
from checkstand.domain.case import Case, Decision
from checkstand.domain.refund import Refund, RefundStatus
from checkstand.domain.refunding import RefundStep
from checkstand.domain.report import Finding
from checkstand.operations.advance_attempt import heed_hint
from checkstand.operations.begin_call import AccountHalted, begin_call
from checkstand.operations.resources import Resources
from checkstand.operations.suspect_account import is_wrong_account
from checkstand.provider.gateway import Answer, Outcome, RefundAnswer
from checkstand.storage import calls, cases, refunds
from checkstand.storage.database import Step, Transaction

_ENDPOINTS: Final = {
    RefundStep.CHECK: "/v2/order/query",
    RefundStep.COMPARE: "/order/refund/query",
    RefundStep.SEND: "/order/refund",
    RefundStep.ASK: "/order/refund/query",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundLease:
    """Whose hand is on which refund."""

    account_id: UUID
    order_id: UUID
    refund_id: UUID
    owner: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planned:
    """A call that is written down and about to be sent."""

    lease: RefundLease
    call_id: UUID
    step: RefundStep
    case: Case

    @property
    def refund(self) -> Refund:
        return self.case.refund(self.lease.refund_id)

    @property
    def subject(self) -> Refund:
        """The refund that Binance is asked about: this one, or the earlier one before it."""
        if self.step is not RefundStep.COMPARE:
            return self.refund
        found = refunding.find_to_compare(self.case, self.refund)
        if found is None:
            raise AssertionError("a comparison is planned where there is something to compare")
        return found

    @property
    def reference(self) -> str:
        return f"call:{self.call_id}"


async def claim_due_refunds(resources: Resources, *, limit: int) -> list[RefundLease]:
    """Take leases on the refunds whose time has come; any number of workers share them."""
    owner = resources.ids.new()
    now = resources.clock.now()

    async def step(tx: Transaction) -> list[RefundLease]:
        claimed = await refunds.claim_due(
            tx, owner=owner, now=now, until=now + resources.provider_lease, limit=limit
        )
        return [
            RefundLease(account_id=account, order_id=order, refund_id=refund, owner=owner)
            for account, order, refund in claimed
        ]

    leases = await resources.database.run(step, name="claim_due_refunds")
    for lease in leases:  # counted and never refused: polls wait for what refunds have used
        resources.budget.spend(lease.account_id, rate=resources.policy.call_rate, now=now)
    return leases


async def advance_refund(resources: Resources, *, lease: RefundLease) -> None:
    """Take one refund one step on, if the lease is still ours."""
    planned = await _plan(resources, lease=lease)
    if planned is None:
        return
    attempt = planned.case.attempt(planned.refund.attempt_id)
    if planned.step is RefundStep.CHECK:
        answer = await resources.provider.query(attempt, reference=planned.reference)
        await _record_check(resources, planned, answer)
        return
    if planned.step is RefundStep.SEND:
        said = await resources.provider.refund(
            planned.refund,
            attempt,
            notice_url=resources.notice_url(lease.account_id),
            reference=planned.reference,
        )
    else:
        said = await resources.provider.query_refund(
            planned.subject, attempt, reference=planned.reference
        )
    await _record(resources, planned, said)


async def _plan(resources: Resources, *, lease: RefundLease) -> _Planned | None:
    """Decide the next call from the row, and write down that it is about to be sent."""
    call_id = resources.ids.new()
    now = resources.clock.now()

    async def step(tx: Transaction) -> _Planned | None:
        case = await _lock(tx, lease)
        refund = case.refund(lease.refund_id)
        if refund.lease_owner != lease.owner:
            return None
        planned = refunding.next_step(refund)
        decision = Decision.nothing(case)
        if planned is RefundStep.SEND:
            decision = refunding.plan_send(decision, refund, now=now)
            if decision.case.refund(lease.refund_id).status is not RefundStatus.SENT:
                await _save(tx, resources, _released(decision, lease))
                return None
        if planned is RefundStep.COMPARE and refunding.find_to_compare(case, refund) is None:
            # It failed since the order was asked about: what that said is all there is.
            decision = refunding.note_comparison(decision, refund.refund_id, now=now)
            await _save(tx, resources, _released(decision, lease))
            return None
        is_new = await begin_call(
            tx,
            account_id=lease.account_id,
            call_id=call_id,
            order_id=lease.order_id,
            attempt_id=refund.attempt_id,
            endpoint=_ENDPOINTS[planned],
            now=now,
        )
        if not is_new:
            # Our own commit, whose acknowledgement was lost: whoever has the lease next goes on.
            return None
        await _save(tx, resources, decision)
        return _Planned(lease=lease, call_id=call_id, step=planned, case=decision.case)

    try:
        planned = await resources.database.run(step, name="plan_refund")
    except AccountHalted:
        return None  # it was stopped after the lease was taken; nobody takes another
    resources.deliveries_wake.up()
    return planned


async def _record_check(resources: Resources, planned: _Planned, answer: Answer) -> None:
    """Accept what Binance said of the order, and go on to the send if nothing is against it."""
    lease = planned.lease
    given = resources.circumstances(lease.account_id)

    async def step(tx: Transaction) -> None:
        case = await _lock(tx, lease)
        refund = case.refund(lease.refund_id)
        decision = Decision.nothing(case)
        attempt = case.attempt(refund.attempt_id)
        await resources.budget.hear(
            tx, lease.account_id, answer.trouble, reason=answer.summary, now=given.now
        )
        is_theirs = await is_wrong_account(tx, resources, attempt, answer, now=given.now)
        report = None if is_theirs else answer.report
        if report is not None:
            decision = settlement.apply(decision, attempt.attempt_id, report, given=given)
            before = planned.case.attempt(refund.attempt_id)
            decision = heed_hint(decision, before, now=given.now)
        # Keys that do not know the order know nothing of its refunds either: a send would be
        # refused, and believed, though an earlier one may have landed.
        if report is None or report.finding is Finding.ABSENT:
            decision = refunding.note_silence(
                decision, refund.refund_id, owner=lease.owner, sent=False, now=given.now
            )
        else:
            decision = refunding.note_check(decision, refund.refund_id, now=given.now)
        await _save(tx, resources, _released(decision, lease))
        await _end_call(tx, planned, answer, now=given.now)

    await _run(resources, step)


async def _record(resources: Resources, planned: _Planned, answer: RefundAnswer) -> None:
    """Accept what came of a send or of a question about a refund."""
    lease = planned.lease
    given = resources.circumstances(lease.account_id)

    async def step(tx: Transaction) -> None:
        case = await _lock(tx, lease)
        await resources.budget.hear(
            tx, lease.account_id, answer.trouble, reason=answer.summary, now=given.now
        )
        decision = heed_answer(
            Decision.nothing(case),
            lease.refund_id,
            answer,
            subject=planned.subject,
            owner=lease.owner,
            given=given,
        )
        await _save(tx, resources, _released(decision, lease))
        await _end_call(tx, planned, answer, now=given.now)

    await _run(resources, step)


def heed_answer(
    decision: Decision,
    refund_id: UUID,
    answer: RefundAnswer,
    *,
    subject: Refund,
    owner: UUID,
    given: settlement.Circumstances,
) -> Decision:
    """Decide what an answer about `subject`, as it was when asked, means for a refund.

    The two are one, or the subject is an earlier one that it was compared with: then the send may
    follow.
    """
    is_comparison = subject.refund_id != refund_id
    report, known = answer.report, decision.case.refund(subject.refund_id)
    if report is None or refunding.is_denied_before(report, subject, known):
        return refunding.note_silence(
            decision,
            refund_id,
            owner=owner,
            sent=answer.outcome is Outcome.UNKNOWN and not is_comparison,
            now=given.now,
        )
    decided = refunding.apply(decision, subject.refund_id, report, given=given)
    if is_comparison:
        return refunding.note_comparison(decided, refund_id, now=given.now)
    return decided


async def _run(resources: Resources, step: Step[None]) -> None:
    await resources.database.run(step, name="record_refund")
    resources.refunds_wake.up()
    resources.deliveries_wake.up()


async def _end_call(
    tx: Transaction, planned: _Planned, answer: Answer | RefundAnswer, *, now: datetime
) -> None:
    """Write down the answer, at the time of what was decided from it: it cannot be later."""
    await calls.end(
        tx,
        account_id=planned.lease.account_id,
        call_id=planned.call_id,
        ended_at=now,
        outcome=answer.outcome,
        code=answer.code,
        summary=answer.summary,
    )


def _released(decision: Decision, lease: RefundLease) -> Decision:
    refund = decision.case.refund(lease.refund_id)
    if refund.lease_owner != lease.owner:
        return decision
    return decision.with_refund(replace(refund, lease_owner=None, lease_until=None))


async def _save(tx: Transaction, resources: Resources, decision: Decision) -> None:
    await cases.save(tx, [decision], public_url=resources.policy.public_url)


async def _lock(tx: Transaction, lease: RefundLease) -> Case:
    key = (lease.account_id, lease.order_id)
    return (await cases.lock(tx, [key]))[key]
