"""What every command begins with: the settings, and a loop to run on."""

import asyncio
import contextlib
import os
from collections.abc import Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from checkstand.settings import Settings


def current_settings(*, host: str | None = None, port: int | None = None) -> "Settings":
    """Read the settings and begin to log. Raises SettingsError."""
    from checkstand.observability import configure_logs
    from checkstand.settings import read_settings

    settings = read_settings(os.environ)
    configure_logs(level=settings.log_level)
    return replace(
        settings,
        host=settings.host if host is None else host,
        port=settings.port if port is None else port,
    )


def run_to_end(work: Coroutine[Any, Any, int]) -> int:
    """Run a command's work on the fastest loop there is; return its exit code."""
    with contextlib.suppress(ImportError):  # not on every platform
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(work)
    return asyncio.run(work)
