"""Many seeds on every core: each process has a database of its own, and one file remembers."""

import asyncio
import contextlib
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any, Final

import asyncpg

from checkstand.storage.embedded import EmbeddedPostgres
from torture.stage import SERVER_SETTINGS, Stage
from torture.stories import make_plan

_PROGRESS_SECONDS: Final = 5.0
#: Stands in an address for the name of the database.
_ANY: Final = "ANYDATABASE"
_CLOCK_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Tally:
    """What many seeds came to."""

    seeds: int = 0
    cpu_seconds: float = 0.0
    database_seconds: float = 0.0
    transactions: int = 0
    crashes: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    met: Counter[str] = field(default_factory=Counter)
    violations: dict[int, list[str]] = field(default_factory=dict)

    def add(self, line: dict[str, Any]) -> None:
        """Count one seed's line."""
        self.seeds += 1
        self.cpu_seconds += line["cpu"]
        self.database_seconds += line["database"]
        self.transactions += line["transactions"]
        self.crashes += line["crashes"]
        self.faults.update(line["faults"])
        self.met.update(line["met"])
        if line["violations"]:
            self.violations[line["seed"]] = line["violations"]

    def render(self, *, wall_seconds: float) -> str:
        """Sum up in one line."""
        each = max(self.seeds, 1)
        kinds = ", ".join(f"{kind} {count}" for kind, count in self.faults.most_common())
        return (
            f"{self.seeds} seeds in {wall_seconds:.0f} s, {self.cpu_seconds / each:.2f} s CPU each "
            f"(PostgreSQL {self.database_seconds / each:.2f} s besides), "
            f"{self.transactions} transactions, {self.crashes} crashes, "
            f"{self.faults.total()} faults ({kinds}), {len(self.violations)} seeds with violations"
        )


@contextlib.contextmanager
def serving_postgres() -> Iterator[EmbeddedPostgres]:
    """Run a PostgreSQL that keeps nothing."""
    with (
        tempfile.TemporaryDirectory(prefix="torture-", ignore_cleanup_errors=True) as made,
        EmbeddedPostgres.start(Path(made) / "postgres", settings=SERVER_SETTINGS) as server,
    ):
        yield server


def run_many(seeds: Sequence[int], *, jobs: int, state: Path | None) -> tuple[Tally, float]:
    """Run seeds that the state file does not know yet; return the tally of all, and how long."""
    began = time.monotonic()
    tally, known = Tally(), set[int]()
    for line in _remembered(state):
        if line["seed"] in set(seeds):
            known.add(line["seed"])
            tally.add(line)
    todo = [seed for seed in seeds if seed not in known]
    with serving_postgres() as server, _remembering(state) as remember:
        url = server.url(database=_ANY)
        told_at = 0.0
        for line in _results(todo, url, jobs=jobs):
            remember(line)
            tally.add(line)
            if line["violations"]:
                _say(f"seed {line['seed']}: " + "; ".join(line["violations"]))
            if time.monotonic() - told_at > _PROGRESS_SECONDS:
                told_at = time.monotonic()
                bad = len(tally.violations)
                _say(f"{tally.seeds} of {len(seeds)} seeds, {bad} with violations")
    return tally, time.monotonic() - began


def _results(seeds: Sequence[int], url: str, *, jobs: int) -> Iterator[dict[str, Any]]:
    """Yield a line for each seed as it comes; a few are under way at any time."""
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=spawning, initializer=_open, initargs=(url,)) as pool:
        rest = iter(seeds)
        under_way: set[Future[dict[str, Any]]] = set()
        while True:
            while len(under_way) < 2 * jobs and (seed := next(rest, None)) is not None:
                under_way.add(pool.submit(_run, seed))
            if not under_way:
                return
            done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            for each in done:
                yield each.result()


_stages: list[Stage] = []


def _open(url: str) -> None:
    """Make this process's own database and stage."""
    Thread(target=_end_with_parent, daemon=True).start()
    name = f"torture_{os.getpid()}"
    asyncio.run(_make_database(url.replace(_ANY, "postgres"), name))
    stage = Stage(url.replace(_ANY, name))
    stage.__enter__()
    _stages.append(stage)


def _end_with_parent() -> None:
    """End with whoever started the run, however that ended: nobody else would take the results."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


async def _make_database(url: str, name: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()


def _run(seed: int) -> dict[str, Any]:
    (stage,) = _stages
    cpu, database = time.process_time(), _cpu_of(stage.server_pid)
    result = stage.run(make_plan(seed))
    return {
        "seed": seed,
        "violations": list(result.violations),
        "digest": result.digest,
        "faults": dict(result.faults),
        "met": dict(result.met),
        "crashes": result.crashes,
        "transactions": result.transactions,
        "cpu": round(time.process_time() - cpu, 4),
        "database": round(_cpu_of(stage.server_pid) - database, 4),
    }


def _cpu_of(pid: int) -> float:
    """Return another process's CPU seconds; nothing where the system does not say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS


def _remembered(state: Path | None) -> Iterator[dict[str, Any]]:
    if state is None or not state.exists():
        return
    for text in state.read_text("utf-8").splitlines():
        with contextlib.suppress(ValueError):  # the last line may have been cut short
            yield json.loads(text)


@contextlib.contextmanager
def _remembering(state: Path | None) -> Iterator[Any]:
    if state is None:
        yield lambda _line: None
        return
    with state.open("a", encoding="utf-8") as file:

        def remember(line: dict[str, Any]) -> None:
            file.write(json.dumps(line) + "\n")
            file.flush()

        yield remember


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
