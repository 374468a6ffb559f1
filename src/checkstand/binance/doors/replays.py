"""The memory of facts that were handled, so that Binance's repetitions cause nothing twice.

Write your own over your database: three methods, the first of which must be atomic between all
your workers. `AsyncMemoryReplays` forgets at restart and knows one process only, so what a handler
does should bear being done again.
"""

import asyncio
from collections import OrderedDict
from typing import Final, Protocol

from checkstand.binance.doors.outcomes import Claim

FACTS_MAX: Final = 100_000


class AsyncReplayStore(Protocol):
    """What a door must be able to remember."""

    async def claim(self, fact: str, *, owner: str) -> Claim:
        """Reserve a fact for `owner`, unless it is handled or held.

        A store that outlives its process lets a claim lapse after a while, for who held it may
        be dead.
        """
        ...

    async def record(self, fact: str) -> None:
        """Note for good that a fact has been handled."""
        ...

    async def release(self, fact: str, *, owner: str) -> None:
        """Give up a claim, if it is still `owner`'s: the handler failed."""
        ...


class AsyncMemoryReplays:
    """Remembers the last facts of this process."""

    def __init__(self, *, facts_max: int = FACTS_MAX) -> None:
        self._facts_max = facts_max
        self._owners: dict[str, str] = {}
        self._handled: OrderedDict[str, None] = OrderedDict()
        self._lock = asyncio.Lock()

    async def claim(self, fact: str, *, owner: str) -> Claim:
        """Reserve a fact for `owner`, unless it is handled or held."""
        async with self._lock:
            if fact in self._handled:
                return Claim.HANDLED
            return Claim.OURS if self._owners.setdefault(fact, owner) == owner else Claim.BUSY

    async def record(self, fact: str) -> None:
        """Note that a fact has been handled; the oldest note makes room."""
        async with self._lock:
            self._owners.pop(fact, None)
            self._handled[fact] = None
            if len(self._handled) > self._facts_max:
                self._handled.popitem(last=False)

    async def release(self, fact: str, *, owner: str) -> None:
        """Give up a claim, if it is still `owner`'s."""
        async with self._lock:
            if self._owners.get(fact) == owner:
                del self._owners[fact]
