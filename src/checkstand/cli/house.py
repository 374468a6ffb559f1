"""What most commands begin with: the settings from the environment, and a loop to run in."""

import asyncio
import contextlib
import os
from collections.abc import Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from checkstand.settings import Settings

DONE: Final = 0
FAILED: Final = 1
WRONG_USAGE: Final = 2
FOUND_PROBLEMS: Final = 3
INTERRUPTED: Final = 130


def read_environment(*, host: str | None = None, port: int | None = None) -> "Settings":
    """Read the settings, let options win, and begin to log. Raises SettingsError."""
    from checkstand.observability import configure_logs
    from checkstand.settings import read_settings

    settings = read_settings(os.environ)
    configure_logs(level=settings.log_level)
    return replace(
        settings,
        host=settings.host if host is None else host,
        port=settings.port if port is None else port,
    )


def run_work(work: Coroutine[Any, Any, int]) -> int:
    """Run a command's work to its end and return the exit code."""
    with contextlib.suppress(ImportError):  # not on every platform
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(work)
    return asyncio.run(work)
