"""Accept the shop's word that it has delivered what was paid for."""

from uuid import UUID

from checkstand.domain.case import Case, Decision
from checkstand.domain.order import OrderStatus
from checkstand.domain.settlement import Circumstances
from checkstand.errors import Conflict
from checkstand.operations.change_order import change_order
from checkstand.operations.resources import Resources


async def fulfil_order(
    resources: Resources, *, account_id: UUID, order_id: UUID, actor: str = "merchant"
) -> Case:
    """Mark a paid order FULFILLED. Said again it changes nothing.

    Raises NotFound, and Conflict for an order that is not paid.
    """

    def decide(case: Case, given: Circumstances) -> Decision:
        return decide_fulfilment(case, given, actor=actor)

    return await change_order(
        resources, account_id=account_id, order_id=order_id, decide=decide, name="fulfil_order"
    )


def decide_fulfilment(case: Case, given: Circumstances, *, actor: str) -> Decision:
    """Move a paid order to FULFILLED, once."""
    decision = Decision.nothing(case)
    status = case.order.status
    if status is OrderStatus.FULFILLED:
        return decision
    if status is not OrderStatus.PAID:
        raise Conflict(
            "order_not_paid",
            f"only a PAID order can be fulfilled; this one is {status}",
            facts={"order_id": str(case.order.order_id), "order_status": str(status)},
        )
    return decision.move(
        OrderStatus.FULFILLED,
        actor=actor,
        reason="the shop acknowledged",
        reference=None,
        at=given.now,
        fulfilled_at=given.now,
    )
