"""An event loop whose time jumps: forward to the next timer, whenever nothing else can happen.

While I/O with PostgreSQL is under way the loop waits for it in real time and virtual time stands
still. I/O is looked at only when every callback that is ready has run, so what runs between two
answers of the database never depends on how fast it answered.
"""

import asyncio
import contextlib
import heapq
import selectors
from collections.abc import Callable, Iterator
from contextvars import Context, ContextVar
from typing import Any, Protocol

#: PostgreSQL answers in a millisecond; after this long something is broken.
_STUCK_AFTER_SECONDS = 60.0


class NothingHappens(RuntimeError):
    """No timer, no I/O and nothing ready: whoever waits now waits for ever."""


class Owner(Protocol):
    """Somebody whose tasks can be dropped all at once, like a process."""

    def adopt(self, task: "asyncio.Task[Any]") -> None:
        """Hear of a task that was made on one's behalf."""
        ...


#: On whose behalf the present task runs; inherited by the tasks it makes.
OWNER: ContextVar[Owner | None] = ContextVar("owner", default=None)


class _Selector(selectors.DefaultSelector):
    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            return []  # something is ready: I/O has to wait its turn
        if not self.loop.is_waiting_for_real:
            self.loop.jump()
            return []
        events = super().select(_STUCK_AFTER_SECONDS)
        if not events:
            raise NothingHappens("the database does not answer")
        return events


class _Timer(asyncio.TimerHandle):
    """A timer that, of two for one moment, comes first if it was set first.

    asyncio's own leave that to the shape of its heap, which depends on what was cancelled before.
    """

    number = 0

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, _Timer):
            return NotImplemented
        return (self.when(), self.number) < (other.when(), other.number)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs days in a second, and the same way every time."""

    _scheduled: list[asyncio.TimerHandle]  # asyncio's own heap
    _timer_cancelled_count: int

    def __init__(self) -> None:
        self._now = 0.0
        self._real = 0
        self._timers_made = 0
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)
        self.set_task_factory(_make_task)

    def time(self) -> float:
        """Return the virtual seconds since the loop began, or was rewound."""
        return self._now

    @property
    def is_waiting_for_real(self) -> bool:
        """Say whether I/O is under way."""
        return self._real > 0

    @contextlib.contextmanager
    def reality(self) -> Iterator[None]:
        """Let time stand still: what is awaited in here comes from outside."""
        self._real += 1
        try:
            yield
        finally:
            self._real -= 1

    def call_at(  # type: ignore[override]  # asyncio's stub binds callback and arguments
        self,
        when: float,
        callback: Callable[..., Any],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call back at a moment, after all that were set for it before."""
        timer = _Timer(when, callback, args, self, context)
        self._timers_made += 1
        timer.number = self._timers_made
        heapq.heappush(self._scheduled, timer)
        timer._scheduled = True  # type: ignore[attr-defined]  # noqa: SLF001 (as asyncio does)
        return timer

    def jump(self) -> None:
        """Go to the next timer."""
        if not self._scheduled:
            raise NothingHappens("nothing is scheduled, and nothing is under way")
        self._now = max(self._now, self._scheduled[0].when())

    def rewind(self) -> None:
        """Begin at zero again, with no timers."""
        for handle in self._scheduled:
            handle.cancel()
        self._scheduled.clear()
        self._timer_cancelled_count = 0  # else the heap is tidied at another moment the next time
        self._now = 0.0

    def run_in_executor(  # type: ignore[override]
        self, _executor: Any, func: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        """Do it here and now: a thread would come back at a moment of its own choosing."""
        done = self.create_future()
        done.set_result(func(*args))
        return done


def _make_task(
    loop: asyncio.AbstractEventLoop, coroutine: Any, context: Context | None = None, **options: Any
) -> "asyncio.Task[Any]":
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, context=context, **options)
    owner = context.get(OWNER) if context is not None else OWNER.get()
    if owner is not None:
        owner.adopt(task)
    return task
