"""What follows from Binance's word about an attempt.

One function, `apply`, for every channel: the answer to a create, a query, a notice that binds.
It changes the attempt, records money, and then lets `follow` bring the order to where its
attempts and payments say it is. Truth is never refused: a report ends applied or as an anomaly.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from checkstand.domain import doubt, progress, strangers
from checkstand.domain.anomaly import POLICY, AnomalyKind, Resolution, anomaly_id_of
from checkstand.domain.attempt import SHORTEST_LIFE, Attempt, AttemptStatus, CloseReason
from checkstand.domain.case import Case, Decision
from checkstand.domain.money import Money, render_amount
from checkstand.domain.order import OVER, UNPAID, Order, OrderStatus
from checkstand.domain.payment import Payment, payment_id_of
from checkstand.domain.refund import Refund, RefundStatus
from checkstand.domain.report import Finding, Report, Source
from checkstand.domain.schedule import ABSENCE_MARGIN, next_look

#: A notice of an unpaid end that comes after the payment is looked into this soon.
_ASK_AFTER_LATE_NOTICE = timedelta(seconds=5)

#: Right after a create Binance may not find its own order yet (reference 5, 400202).
_FRESHLY_MADE = timedelta(minutes=1)

#: A query answered from just before a refund failed may be recorded just after it.
_JUST_FAILED = timedelta(minutes=1)

#: A refusal because of time says that two clocks differ: trying at once would meet the same, and
#: if nobody mends the clocks each further try waits twice as long.
_AFTER_REFUSAL = timedelta(seconds=5)
_AFTER_REFUSALS = timedelta(minutes=5)

#: What tells "no such order" from other contradictions of one attempt.
_ABSENT = "absent"
_TELLS_NOT_OF_IT = frozenset({Finding.ABSENT, Finding.UNREADABLE, Finding.REFUSED})

_ENDS = {
    Finding.CLOSED: AttemptStatus.CLOSED,
    Finding.LAPSED: AttemptStatus.LAPSED,
    Finding.FAILED: AttemptStatus.CLOSED,
    Finding.REFUSED: AttemptStatus.REJECTED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What a decision may need from outside: the time, and what a new attempt is made with."""

    now: datetime
    fresh_id: UUID  # becomes the new attempt's, if one is made
    credential_id: UUID
    attempt_life: timedelta = timedelta(hours=1)  # Binance takes no more (reference 2.1)
    fulfilment_lease: timedelta = timedelta(minutes=15)  # for the shop to acknowledge


def apply(
    decision: Decision, attempt_id: UUID, report: Report, *, given: Circumstances
) -> Decision:
    """Accept one report about one attempt, and let the order follow. Safe to repeat."""
    attempt = decision.case.attempt(attempt_id)
    match report.finding:
        case Finding.PAID | Finding.RETURNED:
            decided = _arrived(decision, attempt, report, now=given.now)
        case Finding.OPEN | Finding.PAYER_ACTIVE:
            decided = _opened(decision, attempt, report, now=given.now)
        case Finding.ABSENT:
            decided = _absent(decision, attempt, report, now=given.now)
        case Finding.UNREADABLE:
            decided = _contradicts(decision, attempt, report, now=given.now)
        case _:
            decided = _ended(decision, attempt, report, now=given.now)
    decided = _found_again(decided, attempt, report, now=given.now)
    decided = _keep_hint(decided, attempt, report, now=given.now)
    return follow(decided, given=given, report=report)


def status_of(case: Case, *, now: datetime) -> OrderStatus:
    """Say where an order is, from its attempts and payments alone."""
    order, current = case.order, case.current
    if order.status not in UNPAID | OVER:
        return order.status
    if any(not payment.held for payment in case.payments):
        return OrderStatus.PAID
    opened = current is not None and current.status is AttemptStatus.OPEN
    if opened and order.status in {OrderStatus.CREATED, OrderStatus.EXPIRED}:
        return OrderStatus.PENDING_PAYMENT
    if order.status not in UNPAID or case.live or case.has_unsettled_money:
        return order.status
    refused_for_good = (
        current is not None
        and current.status is AttemptStatus.REJECTED
        and current.close_reason is not CloseReason.RECOVER
    )
    if order.cancel_requested_at or (refused_for_good and order.status is OrderStatus.CREATED):
        return OrderStatus.CANCELED
    return OrderStatus.EXPIRED if now >= order.expires_at else order.status


def follow(
    decision: Decision,
    *,
    given: Circumstances,
    report: Report | None = None,
    reference: str | None = None,
    actor: str | None = None,
) -> Decision:
    """Bring the order to where its facts say it is, and write down what has to be done next.

    `reference` and `actor` are what a move rests on, and whose doing it is, where no report led to
    it.
    """
    decided = _close_unwanted(decision, now=given.now)
    decided = _replace_ended(decided, given=given)
    decided = doubt.settle_known(decided, now=given.now)
    case = decided.case
    status = status_of(case, now=given.now)
    if status is case.order.status:
        return decided
    reference = report.reference if report else reference
    reason, whose = _why(case, status, report)
    actor = actor or whose
    if status is not OrderStatus.PAID:
        return decided.move(status, actor=actor, reason=reason, reference=reference, at=given.now)
    payment = next(payment for payment in case.payments if not payment.held)
    return decided.move(
        status,
        actor=actor,
        reason=reason,
        reference=reference,
        at=given.now,
        fact=str(payment.payment_id),
        settled_by=payment.payment_id,
        paid_at=payment.paid_at or given.now,
        fulfilment_due_at=given.now + given.fulfilment_lease,
    )


def renew(decision: Decision, *, given: Circumstances) -> Decision:
    """Replace the order's code: close an open one first, make a fresh one where none is live.

    A code that is on its way already, or that somebody is paying, is left alone.
    """
    case = decision.case
    live, current = case.live, case.current
    if live is not None and (live.status is not AttemptStatus.OPEN or live.payer_active):
        return decision
    if live is not None:
        return decision.with_attempt(progress.start_closing(live, CloseReason.RENEW, now=given.now))
    number = current.number + 1 if current else 1
    return decision.with_attempt(prepare_attempt(case.order, number=number, given=given))


def prepare_attempt(order: Order, *, number: int, given: Circumstances) -> Attempt:
    """Make the next attempt of an order: an intention, to be sent by whoever holds its lease."""
    return Attempt(
        account_id=order.account_id,
        order_id=order.order_id,
        attempt_id=given.fresh_id,
        number=number,
        created_at=given.now,
        expires_at=min(order.expires_at, given.now + given.attempt_life),
        credential_id=given.credential_id,
        expected=order.terms.price,
        due_at=given.now,
    )


def _arrived(decision: Decision, attempt: Attempt, report: Report, *, now: datetime) -> Decision:
    known = decision.case.payment_for(attempt.attempt_id)
    if known is not None:
        return _more_facts(decision, attempt, known, report, now=now)
    expected = attempt.expected
    if expected is None and report.source is Source.QUERY:
        expected = report.money  # a fiat price whose answer was lost: Binance's own figure
    # Equal amounts keep the digits the shop wrote: 12.50, where Binance says 12.50000000.
    money = expected if report.money == expected else report.money or expected
    if money is None:
        return _contradicts(decision, attempt, report, now=now)
    oddities = _oddities_of(decision.case, attempt, money)
    payment = Payment(
        account_id=attempt.account_id,
        order_id=attempt.order_id,
        attempt_id=attempt.attempt_id,
        payment_id=payment_id_of(attempt.attempt_id),
        money=money,
        received_at=now,
        paid_at=report.paid_at,
        transaction_id=report.transaction_id,
        fee=report.fee,
        fee_learnt_at=None if report.fee is None else now,
        held=bool(oddities),
    )
    paid = progress.end(attempt, AttemptStatus.PAID, now=now)
    paid = replace(paid, prepay_id=progress.prepay_id_after(attempt, report), expected=expected)
    decided = decision.with_attempt(paid).with_payment(payment)
    for kind, detail in oddities:
        decided = decided.open_anomaly(
            kind, paid, detail=detail, reference=report.reference, at=now
        )
    if not oddities and decision.case.order.status not in UNPAID:
        decided = decided.open_anomaly(
            AnomalyKind.PAID_LATE,
            paid,
            detail=f"{money} arrived when the order was {decision.case.order.status}",
            reference=report.reference,
            at=now,
            resolved_at=now,
            resolved_by="policy",
            resolution=Resolution.ACCEPT,
            reason="late money counts and the order is to be fulfilled",
        )
    return _note_return(decided, paid, report, now=now)


def _oddities_of(case: Case, attempt: Attempt, money: Money) -> list[tuple[AnomalyKind, str]]:
    """Say why this money cannot settle the order by itself: nothing, or everything against it."""
    found, expected = [], attempt.expected
    if expected is not None and money.currency != expected.currency:
        detail = f"expected {expected}, Binance says {money}"
        found.append((AnomalyKind.CURRENCY_DIFFERS, detail))
    elif expected is not None and money.amount != expected.amount:
        detail = f"expected {expected}, Binance says {money}"
        found.append((AnomalyKind.AMOUNT_DIFFERS, detail))
    if case.order.settled_by is not None:
        # Said beside the other: whoever accepts the odd sum must not pay for the order again.
        detail = f"{money} arrived for attempt {attempt.number}"
        found.append((AnomalyKind.PAID_TWICE, detail))
    return found


def _more_facts(
    decision: Decision, attempt: Attempt, known: Payment, report: Report, *, now: datetime
) -> Decision:
    """Merge what a later report adds; the same news again changes nothing."""
    fuller = replace(
        known,
        transaction_id=known.transaction_id or report.transaction_id,
        paid_at=known.paid_at or report.paid_at,
    )
    decided = decision if fuller == known else decision.with_payment(fuller)
    decided = _learn_fee(decided, attempt, fuller, report, now=now)
    if report.money not in {None, known.money}:
        detail = f"{known.money} is booked, and Binance now says {report.money}"
        decided = _contradicts(decided, attempt, report, now=now, detail=detail)
    decided = decided.with_attempt(progress.note_heard(attempt, report, now=now))
    return _note_return(decided, attempt, report, now=now)


def _learn_fee(
    decision: Decision, attempt: Attempt, known: Payment, report: Report, *, now: datetime
) -> Decision:
    """Take a fee that was not told before; another figure counts too, and a person hears of it.

    Each figure counts once, so that two channels that never agree cannot move it for ever.
    """
    if report.fee is None or report.fee == known.fee:
        return decision
    learnt = replace(known, fee=report.fee, fee_learnt_at=now)
    if known.fee is None:
        return decision.with_payment(learnt)
    told = decision.open_anomaly(
        AnomalyKind.FEE_DIFFERS,
        attempt,
        detail=f"fee was {known.fee}, Binance now says {report.fee}",
        reference=report.reference,
        at=now,
        fact=render_amount(report.fee.normalize()),
    )
    return decision if told is decision else told.with_payment(learnt)


def _note_return(
    decision: Decision, attempt: Attempt, report: Report, *, now: datetime
) -> Decision:
    """Look for the refund of ours that explains why money went back; a portal refund has none."""
    payment = decision.case.payment_for(attempt.attempt_id)
    if report.finding is not Finding.RETURNED or payment is None:
        return decision
    ours = [
        refund
        for refund in decision.case.refunds_of(payment.payment_id)
        if refund.may_have_gone and not _failed_before(refund, now=now)
    ]
    explained = sum((max(r.amount.amount, r.returned or Decimal(0)) for r in ours), Decimal(0))
    if ours and (explained >= payment.money.amount or not report.returned_in_full):
        for refund in ours:
            if refund.is_open:  # Binance knows more of it than we do
                decision = decision.with_refund(replace(refund, due_at=now))
        if any(refund.status is RefundStatus.FAILED for refund in ours):
            # Said of one that has failed since, or of a stranger's: soon it can only be the latter.
            looked = decision.case.attempt(attempt.attempt_id)
            decision = decision.with_attempt(replace(looked, due_at=now + _JUST_FAILED))
        return decision
    return strangers.tell_of_stranger(
        decision,
        attempt.attempt_id,
        detail=f"Binance says {report.word}, and no refund of ours explains it",
        fact=f"{report.word} beside {render_amount(explained.normalize())}",
        reference=report.reference,
        now=now,
    )


def _failed_before(refund: Refund, *, now: datetime) -> bool:
    """Say whether a refund had failed already when Binance can have spoken of money going back."""
    failed_at = refund.ended_at if refund.status is RefundStatus.FAILED else None
    return failed_at is not None and now - failed_at >= _JUST_FAILED


def _opened(decision: Decision, attempt: Attempt, report: Report, *, now: datetime) -> Decision:
    if attempt.status in {AttemptStatus.OPEN, AttemptStatus.CLOSING}:
        if progress.is_shown_by_another(attempt, report):
            return _take_back_code(decision, attempt, report, now=now)
        return decision.with_attempt(progress.keep_open(attempt, report, now=now))
    if progress.is_overtaken(attempt, report, now=now):
        looked = progress.note_heard(attempt, report, now=now)
        return decision.with_attempt(replace(looked, payer_active=False))
    if attempt.status not in {AttemptStatus.PREPARED, AttemptStatus.SUBMITTING}:
        return _contradicts(decision, attempt, report, now=now)
    if report.source is not Source.ANSWER and progress.is_not_ours(attempt, report):
        return _contradicts(decision, attempt, report, now=now)
    made = replace(
        attempt,
        prepay_id=progress.prepay_id_after(attempt, report),
        expected=attempt.expected or report.money,
        expires_at=report.expires_at or attempt.expires_at,
        links=report.links,
        payer_active=report.finding is Finding.PAYER_ACTIVE,
        asks=0,
        status=AttemptStatus.OPEN,
    )
    if progress.is_unpayable(made):
        made = progress.start_closing(made, CloseReason.RECOVER, now=now)
    else:
        # A notice that came before this answer was only a hint: ask at once.
        due_at = now if made.hinted_at else next_look(made, now=now)
        made = replace(made, due_at=due_at)
    return decision.with_attempt(made)


def _take_back_code(
    decision: Decision, attempt: Attempt, report: Report, *, now: datetime
) -> Decision:
    """Show no more a code by which another order than ours is paid; a fresh one follows."""
    ours = progress.prepay_id_after(attempt, report)
    known = replace(attempt, prepay_id=ours, links=None)
    decided = decision.with_attempt(progress.keep_open(known, report, now=now))
    return decided.note(
        actor="checkstand",
        reason=f"Binance has attempt {attempt.number} as {ours}, and the code shown was of "
        f"{attempt.prepay_id}: it is taken back",
        reference=report.reference,
        at=now,
    )


def _absent(decision: Decision, attempt: Attempt, report: Report, *, now: datetime) -> Decision:
    if attempt.prepay_id is not None:
        if now - (attempt.last_sent_at or attempt.created_at) < _FRESHLY_MADE:
            return decision.with_attempt(progress.note_heard(attempt, report, now=now))
        if _is_let_go(decision.case, attempt, now=now):
            return decision.with_attempt(progress.end(attempt, AttemptStatus.LAPSED, now=now))
        fact, _ = decision.case.find_recurring(
            attempt.attempt_id, AnomalyKind.PROVIDER_CONTRADICTS, _ABSENT
        )
        return _contradicts(decision, attempt, report, now=now, fact=fact)
    if attempt.status is not AttemptStatus.SUBMITTING:
        return decision.with_attempt(progress.note_heard(attempt, report, now=now))
    asked = replace(attempt, absences=attempt.absences + 1, last_absent_at=now)
    if asked.absences >= 2 and now >= asked.expires_at + ABSENCE_MARGIN:
        return decision.with_attempt(progress.end(asked, AttemptStatus.NEVER_EXISTED, now=now))
    return decision.with_attempt(progress.note_heard(asked, report, now=now))


def _is_let_go(case: Case, attempt: Attempt, *, now: datetime) -> bool:
    """Say whether an order that Binance does not know has its end here, its time being over.

    Story: one made with another merchant's keys is never found again with ours. A person has
    accepted that; without an end the order would be asked about for ever.
    """
    _, odd = case.find_recurring(attempt.attempt_id, AnomalyKind.PROVIDER_CONTRADICTS, _ABSENT)
    is_accepted = odd is not None and odd.resolution is Resolution.ACCEPT
    is_over = now >= attempt.expires_at + ABSENCE_MARGIN
    return is_accepted and is_over and attempt.is_live and not attempt.payer_active


def _ended(decision: Decision, attempt: Attempt, report: Report, *, now: datetime) -> Decision:
    if report.finding is Finding.REFUSED and progress.may_have_landed(attempt):
        return decision.with_attempt(progress.note_heard(attempt, report, now=now))
    if attempt.status is AttemptStatus.PAID and report.source is Source.NOTICE:
        # Notices come in any order and up to hours late: what is true now, only a query says.
        soon = replace(attempt, hinted_at=now, due_at=now + _ASK_AFTER_LATE_NOTICE)
        return decision.with_attempt(soon)
    if attempt.status is AttemptStatus.PAID:
        return _contradicts(decision, attempt, report, now=now)
    status = _ENDS[report.finding]
    if report.source is Source.NOTICE and attempt.close_reason is None:
        status = AttemptStatus.LAPSED  # PAY_CLOSED that we did not ask for: its time ran out
    if not attempt.is_live:
        return decision.with_attempt(progress.note_heard(attempt, report, now=now))
    ended = replace(
        progress.end(attempt, status, now=now),
        prepay_id=progress.prepay_id_after(attempt, report),
    )
    if report.refusal_is_about_time:
        ended = replace(ended, close_reason=CloseReason.RECOVER)
    return decision.with_attempt(ended)


def _contradicts(
    decision: Decision,
    attempt: Attempt,
    report: Report,
    *,
    now: datetime,
    detail: str | None = None,
    fact: str | None = None,
) -> Decision:
    """Change nothing and say so: Binance said something that cannot follow what it said before.

    What somebody has settled is settled; said otherwise it is another oddity.
    """
    detail = detail or f"{attempt.status} here, and Binance says {report.word}"
    heard = decision.with_attempt(progress.note_heard(attempt, report, now=now))
    told = decision.case.anomalies_of(attempt.attempt_id, AnomalyKind.PROVIDER_CONTRADICTS)
    first = anomaly_id_of(attempt.attempt_id, AnomalyKind.PROVIDER_CONTRADICTS)
    if fact is None and any(a.anomaly_id == first and not a.is_open for a in told):
        if any(a.detail == detail for a in told):
            return heard
        fact = detail
    return heard.open_anomaly(
        AnomalyKind.PROVIDER_CONTRADICTS,
        attempt,
        detail=detail,
        reference=report.reference,
        at=now,
        fact=fact,
    )


def _found_again(
    decision: Decision, attempt: Attempt, report: Report, *, now: datetime
) -> Decision:
    """Close the contradiction of an order that Binance did not know and knows again.

    Story: the wrong key was used for an hour; mending it mends what it made odd.
    """
    if report.source is not Source.QUERY or report.finding in _TELLS_NOT_OF_IT:
        return decision
    _, odd = decision.case.find_recurring(
        attempt.attempt_id, AnomalyKind.PROVIDER_CONTRADICTS, _ABSENT
    )
    if odd is None or not odd.is_open:
        return decision
    return decision.close_anomaly(
        odd,
        Resolution.ACCEPT,
        by=POLICY,
        reason=f"Binance knows the order again and says {report.word}",
        actor="checkstand",
        at=now,
    )


def _keep_hint(decision: Decision, before: Attempt, report: Report, *, now: datetime) -> Decision:
    """Let a notice put off no question that is due: another hint asked for it, and still waits."""
    due_at = before.due_at
    if report.source is not Source.NOTICE or before.hinted_at is None or due_at is None:
        return decision
    attempt = decision.case.attempt(before.attempt_id)
    if due_at > now or (attempt.due_at is not None and attempt.due_at <= due_at):
        return decision
    return decision.with_attempt(replace(attempt, due_at=due_at))


def _close_unwanted(decision: Decision, *, now: datetime) -> Decision:
    """Ask for the end of an attempt that the order no longer wants."""
    order, live = decision.case.order, decision.case.live
    if live is None:
        return decision
    if decision.case.has_unsettled_money:
        if live.status is AttemptStatus.PREPARED:  # never sent: nobody is to be asked for more
            live = progress.end(live, AttemptStatus.NEVER_EXISTED, now=now)
        return decision.with_attempt(live)
    if order.settled_by is not None or any(not p.held for p in decision.case.payments):
        reason = CloseReason.CANCEL  # paid by another attempt: this one must not be paid too
    elif order.cancel_requested_at is not None:
        reason = CloseReason.CANCEL
    elif now >= order.expires_at:
        reason = CloseReason.EXPIRE
    else:
        return decision
    if live.status is AttemptStatus.PREPARED:
        return decision.with_attempt(progress.end(live, AttemptStatus.NEVER_EXISTED, now=now))
    if live.status is AttemptStatus.OPEN and not live.payer_active:
        return decision.with_attempt(progress.start_closing(live, reason, now=now))
    if live.status is AttemptStatus.CLOSING and live.close_reason is not reason:
        return decision.with_attempt(replace(live, close_reason=reason))
    return decision


def _replace_ended(decision: Decision, *, given: Circumstances) -> Decision:
    """Make a fresh attempt where the last one ended for a reason that is not the order's."""
    case = decision.case
    current, order = case.current, case.order
    if current is None or case.live is not None or case.has_unsettled_money:
        return decision
    if current.status is AttemptStatus.PAID or any(not p.held for p in case.payments):
        return decision
    wanted = current.close_reason in {CloseReason.RECOVER, CloseReason.RENEW} or (
        current.status is AttemptStatus.NEVER_EXISTED
    )
    may_open = order.status in UNPAID and order.cancel_requested_at is None
    # One with less time than that would be replaced unsent, by another, and so on.
    has_time = order.expires_at - given.now >= SHORTEST_LIFE
    if not (wanted and may_open and has_time):
        return decision
    fresh = prepare_attempt(order, number=current.number + 1, given=given)
    if current.status is AttemptStatus.REJECTED:
        refusals = sum(a.status is AttemptStatus.REJECTED for a in case.attempts)
        wait = min(_AFTER_REFUSAL * 2 ** min(refusals - 1, 10), _AFTER_REFUSALS)
        fresh = replace(fresh, due_at=given.now + wait)
    return decision.with_attempt(fresh)


def _why(case: Case, status: OrderStatus, report: Report | None) -> tuple[str, str]:
    """Say in words why the order moves, and whose doing it is."""
    match status:
        case OrderStatus.PAID:
            money = next(p.money for p in case.payments if not p.held)
            return f"Binance says {money} arrived", "binance"
        case OrderStatus.PENDING_PAYMENT:
            return "Binance took the order and can be paid", "binance"
        case OrderStatus.EXPIRED:
            return "its time has passed and nobody can pay it any more", "checkstand"
        case _ if case.order.cancel_requested_at is not None:
            actor = case.order.cancel_requested_by or "merchant"
            return "cancelled as asked; nobody can pay it any more", actor
        case _:
            return f"Binance refused it: {report.word if report else 'no reason'}", "binance"
