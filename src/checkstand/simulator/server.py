"""Starts and stops a simulator: in process for tests, or as a program of its own.

It is served by uvicorn in the caller's event loop, with two changes: no signal handlers, and a
protocol class that can cut a connection in place of answering.
"""

import asyncio
import contextlib
import os
import signal
import socket
import struct
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from checkstand.simulator import wire
from checkstand.simulator.accounts import Payer
from checkstand.simulator.ambient import Randomness
from checkstand.simulator.clock import SimulatedClock
from checkstand.simulator.control import Control
from checkstand.simulator.control_pages import control_routes
from checkstand.simulator.door import CUT, Door
from checkstand.simulator.endpoints import ENDPOINTS, PREFIX
from checkstand.simulator.faults import FaultBook
from checkstand.simulator.orders import DEFAULT_PAYER_ID
from checkstand.simulator.postman import Line, Postman
from checkstand.simulator.records import Merchant
from checkstand.simulator.report_pages import report_routes
from checkstand.simulator.settings import Settings
from checkstand.simulator.signing import KeyRing, SigningKey
from checkstand.simulator.store import Store
from checkstand.simulator.wallet_pages import WalletPages
from checkstand.simulator.world import World

DEFAULT_API_KEY = "simulator"
DEFAULT_API_SECRET = "simulator"  # noqa: S105 - documented, and guards nothing
DEFAULT_MERCHANT_ID = "900000001"
DEFAULT_PORT = 8081

DEFAULT_MERCHANT = Merchant(
    api_key=DEFAULT_API_KEY, api_secret=DEFAULT_API_SECRET, merchant_id=DEFAULT_MERCHANT_ID
)


class PortTaken(OSError):
    """The address cannot be bound; the message names the option that changes it."""


class Simulator:
    """A running simulator: where it is, and the hand that controls it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.base_url = world.base_url
        self.control = Control(world)
        self.clock = world.clock


@contextlib.asynccontextmanager
async def running_simulator(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    merchants: Sequence[Merchant] = (DEFAULT_MERCHANT,),
    clock: SimulatedClock | None = None,
    settings: Settings | None = None,
    signing_key: SigningKey | None = None,
    seed: int | None = None,
    public_url: str | None = None,
) -> AsyncIterator[Simulator]:
    """Serve a simulator while the block runs; port 0 picks a free one.

    `public_url` is put into links where payers reach the simulator by another address than the
    one it listens on. Raises `PortTaken`.
    """
    listener = _listen(host, port)
    base_url = public_url.rstrip("/") if public_url else _address(host, listener)
    world = make_world(
        base_url=base_url,
        merchants=merchants,
        clock=clock or SimulatedClock(),
        settings=settings or Settings(),
        keys=KeyRing(signing_key),
        randomness=Randomness(seed),
    )
    server = _Server(_configuration(make_application(world)))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await server.is_up.wait()
        simulator = Simulator(world)
        simulator.base_url = _address(host, listener)
        yield simulator
    finally:
        world.clock.close()
        server.is_over.set()
        await serving
        await world.postman.close()


async def serve(
    *,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    api_key: str = DEFAULT_API_KEY,
    api_secret: str = DEFAULT_API_SECRET,
    merchant_id: str = DEFAULT_MERCHANT_ID,
    webhook_url: str | None = None,
    public_url: str | None = None,
    settings: Settings | None = None,
    seed: int | None = None,
    announce: Callable[[str], object] | None = None,
) -> None:
    """Run a simulator until SIGINT or SIGTERM; say `ready URL` on stdout when it listens.

    Raises `PortTaken`.
    """
    merchant = Merchant(
        api_key=api_key, api_secret=api_secret, merchant_id=merchant_id, webhook_url=webhook_url
    )
    async with running_simulator(
        host=host,
        port=port,
        merchants=(merchant,),
        settings=settings,
        seed=seed,
        public_url=public_url,
    ) as simulator:
        with _stop_signals() as stopped:
            (announce or _say)(f"ready {simulator.base_url}")
            await stopped.wait()


def make_world(
    *,
    base_url: str,
    merchants: Sequence[Merchant],
    clock: SimulatedClock,
    settings: Settings,
    keys: KeyRing,
    randomness: Randomness,
    line: Line | None = None,
) -> World:
    """Put a simulator's parts together; `line` carries webhooks by another way than HTTP."""
    purse = dict.fromkeys(sorted(settings.currencies), settings.payer_opening_balance)
    payer = Payer(payer_id=DEFAULT_PAYER_ID, name="Simulated payer", opening_balances=purse)
    store = Store(merchants, [payer])
    # Separate branches: what faults strike does not depend on how many webhooks were signed.
    faults = FaultBook(randomness=randomness.branch("faults"), endpoints=ENDPOINTS)
    postman = Postman(
        settings=settings,
        clock=clock,
        store=store,
        keys=keys,
        faults=faults,
        randomness=randomness.branch("postman"),
        line=line,
    )
    return World(
        base_url=base_url,
        settings=settings,
        clock=clock,
        store=store,
        keys=keys,
        faults=faults,
        randomness=randomness,
        postman=postman,
    )


def make_application(world: World) -> ASGIApp:
    """Put the API's door beside the pages; the edge blocks every path that neither knows."""
    door = Door(world)
    routes = [
        *WalletPages(world).routes,
        *report_routes(world),
        *control_routes(Control(world)),
    ]
    pages = Starlette(routes=routes, exception_handlers={404: _blocked})

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith(PREFIX):
            await door(scope, receive, send)
        else:
            await pages(scope, receive, send)

    return application


async def _blocked(_: Request, __: Exception) -> Response:
    answer = wire.request_blocked()
    return Response(answer.body, status_code=answer.status, media_type=answer.content_type)


class _CuttableProtocol(HttpToolsProtocol):
    """Hands the application ways to drop the connection, which ASGI has no word for."""

    _is_new = True

    def on_message_begin(self) -> None:
        super().on_message_begin()
        line: dict[object, object] = {
            "cut": self.transport.abort,
            "reset": self._reset,
            "is_new": self._is_new,
        }
        self.scope["extensions"] = {CUT: line}
        self._is_new = False

    def _reset(self) -> None:
        """Have the system send RST rather than FIN, as a closed port or a broken router does."""
        with socket.socket(fileno=os.dup(self.transport.get_extra_info("socket").fileno())) as own:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


class _Server(uvicorn.Server):
    """A uvicorn that leaves signals alone, says when it is up, and ends when told."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = asyncio.Event()
        self.is_over = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the program."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets=sockets)
        self.is_up.set()

    async def main_loop(self) -> None:
        """Wait for the end without polling for it."""
        await self.is_over.wait()


def _configuration(application: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        http=_CuttableProtocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,  # the door sends the simulated time instead
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=5,
    )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio sets TCP_NODELAY on what this accepts; without it every
    # answer waits 40 ms for the client's delayed acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise PortTaken(
            error.errno,
            f"cannot listen on {host}:{port} ({error.strerror}): choose another port with "
            "--port, or --port 0 for a free one",
        ) from error
    listener.settimeout(0)
    return listener


def _address(host: str, listener: socket.socket) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - not bound here
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{listener.getsockname()[1]}"


@contextlib.contextmanager
def _stop_signals() -> Iterator[asyncio.Event]:
    """Set the event when the program is asked to stop."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    try:
        yield stopped
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
