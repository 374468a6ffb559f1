"""What a shop and a shopper do to one order, while the gateway may die under their hands."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import asyncpg

from crash.lane import Lane
from crash.standing import Standing, read_standing, what_is_under_way

#: A lease that a dead process left is waited for, then everything goes on from the rows; a shop
#: that was away twice is told again after half a minute.
REST_WITHIN_SECONDS = 120.0
#: Binance sends a notice again that was answered FAIL, which is no harm on a crowded machine.
_REPEATS_MAX = 3
#: What reading leads to while PostgreSQL is killed, starts again, or has no room.
DATABASE_AWAY = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a statement between the server's last word and its end
    OSError,
)
_LOOK_EVERY_SECONDS = 0.25


class NoRest(Exception):
    """The order does not come to rest; the message says what is still under way."""


class Scene:
    """One order on one lane. `begin` is the moment from which points count."""

    def __init__(self, lane: Lane, *, on_begin: Callable[[], Awaitable[None]]) -> None:
        self.lane = lane
        self._on_begin = on_begin
        self._key = uuid.uuid4().hex
        self._merchant_order_id = f"cart-{self._key[:16]}"
        self.began_at = 0.0  # on the monotonic clock
        self.order_id: UUID | None = None

    async def begin(self) -> None:
        """Start what the case is about."""
        self.began_at = time.monotonic()
        await self._on_begin()

    # The shop.

    async def create(self, **fields: Any) -> None:
        """Open the order, under one key however often that has to be said."""
        body = {
            "merchant_order_id": self._merchant_order_id,
            "amount": "12.50",
            "currency": "USDT",
            "description": "Tea",
        } | fields
        answer = await self.lane.call(
            "POST",
            "/api/payments/binance/create",
            body=body,
            key=self._key,
            allowed=frozenset({200, 201, 202, 422}),
        )
        order = answer.json.get("order", answer.json)
        self.order_id = UUID(order["order_id"])

    async def open_code(self) -> str:
        """Open the order and wait until it can be paid; return the attempt's trade number."""
        await self.create()
        return await self.code()

    async def code(self) -> str:
        """Wait until the order is at rest and can be paid; return the attempt's trade number."""
        return _code_of(await self.rest())

    async def code_soon(self) -> str:
        """Wait until the order can be paid, whatever else is under way."""
        return _code_of(await self.until(lambda standing: bool(_codes_of(standing))))

    async def ask(self, verb: str, *, allowed: frozenset[int] = frozenset({200, 202})) -> None:
        """Call `/cancel`, `/renew`, `/refresh` … on the order."""
        path = f"/api/payments/binance/orders/{self.order_id}/{verb}"
        await self.lane.call("POST", path, key=uuid.uuid4().hex, allowed=allowed)

    async def refund(self, name: str, **fields: Any) -> None:
        """Ask money back, under one name and key however often that has to be said."""
        number = f"{name}-{self._key[:16]}"
        await self.lane.call(
            "POST",
            f"/api/payments/binance/orders/{self.order_id}/refunds",
            body={"merchant_refund_id": number, "force": True} | fields,
            key=number,
        )

    # The shopper, and misfortune.

    async def pay(self, trade_number: str, **options: Any) -> None:
        """Pay one code."""
        await self.lane.binance.ask("POST", f"/orders/{trade_number}/pay", **options)

    async def fault(self, kind: str, **options: Any) -> None:
        """Let something go wrong at Binance."""
        await self.lane.binance.ask("POST", "/faults", kind=kind, **options)

    async def pass_time(self) -> None:
        """Bring the order's end to now; nobody waits a day for it."""
        await self.lane.database.execute(
            "UPDATE orders SET expires_at = clock_timestamp() WHERE order_id = $1", self.order_id
        )
        await self.lane.database.execute(
            "UPDATE attempts SET due_at = clock_timestamp() WHERE order_id = $1", self.order_id
        )

    # What became of it.

    async def look(self) -> Standing:
        """Read the order as it stands."""
        assert self.order_id is not None
        async with self.lane.database.acquire() as connection:
            return await read_standing(connection, self.lane.binance, self.order_id)

    async def until(self, is_so: Callable[[Standing], bool]) -> Standing:
        """Wait until the order stands as wanted."""
        return await self._wait(lambda standing: None if is_so(standing) else "not as wanted")

    async def rest(self) -> Standing:
        """Wait until nothing is under way any more. Raises NoRest."""
        return await self._wait(what_is_under_way)

    async def _wait(self, why_not: Callable[[Standing], str | None]) -> Standing:
        deadline = time.monotonic() + REST_WITHIN_SECONDS
        while True:
            try:
                standing = await self.look()
                reason = why_not(standing)
            except DATABASE_AWAY as error:
                reason = f"the database is away ({error!r})"
            else:
                if reason is None:
                    return standing
            if time.monotonic() > deadline:
                raise NoRest(f"after {REST_WITHIN_SECONDS:g} s: {reason}")
            await asyncio.sleep(_LOOK_EVERY_SECONDS)

    async def hear_again(self, standing: Standing) -> list[str]:
        """Let Binance say its last word on each attempt again; return what was wrong with that.

        What was answered SUCCESS so far must be stored already. A notice that met a dead gateway
        is sent again by the simulator's timetable anyway; this does not wait for it.
        """
        numbers = {order["merchant_trade_no"] for order in standing.theirs}
        webhooks = (await self.lane.binance.state())["webhooks"]
        told = [w for w in webhooks if w["merchant_trade_no"] in numbers and w["tries"]]
        # Read after them: a notice may be taken between an earlier look and this one.
        stored = {bytes(notice["raw"]) for notice in (await self.look()).notices}
        found = [
            f"{webhook['biz_status']} was answered SUCCESS, and is not stored"
            for webhook in told
            if any(tried["acknowledged"] for tried in webhook["tries"])
            and webhook["body"].encode() not in stored
        ]
        return found + [
            f"the last notice about {number} is answered FAIL again and again"
            for number in sorted({webhook["merchant_trade_no"] for webhook in told})
            if not await self._is_taken_again(number)
        ]

    async def _is_taken_again(self, number: str) -> bool:
        for _ in range(_REPEATS_MAX):
            sent = await self.lane.binance.ask("POST", f"/orders/{number}/send-webhook")
            if sent["tries"][-1]["acknowledged"]:
                return True
            await asyncio.sleep(1)
        return False


def _codes_of(standing: Standing) -> list[str]:
    return [str(a["merchant_trade_no"]) for a in standing.attempts if a["status"] == "OPEN"]


def _code_of(standing: Standing) -> str:
    codes = _codes_of(standing)
    if not codes:
        raise NoRest(f"the order is {standing.order['status']} and has no code")
    return codes[0]
