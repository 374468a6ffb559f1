"""What a PAY_REFUND notice means for a case that the caller holds.

It settles a refund by itself under the conditions that bind a PAY notice: the account's own
address, a prepay id from our own call, a refund number of ours, fresh. Anything else, and a
notice that names no refund, is a hint: every open refund of the attempt, and the order itself,
are asked about at once.
"""

from dataclasses import replace
from datetime import datetime

from checkstand.binance import PayRefundNotice, RefundInfo
from checkstand.domain import refunding
from checkstand.domain.attempt import Attempt
from checkstand.domain.case import Decision
from checkstand.domain.refund import Refund
from checkstand.domain.settlement import Circumstances
from checkstand.operations.verify_notice import VerifiedNotice
from checkstand.provider.translation import report_of_refund_notice


def heed_refund_notice(
    decision: Decision,
    attempt: Attempt,
    notice: VerifiedNotice,
    *,
    doubt: str | None,
    oldest: datetime,
    given: Circumstances,
) -> tuple[Decision, str | None]:
    """Apply a refund notice, or follow its hint; return why it was only a hint, else None.

    With a `doubt` it cannot be more, whatever it says.
    """
    doubt = doubt or _why_not_binding(decision, attempt, notice, oldest=oldest)
    info = _info_of(notice)
    refund = _refund_of(decision, info)
    notification = notice.notification
    if doubt is None and info is not None and refund is not None and notification is not None:
        report = report_of_refund_notice(
            notification, info, reference=f"notice:{notice.stored.notice_id}"
        )
        if report is not None:
            return refunding.apply(decision, refund.refund_id, report, given=given), None
    for open_refund in decision.case.refunds:
        if open_refund.attempt_id == attempt.attempt_id and open_refund.may_have_gone:
            decision = decision.with_refund(replace(open_refund, due_at=given.now))
    decision = decision.with_attempt(replace(attempt, hinted_at=given.now, due_at=given.now))
    return decision, doubt or f"{notice.stored.biz_status} has to be looked up"


def _why_not_binding(
    decision: Decision, attempt: Attempt, notice: VerifiedNotice, *, oldest: datetime
) -> str | None:
    stored, info = notice.stored, _info_of(notice)
    if not stored.own_path:
        return "it did not come on the account's own address"
    if info is None:
        return "it does not say which refund it is about"
    if attempt.prepay_id is None or not attempt.prepay_id == stored.biz_id == info.prepay_id:
        return "its prepay id is not the one Binance gave us"
    refund = _refund_of(decision, info)
    if refund is None or refund.attempt_id != attempt.attempt_id or refund.sends == 0:
        return "we sent no refund under its number"
    if stored.signed_at < oldest:
        return "it was signed long ago"
    return None


def _info_of(notice: VerifiedNotice) -> RefundInfo | None:
    data = notice.notification.data if notice.notification else None
    return data.refund_info if isinstance(data, PayRefundNotice) else None


def _refund_of(decision: Decision, info: RefundInfo | None) -> Refund | None:
    if info is None:
        return None
    number = info.refund_request_id
    return next((r for r in decision.case.refunds if r.refund_request_id == number), None)
