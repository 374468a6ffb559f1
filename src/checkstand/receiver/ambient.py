"""The kit's clock. The merchant's app has none to hand in, so the host's is the default."""

from collections.abc import Callable
from datetime import UTC, datetime

#: Returns the present moment in aware UTC; tests pass their own.
Clock = Callable[[], datetime]


def host_clock() -> datetime:
    """Return the present moment on this host's clock."""
    return datetime.now(UTC)
