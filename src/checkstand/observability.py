"""What can be watched: the observer at each of the three doors, logs, and redaction.

A door (database, provider transport, delivery sender) tells its observer before and after each
point: a statement, a commit, an endpoint. Crash points, fault injection, spans and metrics are
all observers; the doors know none of them.
"""

import os
import signal
import sys
from collections import Counter
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, Protocol

import structlog


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


#: Names under which nothing may be logged in the clear.
_SECRET_NAMES = frozenset(
    {
        "api_key",
        "api_secret",
        "authorization",
        "body",
        "checkout_token",
        "deeplink",
        "key",
        "links",
        "notice_path",
        "qr_content",
        "raw",
        "secret",
        "signature",
        "token",
        "universal_url",
    }
)


def configure_logs(*, level: str) -> None:
    """Write structured logs as JSON lines on stderr, secrets masked by name."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            mask_secrets,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.dict_tracebacks,
            structlog.processors.JSONRenderer(default=str),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )


def mask_secrets(_logger: Any, _method: str, entry: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Replace whatever is logged under a secret's name."""
    return {name: "***" if name in _SECRET_NAMES else value for name, value in entry.items()}
