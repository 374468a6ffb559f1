"""The accountant: lays days beside Binance's files, settles what differs, and closes days.

He comes the morning after, while much is still lost or broken, and once more at the very end, when
he wants to see every day explained.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import date, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from checkstand.errors import CheckstandError
from checkstand.operations.fetch_reports import fetch_reports
from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID
from checkstand.operations.resources import Resources
from checkstand.simulator import books
from checkstand.simulator.records import FEATURES
from checkstand.simulator.server import DEFAULT_API_KEY, DEFAULT_MERCHANT
from torture.ambient import BEGAN_AT
from torture.staff import type_command
from torture.world import World

Args = Mapping[str, Any]
_DAY: Final = timedelta(days=1)
_FIRST: Final = BEGAN_AT.date()
_PATH: Final = "/api/reconciliation"
#: Within this time a worker has asked Binance about whatever a comparison made due.
_HEALED_SECONDS: Final = 600.0


async def _allow_reports(world: World, _: Args) -> None:
    """Give the merchant's key the permission that most lack."""
    world.control.set_key(DEFAULT_API_KEY, features=FEATURES)


async def _fetch(world: World, args: Args) -> None:
    """Fetch Binance's files of some days by the command line, and compare these days."""
    if not _may_fetch(world):
        return
    first = _FIRST - _DAY
    last = _FIRST + timedelta(days=int(args["day"]))
    fetched = await type_command(world, lambda resources: _fetched(resources, first, last))
    world.desk.done[f"files fetched: {'some' if fetched else 'none'}"] += 1


async def _fetched(resources: Resources, first: date, last: date) -> bool:
    try:
        fetched = await fetch_reports(
            resources, account_id=DEFAULT_ACCOUNT_ID, first=first, last=last
        )
    except CheckstandError:
        return False  # the other gateway's worker is taking the same file in
    return fetched.refusal is None


async def _upload(world: World, args: Args) -> None:
    """Bring a day's file from Binance's portal by hand."""
    day = _FIRST + timedelta(days=int(args["day"]))
    if world.time.now().date() <= day:
        return
    for kind in ("T_Payment", "S_Refund"):
        if not books.has_rows(world.simulator, DEFAULT_MERCHANT.merchant_id, kind, day):
            continue
        content = books.write_day(world.simulator, DEFAULT_MERCHANT.merchant_id, kind, day)
        about = {"name": books.file_name(kind, day), "covers_from": day, "covers_to": day}
        reply = await world.shop.insist(
            "POST",
            f"{_PATH}/reports?{urlencode(about)}",
            content=content.encode(),
            headers={"content-type": "application/octet-stream"},
            host=args.get("host"),
        )
        world.desk.done[f"file uploaded: {reply.status if reply else None}"] += 1


async def _reconcile(world: World, args: Args) -> None:
    world.desk.has_accountant = True
    day = _FIRST + timedelta(days=int(args["day"]))
    await _compare(world, day, host=args.get("host"))


async def _compare(world: World, day: date, *, host: str | None) -> dict[str, Any] | None:
    reply = await world.shop.insist("POST", f"{_PATH}/days/{day}/reconcile", host=host)
    if reply is None or reply.status != 200:
        return None
    world.desk.done["day compared"] += 1
    return dict(json.loads(reply.body))


async def _resolve(world: World, args: Args) -> None:
    """Say of everything that is open how it ended, and why."""
    for found in await _list_open(world):
        body = {"resolution": args.get("how", "explained"), "reason": "seen in the portal"}
        reply = await world.shop.insist(
            "POST", f"{_PATH}/discrepancies/{found['discrepancy_id']}/resolve", body=body
        )
        world.desk.done[f"resolved {found['kind']}: {reply.status if reply else None}"] += 1


async def _list_open(world: World) -> list[dict[str, Any]]:
    reply = await world.shop.insist("GET", f"{_PATH}/discrepancies?open=true&limit=100")
    return list(json.loads(reply.body)["data"]) if reply and reply.status == 200 else []


async def _close(world: World, args: Args) -> None:
    await _close_day(world, _FIRST + timedelta(days=int(args["day"])), host=args.get("host"))


async def _close_day(world: World, day: date, *, host: str | None) -> None:
    """Close a day; what is heard of its summary must stay as it is for ever."""
    reply = await world.shop.insist("POST", f"{_PATH}/days/{day}/close", host=host)
    if reply is None or reply.status != 200:
        return
    world.desk.done["day closed"] += 1
    document = str(json.loads(reply.body)["document"])
    if world.desk.summaries.setdefault(day.isoformat(), document) != document:
        world.complaints.append(f"the summary of {day} was another before")


def _may_fetch(world: World) -> bool:
    return "REPORT" in world.simulator.store.credentials[DEFAULT_API_KEY].features


async def look_over_books(world: World) -> None:
    """Compare every day at the very end, twice, settle what is open, and close all of them."""
    if not world.desk.has_accountant:
        return
    await _allow_reports(world, {})
    last = world.time.now().date() - _DAY
    for _ in range(3):
        if await type_command(world, lambda resources: _fetched(resources, _FIRST - _DAY, last)):
            break
        await asyncio.sleep(_HEALED_SECONDS)
    else:
        world.complaints.append("Binance's files could not be had, though nothing was broken")
        return
    days = [_FIRST + timedelta(days=n) for n in range((last - _FIRST).days)]  # each has a next one
    for day in days:
        await _compare(world, day, host="a")
    await asyncio.sleep(_HEALED_SECONDS)
    for day in days:
        once = await _compare(world, day, host="a")
        again = await _compare(world, day, host="b")
        if once is None or again is None or _said(once) != _said(again):
            world.complaints.append(f"{day} was compared twice: {once} and {again}")
    world.desk.audited_until = days[-1]
    world.desk.open_at_end = await _list_open(world)
    await _resolve(world, {})
    for day in days:
        await _close_day(world, day, host=None)


def _said(day: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in day.items() if name != "reconciled_at"}


ACCOUNTANT_ACTIONS: Final[Mapping[str, Callable[[World, Args], Awaitable[None]]]] = {
    "allow reports": _allow_reports,
    "fetch reports": _fetch,
    "upload reports": _upload,
    "reconcile day": _reconcile,
    "resolve discrepancies": _resolve,
    "close day": _close,
}
