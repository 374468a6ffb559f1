"""Processes that are started again whenever they die, as an init system would."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

#: A process that cannot start now may be able to in a moment: its database is starting, too.
_AGAIN_SECONDS = 0.2
_STOP_SECONDS = 10.0
_READY_SECONDS = 60.0


class NeverReady(Exception):
    """A process does not come up again; the message is the end of its log."""


@asynccontextmanager
async def running_launcher(directory: Path) -> AsyncIterator[Path]:
    """Run what starts the processes; yield the socket at which it is asked to."""
    path = directory / "launcher"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "crash.launcher", str(path), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    await process.stdout.readline()
    try:
        yield path
    finally:
        process.kill()
        await process.wait()
        path.unlink(missing_ok=True)


async def run_once(
    arguments: Sequence[str], environment: Mapping[str, str], launcher: Path
) -> list[str]:
    """Run a command to its end and return what it printed, line by line."""
    reader, writer = await asyncio.open_unix_connection(str(launcher))
    writer.write(_order(arguments, environment, log=Path(os.devnull)))
    lines = (await reader.read()).decode().splitlines()
    writer.close()
    # `pid` comes from the watcher and may be anywhere before its `ended`.
    if lines[-1:] != ["ended 0"]:
        raise RuntimeError(f"checkstand {' '.join(arguments)}: {lines}")
    return [line for line in lines[:-1] if not line.startswith("pid ")]


def _order(arguments: Sequence[str], environment: Mapping[str, str], *, log: Path) -> bytes:
    order = {"arguments": list(arguments), "environment": dict(environment), "log": str(log)}
    return json.dumps(order).encode() + b"\n"


@dataclass(slots=True)
class _Life:
    """One process, from its start to its end."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    pid: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it is still there."""
        if self.pid and not self.ended.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Program:
    """One checkstand process, kept running, and directed to record points or to die at one."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        directory: Path,
        launcher: Path,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._launcher = launcher
        self._arguments = arguments
        self._environment = {
            **environment,
            "CHECKSTAND_TEST": "1",
            "CHECKSTAND_TEST_POINTS": str(directory),
        }
        self._directory = directory
        self._life: _Life | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._is_ready = asyncio.Event()
        self._is_wanted = True
        #: How each of its lives ended; what it was killed for is among it.
        self.ends: list[int] = []
        self.ready_line = ""

    async def start(self) -> None:
        """Start it and keep it running; return when it says that it is ready."""
        self._keeping = asyncio.create_task(self._keep())
        await self.until_ready()

    async def until_ready(self) -> None:
        """Return when it is up, or up again. Raises NeverReady."""
        try:
            async with asyncio.timeout(_READY_SECONDS):
                await self._is_ready.wait()
        except TimeoutError:
            name = " ".join(self._arguments)
            raise NeverReady(f"{name} does not start: {self.log[-1000:]}") from None

    async def stop(self) -> None:
        """End it for good."""
        self._is_wanted = False
        if self._keeping is None:
            return
        if self._life is not None:
            self._life.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await asyncio.shield(self._keeping)
        except TimeoutError:
            if self._life is not None:
                self._life.signal(signal.SIGKILL)
            await self._keeping

    async def kill(self) -> None:
        """Kill it now; it is started again."""
        await self.until_ready()
        if self._life is not None:
            self._life.signal(signal.SIGKILL)

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
        while self._is_wanted:
            code = await self._live()
            self._is_ready.clear()
            if self._is_wanted:
                self.ends.append(code)
                if code != -signal.SIGKILL:
                    await asyncio.sleep(_AGAIN_SECONDS)

    async def _live(self) -> int:
        """Start it, note when it is ready, and return how it ended."""
        reader, writer = await asyncio.open_unix_connection(str(self._launcher))
        life = self._life = _Life(reader, writer)
        log = self._directory / "log"
        writer.write(_order(self._arguments, self._environment, log=log))
        code = -signal.SIGKILL
        while line := (await reader.readline()).decode().strip():
            match line.partition(" "):
                case "pid", _, pid:
                    life.pid = int(pid)
                case "ended", _, told:
                    code = int(told)
                    break
                case "ready", _, _:
                    self.ready_line = line
                    self._is_ready.set()
        life.ended.set()
        writer.close()
        return code
