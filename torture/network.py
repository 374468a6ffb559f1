"""The network of the simulated world: ASGI in process, with delays, losses and dead hosts.

Whoever asks waits in his own task, and whoever answers works in one of his: a caller who gives up
or dies does not stop what he asked for.
"""

import asyncio
import contextvars
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message

from checkstand.binance import Answer, NeverSent, NoAnswer, Request
from checkstand.deliveries.sender import DeliveryAnswer, DeliveryFailed
from checkstand.simulator.door import CUT
from torture.faults import Breakage, Watcher
from torture.loop import OWNER, Owner


class Unreached(ConnectionRefusedError):
    """Nothing of the request arrived."""


class Unanswered(ConnectionResetError):
    """It may have been done; no answer came."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """An HTTP request."""

    method: str = "POST"
    url: str
    headers: Mapping[str, str]
    body: bytes = b""


class Network:
    """Carries calls, each with its own delays."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seed: str) -> None:
        self._loop = loop
        self._random = random.Random(seed)

    async def travel(self) -> None:
        """Wait as long as one way takes."""
        slow = self._random.random() < 0.04
        await asyncio.sleep(self._random.uniform(*((0.1, 1.5) if slow else (0.001, 0.03))))

    async def ask(self, app: ASGIApp, call: Call, *, owner: Owner | None) -> Reply:
        """Have somebody answer, in a task of his own. Raises Unreached and Unanswered."""
        context = contextvars.copy_context()
        context.run(OWNER.set, owner)
        answering = self._loop.create_task(_answer_or_drop(app, call), context=context)
        try:
            reply = await asyncio.shield(answering)
        except asyncio.CancelledError:
            if answering.cancelled():
                raise Unanswered("the other side went away") from None
            raise
        if isinstance(reply, Reply):
            return reply
        raise reply


async def _answer_or_drop(app: ASGIApp, call: Call) -> Reply | Unreached | Unanswered:
    """Answer; a dropped connection is a value, for nobody may be there any more to hear of it.

    Whatever else goes wrong is a defect of who answers: it is raised, and the loop reports it
    where nobody listens.
    """
    try:
        return await _answer(app, call)
    except (Unreached, Unanswered) as dropped:
        return dropped


async def _answer(app: ASGIApp, call: Call) -> Reply:
    parts = urlsplit(call.url)
    line: dict[str, Any] = {"cut": None}

    def cut() -> None:
        line["cut"] = "cut"

    def reset() -> None:
        line["cut"] = "reset"

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": call.method,
        "scheme": parts.scheme,
        "path": parts.path,
        "raw_path": parts.path.encode(),
        "query_string": parts.query.encode(),
        "root_path": "",
        "headers": [(k.lower().encode(), v.encode()) for k, v in call.headers.items()],
        "client": ("203.0.113.7", 40000),
        "server": (parts.hostname, 443),
        "extensions": {CUT: {"cut": cut, "reset": reset, "is_new": True}},
        "state": {},
    }
    chunks: list[bytes] = []
    started: Message = {}
    sent_body = False

    async def receive() -> Message:
        nonlocal sent_body
        if sent_body:
            return {"type": "http.disconnect"}
        sent_body = True
        return {"type": "http.request", "body": call.body, "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            started.update(message)
        else:
            chunks.append(message.get("body", b""))

    await app(scope, receive, send)
    if line["cut"] == "reset":
        raise Unreached("connection reset")
    if line["cut"] == "cut" or not started:
        raise Unanswered("connection dropped")
    headers = {k.decode().lower(): v.decode() for k, v in started["headers"]}
    return Reply(started["status"], headers, b"".join(chunks))


class BinanceLine:
    """A host's way to Binance: a transport for the SDK."""

    def __init__(
        self, network: Network, simulator: ASGIApp, *, faults: Breakage, watcher: Watcher
    ) -> None:
        self._network = network
        self._simulator = simulator
        self._faults = faults
        self._watcher = watcher

    async def send(self, request: Request) -> Answer:
        """Send once and return the answer. Raises NeverSent or NoAnswer."""
        call = Call(url=request.url, headers=dict(request.headers), body=request.body)
        try:
            async with asyncio.timeout(request.timeout_seconds):
                reply = await self._ask(call)
        except Unreached as error:
            raise NeverSent(str(error)) from error
        except Unanswered as error:
            raise NoAnswer(str(error)) from error
        except TimeoutError as error:
            raise NoAnswer("no answer in time", timed_out=True) from error
        return Answer(reply.status, reply.headers, reply.body)

    async def _ask(self, call: Call) -> Reply:
        await die_here(self._watcher)
        path = urlsplit(call.url).path
        await self._network.travel()
        if self._faults.draw("binance unreachable", name=path):
            raise Unreached("connection refused")
        reply = await self._network.ask(self._simulator, call, owner=None)
        await die_here(self._watcher)
        await self._network.travel()
        if self._faults.draw("binance unanswered", name=path):
            raise Unanswered("the answer was lost")
        return reply

    async def fetch(self, url: str, into: Path, *, may_be_plain: bool) -> str | None:
        """Write a report file of Binance's into a file of ours; return why that did not work."""
        del may_be_plain
        try:
            reply = await self._ask(Call(method="GET", url=url, headers={}))
        except (Unreached, Unanswered) as error:
            return f"the connection failed ({type(error).__name__})"
        if reply.status != 200:
            return f"its address answers {reply.status}"
        into.write_bytes(reply.body)  # noqa: ASYNC240  (nothing else runs meanwhile, here)
        return None

    async def sleep(self, seconds: float) -> None:
        """Wait between two attempts."""
        await asyncio.sleep(seconds)

    async def aclose(self) -> None:
        """Leave the network as it is."""


class ShopLine:
    """A host's way to the shop: the sender of deliveries."""

    def __init__(
        self,
        network: Network,
        shop: ASGIApp,
        *,
        faults: Breakage,
        watcher: Watcher,
        timeout_seconds: float,
    ) -> None:
        self._network = network
        self._shop = shop
        self._faults = faults
        self._watcher = watcher
        self._timeout_seconds = timeout_seconds

    async def send(self, *, url: str, headers: Mapping[str, str], body: bytes) -> DeliveryAnswer:
        """POST once and return the answer. Raises DeliveryFailed when none came."""
        call = Call(url=url, headers=headers, body=body)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                reply = await self._ask(call)
        except Unreached as error:
            raise DeliveryFailed(str(error), was_sent=False) from error
        except (Unanswered, TimeoutError) as error:
            raise DeliveryFailed(str(error) or "no answer", was_sent=True) from error
        retry_after = reply.headers.get("retry-after")
        return DeliveryAnswer(reply.status, "", 0.0, retry_after)

    async def _ask(self, call: Call) -> Reply:
        await die_here(self._watcher)
        await self._network.travel()
        if self._faults.draw("shop unreachable"):
            raise Unreached("connection refused")
        if self._faults.draw("delivered twice"):
            await self._network.ask(self._shop, call, owner=None)
        reply = await self._network.ask(self._shop, call, owner=None)
        await die_here(self._watcher)
        await self._network.travel()
        if self._faults.draw("shop unanswered"):
            raise Unanswered("the answer was lost")
        return reply


async def die_here(watcher: Watcher) -> None:
    """Let the process end at this passing of a door, if that is planned."""
    if watcher.is_at_end():
        await asyncio.get_running_loop().create_future()
