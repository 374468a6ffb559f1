"""Strangers: refunds made in Binance's portal, which tells nobody of them.

What an answer about a refund of ours says of all refunds of its order is held against ours. The
reference (2.6) leaves open whether a query says it as of now or as of that refund, and whether a
refund in the portal counts as an attempt; either way more than ours explain is a stranger's.
"""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from checkstand.domain.anomaly import AnomalyKind, Resolution
from checkstand.domain.case import Case, Decision
from checkstand.domain.money import render_amount
from checkstand.domain.refund import ATTEMPTS_MAX, Refund
from checkstand.domain.report import RefundReport


def is_refunded_elsewhere(case: Case, attempt_id: UUID) -> bool:
    """Say whether money of an attempt went back without us, and nobody has settled that yet."""
    known = case.anomalies_of(attempt_id, AnomalyKind.REFUNDED_ELSEWHERE)
    return any(anomaly.is_open for anomaly in known)


def look_for_strangers(
    decision: Decision, refund: Refund, report: RefundReport, *, now: datetime
) -> Decision:
    """Notice that more has gone back in all, or in more goes, than refunds of ours explain."""
    case = decision.case
    found = _more_money(case, refund, report) or _more_attempts(case, refund, report)
    if found is None:
        return decision
    detail, fact = found
    known = case.anomalies_of(refund.attempt_id, AnomalyKind.REFUNDED_ELSEWHERE)
    if any(a.resolution is Resolution.WRITE_OFF and a.detail == detail for a in known):
        return decision  # the same news again: what was accepted is among ours by now
    return tell_of_stranger(
        decision, refund.attempt_id, detail=detail, fact=fact, reference=report.reference, now=now
    )


def tell_of_stranger(
    decision: Decision, attempt_id: UUID, *, detail: str, fact: str, reference: str, now: datetime
) -> Decision:
    """Open `refunded_elsewhere`, unless one is open.

    The first is one, whichever channel tells it. After one that is settled another fact is another
    oddity, and the same fact again is not.
    """
    case = decision.case
    if is_refunded_elsewhere(case, attempt_id):
        return decision
    return decision.open_anomaly(
        AnomalyKind.REFUNDED_ELSEWHERE,
        case.attempt(attempt_id),
        detail=detail,
        reference=reference,
        at=now,
        fact=fact if case.anomalies_of(attempt_id, AnomalyKind.REFUNDED_ELSEWHERE) else None,
    )


def _more_money(case: Case, refund: Refund, report: RefundReport) -> tuple[str, str] | None:
    if report.returned_in_all is None:
        return None
    # One that failed may have been counted while it was under way: no stranger for that.
    ours = sum(
        (
            max(r.amount.amount, r.returned or Decimal(0))
            for r in case.refunds_of(refund.payment_id)
            if r.may_have_gone
        ),
        Decimal(0),
    )
    if report.returned_in_all <= ours:
        return None
    more = render_amount((report.returned_in_all - ours).normalize())
    detail = f"Binance says {more} more went back than refunds of ours explain"
    return detail, f"{render_amount(report.returned_in_all.normalize())} in all"


def _more_attempts(case: Case, refund: Refund, report: RefundReport) -> tuple[str, str] | None:
    if report.remaining_attempts is None:
        return None
    # Whether one that was refused, or was sent again, counts there is not documented: each may.
    ours = sum(1 if r.is_elsewhere else r.sends for r in case.refunds_of(refund.payment_id))
    beside = ATTEMPTS_MAX - report.remaining_attempts - ours
    if beside <= 0:
        return None
    detail = (
        f"of the {ATTEMPTS_MAX} refunds that Binance takes of an order {beside} "
        "were used up by others than ours"
    )
    return detail, f"{report.remaining_attempts} attempts left"
