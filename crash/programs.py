"""Processes that are started again whenever they die, as an init system would."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

#: A process that cannot start now may be able to in a moment: its database is starting, too.
_AGAIN_SECONDS = 0.2
_STOP_SECONDS = 10.0


class Program:
    """One checkstand process, kept running, and directed to record points or to die at one."""

    def __init__(
        self, arguments: Sequence[str], *, environment: Mapping[str, str], directory: Path
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._arguments = arguments
        self._environment = {
            **environment,
            "CHECKSTAND_TEST": "1",
            "CHECKSTAND_TEST_POINTS": str(directory),
        }
        self._directory = directory
        self._process: asyncio.subprocess.Process | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._is_ready = asyncio.Event()
        #: How each of its lives ended; what it was killed for is among it.
        self.ends: list[int] = []
        self.ready_line = ""

    async def start(self) -> None:
        """Start it and keep it running; return when it says that it is ready."""
        self._keeping = asyncio.create_task(self._keep())
        await self.until_ready()

    async def until_ready(self) -> None:
        """Return when it is up, or up again."""
        await self._is_ready.wait()

    async def stop(self) -> None:
        """End it for good."""
        if self._keeping is not None:
            self._keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeping
        process = self._process
        if process is not None and process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(_STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()

    async def kill(self) -> None:
        """Kill it now; it is started again."""
        await self.until_ready()
        if self._process is not None:
            self._process.kill()

    @property
    def kills(self) -> int:
        """Return how often it was killed."""
        return self.ends.count(-signal.SIGKILL)

    @property
    def accidents(self) -> list[int]:
        """Return the ends that nobody ordered."""
        return [code for code in self.ends if code != -signal.SIGKILL]

    @property
    def log(self) -> str:
        """Return what it said on stderr, all lives together."""
        return (self._directory / "log").read_text(errors="replace")

    def record_points(self) -> None:
        """Let it write down every point it passes from now on."""
        (self._directory / "record").write_text("")

    def take_points(self) -> list[str]:
        """Return what it passed since, in order, and let it write no more."""
        record = self._directory / "record"
        points = record.read_text().splitlines()
        record.unlink()
        return points

    def die_at(self, target: str) -> None:
        """Let it end at a point, `after commit settle_notices:1`, counted from now on."""
        draft = self._directory / "kill.draft"
        draft.write_text(target)
        draft.rename(self._directory / "kill")

    def spare(self) -> None:
        """Let it live, if it still does."""
        (self._directory / "kill").unlink(missing_ok=True)

    async def _keep(self) -> None:
        while True:
            with (self._directory / "log").open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    "checkstand",
                    *self._arguments,
                    env=self._environment,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=log,
                )
            assert self._process.stdout is not None
            line = (await self._process.stdout.readline()).decode().strip()
            if line.startswith("ready"):
                self.ready_line = line
                self._is_ready.set()
            code = await self._process.wait()
            self._is_ready.clear()
            self.ends.append(code)
            if code != -signal.SIGKILL:
                await asyncio.sleep(_AGAIN_SECONDS)
