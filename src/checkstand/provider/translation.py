"""Binance's words in ours, as total functions: a word we do not know moves nothing.

Queries and notices speak two vocabularies for the same facts (reference 4.1), so there is one
table for each and they are never mixed.
"""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from checkstand.binance import (
    CreatedOrder,
    Notification,
    PayNotice,
    QueriedOrder,
    QueriedRefund,
    RefundInfo,
)
from checkstand.binance import Refund as BinanceRefund
from checkstand.domain.attempt import Attempt, Links
from checkstand.domain.money import Money
from checkstand.domain.report import Finding, RefundFinding, RefundReport, Report, Source

#: What a query may say of an order.
QUERY_WORDS: Final = {
    "INITIAL": Finding.OPEN,
    "PENDING": Finding.PAYER_ACTIVE,
    "PAID": Finding.PAID,
    "CANCELED": Finding.CLOSED,
    "EXPIRED": Finding.LAPSED,
    "ERROR": Finding.FAILED,
    "REFUNDING": Finding.RETURNED,
    "REFUNDED": Finding.RETURNED,
    "FULL_REFUNDED": Finding.RETURNED,
}

#: What a refund query may say of a refund.
REFUND_QUERY_WORDS: Final = {
    "REFUND_SUCCESS": RefundFinding.SUCCEEDED,
    "REFUND_FAIL": RefundFinding.FAILED,
    "REFUND_PENDING": RefundFinding.TAKEN,
}

#: What a PAY_REFUND notice may say of a refund. The second spelling of the refusal is uncertain.
REFUND_NOTICE_WORDS: Final = {
    "REFUND_SUCCESS": RefundFinding.SUCCEEDED,
    "REFUND_REJECTED": RefundFinding.FAILED,
    "REFUND_REJECT": RefundFinding.FAILED,
}

#: What a PAY notice may say of an order.
NOTICE_WORDS: Final = {
    "PAY_SUCCESS": Finding.PAID,
    "PAY_CLOSED": Finding.CLOSED,
}


def render_pass_through(attempt: Attempt) -> str:
    """Write what Binance keeps for us, by which an orphan can be explained."""
    return f"cs1:{attempt.account_id.hex}:{attempt.order_id.hex}:{attempt.attempt_id.hex}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What we have written into a Binance order: whose it is, and what for."""

    account_id: UUID
    order_id: UUID
    attempt_id: UUID


def parse_pass_through(text: str | None) -> Mark | None:
    """Read our mark; None for anything that is none."""
    version, *ids = (text or "").split(":")
    if version != "cs1" or len(ids) != 3:
        return None
    try:
        account_id, order_id, attempt_id = (UUID(hex=each) for each in ids)
    except ValueError:
        return None
    return Mark(account_id=account_id, order_id=order_id, attempt_id=attempt_id)


def report_of_creation(created: CreatedOrder, *, reference: str) -> Report:
    """Translate the answer to our own create: the only place links ever come from."""
    total = created.total_fee
    return Report(
        finding=Finding.OPEN,
        source=Source.ANSWER,
        reference=reference,
        word="created",
        prepay_id=created.prepay_id,
        money=None if total is None else Money(total, created.currency),
        expires_at=created.expires_at,
        links=Links(
            qr_content=created.qr_content,
            deeplink=created.deeplink,
            universal_url=created.universal_url,
            checkout_url=created.checkout_url,
        ),
    )


def report_of_query(queried: QueriedOrder, *, attempt: Attempt, reference: str) -> Report:
    """Translate the answer to a query of one attempt."""
    finding = QUERY_WORDS.get(queried.status, Finding.UNREADABLE)
    word = queried.status
    passed = queried.pass_through_info
    if passed and passed != render_pass_through(attempt):
        # Somebody else's order under our number: it can be nothing but a wrong account's answer.
        finding, word = Finding.UNREADABLE, f"{word} with another passThroughInfo"
    return Report(
        finding=finding,
        source=Source.QUERY,
        reference=reference,
        word=word,
        prepay_id=queried.prepay_id,
        money=Money(queried.order_amount, queried.currency),
        fee=queried.commission,
        transaction_id=queried.transaction_id,
        paid_at=queried.transacted_at,
        returned_in_full=queried.status == "FULL_REFUNDED",
    )


def report_of_notice(notification: Notification, *, reference: str) -> Report | None:
    """Translate a PAY notice; None when it speaks of something else or in unknown words."""
    data = notification.data
    finding = NOTICE_WORDS.get(notification.biz_status)
    if not isinstance(data, PayNotice) or finding is None:
        return None
    return Report(
        finding=finding,
        source=Source.NOTICE,
        reference=reference,
        word=notification.biz_status,
        prepay_id=notification.biz_id,
        money=Money(data.total_fee, data.currency),
        fee=data.commission,
        transaction_id=data.transaction_id,
        paid_at=data.transacted_at if finding is Finding.PAID else None,
    )


def report_of_refund(refund: BinanceRefund, *, reference: str) -> RefundReport:
    """Translate the answer to our own refund: taken on, which is not yet done."""
    return _refund_report(refund, RefundFinding.TAKEN, "taken", Source.ANSWER, reference)


def report_of_refund_query(queried: QueriedRefund, *, reference: str) -> RefundReport:
    """Translate the answer to a query of one refund."""
    word = queried.refund_status
    finding = REFUND_QUERY_WORDS.get(word, RefundFinding.UNREADABLE)
    return _refund_report(queried, finding, word, Source.QUERY, reference)


def report_of_refund_notice(
    notification: Notification, info: RefundInfo, *, reference: str
) -> RefundReport | None:
    """Translate a PAY_REFUND notice about one refund; None for a word we do not know."""
    finding = REFUND_NOTICE_WORDS.get(notification.biz_status)
    if finding is None:
        return None
    return RefundReport(
        finding=finding,
        source=Source.NOTICE,
        reference=reference,
        word=notification.biz_status,
        returned=info.refund_amount,
        returned_in_all=info.refunded_amount,
        remaining_attempts=info.remaining_attempts,
    )


def _refund_report(
    refund: BinanceRefund, finding: RefundFinding, word: str, source: Source, reference: str
) -> RefundReport:
    return RefundReport(
        finding=finding,
        source=source,
        reference=reference,
        word=word,
        returned=refund.refund_amount,
        returned_in_all=refund.refunded_amount,
        fee_returned=refund.refund_commission,
        remaining_attempts=refund.remaining_attempts,
    )
