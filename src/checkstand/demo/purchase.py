"""Buys something at the sample shop the way a person would, over HTTP, and waits for the goods."""

import asyncio
import contextlib
import re
from typing import Final
from urllib.parse import quote, urlsplit
from uuid import UUID

import httpcore2

from checkstand.demo.shop import ShopOrder
from checkstand.demo.stage import Stage
from checkstand.errors import CheckstandError
from checkstand.queries.timeline import TimelineEntry, list_timeline

#: A purchase takes about a second; a machine under load may take many.
DEADLINE_SECONDS: Final = 60.0
_EVERY_SECONDS: Final = 0.05


class PurchaseFailed(CheckstandError):
    """Something on the way from cart to goods did not happen; the message says what."""


async def buy(stage: Stage) -> ShopOrder:
    """Press Buy at the shop and open the checkout page it leads to."""
    cart = stage.resources.random.token(20)
    async with httpcore2.AsyncConnectionPool() as pool:
        pressed = await pool.request(
            "POST",
            f"{stage.shop.url}/buy",
            headers={"content-type": "application/x-www-form-urlencoded"},
            content=f"cart={quote(cart)}".encode(),
        )
        if pressed.status != 303:
            raise PurchaseFailed("shop_refused", f"the shop answered {pressed.status} to Buy")
        order = stage.shop.orders[f"sample-{cart}"]
        page = await pool.request("GET", str(order.checkout_url))
        if page.status != 200:
            raise PurchaseFailed("checkout_missing", f"{order.checkout_url} answered {page.status}")
    return order


async def pay(order: ShopOrder) -> None:
    """Go from the checkout page to the simulator's wallet page and press Pay there."""
    async with httpcore2.AsyncConnectionPool() as pool:
        wallet_url = await _wallet_url(pool, str(order.checkout_url))
        wallet = await pool.request("GET", wallet_url)
        form = re.search(r'action="([^"]*/pay)"', wallet.content.decode())
        if wallet.status != 200 or form is None:
            raise PurchaseFailed("wallet_missing", f"the wallet page answered {wallet.status}")
        parts = urlsplit(wallet_url)
        paid = await pool.request("POST", f"{parts.scheme}://{parts.netloc}{form.group(1)}")
        if paid.status != 303:
            raise PurchaseFailed("wallet_refused", f"the wallet answered {paid.status} to Pay")


async def wait_for_goods(stage: Stage, order: ShopOrder) -> list[TimelineEntry]:
    """Wait until the shop says fulfilled and the gateway agrees; return the order's timeline."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DEADLINE_SECONDS):
            # The shop's books are plain values in this process: nothing tells us but looking.
            while not (order.status == "fulfilled" and await _told_everything(stage, order)):  # noqa: ASYNC110
                await asyncio.sleep(_EVERY_SECONDS)
    timeline = await _timeline(stage, order)
    if order.status != "fulfilled" or order.fulfilments != 1:
        raise PurchaseFailed(
            "not_fulfilled",
            f"the shop says {order.status}, goods sent {order.fulfilments} times; the order:\n"
            + "\n".join(render_entry(entry) for entry in timeline),
        )
    return timeline


def render_entry(entry: TimelineEntry) -> str:
    """Write one timeline entry as one line."""
    return f"{entry.at:%H:%M:%S.%f} {entry.actor:<10} {entry.kind:<10} {entry.summary}"


async def _told_everything(stage: Stage, order: ShopOrder) -> bool:
    """Say whether the delivery of order.fulfilled is in the timeline."""
    timeline = await _timeline(stage, order)
    return any(
        entry.kind == "delivery" and "order.fulfilled" in entry.summary for entry in timeline
    )


async def _timeline(stage: Stage, order: ShopOrder) -> list[TimelineEntry]:
    account = stage.resources.accounts.list_all()[0]
    order_id = UUID(str(order.order_id))
    return list(await list_timeline(stage.resources.database, account.account_id, order_id))


async def _wallet_url(pool: httpcore2.AsyncConnectionPool, checkout_url: str) -> str:
    """Find the "Open Binance app" link on the checkout page, once the code is there."""
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                page = (await pool.request("GET", checkout_url)).content.decode()
                link = re.search(r'href="([^"]+/payment/secpay[^"]*)"', page)
                if link is not None:
                    return link.group(1).replace("&amp;", "&")
                await asyncio.sleep(_EVERY_SECONDS)
    except TimeoutError:
        raise PurchaseFailed(
            "no_code", f"{checkout_url} showed no way to pay for {DEADLINE_SECONDS:.0f} s"
        ) from None
