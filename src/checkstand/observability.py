"""What can be watched: the observer at each of the three doors, logs, and redaction.

A door (database, provider transport, delivery sender) tells its observer before and after each
point: a statement, a commit, an endpoint. Crash points, fault injection, spans and metrics are
all observers; the doors know none of them.
"""

import os
import signal
from collections import Counter
from collections.abc import Sequence
from typing import Protocol


class Observer(Protocol):
    """Is told what passes through a door. May raise to stop it."""

    def before(self, point: str) -> None:
        """Hear that `point` is about to happen."""
        ...

    def after(self, point: str) -> None:
        """Hear that `point` has happened."""
        ...


class Observers:
    """Several observers as one, asked in order."""

    def __init__(self, observers: Sequence[Observer] = ()) -> None:
        self._observers = tuple(observers)

    def before(self, point: str) -> None:
        """Tell each that `point` is about to happen."""
        for observer in self._observers:
            observer.before(point)

    def after(self, point: str) -> None:
        """Tell each that `point` has happened."""
        for observer in self._observers:
            observer.after(point)


#: The observer of those who do not care.
NOBODY: Observer = Observers()


class KillAt:
    """Ends this process with SIGKILL at the n-th passing of one point. For crash tests alone.

    The point is written `before POINT` or `after POINT`, with a colon and a count behind it:
    `after commit settle_notices:1`, `before binance /v3/order:2`.
    """

    def __init__(self, target: str) -> None:
        point, _, count = target.rpartition(":")
        if not point or not count.isdigit() or int(count) < 1:
            raise ValueError(f"expected POINT:N with N from 1, got {target!r}")
        self._point, self._count = point, int(count)
        self._seen: Counter[str] = Counter()

    def before(self, point: str) -> None:
        """Count a passing, and die if it is the one."""
        self._pass(f"before {point}")

    def after(self, point: str) -> None:
        """Count a passing, and die if it is the one."""
        self._pass(f"after {point}")

    def _pass(self, moment: str) -> None:
        self._seen[moment] += 1
        if moment == self._point and self._seen[moment] == self._count:
            os.kill(os.getpid(), signal.SIGKILL)
