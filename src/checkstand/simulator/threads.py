"""A simulator in a thread and event loop of its own, for tests that are not asynchronous or that
run a loop themselves.

`control` works from any thread and waits for what it does. In an asynchronous test it would hold
up the test's own loop, which a webhook may be waiting for: `ask` leaves that running.
"""

import asyncio
import contextlib
import inspect
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

from checkstand.simulator.clock import SimulatedClock
from checkstand.simulator.control import Control
from checkstand.simulator.faults import FaultBook
from checkstand.simulator.records import Merchant
from checkstand.simulator.server import DEFAULT_MERCHANT, Simulator, running_simulator

T = TypeVar("T")
_JOIN_SECONDS = 30.0  # requests under way are let finish for 5 of them


class ThreadedSimulator:
    """A simulator that runs elsewhere in this process."""

    def __init__(
        self, simulator: Simulator, loop: asyncio.AbstractEventLoop, merchant: Merchant
    ) -> None:
        self._control = simulator.control
        self._loop = loop
        self.base_url = simulator.base_url
        self.api_key = merchant.api_key
        self.api_secret = merchant.api_secret
        self.merchant_id = merchant.merchant_id

    @property
    def control(self) -> Any:
        """The `Control` of the simulator; each use happens in its loop and is waited for."""
        return _Hand(self.do, self._control)

    def do(self, act: Callable[[Control], Awaitable[T] | T]) -> T:
        """Do something with the control and wait for it, thread and all."""
        return asyncio.run_coroutine_threadsafe(_done(act, self._control), self._loop).result()

    async def ask(self, act: Callable[[Control], Awaitable[T] | T]) -> T:
        """Do something with the control, and let the caller's loop run on meanwhile."""
        doing = asyncio.run_coroutine_threadsafe(_done(act, self._control), self._loop)
        return await asyncio.wrap_future(doing)


class _Hand:
    """Stands for the control, its clock or its faults in another thread."""

    def __init__(self, do: Callable[[Callable[[Control], Any]], Any], target: object) -> None:
        self._do = do
        self._target = target

    def __getattr__(self, name: str) -> Any:
        value = self._do(lambda _: getattr(self._target, name))
        if isinstance(value, SimulatedClock | FaultBook):
            return _Hand(self._do, value)
        if not callable(value):
            return value
        return lambda *args, **options: self._do(lambda _: value(*args, **options))


@contextlib.contextmanager
def simulator_in_thread(**options: Any) -> Iterator[ThreadedSimulator]:
    """Run a simulator while the block runs; takes what `running_simulator` takes."""
    merchant = options.get("merchants", (DEFAULT_MERCHANT,))[0]
    started = threading.Event()
    running: list[tuple[Simulator, asyncio.AbstractEventLoop, asyncio.Event]] = []
    failures: list[BaseException] = []

    async def serve() -> None:
        stopped = asyncio.Event()
        async with running_simulator(**options) as simulator:
            running.append((simulator, asyncio.get_running_loop(), stopped))
            started.set()
            await stopped.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:  # noqa: BLE001 - raised again where the block is
            failures.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=run, name="binance-pay-simulator", daemon=True)
    thread.start()
    started.wait()
    try:
        if running:
            simulator, loop, _ = running[0]
            yield ThreadedSimulator(simulator, loop, merchant)
    finally:
        for _, loop, stopped in running:
            with contextlib.suppress(RuntimeError):  # it failed and its loop is closed
                loop.call_soon_threadsafe(stopped.set)
        thread.join(_JOIN_SECONDS)
    if failures:
        raise failures[0]


async def _done(act: Callable[[Control], Awaitable[T] | T], control: Control) -> T:
    result = act(control)
    return await result if inspect.isawaitable(result) else result
