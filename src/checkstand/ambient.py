"""Time, ids and randomness as values that are handed in.

Nobody else reads a clock or makes an id (ruff's banned-api keeps it so); `app.py` builds one
of each and passes them down, and tests pass settable ones instead.
"""

import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol
from uuid import UUID

import uuid_utils.compat


class Clock(Protocol):
    """Says what time it is, in aware UTC."""

    def now(self) -> datetime:
        """Return the present moment."""
        ...


class Ids(Protocol):
    """Makes ids that nobody made before."""

    def new(self) -> UUID:
        """Return a fresh UUIDv7: it sorts roughly by time, and nothing may depend on that."""
        ...


class Random(Protocol):
    """Makes unguessable text and fair jitter."""

    def token(self, length: int) -> str:
        """Return `length` unguessable characters from a-z, A-Z and 0-9."""
        ...

    def bytes(self, length: int) -> bytes:
        """Return `length` unguessable bytes."""
        ...

    def fraction(self) -> float:
        """Return a number from 0 up to 1, for jitter and nothing else."""
        ...


class HostClock:
    """The host's clock, corrected by what was learnt of the database's.

    Due times and leases of several hosts meet in one database, so they must be written and
    compared on one clock: the database's. Its offset is measured as an interval (the answer came
    some time between question and reply) and applied only when zero lies outside it.
    """

    def __init__(self) -> None:
        self._offset = timedelta()

    def now(self) -> datetime:
        """Return the present moment on the database's clock."""
        return self.host_now() + self._offset

    def host_now(self) -> datetime:
        """Return the present moment on this host's clock."""
        return datetime.now(UTC)

    def learn(self, *, asked_at: datetime, answered_at: datetime, theirs: datetime) -> timedelta:
        """Correct the clock by one reading of the database's; return the offset now in use."""
        least, most = theirs - answered_at, theirs - asked_at
        zero = timedelta()
        self._offset = zero if least <= zero <= most else least + (most - least) / 2
        return self._offset


class SystemIds:
    """UUIDv7 made in the app, so that no table needs a sequence."""

    def new(self) -> UUID:
        """Return a fresh UUIDv7."""
        return uuid_utils.compat.uuid7()


class SystemRandom:
    """The operating system's randomness."""

    _letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

    def token(self, length: int) -> str:
        """Return `length` unguessable characters from a-z, A-Z and 0-9."""
        return "".join(secrets.choice(self._letters) for _ in range(length))

    def bytes(self, length: int) -> bytes:
        """Return `length` unguessable bytes."""
        return secrets.token_bytes(length)

    def fraction(self) -> float:
        """Return a number from 0 up to 1."""
        return secrets.randbelow(1_000_000) / 1_000_000


#: Seconds on a clock that never jumps, for measuring how long something took.
elapsed_seconds: Callable[[], float] = time.monotonic
