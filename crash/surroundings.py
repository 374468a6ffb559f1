"""What is around a gateway: a shop that hears events, and the simulator under control."""

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from checkstand.receiver import Event, EventRefused, Receiver
from crash.http import UNREACHABLE, Caller

Acknowledge = Callable[[str], Awaitable[bool]]  # order_id → whether the gateway took it


class Shop:
    """Verifies what it hears, gives goods out once for each order.paid, and acknowledges."""

    def __init__(self) -> None:
        self.url = ""
        self.heard: dict[str, list[Event]] = {}  # order_id → everything, repeats included
        self.goods: Counter[str] = Counter()  # order_id → how often goods were given out
        self._given: set[str] = set()  # ids of events for which goods were given out
        self._receivers: dict[str, tuple[Receiver, Acknowledge | None]] = {}
        self._refusals = 0

    def listen(self, name: str, secret: str, acknowledge: Acknowledge | None) -> None:
        """Take events at `/NAME`; with `acknowledge` the shop says by itself that it delivered."""
        self._receivers[name] = (Receiver(secret), acknowledge)

    def refuse_paid(self, times: int) -> None:
        """Answer the next order.paid with 503, so many times."""
        self._refusals = times

    async def take(self, request: Request) -> Response:
        """Hear one event."""
        receiver, acknowledge = self._receivers[request.path_params["name"]]
        try:
            event = receiver.open(await request.body(), request.headers)
        except EventRefused as error:
            return Response(status_code=error.http_status)
        if event.type == "order.paid":
            if self._refusals > 0:
                self._refusals -= 1
                return Response(status_code=503)
            if not await self._deliver(event, acknowledge):
                return Response(status_code=503)
        self.heard.setdefault(event.order["order_id"], []).append(event)
        return Response(status_code=204)

    async def _deliver(self, event: Event, acknowledge: Acknowledge | None) -> bool:
        order_id = event.order["order_id"]
        if acknowledge is not None:
            try:
                taken = await acknowledge(order_id)
            except UNREACHABLE:
                taken = False  # the gateway died under it, and will say the event again
            if not taken:
                return False
        # Asked only now, for the same event may have come again while this one was acknowledged.
        if event.id not in self._given:
            self._given.add(event.id)
            self.goods[order_id] += 1
        return True


@asynccontextmanager
async def running_shop() -> AsyncIterator[Shop]:
    """Serve a shop of its own port."""
    shop = Shop()
    app = Starlette(routes=[Route("/{name}", shop.take, methods=["POST"])])
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = _Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    shop.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        yield shop
    finally:
        server.should_exit = True
        await serving


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: Ctrl-C is the harness's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        """Leave the signals alone."""
        yield


class BinanceRefused(Exception):
    """The simulator's control API said no."""


class Binance:
    """The simulator's control API: the payer's hand, and the books to compare with."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._caller = Caller(url)

    async def ask(self, method: str, path: str, **options: Any) -> Any:
        """Call the control API. Raises BinanceRefused."""
        answer = await self._caller.request(method, f"/simulator{path}", body=options)
        if answer.status != 200:
            raise BinanceRefused(f"{method} {path}: {answer.json['error']}")
        return answer.json

    async def state(self) -> Any:
        """Return everything it knows."""
        return (await self._caller.request("GET", "/simulator/state")).json

    async def find(self, trade_number: str) -> Any | None:
        """Return one order; None when nothing of that number ever landed."""
        answer = await self._caller.request("GET", f"/simulator/orders/{trade_number}")
        return answer.json if answer.status == 200 else None

    async def refunds_of(self, orders: Sequence[Any]) -> list[Any]:
        """Return every refund that Binance knows of these orders."""
        numbers = {order["prepay_id"] for order in orders}
        return [r for r in (await self.state())["refunds"] if r["prepay_id"] in numbers]

    async def close(self) -> None:
        """Drop the connections."""
        await self._caller.close()
