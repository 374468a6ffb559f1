"""`checkstand` as a program of its own: its environment holds nothing but what the test says."""

import asyncio
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from checkstand.simulator.server import DEFAULT_API_KEY, DEFAULT_API_SECRET

_PROGRAM = Path(sys.executable).with_name("checkstand")
#: What a program needs to start at all; everything else would be a setting by accident.
_KEPT = ("PATH", "HOME", "LANG", "PYTHONPATH", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Ended:
    """A program that ran to its end."""

    code: int
    out: str
    err: str


@dataclass(slots=True)
class Running:
    """A program that serves until it is told to stop."""

    process: asyncio.subprocess.Process
    ready: str = ""
    log: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it serves, as its ready line said."""
        return self.ready.removeprefix("ready ")

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(30):
            return await self.process.wait()


@dataclass(frozen=True, slots=True)
class Checkstand:
    """Starts `checkstand` in an environment."""

    environment: dict[str, str]
    directory: Path

    def ends(self, *arguments: str, **settings: str | None) -> Ended:
        """Run a command that ends by itself."""
        ended = subprocess.run(
            [_PROGRAM, *arguments],
            env=self._environment(settings),
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    @asynccontextmanager
    async def serves(self, *arguments: str, **settings: str | None) -> AsyncIterator[Running]:
        """Run a command that serves; stop it when the block is left."""
        process = await asyncio.create_subprocess_exec(
            _PROGRAM,
            *arguments,
            env=self._environment(settings),
            cwd=self.directory,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        running = Running(process)
        reading = asyncio.create_task(_keep_lines(process, running.log))
        try:
            running.ready = await _ready_line(process, running.log)
            yield running
        finally:
            await running.stop()
            await reading

    def _environment(self, settings: dict[str, str | None]) -> dict[str, str]:
        merged = self.environment | settings
        return {name: value for name, value in merged.items() if value is not None}


async def _keep_lines(process: asyncio.subprocess.Process, log: list[str]) -> None:
    assert process.stderr is not None
    while line := await process.stderr.readline():
        log.append(line.decode().rstrip("\n"))


async def _ready_line(process: asyncio.subprocess.Process, log: list[str]) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(60):
        while line := (await process.stdout.readline()).decode():
            if line.startswith("ready "):
                return line.strip()
    await process.wait()
    await asyncio.sleep(0)
    raise AssertionError(f"ended with {process.returncode} before it was ready: {log}")


@pytest.fixture
def bare(tmp_path: Path) -> Checkstand:
    """A program with no setting but its data directory."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return Checkstand(kept | {"CHECKSTAND_DATA_DIR": str(tmp_path / "data")}, tmp_path)


@pytest.fixture
def on_postgres(bare: Checkstand, empty_database_url: str) -> Checkstand:
    """A program on the run's database, with the keys of a simulator that may not be there."""
    settings = {
        "CHECKSTAND_DATABASE_URL": empty_database_url,
        "CHECKSTAND_SECRET_KEY": secrets.token_hex(32),
        "BINANCE_PAY_API_KEY": DEFAULT_API_KEY,
        "BINANCE_PAY_API_SECRET": DEFAULT_API_SECRET,
        "BINANCE_PAY_BASE_URL": "http://127.0.0.1:9",
        "BINANCE_PAY_TIMEOUT": "1",
    }
    return Checkstand(bare.environment | settings, bare.directory)
