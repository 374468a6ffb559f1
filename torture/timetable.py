"""When workers look: at the very moment something is due, instead of once a second for days.

After every commit the rows say what is due next; an idle look in between would find nothing, so
leaving it out changes nothing but the cost. What is overdue and yet is not taken (a delivery that
waits for an earlier one) is looked at again ever more seldom.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from checkstand.jobs.registry import Chore
from checkstand.operations.resources import Resources, Wake

_AGAIN_SECONDS_MAX = 6 * 3600.0
#: Who is woken finds the same rows due as before, and looks all the same, this often.
_SAME_AGAIN_SECONDS = 30.0
#: Chores without a moment of their own rest longer after each time, up to this ...
_REST_SECONDS_MAX = 48 * 3600.0
_GROWTH = 8
#: ... except those that have to come soon enough for the end of a world to be in order.
_RESTS_MAX = {"watch doubts": 24 * 3600.0}


@dataclass(frozen=True, slots=True)
class Due:
    """What one table says of its due rows."""

    overdue: int = 0
    next_at: datetime | None = None
    mark: int = 0  # another one whenever a row changed


@dataclass(slots=True)
class Timetable:
    """Knows what is due in each table, and wakes those who wait for it."""

    loop: asyncio.AbstractEventLoop
    now: Callable[[], datetime]  # on the database's clock, as all due times are
    due: Mapping[str, Due] = field(default_factory=dict)
    sleepers: "list[PatientWake]" = field(default_factory=list)

    def learn(self, due: Mapping[str, Due]) -> None:
        """Take in what the rows say now."""
        self.due = due
        for sleeper in self.sleepers:
            sleeper.rearm()

    def is_due(self, table: str) -> bool:
        """Say whether a look at a table would find anything that is due."""
        known = self.due.get(table)
        if known is None:
            return False
        return known.overdue > 0 or (known.next_at is not None and known.next_at <= self.now())


class PatientWake(Wake):
    """A wake that goes off when something of one table is due."""

    def __init__(self, timetable: Timetable, table: str, *, phase: float) -> None:
        super().__init__()
        self._timetable = timetable
        self._table = table
        self._phase = phase  # where in its second this host's polling falls
        self._again = 1.0
        self._timer: asyncio.TimerHandle | None = None
        self._known: Due | None = None
        self._seen: Due | None = None  # what was due at the last look ...
        self._seen_at = 0.0  # ... and when that was
        self._has_gone_off = False
        timetable.sleepers.append(self)

    async def wait(self, *, timeout_seconds: float) -> None:
        """Wait until something is due; the timeout is for those who cannot know."""
        del timeout_seconds
        self.rearm()
        while True:
            await self._event.wait()
            self._event.clear()
            if self._is_worth_a_look():
                return

    def _is_worth_a_look(self) -> bool:
        """Say whether something is due, and is not just what could not be taken a moment ago."""
        now, due = self._timetable.loop.time(), self._timetable.due.get(self._table)
        has_gone_off, self._has_gone_off = self._has_gone_off, False
        is_new = due != self._seen or now - self._seen_at >= _SAME_AGAIN_SECONDS
        if not (self._timetable.is_due(self._table) and (has_gone_off or is_new)):
            return False
        self._seen, self._seen_at = due, now
        return True

    def rearm(self) -> None:
        """Set the timer to the next moment at which there may be something to take."""
        known = self._timetable.due.get(self._table, Due())
        if known == self._known and self._timer is not None and not self._timer.cancelled():
            return
        if known != self._known:
            self._again = 1.0
        self._known = known
        self._set_timer()

    def close(self) -> None:
        """Never go off again."""
        if self._timer is not None:
            self._timer.cancel()
        if self in self._timetable.sleepers:
            self._timetable.sleepers.remove(self)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        known = self._known or Due()
        seconds = None
        if known.next_at is not None:
            until = (known.next_at - self._timetable.now()).total_seconds()
            seconds = until + self._phase if until > 0 else self._again
        if known.overdue:
            seconds = self._again if seconds is None else min(seconds, self._again)
        if seconds is not None:
            self._timer = self._timetable.loop.call_later(seconds, self._go_off)

    def _go_off(self) -> None:
        self._again = min(self._again * 2, _AGAIN_SECONDS_MAX)
        self._has_gone_off = True
        self.up()
        self._set_timer()


#: Chores that find their work in a table of the timetable; the others go by the clock.
CHORE_TABLES: Mapping[str, str] = {
    "expire orders": "orders",
    "match orphans": "notices",
    "explain orphans": "notices",
    "place events": "events",
    "offer fulfilments": "fulfilments",
    "seal transfers": "transfers",
}


def patient(chore: Chore, timetable: Timetable, wakes: list[PatientWake], seed: str) -> Chore:
    """Make a chore that runs when there is something to do for it."""
    if chore.wake is not None:
        return chore  # its wake is patient already
    table = CHORE_TABLES.get(chore.name)
    rested = chore.every_seconds
    if table is not None:
        wake = PatientWake(timetable, table, phase=random.Random(seed).random())
        wakes.append(wake)

        async def when_due(resources: Resources) -> object:
            await wake.wait(timeout_seconds=0)
            return await chore.run(resources)

        return replace(chore, run=when_due)

    async def now_and_then(resources: Resources) -> Any:
        nonlocal rested
        done = await chore.run(resources)
        await asyncio.sleep(rested)
        rested = min(rested * _GROWTH, _RESTS_MAX.get(chore.name, _REST_SECONDS_MAX))
        return done

    return replace(chore, run=now_and_then)
