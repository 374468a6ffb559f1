"""Every way an order goes, as one function each. A new one is covered by being in the table.

What comes before `begin` only sets the stage. From `begin` on the gateway, or its worker, may
die at any point; the scene's verbs repeat what got no answer.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from crash.scene import Scene
from crash.surroundings import BinanceRefused

Path = Callable[[Scene], Awaitable[None]]


async def create(scene: Scene) -> None:
    """The shop opens an order."""
    await scene.begin()
    await scene.create()


async def create_unanswered(scene: Scene) -> None:
    """Binance makes the order, and its answer is lost: the code is closed and made anew."""
    await scene.fault("answer_lost_after_effect", endpoint="/v3/order")
    await scene.begin()
    await scene.create()


async def pay(scene: Scene) -> None:
    """The shopper pays; Binance's notice brings it to the goods."""
    code = await scene.open_code()
    await scene.begin()
    await scene.pay(code)


async def pay_unheard(scene: Scene) -> None:
    """The shopper pays, no notice comes, and the shop asks."""
    code = await scene.open_code()
    await scene.begin()
    await scene.pay(code, webhook=False)
    await scene.ask("refresh")


async def pay_overtakes(scene: Scene) -> None:
    """The notice of the payment is faster than the answer to the create: it is a hint."""
    await scene.fault("slow", endpoint="/v3/order", seconds=0.7)
    known = await _codes(scene)
    await scene.begin()
    creating = asyncio.create_task(scene.create())
    while not await _pay_any(scene, await _codes(scene) - known):
        await asyncio.sleep(0.05)
    await creating


async def pay_differs(scene: Scene) -> None:
    """Less money arrives than was asked for: it is held, and the shop is told."""
    code = await scene.open_code()
    await scene.begin()
    await scene.pay(code, amount="10.00")


async def pay_late(scene: Scene) -> None:
    """Money arrives for an order that was cancelled: it counts."""
    code = await scene.open_code()
    await scene.ask("cancel")
    await scene.until(lambda standing: standing.order["status"] == "CANCELED")
    await scene.rest()
    await scene.begin()
    await scene.pay(code, force=True)


async def pay_twice(scene: Scene) -> None:
    """The old code and the new one are paid at the same moment."""
    old = await scene.open_code()
    await scene.ask("renew")
    new = await scene.code()
    await scene.begin()
    await scene.pay(new)
    await scene.pay(old, force=True)


async def cancel(scene: Scene) -> None:
    """The shop cancels an order that shows a code."""
    await scene.open_code()
    await scene.begin()
    await scene.ask("cancel")


async def cancel_too_late(scene: Scene) -> None:
    """Binance accepts the close, and the shopper pays all the same."""
    await scene.open_code()
    await scene.fault("paid_while_closing")
    await scene.begin()
    await scene.ask("cancel", allowed=frozenset({200, 202, 422}))


async def renew(scene: Scene) -> None:
    """The shop asks for a fresh code."""
    await scene.open_code()
    await scene.begin()
    await scene.ask("renew")


async def lapse(scene: Scene) -> None:
    """The code's time at Binance runs out, and Binance says so."""
    code = await scene.open_code()
    await scene.begin()
    await scene.lane.binance.ask("POST", f"/orders/{code}/expire")


async def expire(scene: Scene) -> None:
    """The order's own time passes while its code could still be paid."""
    await scene.open_code()
    await scene.begin()
    await scene.pass_time()
    await scene.until(lambda standing: standing.order["status"] == "EXPIRED")


async def deliver_again(scene: Scene) -> None:
    """The shop is away when it is told of the payment, and hears it at the second try."""
    code = await scene.open_code()
    scene.lane.shop.refuse_paid(1)
    await scene.begin()
    await scene.pay(code)


async def deliver_to_fulfil(scene: Scene) -> None:
    """The shop's 2xx is its acknowledgement."""
    await scene.lane.listen_to_events(fulfils_on_delivery=True)
    code = await scene.open_code()
    await scene.begin()
    await scene.pay(code)


async def refund(scene: Scene) -> None:
    """The shop returns all of the money, under one key however often it has to ask."""
    await scene.pay(await scene.open_code())
    await scene.rest()
    await scene.begin()
    await scene.refund("all")


async def refund_unanswered(scene: Scene) -> None:
    """Binance takes the refund on, its answer is lost, and it says nothing more."""
    await scene.pay(await scene.open_code())
    await scene.rest()
    await scene.fault("answer_lost_after_effect", endpoint="/order/refund")
    await scene.fault("drop", biz_status="REFUND_SUCCESS")
    await scene.begin()
    await scene.refund("part", amount="5.00")


async def refund_the_rest(scene: Scene) -> None:
    """The shop returns what is left; Binance is asked about the earlier refund first."""
    await scene.pay(await scene.open_code())
    await scene.rest()
    await scene.refund("first", amount="5.00")
    await scene.rest()
    await scene.begin()
    await scene.refund("rest")


PATHS: Final[Mapping[str, Path]] = {
    path.__name__: path
    for path in (
        create,
        create_unanswered,
        pay,
        pay_unheard,
        pay_overtakes,
        pay_differs,
        pay_late,
        pay_twice,
        cancel,
        cancel_too_late,
        renew,
        lapse,
        expire,
        deliver_again,
        deliver_to_fulfil,
        refund,
        refund_unanswered,
        refund_the_rest,
    )
}


async def _pay_any(scene: Scene, codes: set[str]) -> bool:
    """Pay one of these codes; on a crowded machine it may have been closed since it was seen."""
    for code in codes:
        try:
            await scene.pay(code)
        except BinanceRefused:
            continue
        return True
    return False


async def _codes(scene: Scene) -> set[str]:
    """Return every code that can be paid at Binance."""
    orders = (await scene.lane.binance.state())["orders"]
    return {o["merchant_trade_no"] for o in orders if o["status"] == "INITIAL"}
