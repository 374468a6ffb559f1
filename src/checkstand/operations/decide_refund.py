"""Let a second person decide about a refund that is above the account's limits."""

from enum import StrEnum
from uuid import UUID

from checkstand.domain import refunding
from checkstand.domain.act import SHOP, Doer
from checkstand.domain.case import Case, Decision
from checkstand.domain.refund import Refund
from checkstand.domain.settlement import Circumstances
from checkstand.errors import Conflict, NotFound, Refused
from checkstand.operations.change_order import Deed, change_order
from checkstand.operations.resources import Resources


class Verdict(StrEnum):
    """What a second person says of a refund."""

    APPROVE = "approve"  # it goes
    DENY = "deny"  # it ends, and nothing goes back; whoever asked for it may say so, too


async def decide_refund(
    resources: Resources,
    *,
    account_id: UUID,
    order_id: UUID,
    refund_id: UUID,
    verdict: Verdict,
    by: str,
    doer: Doer = SHOP,
) -> Refund:
    """Let a waiting refund go, or end it, and keep who did. An approval may be repeated.

    Raises NotFound, Conflict for one that cannot be decided about so, and Refused where whoever
    asked for it approves it.
    """

    def decide(case: Case, given: Circumstances) -> Decision:
        refund = next((r for r in case.refunds if r.refund_id == refund_id), None)
        if refund is None:
            raise NotFound(
                "refund_not_found", f"the order has no refund {refund_id}", field="refund_id"
            )
        if verdict is Verdict.DENY:
            return _deny(Decision.nothing(case), refund, by=by, given=given)
        return _approve(Decision.nothing(case), refund, by=by, given=given)

    case = await change_order(
        resources,
        account_id=account_id,
        order_id=order_id,
        decide=decide,
        name="decide_refund",
        deed=Deed(doer=doer, what=f"{verdict} the refund", subject=f"refund:{refund_id}"),
    )
    resources.refunds_wake.up()
    return case.refund(refund_id)


def _approve(decision: Decision, refund: Refund, *, by: str, given: Circumstances) -> Decision:
    if refund.approved_by == by:
        return decision
    _refuse_for(refunding.find_obstacle_to_approval(refund))
    if refund.requester == by:
        raise Refused(
            "approver_is_requester",
            "whoever asked for this refund may not approve it: somebody else must",
            field="Authorization",
        )
    return refunding.approve(decision, refund, by=by, now=given.now)


def _deny(decision: Decision, refund: Refund, *, by: str, given: Circumstances) -> Decision:
    _refuse_for(refunding.find_obstacle_to_denial(refund))
    return refunding.deny(decision, refund, by=by, now=given.now)


def _refuse_for(obstacle: refunding.Obstacle | None) -> None:
    if obstacle is not None:
        raise Conflict(obstacle.code, obstacle.sentence, field=obstacle.field)
