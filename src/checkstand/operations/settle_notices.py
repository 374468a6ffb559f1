"""Turn verified notices into their consequences, together, in one transaction.

A notice settles by itself only if all of this holds: it came on the account's own path, its
attempt is ours and open to it, its prepay_id is the one Binance told us in the answer to our
own call, amount and currency match, and it is fresh. Anything else that Binance signed is a
hint: it is kept, and the attempt is asked about at once.

Story: anyone may point his own Binance orders at our address, under our trade number.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final
from uuid import UUID

from checkstand.binance import Notification, PayNotice, PayRefundNotice
from checkstand.domain import settlement
from checkstand.domain.attempt import Attempt
from checkstand.domain.case import Decision
from checkstand.operations.heed_refund_notice import heed_refund_notice
from checkstand.operations.resources import Resources
from checkstand.operations.verify_notice import VerifiedNotice
from checkstand.provider.translation import report_of_notice
from checkstand.storage import attempts, cases, notices
from checkstand.storage.cases import Key
from checkstand.storage.database import Transaction
from checkstand.storage.notices import NoticeMark, NoticeOutcome

#: A group waits no longer for one order that somebody holds; its notices go on one by one then.
_LOCK_WAIT_MS: Final = 200

Subject = tuple[Key, UUID]  # the order's key, the attempt


async def settle_notices(
    resources: Resources, *, batch: Sequence[VerifiedNotice], is_stored: bool = False
) -> list[NoticeMark]:
    """Store each notice once and do what follows. Safe to run again; answers follow the commit.

    1. Store each once; a notice that was there before changes nothing.
    2. Find and lock what they are about, in the one global order.
    3. Decide each; several about one order are folded into one change.
    4. Write all of it.

    With `is_stored` the notices are in the table already and are tried again.
    """

    async def step(tx: Transaction) -> list[NoticeMark]:
        fresh = list(batch)
        if not is_stored:
            new_ids = await notices.insert_once(tx, [notice.stored for notice in batch])
            fresh = [notice for notice in batch if notice.stored.notice_id in new_ids]
        marks = await _decide_all(tx, resources, fresh)
        await notices.mark(tx, marks)
        return marks

    marks = await resources.database.run(step, name="settle_notices", lock_wait_ms=_LOCK_WAIT_MS)
    resources.attempts_wake.up()
    resources.refunds_wake.up()
    resources.deliveries_wake.up()
    return marks


async def _decide_all(
    tx: Transaction, resources: Resources, fresh: Sequence[VerifiedNotice]
) -> list[NoticeMark]:
    subjects = await _find_subjects(tx, fresh)
    held = await cases.lock(tx, [key for key, _ in subjects.values()])
    decisions = {key: Decision.nothing(case) for key, case in held.items()}
    marks = []
    for notice in fresh:
        subject = subjects.get(notice.stored.notice_id)
        if subject is None:
            marks.append(_orphan(notice))
            continue
        key, attempt_id = subject
        decisions[key], mark = _decide(resources, decisions[key], attempt_id, notice)
        marks.append(mark)
    await cases.save(tx, list(decisions.values()), public_url=resources.policy.public_url)
    return marks


def _decide(
    resources: Resources, decision: Decision, attempt_id: UUID, notice: VerifiedNotice
) -> tuple[Decision, NoticeMark]:
    stored = notice.stored
    given = resources.circumstances(stored.account_id)
    attempt = decision.case.attempt(attempt_id)
    oldest = given.now - resources.policy.notice_age_max
    notification = notice.notification
    if notification is not None and isinstance(notification.data, PayRefundNotice):
        decided, why = heed_refund_notice(decision, attempt, notice, oldest=oldest, now=given.now)
        if why is None:
            explanation = f"{stored.biz_status} bound to a refund of ours"
            return decided, _mark(notice, attempt, NoticeOutcome.APPLIED, explanation)
        return decided, _mark(notice, attempt, NoticeOutcome.HINT, f"asking Binance: {why}")
    doubt = why_not_binding(notice, attempt, oldest=oldest)
    report = (
        report_of_notice(notification, reference=f"notice:{stored.notice_id}")
        if notification is not None and doubt is None
        else None
    )
    if report is None:
        hinted = replace(attempt, hinted_at=given.now, due_at=given.now)
        explanation = doubt or f"{stored.biz_status} has to be looked up"
        return decision.with_attempt(hinted), _mark(
            notice, attempt, NoticeOutcome.HINT, f"asking Binance: {explanation}"
        )
    decided = settlement.apply(decision, attempt_id, report, given=given)
    return decided, _mark(
        notice, attempt, NoticeOutcome.APPLIED, f"{stored.biz_status} bound to our own attempt"
    )


def why_not_binding(notice: VerifiedNotice, attempt: Attempt, *, oldest: datetime) -> str | None:
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
    if stored.signed_at < oldest:
        return "it was signed long ago"
    return _why_money_differs(notification.data, attempt)


def _why_money_differs(data: PayNotice, attempt: Attempt) -> str | None:
    expected = attempt.expected
    if expected is None:
        return "the amount to expect is not known yet"
    if data.merchant_trade_no != attempt.merchant_trade_no:
        return "its trade number is not this attempt's"
    if data.currency != expected.currency or data.total_fee != expected.amount:
        return f"it says {data.total_fee} {data.currency}, expected {expected}"
    return None


async def _find_subjects(tx: Transaction, batch: Sequence[VerifiedNotice]) -> dict[UUID, Subject]:
    """Find the attempt each notice is about: by Binance's id, else by our own number."""
    by_prepay_id = {
        n.stored.notice_id: (n.stored.account_id, n.stored.biz_id)
        for n in batch
        if n.stored.biz_type in {"PAY", "PAY_REFUND"}
    }
    by_number = {
        n.stored.notice_id: (n.stored.account_id, number)
        for n in batch
        if (number := _trade_number(n.notification)) is not None
    }
    found_by_id = await attempts.find_by_prepay_ids(tx, sorted(set(by_prepay_id.values())))
    found_by_number = await attempts.find_by_trade_numbers(tx, sorted(set(by_number.values())))
    subjects: dict[UUID, Subject] = {}
    for notice in batch:
        notice_id, account_id = notice.stored.notice_id, notice.stored.account_id
        found = found_by_id.get(by_prepay_id.get(notice_id, (account_id, "")))
        found = found or found_by_number.get(by_number.get(notice_id, (account_id, "")))
        if found is not None:
            order_id, attempt_id = found
            subjects[notice_id] = ((account_id, order_id), attempt_id)
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
