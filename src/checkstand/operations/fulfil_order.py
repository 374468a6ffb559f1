"""The goods of a paid order: taken in hand by one at a time, and acknowledged by the shop."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from checkstand.domain import fulfilment
from checkstand.domain.act import SHOP, Doer
from checkstand.domain.case import Case, Decision
from checkstand.domain.fulfilment import Obstacle
from checkstand.domain.order import OrderStatus
from checkstand.domain.settlement import Circumstances
from checkstand.domain.view import render_time
from checkstand.errors import CheckstandError, Conflict
from checkstand.operations.change_order import Deed, change_order
from checkstand.operations.resources import Resources
from checkstand.storage import recoveries
from checkstand.storage.database import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """The goods in hand: under which token, and until when."""

    token: str
    lease_until: datetime
    case: Case


async def fulfil_order(
    resources: Resources,
    *,
    account_id: UUID,
    order_id: UUID,
    doer: Doer = SHOP,
    token: str | None = None,
) -> Case:
    """Mark a paid order FULFILLED. Said again it changes nothing.

    With a token it is refused to whoever lost his lease to another. Raises NotFound, and Conflict
    for an order that is not paid or whose money is on its way back.
    """

    def decide(case: Case, given: Circumstances) -> Decision:
        return decide_fulfilment(case, given, actor=doer.actor, token=token)

    return await change_order(
        resources,
        account_id=account_id,
        order_id=order_id,
        decide=decide,
        name="fulfil_order",
        deed=Deed(doer=doer, what="acknowledge the goods"),
    )


async def claim_fulfilment(
    resources: Resources,
    *,
    account_id: UUID,
    order_id: UUID,
    token: str | None = None,
    doer: Doer = SHOP,
) -> Claimed:
    """Take the goods of a paid order in hand for a while; with one's own token, for longer.

    Raises NotFound, and Conflict for an order that is not paid, whose money is on its way back,
    or that somebody else has in hand.
    """
    await _refuse_in_recovery(resources, account_id)
    # Made before the step, which may run again and must find its own.
    wanted = token or resources.ids.new().hex

    def decide(case: Case, given: Circumstances) -> Decision:
        obstacle = fulfilment.why_not_claim(case, wanted, now=given.now)
        if obstacle is not None:
            raise explain(obstacle, case)
        return fulfilment.claim(
            Decision.nothing(case), wanted, now=given.now, lease=given.fulfilment_lease
        )

    case = await change_order(
        resources,
        account_id=account_id,
        order_id=order_id,
        decide=decide,
        name="claim_fulfilment",
        deed=Deed(doer=doer, what="take the goods in hand"),
    )
    until = case.order.fulfilment_until
    if until is None:
        raise AssertionError("what was just claimed has an end")
    return Claimed(token=wanted, lease_until=until, case=case)


async def _refuse_in_recovery(resources: Resources, account_id: UUID) -> None:
    """Raise Conflict while a restored database may have forgotten whose goods were sent."""

    async def read(tx: Transaction) -> bool:
        return await recoveries.is_open(tx, account_id)

    if await resources.database.read(read):
        raise Conflict(
            "recovery_unfinished",
            "the database was restored and may have forgotten what was sent: "
            "claim goods after `checkstand recover --finish`",
        )


def decide_fulfilment(
    case: Case, given: Circumstances, *, actor: str, token: str | None = None
) -> Decision:
    """Move a paid order to FULFILLED, once."""
    decision = Decision.nothing(case)
    if case.order.status is OrderStatus.FULFILLED:
        return decision
    obstacle = fulfilment.why_not_fulfil(case, token, now=given.now)
    if obstacle is not None:
        raise explain(obstacle, case)
    return decision.move(
        OrderStatus.FULFILLED,
        actor=actor,
        reason="the shop acknowledged",
        reference=None,
        at=given.now,
        fulfilled_at=given.now,
        fulfilment_until=None,
        fulfilment_due_at=None,
    )


def refuse_refund_of_goods_in_hand(
    case: Case, *, now: datetime, payment_id: UUID | None = None
) -> None:
    """Raise Conflict when somebody is fulfilling what a refund would take the money of."""
    why = fulfilment.why_not_refund(case, now, payment_id=payment_id)
    if why is not None:
        raise Conflict(
            "fulfilment_under_way",
            why,
            facts={"lease_until": render_time(case.order.fulfilment_until)},
        )


def explain(obstacle: Obstacle, case: Case) -> CheckstandError:
    """Say what is in the way, and what to do."""
    order = case.order
    facts = {"order_id": str(order.order_id), "order_status": str(order.status)}
    match obstacle:
        case Obstacle.NOT_PAID:
            return Conflict(
                "order_not_paid",
                f"only a PAID order can be fulfilled; this one is {order.status}",
                facts=facts,
            )
        case Obstacle.HELD:
            until = render_time(order.fulfilment_until)
            return Conflict(
                "fulfilment_claimed",
                f"somebody else has this order in hand until {until}",
                facts=facts | {"lease_until": until},
            )
        case Obstacle.REFUND_UNDER_WAY | Obstacle.WENT_BACK:
            return Conflict(
                "refund_under_way",
                "the money of this order goes or went back: send no goods",
                facts=facts,
            )
