"""The cells of the matrix: found by clean runs, each run by one kill, each judged at rest."""

import asyncio
import re
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from checkstand.storage.embedded import EmbeddedPostgres
from crash.lane import Lane, Unanswered, opening_lane
from crash.paths import PATHS
from crash.programs import NeverReady, running_launcher
from crash.scene import NoRest, Scene
from crash.standing import end_state_of, find_violations
from crash.surroundings import BinanceRefused

OK: Final = "ok"
VIOLATION: Final = "violation"
UNREACHED: Final = "not reached"

#: At how many of its passings a commit or an endpoint is killed; what idle rounds pass, at one.
#: A statement is killed at one: until its commit nothing of a transaction is there, so its later
#: passings tell nothing that the commits' do not.
PASSINGS_MAX: Final = 3
_STATEMENT: Final = re.compile(r"(before|after) [a-z_]+\.[a-z_]+")
#: A lease that is held when a lane is judged is at an end by then.
_ENDS_SECONDS: Final = 15.0
#: What idle processes pass, at least once each, within this time.
IDLE_SECONDS: Final = 6.0
#: What a process does once, when it starts, is no part of a path.
_SETTLING_SECONDS: Final = 2.0
#: What follows the rest of an order, such as the last acknowledgement of a commit.
_AFTERMATH_SECONDS: Final = 0.3
#: A point of the idle rounds may come only after the order is at rest.
_STRAGGLER_SECONDS: Final = 1.5


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One kill: on this path, of this process, at the n-th passing of this point."""

    path: str
    arrangement: str
    process: str
    moment: str  # `before POINT` or `after POINT`
    number: int

    @property
    def target(self) -> str:
        """Return the point as a process is told it."""
        return f"{self.moment}:{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one cell."""

    cell: Cell
    verdict: str
    status: str = ""  # the order's, at rest
    seconds: float = 0.0  # from the path's begin to its rest
    codes: int = 0  # attempts that were made
    violations: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanRun:
    """A path without a kill: the points it passes, and where its order comes to rest."""

    path: str
    arrangement: str
    points: Mapping[str, Sequence[str]]  # process → points, in order
    end_state: Mapping[str, Any]
    codes: int
    seconds: float


@dataclass(slots=True, kw_only=True)
class Matrix:
    """Everything that was found and run."""

    clean: list[CleanRun] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    lane_violations: list[str] = field(default_factory=list)
    left_out: int = 0  # cells that were wanted when the time was over
    seconds: float = 0.0

    @property
    def violations(self) -> list[str]:
        """Return every violation as one line."""
        found = [
            f"{r.cell.path}, {r.cell.process}, {r.cell.target}: {violation}"
            for r in self.results
            for violation in r.violations
        ]
        return found + self.lane_violations


Wanted = Callable[[Cell], bool]
Tell = Callable[[str], None]


async def run_matrix(
    cluster: EmbeddedPostgres,
    *,
    directory: Path,
    lanes: int,
    runs: Sequence[tuple[str, str]],
    idle_seconds: float = IDLE_SECONDS,
    seconds_max: float = float("inf"),
    wanted: Wanted = lambda _: True,
    known: Iterable[Result] = (),
    on_result: Callable[[Result], None] = lambda _: None,
    tell: Tell = lambda _: None,
) -> Matrix:
    """Find the cells and run those that are wanted and not known, on several lanes at once.

    `runs` are pairs of an arrangement and a path; those of one arrangement follow one another, as
    a lane starts other processes for the next.
    """
    began = time.monotonic()
    matrix = Matrix(results=list(known))
    async with _opening_lanes(cluster, directory=directory, count=lanes) as opened:
        idle = await _discover(opened, matrix, runs, idle_seconds=idle_seconds)
        matrix.cells = _list_cells(matrix.clean, idle)
        done = {result.cell for result in matrix.results}
        todo = deque(cell for cell in matrix.cells if wanted(cell) and cell not in done)
        tell(f"{len(matrix.cells)} cells, {len(todo)} to run on {lanes} lanes")
        ends = {(run.arrangement, run.path): run.end_state for run in matrix.clean}

        async def work(lane: Lane) -> None:
            while todo and time.monotonic() - began < seconds_max:
                cell = todo.popleft()
                result = await run_cell(lane, cell, ends[cell.arrangement, cell.path])
                matrix.results.append(result)
                on_result(result)
                tell(_line(result, left=len(todo)))

        await asyncio.gather(*(work(lane) for lane in opened))
        matrix.left_out = len(todo)
        for lane in opened:
            matrix.lane_violations += await check_lane(lane)
    matrix.seconds = time.monotonic() - began
    return matrix


async def run_cell(lane: Lane, cell: Cell, end_state: Mapping[str, Any]) -> Result:
    """Kill one process at one point of one path, let it start again, and judge the rest."""
    result = await _run_cell(lane, cell, end_state)
    if result.verdict == UNREACHED:  # what is passed may depend on who is faster: once more
        result = await _run_cell(lane, cell, end_state)
    return result


async def _run_cell(lane: Lane, cell: Cell, end_state: Mapping[str, Any]) -> Result:
    try:
        await _set_stage(lane, cell.arrangement)
        return await _kill(lane, cell, end_state)
    except (NoRest, NeverReady, Unanswered, BinanceRefused) as error:
        return Result(cell=cell, verdict=VIOLATION, violations=(str(error),))
    finally:
        for program in lane.programs.values():
            program.spare()
        await lane.binance.ask("DELETE", "/faults")


async def _kill(lane: Lane, cell: Cell, end_state: Mapping[str, Any]) -> Result:
    program = lane.programs[cell.process]
    kills_before = program.kills

    async def arm() -> None:
        program.die_at(cell.target)

    scene = Scene(lane, on_begin=arm)
    await PATHS[cell.path](scene)
    standing = await scene.rest()
    seconds = time.monotonic() - scene.began_at
    if not await _died(program, kills_before):
        return Result(cell=cell, verdict=UNREACHED, status=standing.order["status"])
    await program.until_ready()
    standing = await scene.rest()
    found = find_violations(standing, lane.shop)
    if (state := end_state_of(standing, lane.shop)) != end_state:
        found.append(f"it came to rest as {state}, and in the clean run as {end_state}")
    found += await _hear_again(scene, lane)
    found += [f"{cell.process} ended with {code}" for code in program.accidents]
    program.ends.clear()
    return Result(
        cell=cell,
        verdict=VIOLATION if found else OK,
        status=standing.order["status"],
        seconds=round(seconds, 1),
        codes=len(standing.attempts),
        violations=tuple(found),
    )


async def _died(program: Any, kills_before: int) -> bool:
    deadline = time.monotonic() + _STRAGGLER_SECONDS
    while program.kills == kills_before and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    return bool(program.kills > kills_before)


async def _hear_again(scene: Scene, lane: Lane) -> list[str]:
    """Send every last notice again: it is taken, and changes nothing."""
    before = await scene.rest()
    found = await scene.hear_again(before)
    after = await scene.rest()
    if end_state_of(before, lane.shop) != end_state_of(after, lane.shop):
        found.append("a repeated notice changed the order")
    return found


async def _set_stage(lane: Lane, arrangement: str) -> None:
    await lane.arrange(arrangement)
    for program in lane.programs.values():
        await program.until_ready()
    await lane.listen_to_events()


# Finding the cells.


async def _discover(
    lanes: Sequence[Lane],
    matrix: Matrix,
    runs: Sequence[tuple[str, str]],
    *,
    idle_seconds: float,
) -> Mapping[str, set[str]]:
    """Run each path once without a kill; return what each process passes in idleness."""
    idle: dict[str, set[str]] = {}
    todo = deque([*((arrangement, None) for arrangement, _ in dict(runs).items()), *runs])

    async def work(lane: Lane) -> None:
        while todo:
            arrangement, path = todo.popleft()
            if arrangement != lane.arrangement:
                await _set_stage(lane, arrangement)
                await asyncio.sleep(_SETTLING_SECONDS)
            await _set_stage(lane, arrangement)
            if path is None:
                idle.update(await _idle_points(lane, idle_seconds))
            else:
                matrix.clean.append(await _run_clean(lane, arrangement, path))

    await asyncio.gather(*(work(lane) for lane in lanes))
    matrix.clean.sort(key=lambda run: runs.index((run.arrangement, run.path)))
    return idle


async def _idle_points(lane: Lane, seconds: float) -> dict[str, set[str]]:
    for program in lane.programs.values():
        program.record_points()
    await asyncio.sleep(seconds)
    return {name: set(program.take_points()) for name, program in lane.programs.items()}


async def _run_clean(lane: Lane, arrangement: str, path: str) -> CleanRun:
    async def record() -> None:
        for program in lane.programs.values():
            program.record_points()

    scene = Scene(lane, on_begin=record)
    await PATHS[path](scene)
    standing = await scene.rest()
    seconds = time.monotonic() - scene.began_at
    await asyncio.sleep(_AFTERMATH_SECONDS)
    points = {name: program.take_points() for name, program in lane.programs.items()}
    await lane.binance.ask("DELETE", "/faults")
    if found := find_violations(standing, lane.shop):
        raise AssertionError(f"{path} without a kill: {found}")
    return CleanRun(
        path=path,
        arrangement=arrangement,
        points=points,
        end_state=end_state_of(standing, lane.shop),
        codes=len(standing.attempts),
        seconds=round(seconds, 1),
    )


def _list_cells(clean: Iterable[CleanRun], idle: Mapping[str, set[str]]) -> list[Cell]:
    cells = []
    for run in clean:
        for process, points in run.points.items():
            passings = Counter(points)
            for moment in dict.fromkeys(points):
                is_common = moment in idle[process] or _STATEMENT.fullmatch(moment)
                most = 1 if is_common else PASSINGS_MAX
                cells += [
                    Cell(run.path, run.arrangement, process, moment, number)
                    for number in range(1, min(passings[moment], most) + 1)
                ]
    return cells


# Lanes.


@asynccontextmanager
async def _opening_lanes(
    cluster: EmbeddedPostgres, *, directory: Path, count: int
) -> AsyncIterator[list[Lane]]:
    async with running_launcher(directory) as launcher, AsyncExitStack() as stack:
        yield list(
            await asyncio.gather(
                *(
                    stack.enter_async_context(
                        opening_lane(
                            cluster,
                            name=f"lane{number}",
                            directory=directory / f"lane{number}",
                            launcher=launcher,
                        )
                    )
                    for number in range(1, count + 1)
                )
            )
        )


async def check_lane(lane: Lane) -> list[str]:
    """Hold a lane's whole books against Binance's: nothing may be left over on either side."""
    found = []
    state = await lane.binance.state()
    theirs = {order["merchant_trade_no"] for order in state["orders"]}
    rows = await lane.database.fetch("SELECT merchant_trade_no FROM attempts")
    if strangers := theirs - {row["merchant_trade_no"] for row in rows}:
        found.append(f"{lane.name}: Binance has {len(strangers)} orders that no attempt made")
    received = Counter((Decimal(p["amount"]), p["currency"]) for p in state["payments"])
    payments = await lane.database.fetch("SELECT amount, currency FROM payments")
    booked = Counter((row["amount"], row["currency"]) for row in payments)
    if received != booked:
        found.append(f"{lane.name}: Binance received {received}, and we booked {booked}")
    for what, query in _LEFT_OVER.items():
        if count := await _count_left(lane, query):
            found.append(f"{lane.name}: {count} {what}")
    return found


async def _count_left(lane: Lane, query: str) -> int:
    """Count what is left over, when whoever is at it just now has had the time to end."""
    deadline = time.monotonic() + _ENDS_SECONDS
    while (count := int(await lane.database.fetchval(query))) and time.monotonic() < deadline:
        await asyncio.sleep(0.5)
    return count


_LEFT_OVER: Final = {
    "deliveries are not done": "SELECT count(*) FROM deliveries WHERE status <> 'delivered'",
    "notices are not applied": "SELECT count(*) FROM notices WHERE outcome IN ('stored', 'orphan')",
    "leases are still held": (
        "SELECT count(*) FROM attempts WHERE lease_until > clock_timestamp()"
    ),
    "accounts are halted": "SELECT count(*) FROM accounts WHERE halted_reason IS NOT NULL",
}


def _line(result: Result, *, left: int) -> str:
    cell = result.cell
    outcome = (
        f"{result.status} after {result.seconds} s"
        if result.verdict == OK
        else ("; ".join([result.verdict.upper(), *result.violations]))
    )
    return f"[{left} left] {cell.path}, {cell.process}, {cell.target}: {outcome}"
