"""Time, ids and randomness that follow from a seed."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

from checkstand.ambient import HostClock

#: When every simulated story begins: a Monday noon.
BEGAN_AT = datetime(2027, 3, 1, 12, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


class Time:
    """The true time of the simulated world: Binance's, and the shop's."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def now(self) -> datetime:
        """Return the moment in aware UTC."""
        return BEGAN_AT + timedelta(microseconds=round(self._loop.time() * 1_000_000))

    def now_ms(self) -> int:
        """Return Unix milliseconds."""
        return (self.now() - _EPOCH) // timedelta(milliseconds=1)


class SkewedClock(HostClock):
    """A host's clock that is wrong by a fixed time until it learns of the database's."""

    def __init__(self, time: Time, *, skew: timedelta) -> None:
        super().__init__()
        self._time, self._skew = time, skew

    def host_now(self) -> datetime:
        """Return what this host believes."""
        return self._time.now() + self._skew


class SeededIds:
    """Ids in the form of UUIDv7."""

    def __init__(self, seed: str, time: Time) -> None:
        self._random = random.Random(seed)
        self._time = time

    def new(self) -> UUID:
        """Return a fresh id."""
        bits = self._random.getrandbits(80)
        value = (self._time.now_ms() << 80) | bits
        value = (value & ~(0xF000 << 64)) | (0x7000 << 64)
        value = (value & ~(0xC000 << 48)) | (0x8000 << 48)
        return UUID(int=value)


class SeededRandom:
    """Tokens and jitter."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def token(self, length: int) -> str:
        """Return letters and digits."""
        return "".join(self._random.choices(_LETTERS, k=length))

    def bytes(self, length: int) -> bytes:
        """Return bytes."""
        return self._random.randbytes(length)

    def fraction(self) -> float:
        """Return a number from 0 up to 1."""
        return self._random.random()
