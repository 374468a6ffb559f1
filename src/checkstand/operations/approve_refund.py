"""Let a second person decide about a refund that is above the account's limits."""

from uuid import UUID

from checkstand.domain import refunding
from checkstand.domain.case import Case, Decision
from checkstand.domain.refund import Refund
from checkstand.domain.settlement import Circumstances
from checkstand.errors import Conflict, NotFound, Refused
from checkstand.operations.change_order import change_order
from checkstand.operations.resources import Resources


async def approve_refund(
    resources: Resources, *, account_id: UUID, order_id: UUID, refund_id: UUID, approver: str
) -> Refund:
    """Let a waiting refund go. Safe to repeat.

    Raises NotFound, Conflict for one that waits for nobody, and Refused for the one who asked.
    """
    return await _decide(resources, account_id, order_id, refund_id, approver, is_approved=True)


async def deny_refund(
    resources: Resources, *, account_id: UUID, order_id: UUID, refund_id: UUID, approver: str
) -> Refund:
    """End a waiting refund: nothing goes back. Whoever asked for it may take it back so, too.

    Raises NotFound, and Conflict for one that waits for nobody.
    """
    return await _decide(resources, account_id, order_id, refund_id, approver, is_approved=False)


async def _decide(
    resources: Resources,
    account_id: UUID,
    order_id: UUID,
    refund_id: UUID,
    approver: str,
    *,
    is_approved: bool,
) -> Refund:
    def decide(case: Case, given: Circumstances) -> Decision:
        refund = next((r for r in case.refunds if r.refund_id == refund_id), None)
        if refund is None:
            raise NotFound(
                "refund_not_found", f"the order has no refund {refund_id}", field="refund_id"
            )
        decision = Decision.nothing(case)
        if is_approved and refund.approved_by == approver:
            return decision
        if not refund.awaits_approval:
            raise Conflict(
                "refund_not_waiting",
                f"the refund is {refund.status} and waits for nobody's approval",
                field="refund_id",
            )
        if not is_approved:
            return refunding.deny(decision, refund, by=approver, now=given.now)
        if refund.requester == approver:
            raise Refused(
                "approver_is_requester",
                "whoever asked for this refund may not approve it: somebody else must",
                field="Authorization",
            )
        return refunding.approve(decision, refund, by=approver, now=given.now)

    case = await change_order(
        resources, account_id=account_id, order_id=order_id, decide=decide, name="approve_refund"
    )
    resources.refunds_wake.up()
    return case.refund(refund_id)
