"""A breaker: once something is known to be away, asking it stops for a while.

Without one every caller waits out the same timeout, and they pile up behind it.
"""

from collections.abc import Callable
from typing import Final

#: How long nobody asks after a failure.
_REST_SECONDS: Final = 1.0
#: How long the one that asks first after that is waited for, before another one may.
_PROBE_SECONDS: Final = 3.0


class Breaker:
    """Closed it lets everybody through; open nobody, and after a rest one at a time."""

    def __init__(self, elapsed_seconds: Callable[[], float]) -> None:
        self._elapsed_seconds = elapsed_seconds
        self._open_until: float | None = None

    def lets_through(self) -> bool:
        """Say whether to ask now. After the rest the first who is told so is the probe."""
        if self._open_until is None:
            return True
        now = self._elapsed_seconds()
        if now < self._open_until:
            return False
        self._open_until = now + _PROBE_SECONDS
        return True

    def note_well(self) -> None:
        """Hear that it answered."""
        self._open_until = None

    def note_failed(self) -> None:
        """Hear that it did not."""
        self._open_until = self._elapsed_seconds() + _REST_SECONDS
