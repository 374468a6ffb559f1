"""What commands of several files share: settings, the event loop, exit codes."""

import asyncio
import contextlib
import os
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from checkstand.settings import Settings

DONE: Final = 0
FOUND_PROBLEMS: Final = 3


def read_our_settings() -> "Settings":
    """Read the environment and set up the logs. Raises SettingsError."""
    from checkstand.observability import configure_logs
    from checkstand.settings import read_settings

    settings = read_settings(os.environ)
    configure_logs(level=settings.log_level)
    return settings


def run_work(work: Coroutine[Any, Any, int]) -> int:
    """Run a command's work on the fastest loop there is and return the exit code."""
    with contextlib.suppress(ImportError):  # not on every platform
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(work)
    return asyncio.run(work)
