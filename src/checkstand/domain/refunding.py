"""What follows from a wish for money back, and from Binance's word about a refund.

The money is set aside on the payment when the refund is asked for, and stays so until Binance
says that it went back or that it never will. A refund keeps one number at Binance for ever, so
sending it again can at most repeat it. One refund of a payment is on its way at a time: its
answer decides what the next one may still ask for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final
from uuid import UUID

from checkstand.domain import strangers
from checkstand.domain.anomaly import AnomalyKind
from checkstand.domain.case import Case, Decision
from checkstand.domain.event import EventType
from checkstand.domain.money import Money, render_amount
from checkstand.domain.payment import Payment
from checkstand.domain.refund import ATTEMPTS_MAX, IN_FLIGHT, Refund, RefundStatus
from checkstand.domain.report import RefundFinding, RefundReport, Source
from checkstand.domain.resolution import follow_return, settle_returned
from checkstand.domain.schedule import ABSENCE_MARGIN, stepped
from checkstand.domain.settlement import Circumstances

#: While an outcome is unknown somebody waits for his money; Binance may need a moment to know it.
_UNKNOWN_SECONDS: Final = (1, 2, 5, 10, 30)
_UNKNOWN_EVERY: Final = timedelta(minutes=1)
#: Binance finishes most refunds in seconds and tells of it; asking finds what it did not tell.
_PENDING_SECONDS: Final = (5, 15, 60, 300, 900, 3600)
_PENDING_EVERY: Final = timedelta(hours=6)
_WENT_ELSEWHERE: Final = "money of this payment went back outside this gateway"
#: What Binance said of the order before a send is said anew when the send did not come to pass:
#: meanwhile people may have returned the money in its portal.
_CHECK_HOLDS: Final = timedelta(minutes=5)
#: Right after it took a refund on Binance may not find it yet.
_FRESHLY_SENT: Final = timedelta(minutes=1)
#: The wallet has to be filled by a person.
_BALANCE_SECONDS: Final = (60, 300, 900)
_BALANCE_EVERY: Final = timedelta(hours=1)
#: Where nothing arrived there at all.
_AWAY_SECONDS: Final = (1, 5, 15, 60)
_AWAY_EVERY: Final = timedelta(minutes=5)
#: Binance's later word wins, so a failed refund is asked about again.
_AFTER_FAILURE: Final = (timedelta(hours=1), timedelta(days=1), timedelta(days=7))
#: A notice of a refund does not say how much of the fee came back with it; a query does.
_FEE_UNKNOWN: Final = (timedelta(seconds=5), timedelta(hours=1), *_AFTER_FAILURE[1:])


class RefundStep(StrEnum):
    """What a worker does with a refund that is due."""

    CHECK = "check"  # ask about the order first: a refund in the portal tells nobody
    COMPARE = "compare"  # ask about an earlier refund of ours: one beside it hides behind it
    SEND = "send"  # send it, again under the same number if it was sent before
    ASK = "ask"  # query it


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a refund cannot be asked for: a stable code, a sentence, and the field at fault."""

    code: str
    sentence: str
    field: str | None = None


def find_obstacle(case: Case, payment: Payment, amount: Decimal) -> Obstacle | None:
    """Say why this much of a payment cannot be asked back now; None when it can."""
    if strangers.is_refunded_elsewhere(case, payment.attempt_id):
        return Obstacle(
            "refunded_elsewhere",
            "money of this payment went back outside this gateway; resolve that anomaly first",
        )
    if amount > payment.refundable:
        left = Money(payment.refundable, payment.money.currency)
        return Obstacle(
            "refund_exceeds_payment",
            f"only {left} of this payment has neither gone back nor been asked back",
            "amount",
        )
    waiting = [r for r in case.refunds_of(payment.payment_id) if r.is_open]
    unsent = sum(r.sends == 0 for r in waiting)
    left_then = attempts_left(case, payment) - unsent
    if left_then <= 0:
        return Obstacle(
            "refund_attempts_used_up",
            f"Binance takes {ATTEMPTS_MAX} refunds of an order; use its merchant portal",
        )
    if left_then == 1 and amount != payment.money.amount - payment.refunded:
        return Obstacle(
            "refund_is_last",
            "Binance takes one more refund of this order and returns all the rest with it, "
            "whatever is asked: ask for the whole rest, when no other refund is open",
            "amount",
        )
    return None


def attempts_left(case: Case, payment: Payment, *, besides: UUID | None = None) -> int:
    """Say how many more refunds of this payment Binance takes: the least anybody claims."""
    known = [r for r in case.refunds_of(payment.payment_id) if r.refund_id != besides]
    # Whether one in the portal counts there is not documented: as the last it would return it all.
    sent = [r for r in known if r.sends > 0 or r.is_elsewhere]
    words = [r.remaining_attempts for r in known if r.remaining_attempts is not None]
    return min([ATTEMPTS_MAX - len(sent), *words])


def request(decision: Decision, refund: Refund, *, now: datetime) -> Decision:
    """Add a refund that `find_obstacle` has nothing against, and set its money aside."""
    payment = decision.case.payment(refund.payment_id)
    reserved = replace(payment, refund_reserved=payment.refund_reserved + refund.amount.amount)
    decided = (
        decision.with_payment(reserved)
        .with_refund(refund)
        .note(
            actor=refund.requested_by,
            reason=f"a refund of {refund.amount} was asked for"
            + (f": {refund.reason}" if refund.reason else "")
            + (f"; {refund.approval_reason}" if refund.approval_reason else ""),
            reference=f"refund:{refund.refund_id}",
            at=now,
        )
    )
    return _line_up(decided, refund.payment_id, now=now)


def find_obstacle_to_approval(refund: Refund) -> Obstacle | None:
    """Say why nobody can let a refund go now; None when somebody can."""
    if refund.is_unapproved and refund.status in IN_FLIGHT | {RefundStatus.REQUESTED}:
        return None
    return _waits_for_nobody(refund)


def find_obstacle_to_denial(refund: Refund) -> Obstacle | None:
    """Say why a refund cannot be ended by a person's word now; None when it can.

    Story: it was approved and sent, and a restored database has forgotten both. Who denies it now
    would free money that went back.
    """
    if refund.is_open and refund.in_doubt:
        return Obstacle(
            "refund_in_doubt",
            "this refund may have been sent to Binance already, so its money stays set aside; "
            "Binance is asked about it: deny it when it is REQUESTED again, which says that "
            "Binance has no such refund",
            "refund_id",
        )
    return None if refund.awaits_approval else _waits_for_nobody(refund)


def _waits_for_nobody(refund: Refund) -> Obstacle:
    sentence = f"the refund is {refund.status} and waits for nobody's approval"
    return Obstacle("refund_not_waiting", sentence, "refund_id")


def approve(decision: Decision, refund: Refund, *, by: str, now: datetime) -> Decision:
    """Let a refund go that `find_obstacle_to_approval` has nothing against."""
    in_flight = refund.status in IN_FLIGHT  # in doubt, and asked about until now
    decided = decision.with_refund(
        replace(
            refund,
            approved_by=by,
            approved_at=now,
            failure=None,
            due_at=now if in_flight else refund.due_at,
        )
    ).note(
        actor="merchant",
        reason=f"the refund of {refund.amount} was approved by {by}",
        reference=f"refund:{refund.refund_id}",
        at=now,
    )
    return _line_up(decided, refund.payment_id, now=now)


def deny(decision: Decision, refund: Refund, *, by: str, now: datetime) -> Decision:
    """End a refund that `find_obstacle_to_denial` has nothing against; free its money."""
    return _fail(decision, refund, f"denied by {by}", now=now)


def next_step(refund: Refund) -> RefundStep:
    """Decide from the row alone, so that whoever comes after a crash decides the same."""
    if refund.status is RefundStatus.REQUESTED:
        if refund.checked_at is None:
            return RefundStep.CHECK
        return RefundStep.COMPARE if refund.compared_at is None else RefundStep.SEND
    absent = refund.status in IN_FLIGHT and refund.last_absent_at is not None
    if absent and not refund.is_unapproved:
        return RefundStep.SEND  # the number is the same, so it can at most be repeated
    return RefundStep.ASK


def plan_send(decision: Decision, refund: Refund, *, now: datetime) -> Decision:
    """Write into a refund that it is about to be sent; or why it will not be.

    The case says which: the refund is SENT, or else there is nothing to send.
    """
    payment = decision.case.payment(refund.payment_id)
    others_fly = any(
        r.status in IN_FLIGHT and r.refund_id != refund.refund_id
        for r in decision.case.refunds_of(payment.payment_id)
    )
    if refund.awaits_approval or others_fly:  # it is made due when that is over
        return decision.with_refund(replace(refund, due_at=None))
    is_elsewhere = strangers.is_refunded_elsewhere(decision.case, refund.attempt_id)
    if refund.status in IN_FLIGHT and (is_elsewhere or _is_check_old(refund, now=now)):
        # Sent again it could go beside a stranger's; whether it landed before, asking tells.
        due_at = now + _UNKNOWN_EVERY
        asked = replace(refund, status=RefundStatus.UNKNOWN, last_absent_at=None, due_at=due_at)
        return decision.with_refund(asked)
    if refund.status not in IN_FLIGHT:
        if is_elsewhere:
            return _fail(decision, refund, _WENT_ELSEWHERE, now=now)
        if _is_check_old(refund, now=now):
            place = _place_in_line(refund, now=now)
            stale = replace(refund, checked_at=None, compared_at=None, due_at=place)
            return decision.with_refund(stale)
        left = attempts_left(decision.case, payment, besides=refund.refund_id)
        rest = payment.money.amount - payment.refunded
        if left <= 0:
            return _fail(decision, refund, "Binance takes no more refunds of this order", now=now)
        if left == 1 and refund.amount.amount != rest:
            others = [
                r
                for r in decision.case.refunds_of(payment.payment_id)
                if r.is_open and r.refund_id != refund.refund_id
            ]
            if any(r.sends > 0 for r in others):  # theirs may still fail, or be the rest
                return decision.with_refund(replace(refund, due_at=now + _UNKNOWN_EVERY))
            why = "it would be the last Binance takes, which returns all the rest"
            return _fail(decision, refund, why, now=now)
    return decision.with_refund(
        replace(
            refund,
            status=RefundStatus.SENT,
            sends=refund.sends + 1,
            last_sent_at=now,
            last_absent_at=None,
            in_doubt=refund.in_doubt or refund.status in IN_FLIGHT,
            asks=0,
        )
    )


def _is_check_old(refund: Refund, *, now: datetime) -> bool:
    """Say whether what was said before the send is too old to send on: of the order, or of ours."""
    said = (refund.checked_at, refund.compared_at or refund.checked_at)
    return any(at is None or now - at > _CHECK_HOLDS for at in said)


def note_check(decision: Decision, refund_id: UUID, *, now: datetime) -> Decision:
    """Go on to the send after Binance was asked about the order; unless money went back there."""
    refund = decision.case.refund(refund_id)
    if refund.status is not RefundStatus.REQUESTED:
        return decision
    if strangers.is_refunded_elsewhere(decision.case, refund.attempt_id):
        return _fail(decision, refund, _WENT_ELSEWHERE, now=now)
    place = _place_in_line(refund, now=now)
    checked = replace(refund, checked_at=now, compared_at=None, asks=0, due_at=place)
    if find_to_compare(decision.case, checked) is None:
        checked = replace(checked, compared_at=now)
    return decision.with_refund(checked)


def find_to_compare(case: Case, refund: Refund) -> Refund | None:
    """Find the earlier refund of ours that Binance is asked about before this one is sent.

    The newest that it took. With it the order is REFUNDED whether or not more went back.
    """
    taken = [
        other
        for other in case.refunds_of(refund.payment_id)
        if other.refund_id != refund.refund_id
        and other.status in {RefundStatus.PENDING, RefundStatus.SUCCEEDED}
        and not other.is_elsewhere
    ]
    return max(taken, key=lambda r: (r.last_sent_at or r.requested_at, r.refund_id), default=None)


def note_comparison(decision: Decision, refund_id: UUID, *, now: datetime) -> Decision:
    """Go on to the send after Binance was asked about an earlier refund; unless it told of more."""
    refund = decision.case.refund(refund_id)
    if refund.status is not RefundStatus.REQUESTED:
        return decision
    if strangers.is_refunded_elsewhere(decision.case, refund.attempt_id):
        return _fail(decision, refund, _WENT_ELSEWHERE, now=now)
    place = _place_in_line(refund, now=now)
    return decision.with_refund(replace(refund, compared_at=now, asks=0, due_at=place))


def _place_in_line(refund: Refund, *, now: datetime) -> datetime:
    """Keep a refund's place among all that are due, until it is sent.

    Story: a thousand were due, and each step sent one to the end of the line; what had been said of
    its order was always too old by the time it was its turn.
    """
    return min(refund.due_at or now, now)


def note_silence(
    decision: Decision, refund_id: UUID, *, owner: UUID | None, sent: bool, now: datetime
) -> Decision:
    """Say when to look again after a call that told nothing of the refund.

    `sent` says that it may have landed; otherwise nothing happened there. Only whoever still has
    the lease may say so: one who lost it, while he asked about the order, knows nothing of what the
    next one has sent since, and would have its refusal believed.
    """
    refund = decision.case.refund(refund_id)
    if refund.lease_owner != owner:
        return decision
    if refund.status is RefundStatus.SENT:
        landed = sent or refund.in_doubt
        status = RefundStatus.UNKNOWN if landed else RefundStatus.REQUESTED
        refund = replace(refund, status=status, in_doubt=landed)
    asked = replace(refund, asks=refund.asks + 1)
    if asked.status is RefundStatus.REQUESTED:
        tries = asked.asks + asked.sends - 1
        return decision.with_refund(
            replace(asked, due_at=stepped(_AWAY_SECONDS, tries, _AWAY_EVERY, now=now))
        )
    return decision.with_refund(replace(asked, due_at=_next_look(asked, now=now)))


def is_denied_before(report: RefundReport, asked: Refund, refund: Refund) -> bool:
    """Say whether "no such refund" was said before a send, or before news, that we know of now.

    `asked` is the refund as it was when Binance was asked. What is old is no proof of absence, and
    contradicts nothing.
    """
    known_since = asked.status in IN_FLIGHT and refund.status not in IN_FLIGHT
    return report.finding is RefundFinding.ABSENT and (known_since or refund.sends != asked.sends)


def apply(
    decision: Decision, refund_id: UUID, report: RefundReport, *, given: Circumstances
) -> Decision:
    """Accept one report about one refund, and let payment and order follow. Safe to repeat."""
    now = given.now
    refund = _with_facts(decision.case.refund(refund_id), report)
    match report.finding:
        case RefundFinding.SUCCEEDED:
            decided = _succeed(decision, refund, report, now=now)
        case RefundFinding.FAILED:
            decided = _failed_there(decision, refund, report, now=now)
        case RefundFinding.TAKEN:
            decided = _taken(decision, refund, now=now)
        case RefundFinding.ABSENT:
            decided = _absent(decision, refund, report, now=now)
        case RefundFinding.REFUSED:
            decided = _refused(decision, refund, report, now=now)
        case _:
            decided = decision.with_refund(_heard(refund, now=now))
    decided = strangers.look_for_strangers(decided, refund, report, now=now)
    decided = settle_returned(decided, decided.case.payment(refund.payment_id), given=given)
    return _line_up(decided, refund.payment_id, now=now)


def _with_facts(refund: Refund, report: RefundReport) -> Refund:
    """Merge what a report adds; what is booked already is never replaced here."""
    returned = refund.returned
    is_booked = refund.status is RefundStatus.SUCCEEDED
    # "Taken" of one that has failed is an answer from before: nothing goes back by it.
    goes_back = report.finding is RefundFinding.SUCCEEDED or (
        report.finding is RefundFinding.TAKEN and refund.is_open
    )
    if goes_back and report.returned is not None and not is_booked:
        # Equal amounts keep the digits the shop wrote: 5.00, where Binance says 5.00000000.
        asked = refund.amount.amount
        returned = asked if report.returned == asked else report.returned
    words = [w for w in (refund.remaining_attempts, report.remaining_attempts) if w is not None]
    return replace(refund, returned=returned, remaining_attempts=min(words, default=None))


def _succeed(
    decision: Decision, refund: Refund, report: RefundReport, *, now: datetime
) -> Decision:
    if refund.status is RefundStatus.SUCCEEDED:
        return _more_figures(decision, refund, report, now=now)
    returned = refund.amount.amount if refund.returned is None else refund.returned
    payment = decision.case.payment(refund.payment_id)
    released = refund.amount.amount if refund.is_open else Decimal(0)
    payment = replace(
        payment,
        refunded=payment.refunded + returned,
        refund_reserved=payment.refund_reserved - released,
    )
    ended = replace(
        refund,
        status=RefundStatus.SUCCEEDED,
        returned=returned,
        fee_returned=report.fee_returned,  # what is said before it has gone back is no figure yet
        fee_return_learnt_at=None if report.fee_returned is None else now,
        failure=None,
        ended_at=now,
    )
    ended = replace(ended, due_at=_next_look(ended, now=now))
    money = Money(returned, refund.amount.currency)
    decided = _tell(
        decision.with_payment(payment).with_refund(ended),
        ended,
        EventType.REFUND_SUCCEEDED,
        f"{money} went back",
        report.reference,
        now=now,
    )
    if returned != refund.amount.amount:
        detail = f"{refund.amount} was asked back, and Binance returned {money}"
        decided = _open(decided, ended, AnomalyKind.REFUND_DIFFERS, detail, report, now=now)
    elif payment.refunded > payment.money.amount:
        # One that had failed came true after its money was asked back by another.
        detail = f"{render_amount(payment.refunded)} went back of {payment.money}"
        decided = _open(decided, ended, AnomalyKind.REFUND_DIFFERS, detail, report, now=now)
    return follow_return(decided, payment, actor="binance", reference=report.reference, at=now)


def _more_figures(
    decision: Decision, refund: Refund, report: RefundReport, *, now: datetime
) -> Decision:
    """Take what a later report adds to a refund that has gone back, and tell what differs.

    Another fee counts, each figure once, so that two channels that never agree cannot move it for
    ever. Of what went back more counts, and less is only told: money does not come again by itself.
    """
    decided, known = decision, refund
    fee, returned = report.fee_returned, report.returned
    if fee is not None and fee != known.fee_returned:
        if known.fee_returned is not None:
            detail = f"{known.fee_returned} of the fee came back, and Binance now says {fee}"
            decided = _open(decided, refund, AnomalyKind.FEE_DIFFERS, detail, report, fee, now=now)
        if known.fee_returned is None or decided is not decision:
            known = replace(known, fee_returned=fee, fee_return_learnt_at=now)
    booked = refund.amount.amount if known.returned is None else known.returned
    more = Decimal(0)
    if returned not in {None, booked}:
        detail = f"{booked} is booked as returned, and Binance now says {returned}"
        kind = AnomalyKind.REFUND_DIFFERS
        decided = _open(decided, refund, kind, detail, report, returned, now=now)
        more = max((returned or booked) - booked, Decimal(0))
    payment = decided.case.payment(refund.payment_id)
    payment = replace(payment, refunded=payment.refunded + more)
    known = replace(known, returned=booked + more)
    decided = decided.with_payment(payment).with_refund(_heard(known, now=now))
    return follow_return(decided, payment, actor="binance", reference=report.reference, at=now)


def _failed_there(
    decision: Decision, refund: Refund, report: RefundReport, *, now: datetime
) -> Decision:
    if report.source is Source.NOTICE and refund.status is not RefundStatus.FAILED:
        # Notices come in any order and up to hours late; what is true now only a query says, and
        # only that frees the money.
        due_at = refund.due_at if refund.status is RefundStatus.REQUESTED else now
        return decision.with_refund(replace(refund, due_at=due_at))
    if refund.status is RefundStatus.SUCCEEDED:
        detail = f"a refund that succeeded is {report.word} now"
        decided = decision.with_refund(_heard(refund, now=now))
        return _open(decided, refund, AnomalyKind.PROVIDER_CONTRADICTS, detail, report, now=now)
    if refund.status is RefundStatus.FAILED:
        return decision.with_refund(_heard(refund, now=now))
    why = f"Binance says {report.word}"
    return _fail(decision, refund, why, now=now, reference=report.reference)


def _fail(
    decision: Decision, refund: Refund, why: str, *, now: datetime, reference: str | None = None
) -> Decision:
    """End a refund that returns nothing, and give back what was set aside for it."""
    payment = decision.case.payment(refund.payment_id)
    released = replace(payment, refund_reserved=payment.refund_reserved - refund.amount.amount)
    was_sent = refund.sends > 0
    ended = replace(
        refund,
        status=RefundStatus.FAILED,
        returned=None,
        failure=why,
        ended_at=now,
        asks=0,
        due_at=now + _AFTER_FAILURE[0] if was_sent else None,
    )
    decided = _tell(
        decision.with_payment(released).with_refund(ended),
        ended,
        EventType.REFUND_FAILED,
        f"a refund of {refund.amount} failed: {why}",
        reference,
        now=now,
    )
    return _line_up(decided, refund.payment_id, now=now)


def _taken(decision: Decision, refund: Refund, *, now: datetime) -> Decision:
    if refund.status in IN_FLIGHT | {RefundStatus.REQUESTED}:
        taken = replace(refund, status=RefundStatus.PENDING, in_doubt=False, failure=None, asks=0)
        return decision.with_refund(replace(taken, due_at=_next_look(taken, now=now)))
    return decision.with_refund(_heard(refund, now=now))


def _absent(decision: Decision, refund: Refund, report: RefundReport, *, now: datetime) -> Decision:
    """Heed "no such refund": proof only when said twice, long enough after the last send."""
    if refund.status not in IN_FLIGHT:
        decided = decision.with_refund(_heard(refund, now=now))
        is_fresh = now - (refund.last_sent_at or now) < _FRESHLY_SENT
        if is_fresh or refund.status not in {RefundStatus.PENDING, RefundStatus.SUCCEEDED}:
            return decided
        detail = f"a refund that is {refund.status} here is unknown there"
        return _open(decided, refund, AnomalyKind.PROVIDER_CONTRADICTS, detail, report, now=now)
    asked = replace(refund, absences=refund.absences + 1, last_absent_at=now)
    sent_at = asked.last_sent_at or asked.requested_at
    if asked.absences >= 2 and now >= sent_at + ABSENCE_MARGIN:
        # Nothing ever landed: it is as if it had not been sent, under the same number.
        clean = replace(
            asked,
            status=RefundStatus.REQUESTED,
            in_doubt=False,
            absences=0,
            asks=0,
            checked_at=None,  # much may have happened since
            due_at=None if asked.is_unapproved else now,
        )
        return decision.with_refund(clean)
    due_at = stepped(_UNKNOWN_SECONDS, asked.sends - 1, _UNKNOWN_EVERY, now=now)
    is_old = _is_check_old(asked, now=now)
    if is_old:  # its money may have been returned in the portal since: it is proved absent first
        asked = replace(asked, last_absent_at=None)
    if is_old or asked.is_unapproved:  # nobody sends it: nothing is to be learnt before the proof
        due_at = max(due_at, sent_at + ABSENCE_MARGIN)
    return decision.with_refund(replace(asked, asks=asked.asks + 1, due_at=due_at))


def _refused(
    decision: Decision, refund: Refund, report: RefundReport, *, now: datetime
) -> Decision:
    """Heed a no: it is one unless an earlier send of the same number may have landed."""
    if refund.status is not RefundStatus.SENT:
        return decision.with_refund(_heard(refund, now=now))
    if refund.in_doubt:
        unsure = replace(refund, status=RefundStatus.UNKNOWN, failure=report.word, asks=0)
        due_at = stepped(_UNKNOWN_SECONDS, refund.sends - 2, _UNKNOWN_EVERY, now=now)
        if refund.absences and not report.waits_for_balance:
            # Unknown there, and refused: sending it again and again would put off the proof.
            due_at = (refund.last_sent_at or now) + ABSENCE_MARGIN
        return decision.with_refund(replace(unsure, due_at=due_at))
    if report.waits_for_balance:
        due_at = stepped(_BALANCE_SECONDS, refund.sends - 1, _BALANCE_EVERY, now=now)
        waiting = replace(
            refund,
            status=RefundStatus.REQUESTED,
            failure=report.word,
            checked_at=None,  # much may happen until then
            due_at=due_at,
        )
        return decision.with_refund(waiting)
    return _fail(decision, refund, report.word, now=now, reference=report.reference)


def _line_up(decision: Decision, payment_id: UUID, *, now: datetime) -> Decision:
    """Let the oldest waiting refund of a payment go when none is on its way."""
    refunds = decision.case.refunds_of(payment_id)
    if any(refund.status in IN_FLIGHT for refund in refunds):
        return decision
    waiting = [r for r in refunds if r.status is RefundStatus.REQUESTED]
    first = next((r for r in waiting if r.in_doubt or not r.awaits_approval), None)
    if first is None:
        return decision
    if first.in_doubt:  # it may have been sent, and only asking tells
        asked = replace(first, status=RefundStatus.UNKNOWN, asks=0, due_at=now)
        return decision.with_refund(asked)
    if first.due_at is not None:
        return decision
    return decision.with_refund(replace(first, due_at=now))


def _tell(
    decision: Decision,
    refund: Refund,
    type_: EventType,
    reason: str,
    reference: str | None,
    *,
    now: datetime,
) -> Decision:
    reference = reference or f"refund:{refund.refund_id}"
    actor = "binance" if refund.sends else "checkstand"
    noted = decision.note(actor=actor, reason=reason, reference=reference, at=now)
    return noted.tell(type_, fact=str(refund.refund_id), at=now, refund_id=refund.refund_id)


def _open(
    decision: Decision,
    refund: Refund,
    kind: AnomalyKind,
    detail: str,
    report: RefundReport,
    figure: Decimal | None = None,
    *,
    now: datetime,
) -> Decision:
    """Open an anomaly of a refund; with a figure, one for each."""
    fact = str(refund.refund_id)
    return decision.open_anomaly(
        kind,
        decision.case.attempt(refund.attempt_id),
        detail=detail,
        reference=report.reference,
        at=now,
        fact=fact if figure is None else f"{fact}:{render_amount(figure.normalize())}",
    )


def _heard(refund: Refund, *, now: datetime) -> Refund:
    asked = replace(refund, asks=refund.asks + 1)
    return replace(asked, due_at=_next_look(asked, now=now))


def _next_look(refund: Refund, *, now: datetime) -> datetime | None:
    match refund.status:
        case RefundStatus.REQUESTED:
            return refund.due_at
        case RefundStatus.SENT | RefundStatus.UNKNOWN:
            return stepped(_UNKNOWN_SECONDS, refund.asks, _UNKNOWN_EVERY, now=now)
        case RefundStatus.PENDING:
            return stepped(_PENDING_SECONDS, refund.asks, _PENDING_EVERY, now=now)
        case RefundStatus.FAILED if refund.sends > 0:
            return _after_end(_AFTER_FAILURE, refund, now=now)
        case RefundStatus.SUCCEEDED if refund.fee_returned is None and not refund.is_elsewhere:
            return _after_end(_FEE_UNKNOWN, refund, now=now)
        case _:
            return None


def _after_end(ages: Sequence[timedelta], refund: Refund, *, now: datetime) -> datetime | None:
    ended_at = refund.ended_at or now
    looks = [ended_at + age for age in ages]
    return next((look for look in looks if look > now), None)
