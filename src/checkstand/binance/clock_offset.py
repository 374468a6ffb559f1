"""How far Binance's clock is from ours, learnt from the Date header of its answers.

The header has whole seconds and the answer took its time, so one answer gives an interval, not a
number; several answers narrow it. It is applied only when zero lies outside: a good clock must
not be made worse by a coarse reading. Binance takes one second of difference at most, and a clock
that far off always shows.
"""

import functools
from datetime import UTC, datetime, timedelta
from typing import Final

_ZERO: Final = timedelta()
_SECOND: Final = timedelta(seconds=1)
#: How fast what we know goes stale: NTP itself slews a clock by up to 500 ppm.
_DRIFT: Final = 0.0005
_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), 1
    )
}


class ClockOffset:
    """What is known so far. Safe between threads: each lesson replaces one tuple."""

    def __init__(self) -> None:
        self._known: tuple[timedelta, timedelta, datetime] | None = None

    def learn(self, *, asked_at: datetime, answered_at: datetime, date: str | None) -> None:
        """Take in one answer: our own times around it and its Date header."""
        theirs = parse_http_date(date)
        if theirs is None or answered_at < asked_at:  # our clock jumped meanwhile: no lesson
            return
        # They wrote the date between our two times, at some moment of the second it names.
        least, most = theirs - answered_at, theirs + _SECOND - asked_at
        known = self._known
        if known is not None:
            stale = abs(answered_at - known[2]) * _DRIFT
            narrowed = max(least, known[0] - stale), min(most, known[1] + stale)
            if narrowed[0] <= narrowed[1]:  # else a clock was set meanwhile: start anew
                least, most = narrowed
        self._known = least, most, answered_at

    def correction(self) -> timedelta:
        """Return what to add to our clock: nothing while zero is possible."""
        known = self._known
        if known is None or known[0] <= _ZERO <= known[1]:
            return _ZERO
        return known[0] + (known[1] - known[0]) / 2

    def bounds(self) -> tuple[timedelta, timedelta] | None:
        """Return the least and most that Binance's clock can be ahead of ours, if known."""
        return None if self._known is None else self._known[:2]


@functools.lru_cache(maxsize=4)  # calls come many a second, dates change once
def parse_http_date(text: str | None) -> datetime | None:
    """Read the one date format HTTP still writes, as in `Mon, 23 Nov 2026 20:21:53 GMT`.

    Anything else is None: a date is a hint here. (`email.utils` costs 30 ms to import.)
    """
    if text is None or len(text) != 29 or not text.endswith(" GMT"):
        return None
    try:
        return datetime(
            int(text[12:16]),
            _MONTHS[text[8:11]],
            int(text[5:7]),
            int(text[17:19]),
            int(text[20:22]),
            int(text[23:25]),
            tzinfo=UTC,
        )
    except (KeyError, ValueError):
        return None
