"""How a person settles an anomaly, and what follows from it.

`EFFECTS` says what each resolution does for each kind; what it does not list is not offered.
Money moves in one way only: held money may come to count. Sending money back is a refund of its
own, and resolves the anomalies of what it returned.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final
from uuid import UUID, uuid5

from checkstand.domain import doubt, progress, settlement
from checkstand.domain.anomaly import POLICY, Anomaly, AnomalyKind, Resolution
from checkstand.domain.attempt import Attempt, AttemptStatus
from checkstand.domain.case import Case, Decision
from checkstand.domain.event import EventType
from checkstand.domain.money import Money
from checkstand.domain.order import OVER, TRANSITIONS, OrderStatus
from checkstand.domain.payment import Payment
from checkstand.domain.refund import Refund, RefundStatus
from checkstand.domain.schedule import ABSENCE_MARGIN
from checkstand.domain.settlement import Circumstances


class Effect(StrEnum):
    """What a resolution does besides closing the anomaly."""

    CLOSE = "close"  # nothing: somebody knows, and things go on
    COUNT = "count"  # the held money counts: it pays the order, or is income beside it
    RETURN = "return"  # nothing here: the money's full return resolves it
    BOOK_RETURN = "book return"  # what went back without us is written down as a refund
    LOOK_AGAIN = "look again"  # our own record is believed, and Binance is asked anew
    GIVE_UP = "give up"  # the attempt is over here, whatever Binance knows of it


#: What each resolution means for each kind of anomaly.
EFFECTS: Final[Mapping[AnomalyKind, Mapping[Resolution, Effect]]] = {
    AnomalyKind.AMOUNT_DIFFERS: {
        Resolution.ACCEPT: Effect.COUNT,
        Resolution.REFUND: Effect.RETURN,
        Resolution.WRITE_OFF: Effect.CLOSE,  # it stays held and pays nothing
    },
    AnomalyKind.CURRENCY_DIFFERS: {
        Resolution.ACCEPT: Effect.COUNT,
        Resolution.REFUND: Effect.RETURN,
        Resolution.WRITE_OFF: Effect.CLOSE,
    },
    AnomalyKind.PAID_TWICE: {
        Resolution.ACCEPT: Effect.COUNT,  # the order is paid already: income beside it
        Resolution.REFUND: Effect.RETURN,
        Resolution.WRITE_OFF: Effect.CLOSE,
    },
    AnomalyKind.PAID_LATE: {
        Resolution.ACCEPT: Effect.CLOSE,
        Resolution.REFUND: Effect.RETURN,
        Resolution.WRITE_OFF: Effect.CLOSE,
    },
    AnomalyKind.REFUND_DIFFERS: {
        Resolution.ACCEPT: Effect.CLOSE,  # Binance's figure is booked anyway
        Resolution.WRITE_OFF: Effect.CLOSE,
    },
    AnomalyKind.REFUNDED_ELSEWHERE: {
        Resolution.ACCEPT: Effect.BOOK_RETURN,
        Resolution.WRITE_OFF: Effect.CLOSE,
    },
    AnomalyKind.FEE_DIFFERS: {
        Resolution.ACCEPT: Effect.CLOSE,
        Resolution.WRITE_OFF: Effect.CLOSE,
    },
    AnomalyKind.PROVIDER_CONTRADICTS: {
        Resolution.ACCEPT: Effect.LOOK_AGAIN,
        Resolution.WRITE_OFF: Effect.GIVE_UP,
    },
    AnomalyKind.UNKNOWN_TOO_LONG: {
        Resolution.ACCEPT: Effect.GIVE_UP,
        Resolution.WRITE_OFF: Effect.CLOSE,
    },
}

#: Money is held for as long as one of these is open about it, and longer if one was not accepted.
HOLDING: Final = frozenset(
    {AnomalyKind.AMOUNT_DIFFERS, AnomalyKind.CURRENCY_DIFFERS, AnomalyKind.PAID_TWICE}
)

#: An attempt that somebody gave up is asked about once more, no sooner than this.
_LAST_LOOK: Final = timedelta(minutes=15)


class Obstacle(StrEnum):
    """Why an anomaly cannot be resolved so just now."""

    RESOLVED_OTHERWISE = "resolved otherwise"
    NOT_OFFERED = "not offered"
    REFUND_FIRST = "refund first"
    REFUND_UNDER_WAY = "refund under way"
    AMOUNT_NEEDED = "amount needed"
    AMOUNT_NOT_ASKED = "amount not asked"
    AMOUNT_TOO_LARGE = "amount too large"
    FEE_TOO_LARGE = "fee too large"
    RETURNED_IN_FUTURE = "returned in future"
    RETURNED_BEFORE_PAID = "returned before paid"
    MAY_BE_PAYABLE = "may be payable"


@dataclass(frozen=True, slots=True, kw_only=True)
class WentBack:
    """Money that went back without us, as a person knows it from Binance's portal."""

    amount: Decimal
    at: datetime | None = None  # None: nobody knows, and it counts as of now
    fee: Decimal | None = (
        None  # what came back of the payment's fee; None: not told, which is not 0
    )


def obstacle_to(
    case: Case,
    anomaly: Anomaly,
    resolution: Resolution,
    *,
    went_back: WentBack | None,
    now: datetime,
) -> Obstacle | None:
    """Say what stands against resolving an anomaly so; None when nothing does."""
    effect = EFFECTS[anomaly.kind].get(resolution)
    if not anomaly.is_open:
        return None if anomaly.resolution is resolution else Obstacle.RESOLVED_OTHERWISE
    payment = case.payment_for(anomaly.attempt_id)
    if effect is None:
        return Obstacle.NOT_OFFERED
    if (went_back is not None) != (effect is Effect.BOOK_RETURN):
        return Obstacle.AMOUNT_NEEDED if went_back is None else Obstacle.AMOUNT_NOT_ASKED
    if effect is Effect.RETURN:
        return Obstacle.REFUND_FIRST
    if effect is Effect.COUNT and payment is not None and payment.refund_reserved > 0:
        return Obstacle.REFUND_UNDER_WAY
    if went_back is not None:
        return _obstacle_to_return(case, payment, went_back, now=now)
    attempt = case.attempt(anomaly.attempt_id)
    if (
        effect is Effect.GIVE_UP
        and _gives_up(case, anomaly, now=now)
        and _is_shown(attempt, now=now)
    ):
        return Obstacle.MAY_BE_PAYABLE
    return None


def _obstacle_to_return(
    case: Case, payment: Payment | None, went_back: WentBack, *, now: datetime
) -> Obstacle | None:
    """Say why money cannot have gone back so."""
    if payment is None or went_back.amount > payment.refundable:
        return Obstacle.AMOUNT_TOO_LARGE
    if went_back.fee is not None and went_back.fee > fee_left(case, payment):
        return Obstacle.FEE_TOO_LARGE
    if went_back.at is not None and went_back.at > now:
        return Obstacle.RETURNED_IN_FUTURE
    if went_back.at is not None and went_back.at < (payment.paid_at or payment.received_at):
        return Obstacle.RETURNED_BEFORE_PAID
    return None


def fee_left(case: Case, payment: Payment) -> Decimal:
    """Return how much of a payment's fee may still come back; a fee is no more than its payment."""
    came = [refund.fee_returned or Decimal(0) for refund in case.refunds_of(payment.payment_id)]
    fee = payment.money.amount if payment.fee is None else payment.fee
    return max(fee - sum(came, Decimal(0)), Decimal(0))


def resolve_anomaly(
    decision: Decision,
    anomaly_id: UUID,
    resolution: Resolution,
    *,
    by: str,
    reason: str,
    given: Circumstances,
    went_back: WentBack | None = None,
) -> Decision:
    """Settle one anomaly as a person says, and let things move again. Safe to repeat.

    The caller has asked `obstacle_to`.
    """
    anomaly = next(a for a in decision.case.anomalies if a.anomaly_id == anomaly_id)
    if not anomaly.is_open:
        return decision
    attempt = decision.case.attempt(anomaly.attempt_id)
    decided = decision.close_anomaly(
        anomaly, resolution, by=by, reason=reason, actor="person", at=given.now
    )
    match EFFECTS[anomaly.kind][resolution]:
        case Effect.COUNT:
            decided = _release(decided, attempt, by=by, reason=reason, now=given.now)
        case Effect.BOOK_RETURN if went_back is not None:
            decided = _book_return(decided, anomaly, went_back, by=by, reason=reason, given=given)
        case Effect.GIVE_UP if _gives_up(decision.case, anomaly, now=given.now):
            decided = decided.with_attempt(_given_up(attempt, now=given.now))
        case Effect.LOOK_AGAIN:
            decided = decided.with_attempt(replace(attempt, due_at=given.now))
        case _:
            pass
    return _go_on(decided, given=given, reference=f"anomaly:{anomaly_id}", actor="person")


def follow_return(
    decision: Decision, payment: Payment, *, actor: str, reference: str, at: datetime
) -> Decision:
    """Let the order be REFUNDED when all that paid it has gone back."""
    order = decision.case.order
    pays = order.settled_by == payment.payment_id
    if not (pays and payment.is_returned and OrderStatus.REFUNDED in TRANSITIONS[order.status]):
        return decision
    return decision.move(
        OrderStatus.REFUNDED,
        actor=actor,
        reason=f"all of {payment.money} has gone back",
        reference=reference,
        at=at,
        fact=str(payment.payment_id),
    )


def settle_returned(decision: Decision, payment: Payment, *, given: Circumstances) -> Decision:
    """Resolve what was open about money that has gone back in full, and let things move again."""
    closed = close_returned(decision, payment, now=given.now)
    return closed if closed is decision else _go_on(closed, given=given)


def close_returned(decision: Decision, payment: Payment, *, now: datetime) -> Decision:
    """Resolve what was open about money that has gone back in full.

    For whoever records a return: what nobody has any more needs no decision.
    """
    if not payment.is_returned:
        return decision
    about = HOLDING | {AnomalyKind.PAID_LATE}
    for anomaly in decision.case.anomalies:
        if anomaly.is_open and anomaly.kind in about and anomaly.attempt_id == payment.attempt_id:
            decision = decision.close_anomaly(
                anomaly,
                Resolution.REFUND,
                by=POLICY,
                reason=f"{payment.money} has gone back in full",
                actor="checkstand",
                at=now,
            )
    return decision


def _release(
    decision: Decision, attempt: Attempt, *, by: str, reason: str, now: datetime
) -> Decision:
    """Let held money count once everything that was odd about it has been accepted.

    Whether it then pays the order is for the order's own rule: one that is paid stays as it is.
    """
    payment = decision.case.payment_for(attempt.attempt_id)
    oddities = [
        anomaly
        for anomaly in decision.case.anomalies
        if anomaly.attempt_id == attempt.attempt_id and anomaly.kind in HOLDING
    ]
    if payment is None or any(a.resolution is not Resolution.ACCEPT for a in oddities):
        return decision
    released = decision.with_payment(replace(payment, held=False))
    if decision.case.order.status not in OVER:
        return released
    return released.open_anomaly(
        AnomalyKind.PAID_LATE,
        attempt,
        detail=f"{payment.money} was accepted when the order was {decision.case.order.status}",
        reference=f"payment:{payment.payment_id}",
        at=now,
        resolved_at=now,
        resolved_by=by,
        resolution=Resolution.ACCEPT,
        reason=reason,
    )


def _book_return(
    decision: Decision,
    anomaly: Anomaly,
    went_back: WentBack,
    *,
    by: str,
    reason: str,
    given: Circumstances,
) -> Decision:
    """Write down money that went back in Binance's portal as a refund that is done.

    It is booked now, when it is learnt; its day, and the wallet's balance, go by when it left.
    """
    amount = went_back.amount
    payment = decision.case.payment_for(anomaly.attempt_id)
    if payment is None:
        raise AssertionError("money that went back arrived first")
    refund_id = uuid5(anomaly.anomaly_id, "refund")
    refund = Refund(
        account_id=payment.account_id,
        order_id=payment.order_id,
        attempt_id=payment.attempt_id,
        payment_id=payment.payment_id,
        refund_id=refund_id,
        merchant_refund_id=f"elsewhere-{refund_id.hex}",
        amount=Money(amount, payment.money.currency),
        requested_at=given.now,
        requested_by=by,
        reason=reason,
        status=RefundStatus.SUCCEEDED,
        is_elsewhere=True,
        returned=amount,
        fee_returned=went_back.fee,
        fee_return_learnt_at=None if went_back.fee is None else given.now,
        ended_at=given.now,
        returned_at=went_back.at,
    )
    fuller = replace(payment, refunded=payment.refunded + amount)
    decided = decision.with_refund(refund).with_payment(fuller)
    decided = decided.tell(
        EventType.REFUND_SUCCEEDED, fact=str(refund_id), at=given.now, refund_id=refund_id
    )
    decided = follow_return(
        decided, fuller, actor="person", reference=f"refund:{refund_id}", at=given.now
    )
    return settle_returned(decided, fuller, given=given)


def _gives_up(case: Case, anomaly: Anomaly, *, now: datetime) -> bool:
    """Say whether giving up concerns the attempt itself, and not a payer or a refund of it."""
    if not case.attempt(anomaly.attempt_id).is_live:
        return False
    if anomaly.kind is not AnomalyKind.UNKNOWN_TOO_LONG:
        return True
    fates = [d for d in doubt.doubts_of(case, now=now) if d.is_fate]
    return anomaly in [doubt.find_told(case, fate)[1] for fate in fates]


def _is_shown(attempt: Attempt, *, now: datetime) -> bool:
    """Say whether somebody may hold its code, and Binance may still take money by it."""
    has_time = now < attempt.expires_at + ABSENCE_MARGIN
    return attempt.payer_active or (attempt.links is not None and has_time)


def _given_up(attempt: Attempt, *, now: datetime) -> Attempt:
    """End an attempt on a person's word; ask about it once more, since money may still come."""
    if attempt.prepay_id is not None:
        return progress.end(attempt, AttemptStatus.LAPSED, now=now)
    ended = progress.end(attempt, AttemptStatus.NEVER_EXISTED, now=now)
    if attempt.sends == 0:
        return ended  # Binance never heard of it
    last_look = max(now + _LAST_LOOK, attempt.expires_at + ABSENCE_MARGIN)
    return replace(ended, due_at=last_look)


def _go_on(
    decision: Decision,
    *,
    given: Circumstances,
    reference: str | None = None,
    actor: str | None = None,
) -> Decision:
    """Let the order follow from its facts, and look at a live attempt at once."""
    decided = settlement.follow(decision, given=given, reference=reference, actor=actor)
    live = decided.case.live
    if live is None:
        return decided
    return decided.with_attempt(replace(live, due_at=given.now))
