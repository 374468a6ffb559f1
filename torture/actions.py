"""Everything a plan may do to a world: one function each, and the table of them.

An action whose order is not there (its create was left out, or nobody answered) does nothing, so
that any part of a plan is a plan.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from checkstand.simulator import orders as binance_orders
from checkstand.simulator.orders import NotPossible
from checkstand.simulator.records import Order
from checkstand.simulator.rejections import Rejection
from checkstand.simulator.server import DEFAULT_MERCHANT
from checkstand.web.checkout.forms import form_token
from torture import actions_calamities as calamities
from torture.accountant import ACCOUNTANT_ACTIONS
from torture.faults import Armed
from torture.network import Unanswered, Unreached
from torture.plan import FURTHER, Step
from torture.shop import ShopOrder
from torture.staff import STAFF_ACTIONS
from torture.workers import WORKER_ACTIONS
from torture.world import STRANGER, World

Args = Mapping[str, Any]
Action = Callable[[World, Args], Awaitable[None]]


async def act(world: World, step: Step) -> None:
    """Do one step."""
    world.trace.note("plan", str(step).strip())
    await ACTIONS[step.act](world, step.args)


# What the shop does.


def _order(world: World, args: Args) -> ShopOrder:
    number = int(args["order"])
    if number not in world.shop.orders:
        world.shop.orders[number] = ShopOrder(number, world.plan.orders[number % FURTHER])
    return world.shop.orders[number]


async def _create(world: World, args: Args) -> None:
    order = _order(world, args)
    key = f"order-{order.number}-{args.get('key', 1)}"
    await world.shop.create(order, key=key, host=args.get("host"))


async def _look(world: World, args: Args) -> None:
    await world.shop.look(_order(world, args))


def _by_shop(verb: str) -> Action:
    async def tell(world: World, args: Args) -> None:
        order = _order(world, args)
        if order.order_id is None:
            return
        path = f"/api/payments/binance/orders/{order.order_id}/{verb}"
        try:
            reply = await world.call_gateway(
                "POST",
                path,
                headers={"idempotency-key": f"{verb}-{order.number}-{world.time.now_ms()}"},
                host=args.get("host"),
            )
        except (Unreached, Unanswered):
            return
        if reply.status in {200, 202}:
            world.shop.note(order, json.loads(reply.body))

    return tell


async def _refund(world: World, args: Args) -> None:
    """Ask money back: all that is left, or so much; under the shop's own number."""
    order = _order(world, args)
    if order.order_id is None:
        return
    number = f"refund-{order.number}-{args['number']}"
    body = {"merchant_refund_id": number}
    if "amount" in args:
        body["amount"] = args["amount"]
    await world.shop.insist(
        "POST",
        f"/api/payments/binance/orders/{order.order_id}/refunds",
        body=body,
        headers={"idempotency-key": f"{number}-{args.get('key', 1)}"},
        host=args.get("host"),
    )


async def _decide(world: World, args: Args) -> None:
    """Have a person settle every open anomaly of an order, in one way or another."""
    order = _order(world, args)
    if order.order_id is None:
        return
    path = f"/api/payments/binance/orders/{order.order_id}"
    known = await world.shop.insist("GET", path)
    listed = await world.shop.insist("GET", f"{path}/anomalies")
    if known is None or listed is None or known.status != 200 or listed.status != 200:
        return
    for payment in json.loads(known.body)["payments"] if args["how"] == "refund" else ():
        number = f"decided-{payment['payment_id']}"
        if payment["held"]:
            await world.shop.insist(
                "POST",
                f"{path}/refunds",
                body={"merchant_refund_id": number, "payment_id": payment["payment_id"]},
                headers={"idempotency-key": number},
            )
    for anomaly in json.loads(listed.body)["data"]:
        body = {"resolution": args["how"], "reason": "a person looked at it"}
        if anomaly["resolved_at"] is not None or args.get("kind") not in {None, anomaly["kind"]}:
            continue
        if anomaly["kind"] == "refunded_elsewhere" and args["how"] == "accept":
            returned = await _returned_in_portal(world, order)
            body |= {"amount": f"{returned:f}"} if returned else {"resolution": "write_off"}
        await world.shop.insist(
            "POST", f"{path}/anomalies/{anomaly['anomaly_id']}/resolve", body=body
        )


async def _returned_in_portal(world: World, order: ShopOrder) -> Decimal:
    """Read in Binance's portal how much of an order went back there, and nobody has said yet."""
    path = f"/api/payments/binance/orders/{order.order_id}/refunds"
    listed = await world.shop.insist("GET", path)
    rows = json.loads(listed.body)["data"] if listed and listed.status == 200 else []
    numbers = [each.replace("-", "") for each in world.attempts_of(order.order_id or "")]
    ours, elsewhere = set[str](), Decimal()
    for refund in world.control.refunds:
        if refund.by_portal or refund.refund_request_id in world.calamities.forgotten.refunds:
            is_of_order = world.control.order(refund.prepay_id).merchant_trade_no in numbers
            elsewhere += refund.amount if is_of_order and refund.status == "SUCCESS" else 0
        else:
            ours.add(refund.refund_request_id)
    said = [
        Decimal(row["returned_amount"])
        for row in rows
        if row["status"] == "SUCCEEDED" and row["refund_id"].replace("-", "") not in ours
    ]
    return elsewhere - sum(said)


async def _redeliver(world: World, args: Args) -> None:
    events = list(world.shop.seen)
    if events:
        event_id = events[int(args["number"]) % len(events)]
        try:
            await world.call_gateway("POST", f"/api/events/{event_id}/redeliver")
        except (Unreached, Unanswered):
            return


# What a shopper does, on the checkout page and in the wallet.


def _by_shopper(verb: str) -> Action:
    async def press(world: World, args: Args) -> None:
        order = _order(world, args)
        resources = next((h.resources for h in world.hosts.values() if h.resources), None)
        if order.token is None or resources is None:
            return
        token = form_token(resources.vault.form_key, order.token)
        try:
            await world.call_gateway(
                "POST",
                f"/checkout/{order.token}/{verb}",
                content=f"form_token={token}".encode(),
                headers={"content-type": "application/x-www-form-urlencoded"},
                host=args.get("host"),
            )
        except (Unreached, Unanswered):
            return

    return press


def _scanned(world: World, args: Args) -> Order | None:
    """Find the Binance order of the code the shopper has before him."""
    codes = _order(world, args).codes
    if not codes:
        return None
    code = codes[min(int(args.get("code", -1)), len(codes) - 1)]
    return world.simulator.store.find_order_by_token(code.rsplit("dplk", 1)[-1])


def _in_wallet(do: Callable[[World, str, Args], Any]) -> Action:
    async def hold(world: World, args: Args) -> None:
        order = _scanned(world, args)
        if order is None:
            return
        world.simulator.clock.run_due()
        try:
            do(world, order.prepay_id, args)
        except (NotPossible, Rejection):
            return
        world.trace.note(
            "wallet", f"{order.merchant_trade_no} {world.control.order(order.prepay_id).status}"
        )

    return hold


def _pay(world: World, prepay_id: str, args: Args) -> None:
    world.control.pay(
        prepay_id,
        amount=args.get("amount"),
        currency=args.get("currency"),
        webhook=bool(args.get("webhook", True)),
        force=bool(args.get("force", False)),
    )


def _start_paying(world: World, prepay_id: str, _: Args) -> None:
    binance_orders.start_paying(world.simulator, world.control.order(prepay_id))


def _refund_in_portal(world: World, prepay_id: str, args: Args) -> None:
    world.control.refund(prepay_id, amount=args.get("amount"))


async def _set_wallet(world: World, args: Args) -> None:
    """Let the merchant have so much: with nothing, refunds are refused for want of balance."""
    for currency in ("USDT", "BNB"):
        world.control.set_balance(DEFAULT_MERCHANT.merchant_id, currency, str(args["balance"]))


# What Binance does.


async def _repeat_notice(world: World, args: Args) -> None:
    """Send the latest notice of an order again, to both gateways at the same moment."""
    order = _scanned(world, args)
    if order is None or not any(n.prepay_id == order.prepay_id for n in world.control.notices):
        return
    age_ms = int(float(args.get("age", 0)) * 1000)
    moment = world.time.now_ms() - age_ms
    sends = [
        world.control.send_webhook(order.prepay_id, timestamp_ms=moment)
        for _ in range(int(args.get("copies", 2)))
    ]
    await asyncio.gather(*sends, return_exceptions=True)


async def _stranger_pays(world: World, args: Args) -> None:
    """Have another merchant make an order under our number that tells us, and be paid for it."""
    ours = _order(world, args)
    attempts = (
        world.attempts_of(ours.order_id) if ours.order_id else _attempts_without_answer(world)
    )
    if not attempts:
        return
    number = attempts[-1].replace("-", "")
    account = next(h.resources for h in world.hosts.values() if h.resources).accounts.list_all()[0]
    url = f"https://pay.torture.example/api/payments/binance/webhook/{account.notice_path}"
    theirs = world.simulator.store.find_order(STRANGER.merchant_id, number)
    if theirs is None:
        theirs = _copy_for_stranger(world, ours, number, url)
    try:
        world.control.pay(theirs.prepay_id, merchant_id=STRANGER.merchant_id)
    except NotPossible:
        return


def _attempts_without_answer(world: World) -> list[str]:
    known = {order.order_id for order in world.shop.orders.values()}
    entries = [entry.split(":") for entry in world.rows.attempts.split()]
    return [entry[1] for entry in entries if entry[0] not in known]


def _copy_for_stranger(world: World, ours: ShopOrder, number: str, url: str) -> Order:
    from decimal import Decimal

    from checkstand.simulator.links import make_links
    from checkstand.simulator.records import OrderStatus

    now_ms = world.time.now_ms()
    links = make_links(
        base_url="https://binance.torture.example",
        randomness=world.simulator.randomness,
        now_ms=now_ms,
        attachment=None,
    )
    order = Order(
        merchant_id=STRANGER.merchant_id,
        merchant_trade_no=number,
        prepay_id=world.simulator.store.next_id(now_ms),
        status=OrderStatus.INITIAL,
        amount=Decimal(ours.body.get("amount", "10")),
        currency=ours.body.get("currency", "USDT"),
        product_type="02",
        product_name="bait",
        trade_type="WEB",
        created_ms=now_ms,
        expires_ms=now_ms + 3_600_000,
        webhook_url=url,
        links=links,
    )
    return binance_orders.open_order(world.simulator, order)


async def _rotate_keys(world: World, args: Args) -> None:
    world.simulator.keys.restore([*world.simulator.keys.listed, world.second_key])
    if not args.get("keeps_old", True):
        world.simulator.keys.restore([world.second_key])


# What breaks.


async def _break_binance(world: World, args: Args) -> None:
    """Put one of the simulator's own faults in force."""
    given = {k: v for k, v in args.items() if k not in {"kind", "times"}}
    times = int(args.get("times", 1))
    world.control.faults.add(args["kind"], times=times, merchant_id=_whose(args), **given)
    world.struck[f"binance {args['kind']}"] += times


def _whose(args: Args) -> str | None:
    return (
        None if args["kind"] in {"connection_reset", "clock_skew"} else DEFAULT_MERCHANT.merchant_id
    )


def _arm(args: Args) -> Armed:
    return Armed(
        args["kind"],
        name=str(args.get("name", "")),
        times=int(args.get("times", 1)),
        seconds=float(args.get("seconds", 0.0)),
    )


async def _break_database(world: World, args: Args) -> None:
    world.hosts[args["host"]].database_faults.arm(_arm(args))


async def _break_shop(world: World, args: Args) -> None:
    world.shop_faults.arm(_arm(args))


async def _break_line_to_binance(world: World, args: Args) -> None:
    world.binance_faults.arm(_arm(args))


async def _break_line_of_notices(world: World, args: Args) -> None:
    world.line_faults.arm(_arm(args))


async def _stall_database(world: World, args: Args) -> None:
    world.struck["database slow"] += 1
    world.gate.stall(float(args["seconds"]))


async def _take_database_away(world: World, args: Args) -> None:
    world.database_away_until = world.loop.time() + float(args["seconds"])


async def _crash(world: World, args: Args) -> None:
    world.hosts[args["host"]].crash_after(int(args["passings"]), down_seconds=float(args["down"]))


#: Every action by its name. A new one is a function and a row here, and a story that uses it.
ACTIONS: Final[Mapping[str, Action]] = {
    "create": _create,
    "look": _look,
    "renew": _by_shop("renew"),
    "cancel": _by_shop("cancel"),
    "refresh": _by_shop("refresh"),
    "fulfil": _by_shop("fulfill"),
    "refund": _refund,
    "decide": _decide,
    "set wallet": _set_wallet,
    "redeliver": _redeliver,
    "shopper renews": _by_shopper("renew"),
    "shopper cancels": _by_shopper("cancel"),
    "shopper has paid": _by_shopper("check"),
    "pay": _in_wallet(_pay),
    "start paying": _in_wallet(_start_paying),
    "walk away": _in_wallet(lambda world, prepay_id, _: world.control.cancel(prepay_id)),
    "payment fails": _in_wallet(lambda world, prepay_id, _: world.control.fail(prepay_id)),
    "refund in portal": _in_wallet(_refund_in_portal),
    "repeat notice": _repeat_notice,
    "stranger pays": _stranger_pays,
    "rotate keys": _rotate_keys,
    "break binance": _break_binance,
    "break line to binance": _break_line_to_binance,
    "break line of notices": _break_line_of_notices,
    "break database": _break_database,
    "break shop": _break_shop,
    "stall database": _stall_database,
    "take database away": _take_database_away,
    "crash": _crash,
    "back up": calamities.back_up,
    "restore": calamities.restore,
    "end recovery": calamities.end_recovery,
    "use other keys": calamities.use_other_keys,
    "use our keys": calamities.use_our_keys,
    **STAFF_ACTIONS,
    **WORKER_ACTIONS,
    **ACCOUNTANT_ACTIONS,
}
