"""Renew an order's code: the old one is closed first, so that never two can be paid."""

from uuid import UUID

from checkstand.domain import settlement
from checkstand.domain.attempt import SHORTEST_LIFE, AttemptStatus
from checkstand.domain.case import Case, Decision
from checkstand.domain.order import UNPAID
from checkstand.domain.settlement import Circumstances
from checkstand.errors import Refused
from checkstand.operations.change_order import change_order
from checkstand.operations.resources import Resources


async def renew_order(resources: Resources, *, account_id: UUID, order_id: UUID) -> Case:
    """Ask for a fresh code; it appears once the old one cannot be paid. Two at once are one.

    Raises NotFound, and Refused for an order that is over, paid, or being paid.
    """
    return await change_order(
        resources, account_id=account_id, order_id=order_id, decide=_decide, name="renew_order"
    )


def can_renew(case: Case, given: Circumstances) -> bool:
    """Say whether a fresh code may be asked for now."""
    order, live = case.order, case.live
    if order.status not in UNPAID or order.cancel_requested_at:
        return False
    if order.expires_at - given.now < SHORTEST_LIFE:
        return False  # no other code could follow the one that is taken away
    # Held money that was written off or went back pays for nothing any more.
    if case.has_unsettled_money or any(not payment.held for payment in case.payments):
        return False
    return live is None or not live.payer_active


def _decide(case: Case, given: Circumstances) -> Decision:
    if not can_renew(case, given):
        raise Refused(
            "order_not_renewable",
            f"the order is {case.order.status} and cannot get a new code now",
            facts={"order_id": str(case.order.order_id), "order_status": str(case.order.status)},
        )
    live = case.live
    if live is not None and live.status is not AttemptStatus.OPEN:
        return Decision.nothing(case)  # a code is on its way already
    return settlement.renew(Decision.nothing(case), given=given)
