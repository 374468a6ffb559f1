"""The shop's packers: they take paid orders in hand, send goods while they hold them, and say so.

Some are slow: they let leases lapse and speak up late. A careful one sends nothing under a lease
that may run out before the gateway has heard of it.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from torture.desk import Hand
from torture.plan import FURTHER
from torture.shop import ShopOrder
from torture.world import World

Args = Mapping[str, Any]
#: How much of a lease a packer wants before him: whoever insists is heard by then.
_ENOUGH: Final = timedelta(minutes=10)


async def _leave_to_workers(world: World, args: Args) -> None:
    """From now on nobody sends this order's goods because of a delivery."""
    number = int(args["order"])
    world.shop.left_to_workers.add(str(_body(world, number)["merchant_order_id"]))


def _body(world: World, number: int) -> Mapping[str, Any]:
    return world.plan.orders[number % FURTHER]


def _order(world: World, args: Args) -> ShopOrder | None:
    """Return an order that packers care for, and whose id the shop knows."""
    order = world.shop.orders.get(int(args["order"]))
    if order is None or order.order_id is None or not world.shop.fulfils:
        return None
    is_theirs = order.body["merchant_order_id"] in world.shop.left_to_workers
    return order if is_theirs else None


async def _claim(world: World, args: Args) -> None:
    """Take an order in hand, by the delivery's token or by one of the worker's own."""
    order = _order(world, args)
    if order is None or order.order_id is None:
        return
    token: str | None = f"worker-{order.number}-{args['worker']}"
    if args.get("token") == "delivery":
        token = world.shop.tokens.get(order.order_id)
    elif args.get("token") == "any":
        token = None
    reply = await world.shop.insist(
        "POST",
        f"/api/payments/binance/orders/{order.order_id}/fulfilment/claim",
        body={} if token is None else {"token": token},
        host=args.get("host"),
    )
    if reply is None:
        return
    said = json.loads(reply.body)
    world.desk.done[f"claim: {reply.status} {said.get('code', '')}".rstrip()] += 1
    if reply.status == 200:
        hand = Hand(
            order_id=order.order_id,
            token=said["token"],
            claimed_at=world.database_now(),
            lease_until=datetime.fromisoformat(said["lease_until"]),
        )
        world.desk.hands.append(hand)
        world.in_hand[order.number, int(args["worker"])] = hand


async def _send_goods(world: World, args: Args) -> None:
    """Send what is in hand, if the lease is good for it, and say so until it is heard."""
    order, hand = _order(world, args), world.in_hand.get((int(args["order"]), int(args["worker"])))
    if order is None or hand is None or hand.told_at is not None:
        return
    if hand.lease_until - world.database_now() < _ENOUGH:
        world.desk.done["goods not sent: the lease was over"] += 1
        return
    hand.told_at = world.database_now()
    world.shop.goods[hand.order_id] += 1
    reply = await _acknowledge(world, hand, host=args.get("host"))
    world.desk.done[f"goods sent by a packer: {reply}"] += 1
    if reply != 200 and world.database_now() < hand.lease_until and not _went_back(world, order):
        world.complaints.append(
            f"who had order {hand.order_id} in hand was answered {reply} when the goods were sent"
        )


async def _speak_late(world: World, args: Args) -> None:
    """Say that an order is done, with whatever token one once had, and send nothing."""
    hand = world.in_hand.get((int(args["order"]), int(args["worker"])))
    if hand is None or hand.told_at is not None:
        return
    before = _others(world, hand)
    hand.told_at = world.database_now()
    reply = await _acknowledge(world, hand, host=args.get("host"))
    world.desk.done[f"said late: {reply}"] += 1
    if reply == 200 and any(other in before for other in _others(world, hand)):
        world.complaints.append(f"{hand.token} spoke for {hand.order_id}, in hand of another")


def _others(world: World, hand: Hand) -> list[Hand]:
    """Return who else has an order in hand now, and has not begun to say that it is done."""
    now = world.database_now()
    return [
        other
        for other in world.desk.hands
        if other.order_id == hand.order_id
        and other.token != hand.token
        and other.lease_until > now
        and other.told_at is None
    ]


async def _acknowledge(world: World, hand: Hand, *, host: str | None) -> int | None:
    path = f"/api/payments/binance/orders/{hand.order_id}/fulfill"
    reply = await world.shop.insist("POST", path, body={"token": hand.token}, host=host)
    return None if reply is None else reply.status


def _went_back(world: World, order: ShopOrder) -> bool:
    """Say whether money of an order went back in the portal, which ends every lease."""
    numbers = {each.replace("-", "") for each in world.attempts_of(order.order_id or "")}
    return any(
        refund.by_portal and world.control.order(refund.prepay_id).merchant_trade_no in numbers
        for refund in world.control.refunds
    )


WORKER_ACTIONS: Final[Mapping[str, Callable[[World, Args], Awaitable[None]]]] = {
    "leave to workers": _leave_to_workers,
    "claim goods": _claim,
    "send goods": _send_goods,
    "speak late": _speak_late,
}
