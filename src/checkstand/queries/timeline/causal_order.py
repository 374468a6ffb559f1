"""Put entries in causal order: nothing before what it follows from, else by time.

Clocks of several hosts differ by seconds, so a time alone may say that a notice came after what was
decided about it. The versions of an order's history cannot lie: what bears the time of a step whose
clock was behind goes where the step goes.
"""

import heapq
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from checkstand.queries.timeline.entry import Kind, TimelineEntry

_RANKS: Final = {kind: rank for rank, kind in enumerate(Kind)}
_Turn = tuple[datetime, int]  # a moment, and the version where a clock was behind


def in_causal_order(entries: Sequence[TimelineEntry]) -> list[TimelineEntry]:
    """Sort entries: by time and kind, and none before what it follows from.

    Should the facts ever contradict each other (a bug), what is left is told by time: everything
    is told in any case.
    """
    by_fact = {entry.fact: place for place, entry in enumerate(entries) if entry.fact is not None}
    turns = _turns(entries, by_fact)
    keys = [
        (*turns.get(entry.at, (entry.at, 0)), _RANKS[entry.kind], place)
        for place, entry in enumerate(entries)
    ]
    waits: dict[int, int] = {}
    leads_to: defaultdict[int, list[int]] = defaultdict(list)
    for place, entry in enumerate(entries):
        causes = {by_fact[fact] for fact in entry.follows if fact in by_fact} - {place}
        waits[place] = len(causes)
        for cause in causes:
            leads_to[cause].append(place)

    ready = [keys[place] for place, number in waits.items() if number == 0]
    heapq.heapify(ready)
    told: list[int] = []
    while ready:
        *_, place = heapq.heappop(ready)
        told.append(place)
        del waits[place]
        for next_place in leads_to[place]:
            waits[next_place] -= 1
            if waits[next_place] == 0:
                heapq.heappush(ready, keys[next_place])
    told += sorted(waits, key=lambda place: keys[place])
    return [entries[place] for place in told]


def _turns(entries: Sequence[TimelineEntry], by_fact: dict[str, int]) -> dict[datetime, _Turn]:
    """Say when what bears a time really came, for the times of clocks that were behind."""
    turns: dict[datetime, _Turn] = {}
    steps = [entry for entry in entries if entry.kind is Kind.TRANSITION]
    reached: datetime | None = None
    for step in sorted(steps, key=lambda each: int(each.detail["version"])):
        causes = [entries[by_fact[fact]].at for fact in step.follows if fact in by_fact]
        reached = max([step.at, *causes, *([reached] if reached else [])])
        if reached > step.at:
            turns[step.at] = (reached, int(step.detail["version"]))
    return turns
