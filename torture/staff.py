"""What the people who run the shop do: set limits, approve and deny refunds by a key of their own.

Also a buyer who wants more orders than he may have.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from checkstand.domain.limits import PER_CURRENCY, LimitKind
from checkstand.errors import CheckstandError
from checkstand.operations.manage_keys import create_key
from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID
from checkstand.operations.resources import Resources
from checkstand.operations.set_limit import set_limit
from torture.desk import BUYER_LIMIT, LimitSet
from torture.network import Reply, Unanswered, Unreached
from torture.plan import FURTHER
from torture.shop import ShopOrder
from torture.world import World

Args = Mapping[str, Any]
#: How often somebody types a command again that did not go through.
_AGAIN_SECONDS: Final = (0.5, 1, 2, 4, 8, 15, 30, 60, 120)
_FIELDS: Final = {
    LimitKind.ORDER_AMOUNT: {"amount", "fiat_amount"},
    LimitKind.OPEN_ORDERS_PER_BUYER: {"buyer_reference"},
}


async def type_command(world: World, command: Callable[[Resources], Awaitable[Any]]) -> Any:
    """Run an operator's command on a gateway's machine, again until it goes through."""
    for seconds in _AGAIN_SECONDS:
        host = next((h for h in world.hosts.values() if h.is_up and h.resources), None)
        if host is not None and host.resources is not None:
            task = host.spawn(_done(command(host.resources)))
            try:
                return await asyncio.shield(task)
            except CheckstandError as error:
                world.trace.note("command", type(error).__name__)
            except asyncio.CancelledError:
                if not task.cancelled():  # the machine goes on, and whoever typed is gone
                    raise
        await asyncio.sleep(seconds)
    return None


async def _done(work: Awaitable[Any]) -> Any:
    return await work


async def _set_limit(world: World, args: Args) -> None:
    """Set a limit or, without `most`, take it back; `share` makes it of an order's own price."""
    kind, most = LimitKind(args["kind"]), args.get("most")
    currencies = [""]
    if "share" in args:
        body = world.plan.orders[int(args["order"]) % FURTHER]
        name = "amount" if "amount" in body else "fiat_amount"
        currencies = [body[name.replace("amount", "currency")]]
        most = f"{Decimal(body[name]) * Decimal(args['share']):f}"
    elif kind in PER_CURRENCY:
        currencies = list(args["currencies"])
    for currency in currencies:
        begun = LimitSet(
            kind=kind,
            currency=currency,
            most=None if most is None else Decimal(most),
            begun_at=world.loop.time(),
        )
        place = len(world.desk.limits)
        world.desk.limits.append(begun)  # it may hold from now on, though nobody be told so
        done = await type_command(
            world,
            lambda resources, currency=currency: set_limit(  # type: ignore[misc]
                resources,
                account_id=DEFAULT_ACCOUNT_ID,
                kind=kind,
                most=most,
                currency=currency or None,
            ),
        )
        if done is not None:
            world.desk.limits[place] = replace(begun, done_at=world.loop.time())
        world.desk.done["limit set"] += 1


async def _create_for_buyer(world: World, args: Args) -> None:
    """Open an order, or a further one like it, in the name of a buyer."""
    number = int(args["order"]) + FURTHER * int(args["nth"])
    body = dict(world.plan.orders[number % FURTHER])
    if args["nth"]:
        body["merchant_order_id"] += f"-{args['nth']}"
        body.pop("cart_id", None)
    body["description"] = f"Tin {args['nth']} of order {args['order']}"  # known by it at Binance
    if "buyer" in args:
        body["buyer_reference"] = args["buyer"]
    order = ShopOrder(number, body)
    order = world.shop.orders.setdefault(number, order)
    began_at = world.loop.time()
    reply = await world.shop.create(
        order, key=f"order-{number}-{args.get('key', 1)}", host=args.get("host")
    )
    if reply is None or order.body != body:
        return
    said = json.loads(reply.body)
    if said.get("code") == "limit_exceeded":
        world.desk.refused.add(body["description"])
        world.desk.done["create refused by a limit"] += 1
        world.complaints.extend(_wrong_refusal(world, said, body, began_at))
    elif reply.status in {200, 201, 202}:
        world.desk.refused.discard(body["description"])


def _wrong_refusal(world: World, said: Args, body: Args, began_at: float) -> list[str]:
    """Say what is wrong with a refusal: it names a limit that is set, the field, and is needed."""
    desk, limit = world.desk, said.get("limit")
    wrong = []
    if limit not in _FIELDS or said.get("field") not in _FIELDS[LimitKind(str(limit))]:
        wrong.append(f"a refusal names limit {limit} and field {said.get('field')}")
    elif not desk.may_have_refused(str(limit), began_at):
        wrong.append(f"a create was refused by {limit}, which was never set")
    if limit == BUYER_LIMIT:
        least = min(s.most for s in desk.limits if s.kind == limit and s.most is not None)
        if desk.most_open(body["buyer_reference"], began_at) < least:
            wrong.append(f"buyer {body['buyer_reference']} was refused an order with room for it")
    return wrong


async def _hire(world: World, _: Args) -> None:
    """Give a second person a key of his own."""

    async def command(resources: Resources) -> str:
        return await create_key(
            resources.database,
            account_id=DEFAULT_ACCOUNT_ID,
            reference=resources.accounts.get(DEFAULT_ACCOUNT_ID).reference,
            name=f"second person {len(world.desk.second_key)} {resources.random.token(6)}",
            scopes=["orders:read", "refunds:approve"],
            clock=resources.clock,
            ids=resources.ids,
            random=resources.random,
        )

    if not world.desk.second_key:
        world.desk.second_key = await type_command(world, command) or ""


def _say(verb: str) -> Callable[[World, Args], Awaitable[None]]:
    async def say(world: World, args: Args) -> None:
        """Say yes or no to a refund that the shop asked for under this number, or to all."""
        order = world.shop.orders.get(int(args["order"]))
        who = args.get("who", "second")
        key = world.desk.second_key if who == "second" else world.api_key
        if order is None or order.order_id is None or not key:
            return
        path = f"/api/payments/binance/orders/{order.order_id}/refunds"
        headers = {"authorization": f"Bearer {key}"}
        listed = await world.shop.insist("GET", path, headers=headers)
        if listed is None or listed.status != 200:
            return
        number = args.get("number")
        for refund in json.loads(listed.body)["data"]:
            wanted = number is None or refund["merchant_refund_id"].endswith(f"-{number}")
            if wanted and (number is not None or refund["status"] == "REQUESTED"):
                await _decide(world, path, refund["refund_id"], verb, who, headers, args)

    return say


async def _decide(
    world: World,
    path: str,
    refund_id: str,
    verb: str,
    who: str,
    headers: Mapping[str, str],
    args: Args,
) -> None:
    desk = world.desk
    if verb == "approve" and who == "second":
        desk.approved_at_ms.setdefault(refund_id, world.time.now_ms())
    try:
        reply: Reply | None = await world.call_gateway(
            "POST", f"{path}/{refund_id}/{verb}", headers=headers, host=args.get("host")
        )
    except (Unreached, Unanswered):
        reply = None
    if reply is None and args.get("insists"):
        reply = await world.shop.insist("POST", f"{path}/{refund_id}/{verb}", headers=headers)
    if reply is None:
        return
    code = json.loads(reply.body).get("code", "")
    desk.done[f"{verb} by the {who} person: {reply.status} {code}".rstrip()] += 1
    if reply.status == 200:
        desk.answers[refund_id, verb] += 1
        if verb == "approve" and who != "second":
            world.complaints.append(f"whoever asked for refund {refund_id} approved it")


STAFF_ACTIONS: Final[Mapping[str, Callable[[World, Args], Awaitable[None]]]] = {
    "set limit": _set_limit,
    "create for buyer": _create_for_buyer,
    "hire": _hire,
    "approve": _say("approve"),
    "deny": _say("deny"),
}
