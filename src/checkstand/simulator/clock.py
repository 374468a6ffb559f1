"""The one clock of the simulator, with its timers.

Expiry, retries, delays and timestamps all follow it. It can be frozen, set, moved and sped up;
when it is moved, everything due on the way happens at once and in order, each timer seeing its
own due time. Timers act synchronously, so each is one indivisible step between requests. Use it
from the simulator's own event loop only.
"""

import asyncio
import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

from checkstand.simulator.ambient import host_now_ms

#: Wake at least this often, so that a host clock that jumped is noticed.
_WAKE_SECONDS_MAX = 30.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(order=True, slots=True)
class Timer:
    """Something that happens when the clock reaches a moment, unless it is cancelled."""

    due_ms: int
    number: int  # timers of one moment fire in the order they were set
    action: Callable[[], object] = field(compare=False)
    cancelled: bool = field(compare=False, default=False)

    def cancel(self) -> None:
        """Never fire."""
        self.cancelled = True


class SimulatedClock:
    """A clock that runs with the host's until somebody moves, freezes or hurries it."""

    def __init__(self, *, host_ms: Callable[[], int] = host_now_ms) -> None:
        self._host_ms = host_ms
        self._read_at_ms = host_ms()  # the host's time when `_reading_ms` was true
        self._reading_ms = self._read_at_ms
        self._speed = 1.0
        self._frozen = False
        self._timers: list[Timer] = []
        self._timers_made = 0
        self._sleepers: set[asyncio.Future[None]] = set()
        self._wake: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def frozen(self) -> bool:
        """Say whether the clock stands still."""
        return self._frozen

    @property
    def speed(self) -> float:
        """Say how many simulated seconds pass in one of the host's."""
        return self._speed

    @property
    def next_due_ms(self) -> int | None:
        """Return when the next timer fires, if there is one."""
        while self._timers and self._timers[0].cancelled:
            heapq.heappop(self._timers)
        return self._timers[0].due_ms if self._timers else None

    def host_ms(self) -> int:
        """Return the host's Unix milliseconds, whatever this clock shows."""
        return self._host_ms()

    def now_ms(self) -> int:
        """Return Unix milliseconds."""
        if self._frozen:
            return self._reading_ms
        return self._reading_ms + int((self._host_ms() - self._read_at_ms) * self._speed)

    def now(self) -> datetime:
        """Return the moment in aware UTC."""
        return _EPOCH + timedelta(milliseconds=self.now_ms())

    def freeze(self) -> None:
        """Stand still until moved or resumed."""
        self._anchor(self.now_ms())
        self._frozen = True
        self._arm()

    def resume(self) -> None:
        """Run on from the present reading."""
        self._anchor(self.now_ms())
        self._frozen = False
        self._arm()

    def hurry(self, speed: float) -> None:
        """Let `speed` simulated seconds pass in each of the host's."""
        if not 0 < speed <= 1_000_000:
            raise ValueError("speed must be above 0 and at most 1,000,000")
        self._anchor(self.now_ms())
        self._speed = speed
        self._arm()

    def advance(self, seconds: float) -> None:
        """Move on by `seconds`; everything due on the way happens before this returns."""
        if seconds < 0:
            raise ValueError("the clock advances forwards; set() turns it back")
        self.set_ms(self.now_ms() + round(seconds * 1000))

    def set(self, moment: datetime) -> None:
        """Move to an aware moment; everything due up to it happens before this returns."""
        if moment.tzinfo is None:
            raise ValueError("the clock is set to an aware moment")
        self.set_ms((moment - _EPOCH) // timedelta(milliseconds=1))

    def set_ms(self, target_ms: int) -> None:
        """Move to Unix milliseconds; see `set`."""
        try:
            while (due_ms := self.next_due_ms) is not None and due_ms <= target_ms:
                # A timer that is late already must not turn the clock back.
                self._anchor(max(due_ms, self.now_ms()))
                heapq.heappop(self._timers).action()
        finally:
            self._anchor(target_ms)
            self._arm()

    def run_due(self) -> None:
        """Fire what is due by now: before a request is judged, the past must have happened."""
        try:
            while (due_ms := self.next_due_ms) is not None and due_ms <= self.now_ms():
                heapq.heappop(self._timers).action()
        finally:
            self._arm()

    def call_at(self, due_ms: int, action: Callable[[], object]) -> Timer:
        """Do `action` when the clock reaches `due_ms`."""
        self._timers_made += 1
        timer = Timer(due_ms, self._timers_made, action)
        heapq.heappush(self._timers, timer)
        if self._timers[0] is timer:
            self._arm()
        return timer

    def call_later(self, seconds: float, action: Callable[[], object]) -> Timer:
        """Do `action` when `seconds` have passed on this clock."""
        return self.call_at(self.now_ms() + round(seconds * 1000), action)

    async def sleep(self, seconds: float) -> None:
        """Wait until `seconds` have passed on this clock, or it is closed."""
        if seconds <= 0 or self._closed:
            return
        over = asyncio.get_running_loop().create_future()
        self._sleepers.add(over)
        timer = self.call_later(seconds, partial(_let_go, over))
        try:
            await over
        finally:
            timer.cancel()
            self._sleepers.discard(over)

    def clear(self) -> None:
        """Drop every timer and let every sleeper go."""
        self._timers.clear()
        for over in self._sleepers:
            _let_go(over)
        self._arm()

    def close(self) -> None:
        """Fire no more timers and let every sleeper go."""
        self._closed = True
        self.clear()

    def _anchor(self, reading_ms: int) -> None:
        self._reading_ms, self._read_at_ms = reading_ms, self._host_ms()

    def _arm(self) -> None:
        """Have the event loop wake us at the next due time; a frozen clock needs no waking."""
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        due_ms = self.next_due_ms
        if due_ms is None or self._frozen or self._closed:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # built outside a loop; the first timer set inside one arms it
        seconds = max(0.0, (due_ms - self.now_ms()) / 1000 / self._speed)
        self._wake = loop.call_later(min(seconds, _WAKE_SECONDS_MAX), self.run_due)


def _let_go(over: asyncio.Future[None]) -> None:
    if not over.done():
        over.set_result(None)
