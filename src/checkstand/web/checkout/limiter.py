"""Limits how often one key may do something, in this process's memory.

It guards against an impatient or hostile shopper, not against money going wrong: a renewal asked
for twice is one renewal anyway. So nothing is shared between processes, and forgetting is fine.
"""

from collections import OrderedDict
from datetime import datetime, timedelta


class Limiter:
    """Allows `most` acts at once and `most` per period in the long run, per key."""

    def __init__(self, *, most: int, period: timedelta, keys_max: int = 10_000) -> None:
        self._spacing = period / most
        self._slack = period - self._spacing
        self._keys_max = keys_max  # the oldest is forgotten, so memory is bounded
        self._next_free_at: OrderedDict[str, datetime] = OrderedDict()

    def wait(self, key: str, *, now: datetime) -> timedelta | None:
        """Count one act and return None, or say how long to wait and count nothing."""
        next_free_at = max(self._next_free_at.get(key, now), now)
        wait = next_free_at - now - self._slack
        if wait > timedelta():
            return wait
        self._next_free_at[key] = next_free_at + self._spacing
        self._next_free_at.move_to_end(key)
        if len(self._next_free_at) > self._keys_max:
            self._next_free_at.popitem(last=False)
        return None
