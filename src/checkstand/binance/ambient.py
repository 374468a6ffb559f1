"""The SDK's own clock and randomness, used when the caller hands in none.

Everything else in this room takes a `Clock` and a `Random`; this is the one place that reads the
host's clock. Measuring how long something took uses a third clock that never jumps.
"""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Says what time it is, in aware UTC."""

    def now(self) -> datetime:
        """Return the present moment."""
        ...


class Random(Protocol):
    """Makes unguessable text and fair jitter."""

    def token(self, length: int) -> str:
        """Return `length` unguessable characters, letters and digits only."""
        ...

    def fraction(self) -> float:
        """Return a number from 0 up to 1."""
        ...


class SystemClock:
    """The host's clock."""

    def now(self) -> datetime:
        """Return the present moment in aware UTC."""
        return datetime.now(UTC)


class SystemRandom:
    """The operating system's randomness, without the imports of the module `secrets`."""

    def token(self, length: int) -> str:
        """Return `length` hexadecimal characters; 32 of them carry 128 random bits."""
        return os.urandom((length + 1) // 2).hex()[:length]

    def fraction(self) -> float:
        """Return a number from 0 up to 1."""
        return (int.from_bytes(os.urandom(7), "big") >> 3) / (1 << 53)


#: Seconds on a clock that never jumps.
elapsed_seconds: Callable[[], float] = time.monotonic
