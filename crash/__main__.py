"""Run the matrix and write its page: `make crash`, or `python -m crash --help`."""

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from checkstand.storage.embedded import EmbeddedPostgres
from crash.hardships import HARDSHIPS, Ground, Hardship, run_hardship
from crash.lane import PROCESSES
from crash.matrix import VIOLATION, Cell, Matrix, run_matrix
from crash.notebook import Notebook
from crash.paths import PATHS
from crash.programs import running_launcher
from crash.report import write

PAGE = Path("docs/crash-matrix.md")
NOTEBOOK = Path(".crash")


def main(arguments: Sequence[str]) -> int:
    """Run what was asked for; exit code 3 when there were violations."""
    options = _parse(arguments)
    directory = Path(tempfile.mkdtemp(prefix="checkstand-crash-", dir=options.directory))
    try:
        matrix, hardships = asyncio.run(_run(options, directory))
    except BaseException:
        print(f"logs are kept in {directory}", file=sys.stderr)
        raise
    page = options.page or (PAGE if _is_everything(options) else None)
    if page is not None:
        command = " ".join(["python -m crash", *arguments])
        write(page, matrix, hardships, command="make crash" if page == PAGE else command)
    violations = matrix.violations + [
        f"{hardship.name}: {violation}"
        for hardship in hardships
        for violation in hardship.violations
    ]
    print(
        f"{len(matrix.results)} kills and {len(hardships)} hardships in "
        f"{matrix.seconds / 60:.0f} min, {len(violations)} violations"
    )
    for violation in violations:
        print(f"VIOLATION {violation}")
    if violations:
        print(f"logs are kept in {directory}")
        return 3
    shutil.rmtree(directory)
    return 0


async def _run(options: argparse.Namespace, directory: Path) -> tuple[Matrix, list[Hardship]]:
    # A look at some cells leaves the notes of the whole alone, unless it is to go on with them.
    is_noted = options.resume or _is_everything(options)
    notebook = Notebook(NOTEBOOK if is_noted else directory / "notes")
    if not options.resume:
        notebook.clear()
    # Every lane has a pool of its own for each process, and twice that for a moment after a kill.
    settings = {"max_connections": "400"}
    with EmbeddedPostgres.start(directory / "postgres", settings=settings) as cluster:
        matrix = Matrix()
        if options.hardship is None:
            matrix = await _run_matrix(options, cluster, directory, notebook)
        if options.hardship is None and not _is_everything(options):
            return matrix, []
        await _run_hardships(options, cluster, directory, notebook)
        return matrix, notebook.read_hardships()


async def _run_matrix(
    options: argparse.Namespace, cluster: EmbeddedPostgres, directory: Path, notebook: Notebook
) -> Matrix:
    def is_wanted(cell: Cell) -> bool:
        return options.point in cell.target and options.process in {None, cell.process}

    matrix = await run_matrix(
        cluster,
        directory=directory,
        lanes=options.lanes,
        runs=[
            (arrangement, path)
            for arrangement in options.arrangement or PROCESSES
            for path in options.path or PATHS
        ],
        seconds_max=options.minutes * 60,
        wanted=is_wanted,
        known=[result for result in notebook.read_results() if result.verdict != VIOLATION],
        on_result=notebook.note_result,
        tell=_say,
    )
    matrix.seconds = notebook.add_seconds(matrix.seconds)
    return matrix


async def _run_hardships(
    options: argparse.Namespace, cluster: EmbeddedPostgres, directory: Path, notebook: Notebook
) -> None:
    sound = {hardship.name for hardship in notebook.read_hardships() if not hardship.violations}
    names = options.hardship or [name for name in HARDSHIPS if name not in sound]
    async with running_launcher(directory) as launcher:
        ground = Ground(cluster=cluster, directory=directory, launcher=launcher)
        for name in names:
            hardship = await run_hardship(name, ground)
            notebook.note_hardship(hardship)
            _say(f"{name}: {hardship.outcome} {'; '.join(hardship.violations)}")


def _say(line: str) -> None:
    print(line, flush=True)


def _is_everything(options: argparse.Namespace) -> bool:
    """Say whether nothing was left out, so that the result is the page of the docs."""
    parts = (options.path, options.point, options.process, options.arrangement, options.hardship)
    return not any(parts) and options.hardship is None


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m crash", description=__doc__)
    parser.add_argument("--path", nargs="*", choices=tuple(PATHS), help="these paths only")
    parser.add_argument("--point", default="", help="targets that contain this text only")
    parser.add_argument("--process", help="kills of this process only: serve, gateway, worker")
    parser.add_argument("--arrangement", nargs="*", choices=tuple(PROCESSES))
    parser.add_argument(
        "--hardship",
        nargs="*",
        choices=tuple(HARDSHIPS),
        help="these hardships only, and no matrix; all of them when none is named",
    )
    parser.add_argument("--lanes", type=int, default=8, help="cases run side by side")
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="begin no further cell after so long"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the last run's results")
    parser.add_argument("--page", type=Path, help="where to write the page")
    parser.add_argument("--directory", type=Path, help="where clusters and logs live meanwhile")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
