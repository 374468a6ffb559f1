"""Do the next thing with one attempt under its lease: send, ask, close or replace.

Each round is three phases, and a crash between any two is mended by the next holder of the
lease, who decides from the row alone:

1. One transaction holds the order, checks the lease, decides what to do and writes down that
   it is about to be sent.
2. The call, with nothing held.
3. One transaction holds the order again and accepts what Binance said. If the lease is no
   longer ours the facts still count, and only links are thrown away.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from checkstand.domain import progress, settlement
from checkstand.domain.attempt import Attempt, AttemptStatus
from checkstand.domain.case import Case, Decision
from checkstand.domain.schedule import NextStep, next_look, next_step
from checkstand.operations.begin_call import AccountHalted, begin_call
from checkstand.operations.resources import Resources
from checkstand.operations.suspect_account import is_wrong_account
from checkstand.provider.gateway import Answer, Outcome
from checkstand.storage import calls, cases, recoveries
from checkstand.storage.database import Transaction

#: When Binance was away at a look at an attempt that had ended.
_LOOK_AGAIN = timedelta(minutes=5)
#: When Binance was away at the very last look at an attempt.
_LAST_LOOK_AGAIN = timedelta(hours=1)

_ENDPOINTS = {
    NextStep.SUBMIT: "/v3/order",
    NextStep.ASK: "/v2/order/query",
    NextStep.CLOSE: "/order/close",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Whose hand is on which attempt."""

    account_id: UUID
    order_id: UUID
    attempt_id: UUID
    owner: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCall:
    """A call that is written down and about to be sent."""

    lease: Lease
    call_id: UUID
    step: NextStep
    case: Case

    @property
    def attempt(self) -> Attempt:
        """Return the attempt as it was when the call was planned."""
        return self.case.attempt(self.lease.attempt_id)


async def advance_attempt(resources: Resources, *, lease: Lease) -> Case | None:
    """Take one attempt one step on; None when the lease was lost or nothing was to be done."""
    planned = await plan_call(resources, lease=lease)
    if planned is None:
        return None
    answer = await make_call(resources, planned=planned)
    return await record_answer(resources, planned=planned, answer=answer)


async def plan_call(resources: Resources, *, lease: Lease) -> PlannedCall | None:
    """Decide the next call from the row, and write down that it is about to be sent."""
    call_id = resources.ids.new()
    given = resources.circumstances(lease.account_id)

    async def step(tx: Transaction) -> PlannedCall | None:
        case = await _lock(tx, lease)
        if case is None or case.attempt(lease.attempt_id).lease_owner != lease.owner:
            return None
        attempt = case.attempt(lease.attempt_id)
        if attempt.status is AttemptStatus.NEVER_EXISTED and attempt.sends == 0:
            return None  # it ended after it was claimed, and Binance never heard of it
        planned = next_step(attempt, now=given.now)
        if planned is NextStep.CLOSE and await recoveries.is_open(tx, lease.account_id):
            planned = NextStep.ASK  # a restored database may have forgotten why it is paid
        decision = Decision.nothing(case)
        if planned is NextStep.REPLACE:
            # It was never sent, so there is nothing to ask Binance about.
            released = replace(
                attempt,
                status=AttemptStatus.NEVER_EXISTED,
                ended_at=given.now,
                due_at=None,
                lease_owner=None,
                lease_until=None,
            )
            decision = settlement.follow(decision.with_attempt(released), given=given)
            await cases.save(tx, [decision], public_url=resources.policy.public_url)
            return None
        is_new = await begin_call(
            tx,
            account_id=lease.account_id,
            call_id=call_id,
            order_id=lease.order_id,
            attempt_id=lease.attempt_id,
            endpoint=_ENDPOINTS[planned],
            now=given.now,
        )
        if not is_new:
            # Our own commit, whose acknowledgement was lost: whoever has the lease next goes on.
            return None
        decision = decision.with_attempt(note_sending(attempt, planned, now=given.now))
        await cases.save(tx, [decision], public_url=resources.policy.public_url)
        return PlannedCall(lease=lease, call_id=call_id, step=planned, case=decision.case)

    try:
        return await resources.database.run(step, name="plan_call")
    except AccountHalted:
        return None  # it was stopped after the lease was taken; nobody takes another


def note_sending(attempt: Attempt, step: NextStep, *, now: datetime) -> Attempt:
    """Write into the attempt that a call is about to be sent."""
    match step:
        case NextStep.SUBMIT:
            return replace(
                attempt,
                status=AttemptStatus.SUBMITTING,
                sends=attempt.sends + 1,
                last_sent_at=now,
                last_absent_at=None,  # said of the sends before; two moments may be the same
            )
        case NextStep.CLOSE:
            return replace(attempt, closes=attempt.closes + 1, asks=0)
        case _:
            return attempt


async def make_call(resources: Resources, *, planned: PlannedCall) -> Answer:
    """Make the planned call. Nothing is held meanwhile."""
    attempt, reference = planned.attempt, f"call:{planned.call_id}"
    match planned.step:
        case NextStep.SUBMIT:
            return await resources.provider.create(
                attempt,
                planned.case.order.terms,
                notice_url=resources.notice_url(attempt.account_id),
                reference=reference,
            )
        case NextStep.CLOSE:
            return await resources.provider.close(attempt)
        case _:
            return await resources.provider.query(attempt, reference=reference)


async def record_answer(
    resources: Resources, *, planned: PlannedCall, answer: Answer
) -> Case | None:
    """Accept what came of a call, release the lease, and let the order follow."""
    lease = planned.lease
    given = resources.circumstances(lease.account_id)

    async def step(tx: Transaction) -> Case | None:
        case = await _lock(tx, lease)
        if case is None:
            return None
        decision = await decide_answer(tx, resources, case, planned, answer, given=given)
        await cases.save(tx, [decision], public_url=resources.policy.public_url)
        await end_call(tx, planned, answer, now=given.now)
        return decision.case

    case = await resources.database.run(step, name="record_answer")
    wake_others(resources, planned, answer)
    return case


def wake_others(resources: Resources, planned: PlannedCall, answer: Answer) -> None:
    """Say that there may be work: the attempt's next step, news for the shop, an orphan's match."""
    resources.attempts_wake.up()
    resources.deliveries_wake.up()
    report = answer.report
    if report is not None and report.prepay_id and planned.attempt.prepay_id is None:
        resources.notices_wake.up()  # news of it may have come before we knew its name


async def decide_answer(
    tx: Transaction,
    resources: Resources,
    case: Case,
    planned: PlannedCall,
    answer: Answer,
    *,
    given: settlement.Circumstances,
) -> Decision:
    """Decide what an answer means for a case that the caller holds."""
    lease = planned.lease
    await resources.budget.hear(
        tx, lease.account_id, answer.trouble, reason=answer.summary, now=given.now
    )
    decision = Decision.nothing(case)
    attempt = case.attempt(lease.attempt_id)
    is_ours = attempt.lease_owner == lease.owner
    if await is_wrong_account(tx, resources, attempt, answer, now=given.now):
        if answer.report is not None and answer.report.prepay_id == attempt.prepay_id:
            # The code shown is the other merchant's own: nobody is to pay him by it.
            attempt = replace(attempt, links=None)
        return decision.with_attempt(_released(attempt) if is_ours else attempt)
    if is_ours:
        attempt = _released(attempt)
    decision = decision.with_attempt(attempt)
    report = answer.report
    if report is not None and progress.is_denied_before(report, planned.attempt, attempt):
        report = None
    if report is not None:
        if not is_ours:
            # Whoever took the lease may have gone on: these links could be dead.
            report = replace(report, links=None)
        decision = settlement.apply(decision, lease.attempt_id, report, given=given)
    else:
        attempt = _without_report(attempt, planned.step, answer, now=given.now)
        decision = decision.with_attempt(attempt)
    return heed_hint(decision, planned.attempt, now=given.now)


async def end_call(tx: Transaction, planned: PlannedCall, answer: Answer, *, now: datetime) -> None:
    """Write the call's outcome beside its intention."""
    await calls.end(
        tx,
        account_id=planned.lease.account_id,
        call_id=planned.call_id,
        ended_at=now,
        outcome=answer.outcome,
        code=answer.code,
        summary=answer.summary,
    )


def _without_report(attempt: Attempt, step: NextStep, answer: Answer, *, now: datetime) -> Attempt:
    """Say when to look again after an answer that says nothing about the attempt's fate."""
    if step is NextStep.CLOSE and answer.outcome is Outcome.ACCEPTED:
        attempt = replace(attempt, close_accepted_at=now)
    elif step is NextStep.ASK:
        attempt = replace(attempt, asks=attempt.asks + 1)
    due_at = next_look(attempt, now=now)
    if answer.outcome in {Outcome.UNKNOWN, Outcome.UNAVAILABLE} and not attempt.is_live:
        # The look told nothing, so it was not the last, nor may the next be days away: a hint made
        # it due, or a recovery that cannot end before.
        again = now + _LAST_LOOK_AGAIN if due_at is None else now + _LOOK_AGAIN
        due_at = min(due_at or again, again)
    return replace(attempt, due_at=due_at)


def heed_hint(decision: Decision, before: Attempt, *, now: datetime) -> Decision:
    """Ask again at once if a hint came while Binance was asked: its answer may be older.

    `before` is the attempt as it was when the call was planned.
    """
    attempt = decision.case.attempt(before.attempt_id)
    if attempt.hinted_at == before.hinted_at:
        return decision
    return decision.with_attempt(replace(attempt, due_at=now))


def _released(attempt: Attempt) -> Attempt:
    return replace(attempt, lease_owner=None, lease_until=None)


async def _lock(tx: Transaction, lease: Lease) -> Case | None:
    key = (lease.account_id, lease.order_id)
    return (await cases.lock(tx, [key])).get(key)
