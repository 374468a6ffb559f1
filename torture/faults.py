"""What breaks, at which door: *not sent*, or *done but unanswered*. Armed by the plan, spent once.

Nothing is ever cancelled inside the driver: a commit is refused before it is sent, or its answer
is lost after it was done, and a process dies between two passings of a door.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from checkstand.deliveries.sender import POINT
from torture.gate import Crashed
from torture.trace import Trace


@dataclass(slots=True)
class Armed:
    """One fault that waits for its moment."""

    kind: str
    name: str = ""  # part of a commit's or an endpoint's name; empty: any
    times: int = 1
    seconds: float = 0.0


@dataclass(slots=True)
class Breakage:
    """The faults of one door, or of one host's door."""

    struck: Counter[str]
    armed: list[Armed] = field(default_factory=list)

    def arm(self, fault: Armed) -> None:
        """Put a fault in force."""
        self.armed.append(fault)

    def draw(self, *kinds: str, name: str = "") -> Armed | None:
        """Return the first fault of these kinds that strikes here, and count it down."""
        for fault in self.armed:
            if fault.kind in kinds and fault.name in name:
                fault.times -= 1
                if fault.times == 0:
                    self.armed.remove(fault)
                self.struck[fault.kind] += 1
                return fault
        return None

    def clear(self) -> None:
        """Take everything back."""
        self.armed.clear()


@dataclass(slots=True)
class CrashPoint:
    """Counts passings of doors down to the one at which the process dies."""

    passings_left: int
    down_seconds: float


class Watcher:
    """One host's observer: traces every passing, strikes at commits, and ends the process."""

    def __init__(
        self,
        host: str,
        *,
        trace: Trace,
        database: Breakage,
        die: Callable[[], None],
        note_commit: Callable[[], None],
    ) -> None:
        self._host = host
        self._trace = trace
        self._database = database
        self._die = die
        self._note_commit = note_commit
        self.is_dead = False
        self.crash: CrashPoint | None = None

    def before(self, point: str) -> None:
        """Hear that a point is about to be passed. Raises what stops it."""
        self._pass("before", point)
        if point.startswith("commit ") and self._database.draw("commit refused", name=point):
            raise ConnectionResetError("the connection broke before the commit was sent")

    def after(self, point: str) -> None:
        """Hear that a point was passed. Raises what keeps others from hearing of it."""
        if point.startswith("commit "):
            self._note_commit()
        self._pass("after", point)
        if point.startswith("commit ") and self._database.draw("commit unheard", name=point):
            raise ConnectionResetError("the commit was done, and its answer is lost")

    def is_at_end(self) -> bool:
        """Count one passing of a door; say whether the process dies at this one."""
        if self.crash is None or self.is_dead:
            return self.is_dead
        self.crash.passings_left -= 1
        if self.crash.passings_left > 0:
            return False
        self.is_dead = True
        self._die()
        return True

    def _pass(self, moment: str, point: str) -> None:
        if self.is_dead:
            # Only who holds the connection is stopped here: it has to be given back. Others are
            # left waiting at their own door, and dropped with everything else.
            if point.startswith("binance ") or point == POINT:
                return
            raise Crashed
        self._trace.note(self._host, f"{moment} {point}")
        if point.startswith("commit ") and self.is_at_end():
            raise Crashed
