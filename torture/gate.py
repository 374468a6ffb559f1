"""The gate at the database door: one transaction at a time, whose turn is drawn from the seed.

Without it the order in which PostgreSQL answers several connections would decide what happens
next, and no seed would run twice the same way. All gateways of a world share one connection, so
nothing waits for locks here; that is what the crash matrix is for.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any

from torture.loop import VirtualLoop
from torture.trace import Trace

#: A transaction takes this long in virtual time; who comes meanwhile competes for the next turn.
_TURN_SECONDS = (0.0002, 0.004)


@dataclass(slots=True)
class _Waiting:
    host: str
    turn: "asyncio.Future[None]"


@dataclass(slots=True)
class Gate:
    """Lets one at a time through."""

    loop: VirtualLoop
    random: random.Random
    trace: Trace
    waiting: list[_Waiting] = field(default_factory=list)
    inside: str | None = None  # the host whose transaction is under way
    passings: int = 0
    #: Called with what just left, while the connection is still free to be asked.
    after_commit: Callable[[], Awaitable[None]] | None = None
    _opening: asyncio.TimerHandle | None = None
    _closed_until: float = 0.0

    async def enter(self, host: str) -> None:
        """Wait for a turn."""
        waiting = _Waiting(host, self.loop.create_future())
        self.waiting.append(waiting)
        self._open_soon()
        try:
            await waiting.turn
        except BaseException:
            if waiting in self.waiting:
                self.waiting.remove(waiting)
            elif waiting.turn.done() and not waiting.turn.cancelled():
                self.leave()  # the turn came in the same moment as the end
            raise

    def leave(self) -> None:
        """Let the next one in."""
        self.inside = None
        self._open_soon()

    def stall(self, seconds: float) -> None:
        """Let nobody in for a while: a database that is slow."""
        self._closed_until = self.loop.time() + seconds

    def _open_soon(self) -> None:
        if self.inside is None and self._opening is None and self.waiting:
            pause = self.random.uniform(*_TURN_SECONDS)
            when = max(self.loop.time(), self._closed_until) + pause
            self._opening = self.loop.call_at(when, self._open)

    def _open(self) -> None:
        self._opening = None
        self.waiting = [each for each in self.waiting if not each.turn.done()]
        if not self.waiting:
            return
        chosen = self.waiting.pop(self.random.randrange(len(self.waiting)))
        self.inside = chosen.host
        self.passings += 1
        self.trace.note(chosen.host, f"has the turn, {len(self.waiting)} wait")
        chosen.turn.set_result(None)


class GatedPool:
    """What a host takes for its pool of connections."""

    def __init__(
        self,
        connection: Any,
        *,
        gate: Gate,
        host: str,
        database_now: Callable[[], datetime],
        check: Callable[[], Awaitable[None]],
    ) -> None:
        self._connection = _Clocked(connection, database_now)
        self._gate = gate
        self._host = host
        self._check = check
        self.is_dirty = False  # something was committed in this turn

    def acquire(self, *, timeout: float | None = None) -> "_Passage":
        """Return what waits for the turn and, at its end, gives it back."""
        return _Passage(self, timeout)

    async def close(self) -> None:
        """Leave the connection to those who share it."""

    async def enter(self, timeout: float | None) -> Any:  # noqa: ASYNC109
        """Wait for the turn. Raises TimeoutError, and OSError while the database is away."""
        async with asyncio.timeout(timeout):
            await self._check()
            await self._gate.enter(self._host)
        self.is_dirty = False
        return self._connection

    async def leave(self) -> None:
        """Give the turn back; after a commit, let the world look at what is in the rows now."""
        try:
            if self.is_dirty and self._gate.after_commit is not None:
                await self._gate.after_commit()
        finally:
            self._gate.leave()

    @property
    def loop(self) -> VirtualLoop:
        """Return the loop that must stand still meanwhile."""
        return self._gate.loop


class Crashed(BaseException):
    """The process is gone. No `except Exception` hears of it."""


class _Passage:
    def __init__(self, pool: GatedPool, timeout: float | None) -> None:
        self._pool, self._timeout = pool, timeout

    async def __aenter__(self) -> Any:
        connection = await self._pool.enter(self._timeout)
        self._real = self._pool.loop.reality()
        self._real.__enter__()
        return connection

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self._pool.leave()
        finally:
            self._real.__exit__(None, None, None)
        if isinstance(error, Crashed):
            await self._pool.loop.create_future()  # nothing more is done until the end


class _Clocked:
    """The connection, with a clock of the simulated world."""

    def __init__(self, connection: Any, now: Callable[[], datetime]) -> None:
        self._connection, self._now = connection, now

    async def fetchval(self, sql: str) -> Any:
        """Answer the one question that PostgreSQL would answer with the real time."""
        if sql == "SELECT clock_timestamp()":
            return self._now()
        return await self._connection.fetchval(sql)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)
