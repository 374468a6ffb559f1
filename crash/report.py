"""The matrix as a page for the docs."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from crash.hardships import Hardship
from crash.lane import APART, PROCESSES
from crash.matrix import OK, UNREACHED, VIOLATION, CleanRun, Matrix, Result
from crash.paths import PATHS

_HEAD = """\
# The crash matrix

Written by `make crash`; do not edit. Real processes on a real PostgreSQL with `fsync` on, and the
simulator: the gateway (or the worker, where it runs apart) is killed with `kill -9` at every point
that a clean run of the path passes, started again, and held against the simulator's books when
everything is at rest:

- every payment Binance received is in our books, once, and the shop was told `order.paid` or
  `order.attention`; `order.paid` has one id; goods were given out once, never without a payment;
- never two codes could be paid at once, and the code that can be paid is the one that is shown;
- the order came to rest where the clean run's did: status, events, anomalies, payments, goods
  (`order.pending` apart, which is never told when the payment is known before the code);
- every event was delivered, no lease is held, every notice that was answered SUCCESS is stored and
  applied, and each one that Binance repeats is answered SUCCESS and changes nothing.

A point is a statement (`orders.lock`), a commit (`commit settle_notices`) or an endpoint
(`binance /v3/order`, `delivery`); the number behind it says at which passing. Statements are killed
at their first passing, commits and endpoints at up to three. A cell says where the order came to
rest and how long that took from the first act: mostly the wait for the dead process's lease, which
is as long as a call may take (here 1 s at Binance, 3 s at the shop) and five seconds. "2 codes"
where the clean run had one: Binance made the first and its links died with the process, so it was
closed and made anew, which is the only way (nobody had seen it). "not passed": this time the path
did not come by, because somebody else was faster.

Processes are forked from one that has imported everything, which spares most of a start; each is a
process of its own. The shop lives in the harness, and nothing kills it or the simulator.
"""


def render(matrix: Matrix, hardships: Sequence[Hardship], *, command: str) -> str:
    """Return the page."""
    return "\n".join(
        [
            _HEAD,
            *_totals(matrix, hardships, command=command),
            *_hardships(hardships),
            *_violations(matrix),
            *(line for run in matrix.clean for line in _path(matrix, run)),
        ]
    )


def write(path: Path, matrix: Matrix, hardships: Sequence[Hardship], *, command: str) -> None:
    """Write the page."""
    path.write_text(render(matrix, hardships, command=command), "utf-8")


def _totals(matrix: Matrix, hardships: Sequence[Hardship], *, command: str) -> list[str]:
    verdicts = Counter(result.verdict for result in matrix.results)
    points = {(c.path, c.process, c.moment.partition(" ")[2]) for c in matrix.cells}
    violations = len(matrix.violations) + sum(len(h.violations) for h in hardships)
    waits = sorted(r.seconds for r in matrix.results if r.verdict == OK)
    middle = waits[len(waits) // 2] if waits else 0
    return [
        f"`{command}`",
        "",
        "| | |",
        "|---|---|",
        f"| paths | {len({run.path for run in matrix.clean})} |",
        f"| points on them | {len(points)} |",
        f"| kills | {verdicts[OK] + verdicts[VIOLATION]} |",
        f"| not passed | {verdicts[UNREACHED]} |",
        f"| left out for want of time | {matrix.left_out} |",
        f"| seconds to rest | {middle:g} in the middle, {max(waits, default=0):g} at most |",
        f"| hardships | {len(hardships)} |",
        f"| **violations** | **{violations}** |",
        f"| run time | {matrix.seconds / 60:.0f} min |",
        "",
    ]


def _hardships(hardships: Sequence[Hardship]) -> list[str]:
    if not hardships:
        return []
    rows = [f"| {h.title} | {h.outcome} | {'; '.join(h.violations) or 'none'} |" for h in hardships]
    return [
        "## Hardships",
        "",
        "| What | What came of it | Violations |",
        "|---|---|---|",
        *rows,
        "",
    ]


def _violations(matrix: Matrix) -> list[str]:
    if not matrix.violations:
        return []
    return ["## Violations", "", *(f"- {violation}" for violation in matrix.violations), ""]


def _path(matrix: Matrix, run: CleanRun) -> Iterable[str]:
    results = [
        r
        for r in matrix.results
        if (r.cell.path, r.cell.arrangement) == (run.path, run.arrangement)
    ]
    if not results:
        return
    where = "gateway and worker apart" if run.arrangement == APART else "one process"
    purpose = (PATHS[run.path].__doc__ or "").strip().rstrip(".")
    yield f"## {run.path}, {where}"
    yield ""
    codes = "1 code" if run.codes == 1 else f"{run.codes} codes"
    yield f"{purpose}. Without a kill: {run.end_state['status']} in {run.seconds:g} s, {codes}."
    yield ""
    for process in PROCESSES[run.arrangement]:
        yield from _process(process, [r for r in results if r.cell.process == process], run)


def _process(process: str, results: Sequence[Result], run: CleanRun) -> Iterable[str]:
    if not results:
        return
    told = {(r.cell.moment, r.cell.number): _cell(r, run) for r in results}
    points = dict.fromkeys((m.partition(" ")[2], number) for m, number in told)
    yield f"| Point of `{process}` | Killed before | Killed after |"
    yield "|---|---|---|"
    for point, number in sorted(points, key=lambda p: (_place(p[0], run.points[process]), p[1])):
        before, after = (told.get((f"{side} {point}", number), "") for side in ("before", "after"))
        yield f"| `{point}` {number} | {before} | {after} |"
    yield ""


def _place(point: str, passed: Sequence[str]) -> int:
    return next((i for i, moment in enumerate(passed) if moment.endswith(f" {point}")), len(passed))


def _cell(result: Result, run: CleanRun) -> str:
    if result.verdict == UNREACHED:
        return "not passed"
    if result.verdict == VIOLATION:
        return f"**violation**: {'; '.join(result.violations)}"
    codes = f", {result.codes} codes" if result.codes != run.codes else ""
    return f"{result.status} {result.seconds:.1f} s{codes}"
