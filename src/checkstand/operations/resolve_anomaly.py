"""Settle an anomaly as a person says, with a reason; then things move again."""

from decimal import Decimal
from uuid import UUID

from checkstand.domain.act import Doer
from checkstand.domain.anomaly import Anomaly, Resolution
from checkstand.domain.case import Case, Decision
from checkstand.domain.money import render_amount
from checkstand.domain.resolution import EFFECTS, Obstacle, obstacle_to
from checkstand.domain.resolution import resolve_anomaly as decide_resolution
from checkstand.domain.settlement import Circumstances
from checkstand.errors import CheckstandError, Conflict, NotFound, Refused
from checkstand.operations.change_order import Deed, change_order
from checkstand.operations.resources import Resources


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
) -> Case:
    """Resolve one anomaly. Said again in the same words it changes nothing.

    `amount` is what went back without us; accepting refunded_elsewhere needs it.
    Raises NotFound, Conflict for what stands otherwise, Refused for what is not offered.
    """

    def decide(case: Case, given: Circumstances) -> Decision:
        anomaly = _find(case, anomaly_id)
        obstacle = obstacle_to(case, anomaly, resolution, amount=amount, now=given.now)
        if obstacle is not None:
            raise _explain(obstacle, case, anomaly, resolution)
        return decide_resolution(
            Decision.nothing(case),
            anomaly_id,
            resolution,
            by=doer.who,
            reason=reason,
            given=given,
            amount=amount,
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
        case Obstacle.NOT_OFFERED:
            offered = ", ".join(EFFECTS[anomaly.kind])
            return Refused(
                "invalid_request",
                f"{anomaly.kind} is not resolved by {resolution}, but by: {offered}",
                field="resolution",
            )
