"""The person who puts right what a calamity left, once nothing breaks any more."""

import asyncio
from typing import Final

from checkstand.operations.halt_account import get_account
from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID
from checkstand.operations.recover import recovery_status
from checkstand.operations.resources import Resources
from torture.actions import ACTIONS
from torture.actions_calamities import attempt, end_recovery, use_our_keys
from torture.world import World

#: A person looks so often whether everything is right, and has to be content after so many looks.
_LOOK_EVERY_SECONDS: Final = 60.0
_LOOKS_MAX: Final = 60
#: So often somebody looks later on.
_SELDOM_SECONDS: Final = 6 * 3600.0
#: What an answer may still be on its way for: it was asked for with the keys from before.
_CALM_LOOKS: Final = 2


async def mend(world: World) -> None:
    """Put right what a calamity left, and look again until it stays so."""
    calamities, calm = world.calamities, 0
    if not calamities.befell:
        return
    for _ in range(_LOOKS_MAX):
        await use_our_keys(world, {})
        await end_recovery(world, {})
        calm = calm + 1 if await _is_right(world) else 0
        if calm > _CALM_LOOKS:
            await _settle_forgotten_refunds(world)
            return
        await asyncio.sleep(_LOOK_EVERY_SECONDS)
    world.complaints.append("nobody could put right what a calamity left")


async def rest(world: World, seconds: float) -> None:
    """Let the days pass in which everything comes to its end, and look into the account at times.

    Orders made with another merchant's keys are not found with ours: that may stop the account once
    more, until somebody accepts that they are not there.
    """
    end = world.loop.time() + seconds
    mended = 0
    while (left := end - world.loop.time()) > 0:
        await asyncio.sleep(min(left, _SELDOM_SECONDS))
        if not world.calamities.befell or await _is_right(world):
            continue
        mended += 1
        if mended > _CALM_LOOKS:
            world.complaints.append("the account was stopped again and again")
            return
        for number in world.shop.orders:
            await ACTIONS["decide"](
                world, {"order": number, "how": "accept", "kind": "provider_contradicts"}
            )
        await use_our_keys(world, {})
        end = max(end, world.loop.time() + _SELDOM_SECONDS)


async def _settle_forgotten_refunds(world: World) -> None:
    """Book what went back by refunds that the database forgot, as Binance's portal shows it."""
    for number in world.shop.orders if world.calamities.forgotten.refunds else ():
        await ACTIONS["decide"](world, {"order": number, "how": "accept"})


async def _is_right(world: World) -> bool:
    found: list[bool] = []

    async def look(resources: Resources) -> None:
        account = await get_account(resources, account_id=DEFAULT_ACCOUNT_ID)
        status = await recovery_status(resources, account_id=DEFAULT_ACCOUNT_ID)
        found.append(account.halted_reason is None and not status.is_open)

    await attempt(world, look)
    return found == [True] and not world.calamities.is_busy
