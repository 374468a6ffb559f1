"""Settle an anomaly as a person says, with a reason; then things move again."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from checkstand.domain.act import Doer
from checkstand.domain.anomaly import Anomaly, Resolution
from checkstand.domain.case import Case, Decision
from checkstand.domain.money import render_amount
from checkstand.domain.payment import Payment
from checkstand.domain.resolution import EFFECTS, Obstacle, WentBack, fee_left, obstacle_to
from checkstand.domain.resolution import resolve_anomaly as decide_resolution
from checkstand.domain.settlement import Circumstances
from checkstand.domain.view import render_time
from checkstand.errors import CheckstandError, Conflict, NotFound, Refused
from checkstand.operations.change_order import Deed, change_order
from checkstand.operations.resources import Resources
from checkstand.storage import listed_refunds
from checkstand.storage.database import Transaction


async def resolve_anomaly(
    resources: Resources,
    *,
    account_id: UUID,
    order_id: UUID,
    anomaly_id: UUID,
    resolution: Resolution,
    reason: str,
    doer: Doer,
    amount: Decimal | None = None,
    returned_at: datetime | None = None,
    fee_returned: Decimal | None = None,
) -> Case:
    """Resolve one anomaly. Said again in the same words it changes nothing.

    `amount` is what went back without us; accepting refunded_elsewhere needs it. `returned_at` is
    when (where it is not said: as report files list it, else now), `fee_returned` what came back of
    the fee. Raises NotFound, Conflict for what stands otherwise, Refused for what is not offered.
    """
    went_back = await _what_went_back(
        resources, account_id, anomaly_id, amount, returned_at, fee_returned
    )

    def decide(case: Case, given: Circumstances) -> Decision:
        anomaly = _find(case, anomaly_id)
        obstacle = obstacle_to(case, anomaly, resolution, went_back=went_back, now=given.now)
        if obstacle is not None:
            raise _explain(obstacle, case, anomaly, resolution)
        return decide_resolution(
            Decision.nothing(case),
            anomaly_id,
            resolution,
            by=doer.who,
            reason=reason,
            given=given,
            went_back=went_back,
        )

    return await change_order(
        resources,
        account_id=account_id,
        order_id=order_id,
        decide=decide,
        name="resolve_anomaly",
        deed=Deed(
            doer=doer,
            what=f"resolve anomaly ({resolution})",
            reason=reason,
            subject=f"anomaly:{anomaly_id}",
        ),
    )


async def _what_went_back(
    resources: Resources,
    account_id: UUID,
    anomaly_id: UUID,
    amount: Decimal | None,
    returned_at: datetime | None,
    fee: Decimal | None,
) -> WentBack | None:
    """Put together what a person says went back; when it did may stand in a report file."""
    if amount is None:
        if returned_at is None and fee is None:
            return None
        raise Refused(
            "invalid_request",
            "returned_at and fee_returned belong to an amount that went back: say that, too",
            field="amount",
        )

    async def read(tx: Transaction) -> datetime | None:
        now = resources.clock.now()
        return await listed_refunds.find_time(tx, account_id, anomaly_id, amount, now=now)

    at = returned_at or await resources.database.read(read)
    return WentBack(amount=amount, at=at, fee=fee)


def _find(case: Case, anomaly_id: UUID) -> Anomaly:
    for anomaly in case.anomalies:
        if anomaly.anomaly_id == anomaly_id:
            return anomaly
    raise NotFound(
        "anomaly_not_found", f"the order has no anomaly {anomaly_id}", field="anomaly_id"
    )


def _explain(
    obstacle: Obstacle, case: Case, anomaly: Anomaly, resolution: Resolution
) -> CheckstandError:
    """Say what stands against it, and what to do instead."""
    payment = case.payment_for(anomaly.attempt_id)
    payment_id = str(payment.payment_id) if payment else None
    match obstacle:
        case Obstacle.RESOLVED_OTHERWISE:
            return Conflict(
                "anomaly_resolved",
                f"it was resolved as {anomaly.resolution} by {anomaly.resolved_by}: "
                f"{anomaly.reason}",
                facts={"resolution": str(anomaly.resolution)},
            )
        case Obstacle.REFUND_FIRST:
            return Conflict(
                "refund_first",
                f"refund payment {payment_id} (POST …/orders/{case.order.order_id}/refunds); "
                "this resolves itself when all of it has gone back",
                facts={"payment_id": payment_id},
            )
        case Obstacle.REFUND_UNDER_WAY:
            return Conflict(
                "refund_under_way",
                "this money is being sent back; ask again when that has ended",
                facts={"payment_id": payment_id},
            )
        case Obstacle.MAY_BE_PAYABLE:
            return Conflict(
                "attempt_may_be_payable",
                "somebody may still pay by the code that was shown; ask again when its time is up",
            )
        case Obstacle.NOT_OFFERED:
            offered = ", ".join(EFFECTS[anomaly.kind])
            return Refused(
                "invalid_request",
                f"{anomaly.kind} is not resolved by {resolution}, but by: {offered}",
                field="resolution",
            )
        case _:
            return _explain_return(obstacle, case, payment)


def _explain_return(obstacle: Obstacle, case: Case, payment: Payment | None) -> Refused:
    """Say what cannot be of money that a person says went back."""
    match obstacle:
        case Obstacle.AMOUNT_NEEDED:
            return Refused(
                "invalid_request",
                "say how much went back, as decimal text such as 12.50",
                field="amount",
            )
        case Obstacle.AMOUNT_NOT_ASKED:
            return Refused(
                "invalid_request",
                "an amount belongs to accepting refunded_elsewhere alone",
                field="amount",
            )
        case Obstacle.AMOUNT_TOO_LARGE:
            left = f"{render_amount(payment.refundable)}" if payment else "nothing"
            return Refused(
                "invalid_request", f"no more than {left} is left of the payment", field="amount"
            )
        case Obstacle.FEE_TOO_LARGE:
            fee = render_amount(fee_left(case, payment)) if payment else "nothing"
            return Refused(
                "invalid_request",
                f"no more than {fee} is left of the payment's fee",
                field="fee_returned",
            )
        case Obstacle.RETURNED_IN_FUTURE:
            return Refused(
                "invalid_request",
                "that time is still to come: say when the money went back, in UTC",
                field="returned_at",
            )
        case Obstacle.RETURNED_BEFORE_PAID:
            paid_at = render_time(payment.paid_at or payment.received_at) if payment else None
            return Refused(
                "invalid_request",
                f"the money came only at {paid_at}: it cannot have gone back before that",
                field="returned_at",
            )
        case _:
            raise AssertionError(f"{obstacle} is not about money that went back")
