"""Run the matrix and write its page: `make crash`, or `python -m crash --help`."""

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from checkstand.storage.embedded import EmbeddedPostgres
from crash.lane import PROCESSES
from crash.matrix import Cell, Matrix, load_results, run_matrix, store_result
from crash.paths import PATHS
from crash.report import write

PAGE = Path("docs/crash-matrix.md")
RESULTS = Path(".crash/results.jsonl")


def main(arguments: Sequence[str]) -> int:
    """Run what was asked for; exit code 3 when there were violations."""
    options = _parse(arguments)
    everything = not (options.path or options.point or options.arrangement)
    RESULTS.parent.mkdir(exist_ok=True)
    if not options.resume:
        RESULTS.unlink(missing_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="checkstand-crash-", dir=options.directory))
    try:
        matrix = asyncio.run(_run(options, directory))
    except BaseException:
        print(f"logs are kept in {directory}", file=sys.stderr)
        raise
    command = "make crash" if everything else f"python -m crash {' '.join(arguments)}"
    if everything or options.page:
        write(options.page or PAGE, matrix, [], command=command)
    print(f"{len(matrix.results)} kills, {len(matrix.violations)} violations")
    for violation in matrix.violations:
        print(f"VIOLATION {violation}")
    if matrix.violations:
        print(f"logs are kept in {directory}")
        return 3
    shutil.rmtree(directory)
    return 0


async def _run(options: argparse.Namespace, directory: Path) -> Matrix:
    def is_wanted(cell: Cell) -> bool:
        return options.point in cell.target and options.process in {None, cell.process}

    # Every lane has a pool of its own for each process, and twice that for a moment after a kill.
    settings = {"max_connections": "400"}
    with EmbeddedPostgres.start(directory / "postgres", settings=settings) as cluster:
        return await run_matrix(
            cluster,
            directory=directory,
            lanes=options.lanes,
            paths=options.path or tuple(PATHS),
            arrangements=options.arrangement or tuple(PROCESSES),
            wanted=is_wanted,
            known=load_results(RESULTS) if options.resume else (),
            on_result=lambda result: store_result(RESULTS, result),
            tell=lambda line: print(line, flush=True),
        )


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m crash", description=__doc__)
    parser.add_argument("--path", nargs="*", choices=tuple(PATHS), help="these paths only")
    parser.add_argument("--point", default="", help="targets that contain this text only")
    parser.add_argument("--process", help="kills of this process only: serve, gateway, worker")
    parser.add_argument("--arrangement", nargs="*", choices=tuple(PROCESSES))
    parser.add_argument("--lanes", type=int, default=8, help="cases run side by side")
    parser.add_argument("--resume", action="store_true", help="go on with the last run's results")
    parser.add_argument("--page", type=Path, help="where to write the page")
    parser.add_argument("--directory", type=Path, help="where clusters and logs live meanwhile")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
