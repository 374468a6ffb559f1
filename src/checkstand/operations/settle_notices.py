"""Turn verified notices into their consequences, together, in one transaction.

A notice settles by itself only if all of this holds: it came on the account's own path, its attempt
is ours and open to it, its prepay_id is the one Binance told us in the answer to our own call,
amount and currency match, it was fresh when it came, the account is not stopped, and the policy
does not ask for a query. Anything else that Binance signed is a hint: it is kept, and the attempt
is asked about at once.

Story: anyone may point his own Binance orders at our address, under our trade number.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from checkstand.binance import Notification, PayNotice, PayRefundNotice
from checkstand.domain import settlement
from checkstand.domain.attempt import Attempt
from checkstand.domain.case import Case, Decision
from checkstand.domain.report import Finding, Report
from checkstand.operations.heed_refund_notice import heed_refund_notice
from checkstand.operations.resources import Policy, Resources
from checkstand.operations.verify_notice import VerifiedNotice
from checkstand.provider.translation import report_of_notice
from checkstand.storage import attempts, cases, notices
from checkstand.storage.cases import Key
from checkstand.storage.database import Patience, Step, Transaction
from checkstand.storage.notices import KnownNotice, NoticeMark, NoticeOutcome, StoredNotice

#: Binance is not kept waiting by one order that somebody holds, nor by a database in trouble. The
#: second run is for a commit whose acknowledgement was lost, or a connection that had died idle.
NOTICE_PATIENCE: Final = Patience(
    lock_ms=200, statement_ms=2_000, connection_seconds=2.0, tries_lost=2, has_reserve=True
)
#: The types whose id is that of an order at Binance.
_ABOUT_ORDERS: Final = frozenset({"PAY", "PAY_REFUND"})
_NOBODY: Final = (UUID(int=0), "")
#: How often a group is decided anew because one of its notices was stored meanwhile.
_LOOKS_MAX: Final = 5

_STOPPED: Final = "the account is stopped"


@dataclass(frozen=True, slots=True)
class Subject:
    """What a notice is about."""

    key: Key  # of the order
    attempt_id: UUID
    is_halted: bool  # another merchant's keys may have made it: nothing moves by its word


class StoredMeanwhile(Exception):
    """Somebody else stored a notice while it was being decided as a new one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What came of a group: what was written down, and which notices were left out."""

    marks: tuple[NoticeMark, ...]
    held: tuple[VerifiedNotice, ...]  # somebody else holds their order; nothing of them is written


async def settle_notices(
    resources: Resources, *, batch: Sequence[VerifiedNotice], waits: bool = False
) -> Settled:
    """Store each notice once and do what follows. Safe to run again; answers follow the commit.

    1. Find what they are about, and hold that, in the one global order.
    2. See which are known already: nobody stores news of an order that we hold.
    3. Decide each; several about one order are folded into one change.
    4. Write all of it.

    Notices whose order somebody else holds are left out; with `waits` they are waited for, and
    RowsHeld says that it took too long. A fingerprint may be in the batch once.
    """

    async def step(tx: Transaction) -> Settled:
        subjects = await _find_subjects(tx, batch)
        keys = [subject.key for subject in subjects.values()]
        held = await cases.lock(tx, keys, skips_held=not waits)
        papers = [_Paper(notice, subjects.get(notice.stored.notice_id)) for notice in batch]
        mine = [p for p in papers if p.subject is None or p.subject.key in held]
        known = await notices.find_known(tx, [paper.key for paper in mine])
        decided = _decide_all(resources, held, mine, known)
        await cases.save(tx, decided.decisions, public_url=resources.policy.public_url)
        await _write_down(tx, decided, now=resources.clock.now())
        return Settled(
            marks=(*(mark for _, mark in decided.fresh), *decided.again),
            held=tuple(p.notice for p in papers if p not in mine),
        )

    settled = await _run(resources, step)
    resources.attempts_wake.up()
    resources.refunds_wake.up()
    resources.deliveries_wake.up()
    return settled


@dataclass(frozen=True, slots=True, eq=False)
class _Paper:
    """One notice on the table, and what it is about as far as we know."""

    notice: VerifiedNotice
    subject: Subject | None

    @property
    def key(self) -> notices.Key:
        """What makes it the same notice as another."""
        return self.notice.stored.account_id, self.notice.stored.fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decided:
    """Everything that is to be written for a group."""

    decisions: list[Decision]
    fresh: list[tuple[StoredNotice, NoticeMark]]  # notices to store
    again: list[NoticeMark]  # notices that were stored before and have an outcome now


async def _run(resources: Resources, step: Step[Settled]) -> Settled:
    for _ in range(_LOOKS_MAX):
        with contextlib.suppress(StoredMeanwhile):
            return await resources.database.run(
                step, name="settle_notices", patience=NOTICE_PATIENCE
            )
    raise StoredMeanwhile(f"{_LOOKS_MAX} times in a row")


async def _write_down(tx: Transaction, decided: _Decided, *, now: datetime) -> None:
    """Store what is new and mark what was known. Raises StoredMeanwhile.

    News of an order is stored by whoever holds it. Only orphans, and what could not be applied,
    are stored by others too: then we decided too early, and have to look again.
    """
    if decided.fresh:
        stored = await notices.insert_once(tx, decided.fresh)
        if len(stored) != len(decided.fresh):
            raise StoredMeanwhile
    await notices.mark(tx, decided.again, now=now)


def _decide_all(
    resources: Resources,
    held: Mapping[Key, Case],
    papers: Sequence[_Paper],
    known: Mapping[notices.Key, KnownNotice],
) -> _Decided:
    decisions = {key: Decision.nothing(case) for key, case in held.items()}
    fresh, again = [], []
    for paper in papers:
        before = known.get(paper.key)
        if before is None:
            mark = _decide(resources, decisions, paper)
            fresh.append((paper.notice.stored, mark))
        elif before.outcome is NoticeOutcome.HINT:
            _hint_again(resources, decisions, paper)
        elif before.outcome is not NoticeOutcome.APPLIED:
            again.append(_decide(resources, decisions, _as_known(paper, before)))
    return _Decided(decisions=list(decisions.values()), fresh=fresh, again=again)


def _as_known(paper: _Paper, before: KnownNotice) -> _Paper:
    """Take a notice for what it was when it was stored: that is what the timeline shows."""
    stored = replace(
        paper.notice.stored,
        notice_id=before.notice_id,
        signed_at=before.signed_at,
        received_at=before.received_at,
        own_path=before.own_path,
    )
    return _Paper(replace(paper.notice, stored=stored), paper.subject)


def _hint_again(resources: Resources, decisions: dict[Key, Decision], paper: _Paper) -> None:
    """Let the query that a hint asked for be made, in case it was not yet."""
    if paper.subject is None:
        return
    key = paper.subject.key
    attempt = decisions[key].case.attempt(paper.subject.attempt_id)
    if attempt.ended_at is None:
        decisions[key] = decisions[key].with_attempt(_hinted(attempt, resources))


def _hinted(attempt: Attempt, resources: Resources) -> Attempt:
    now = resources.clock.now()
    return replace(attempt, hinted_at=now, due_at=now)


def _decide(resources: Resources, decisions: dict[Key, Decision], paper: _Paper) -> NoticeMark:
    """Let one notice have its consequence in the decision about its order."""
    notice, stored, subject = paper.notice, paper.notice.stored, paper.subject
    if subject is None:
        return _orphan(notice)
    key, stopped = subject.key, _STOPPED if subject.is_halted else None
    decision = decisions[key]
    attempt = decision.case.attempt(subject.attempt_id)
    if notice.notification is not None and isinstance(notice.notification.data, PayRefundNotice):
        given = resources.circumstances(stored.account_id)
        oldest = given.now - resources.policy.notice_age_max
        decisions[key], why = heed_refund_notice(
            decision, attempt, notice, doubt=stopped, oldest=oldest, given=given
        )
        if why is not None:
            return _mark(notice, attempt, NoticeOutcome.HINT, f"asking Binance: {why}")
        explanation = f"{stored.biz_status} bound to a refund of ours"
        return _mark(notice, attempt, NoticeOutcome.APPLIED, explanation)
    report = _report_of(notice)
    doubt = stopped or why_not_binding(notice, attempt, report, policy=resources.policy)
    if report is None or doubt is not None:
        decisions[key] = decision.with_attempt(_hinted(attempt, resources))
        explanation = doubt or f"{stored.biz_status} has to be looked up"
        return _mark(notice, attempt, NoticeOutcome.HINT, f"asking Binance: {explanation}")
    given = resources.circumstances(stored.account_id)
    decisions[key] = settlement.apply(decision, attempt.attempt_id, report, given=given)
    explanation = f"{stored.biz_status} bound to our own attempt"
    return _mark(notice, attempt, NoticeOutcome.APPLIED, explanation)


def _report_of(notice: VerifiedNotice) -> Report | None:
    if notice.notification is None:
        return None
    return report_of_notice(notice.notification, reference=f"notice:{notice.stored.notice_id}")


def why_not_binding(
    notice: VerifiedNotice, attempt: Attempt, report: Report | None, *, policy: Policy
) -> str | None:
    """Say why a notice about this attempt cannot settle it by itself; None when it can."""
    stored, notification = notice.stored, notice.notification
    if notification is None or not isinstance(notification.data, PayNotice):
        return "it says nothing that settles by itself"
    if not stored.own_path:
        return "it did not come on the account's own address"
    if attempt.prepay_id is None:
        return "Binance's answer to our own create is not in yet"
    if attempt.prepay_id != stored.biz_id:
        return "its prepay id is not the one Binance gave us"
    if stored.signed_at < stored.received_at - policy.notice_age_max:
        return "it was signed long ago"
    return _why_money_differs(notification.data, attempt) or _why_confirmed(report, policy)


def _why_money_differs(data: PayNotice, attempt: Attempt) -> str | None:
    expected = attempt.expected
    if expected is None:
        return "the amount to expect is not known yet"
    if data.merchant_trade_no != attempt.merchant_trade_no:
        return "its trade number is not this attempt's"
    if data.currency != expected.currency or data.total_fee != expected.amount:
        return f"it says {data.total_fee} {data.currency}, expected {expected}"
    return None


def _why_confirmed(report: Report | None, policy: Policy) -> str | None:
    """Say whether the policy wants this payment confirmed by a query, whoever brought it."""
    limit = policy.confirm_above
    if limit is None or report is None or report.finding is not Finding.PAID:
        return None
    if report.money is None or report.money.amount <= limit:
        return None
    return "payments of this size are confirmed by a query"


async def _find_subjects(tx: Transaction, batch: Sequence[VerifiedNotice]) -> dict[UUID, Subject]:
    """Find the attempt each notice is about: by Binance's id, else by our own number."""
    ids = {
        notice.stored.notice_id: (notice.stored.account_id, notice.stored.biz_id)
        for notice in batch
        if notice.stored.biz_type in _ABOUT_ORDERS
    }
    numbers = {
        notice.stored.notice_id: (notice.stored.account_id, number)
        for notice in batch
        if (number := _trade_number(notice.notification)) is not None
    }
    named = await attempts.find_named(
        tx,
        prepay_ids=sorted(set(ids.values())),
        trade_numbers=sorted(set(numbers.values())),
    )
    by_id = {(a.account_id, a.prepay_id): a for a in named}
    by_number = {(a.account_id, a.merchant_trade_no): a for a in named}
    subjects: dict[UUID, Subject] = {}
    for notice_id in {**ids, **numbers}:
        found = by_id.get(ids.get(notice_id, _NOBODY))
        found = found or by_number.get(numbers.get(notice_id, _NOBODY))
        if found is not None:
            key = (found.account_id, found.order_id)
            subjects[notice_id] = Subject(key, found.attempt_id, found.is_halted)
    return subjects


def _trade_number(notification: Notification | None) -> str | None:
    data = notification.data if notification else None
    return data.merchant_trade_no if isinstance(data, PayNotice | PayRefundNotice) else None


def _orphan(notice: VerifiedNotice) -> NoticeMark:
    stored = notice.stored
    readable = "no attempt of ours fits" if notice.notification else "it could not be read"
    return NoticeMark(
        account_id=stored.account_id,
        notice_id=stored.notice_id,
        outcome=NoticeOutcome.ORPHAN,
        explanation=f"{stored.biz_type} {stored.biz_status}: {readable}",
    )


def _mark(
    notice: VerifiedNotice, attempt: Attempt, outcome: NoticeOutcome, explanation: str
) -> NoticeMark:
    return NoticeMark(
        account_id=notice.stored.account_id,
        notice_id=notice.stored.notice_id,
        outcome=outcome,
        explanation=explanation,
        order_id=attempt.order_id,
        attempt_id=attempt.attempt_id,
    )
