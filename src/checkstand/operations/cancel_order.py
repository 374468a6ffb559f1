"""Cancel an order: at once when nothing was sent, else as soon as Binance can take no money."""

from dataclasses import replace
from uuid import UUID

from checkstand.domain import settlement
from checkstand.domain.act import SHOP, Doer
from checkstand.domain.case import Case, Decision
from checkstand.domain.order import UNPAID, OrderStatus
from checkstand.domain.settlement import Circumstances
from checkstand.errors import Refused
from checkstand.operations.change_order import Deed, change_order
from checkstand.operations.resources import Resources


async def cancel_order(
    resources: Resources, *, account_id: UUID, order_id: UUID, doer: Doer = SHOP
) -> Case:
    """Ask for an order's end. It is CANCELED once no attempt can be paid any more.

    Safe to repeat. Raises NotFound, and Refused for an order that is paid, over, or being paid.
    """

    def decide(case: Case, given: Circumstances) -> Decision:
        return _decide(case, given, doer=doer)

    return await change_order(
        resources,
        account_id=account_id,
        order_id=order_id,
        decide=decide,
        name="cancel_order",
        deed=Deed(doer=doer, what="cancel the order"),
    )


def _decide(case: Case, given: Circumstances, *, doer: Doer = SHOP) -> Decision:
    order = case.order
    decision = Decision.nothing(case)
    if order.status is OrderStatus.CANCELED or order.cancel_requested_at is not None:
        return decision
    if order.status not in UNPAID:
        raise Refused(
            "order_not_cancellable",
            f"the order is {order.status}; only an unpaid order can be cancelled",
            facts={"order_id": str(order.order_id), "order_status": str(order.status)},
        )
    live = case.live
    if case.has_unsettled_money or (live is not None and live.payer_active):
        raise Refused(
            "payment_under_way",
            "somebody is paying, or has paid, this order; ask again when that is settled",
            facts={"order_id": str(order.order_id)},
        )
    if live is not None:
        # A renewal that was under way becomes a cancellation.
        decision = decision.with_attempt(replace(live, due_at=given.now))
    decision = decision.with_order(cancel_requested_at=given.now, cancel_requested_by=doer.actor)
    return settlement.follow(decision, given=given)
