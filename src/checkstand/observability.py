"""What can be watched: the observer at each of the three doors, logs, and redaction.

A door (database, provider transport, delivery sender) tells its observer before and after each
point: a statement, a commit, an endpoint. Crash points, fault injection, spans and metrics are
all observers; the doors know none of them.
"""

import logging
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

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


class DirectedPoints:
    """Writes down the points that this process passes, or ends it at one, as files direct it.

    For crash tests alone, which keep a process running over many cases. While the directory holds
    `record`, every passing is added to it as a line. From when it holds `kill`, a target as
    `KillAt` takes it, passings are counted, and the process ends at the one; the file goes first,
    so that the process that is started next lives.
    """

    def __init__(self, directory: Path) -> None:
        self._record = directory / "record"
        self._kill = directory / "kill"
        self._seen: Counter[str] = Counter()

    def before(self, point: str) -> None:
        """Write down a passing, and die if it is the one."""
        self._pass(f"before {point}")

    def after(self, point: str) -> None:
        """Write down a passing, and die if it is the one."""
        self._pass(f"after {point}")

    def _pass(self, moment: str) -> None:
        if self._record.exists():
            with self._record.open("a") as file:
                file.write(f"{moment}\n")
        try:
            target = self._kill.read_text()
        except FileNotFoundError:
            self._seen.clear()
            return
        self._seen[moment] += 1
        if f"{moment}:{self._seen[moment]}" == target:
            self._kill.unlink()
            os.kill(os.getpid(), signal.SIGKILL)


#: Names under which nothing may be logged in the clear, however deep they lie.
_SECRET_NAMES = frozenset(
    {
        "api_key",
        "api_secret",
        "authorization",
        "body",
        "checkout_token",
        "checkout_url",
        "deeplink",
        "headers",
        "key",
        "links",
        "notice_path",
        "password",
        "qr_content",
        "raw",
        "secret",
        "secret_key",
        "signature",
        "token",
        "universal_url",
        "webhook_url",
    }
)
#: What gives secrets away inside other text, such as the message of an error.
_SECRET_SHAPES: Final = re.compile(
    r"(?P<kept>csk_[A-Za-z0-9]{8}_|whsec_|/checkout/(?!static/|\{)|/webhook/(?!\{)|bnc://|postgres(?:ql)?://)"
    r"[^\s\"'\\?,;)]+"
)
_MASK: Final = "***"


def configure_logs(*, level: str) -> None:
    """Write structured logs as JSON lines on stderr, secrets masked, our libraries' included."""
    renderer = structlog.processors.JSONRenderer(default=str)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        mask_secrets,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _render_exception,
    ]
    structlog.configure(
        processors=[*shared, renderer, mask_text],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                renderer,
                mask_text,
            ],
        )
    )
    # From warnings up, whatever our own level: at debug, HTTP libraries log whole requests.
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


#: Never with the values of local variables, which structlog would add by itself: secrets are
#: among them.
_render_exception: Final = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)


def mask_secrets(_logger: Any, _method: str, entry: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Replace whatever is logged under a secret's name."""
    return {name: _masked(name, value) for name, value in entry.items()}


def mask_text(_logger: Any, _method: str, line: Any) -> str:
    """Replace what looks like a secret of ours anywhere in a rendered line."""
    return _SECRET_SHAPES.sub(rf"\g<kept>{_MASK}", str(line))


def _masked(name: str, value: Any) -> Any:
    if name.lower() in _SECRET_NAMES:
        return _MASK
    if isinstance(value, Mapping):
        return {inner: _masked(str(inner), held) for inner, held in value.items()}
    return value
