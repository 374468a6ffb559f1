"""What a run has found so far, on disk, so that another can go on with it."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from crash.hardships import Hardship
from crash.matrix import Cell, Result


class Notebook:
    """Results and hardships as lines of JSON; of one thing noted twice the later line counts."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._results = directory / "results.jsonl"
        self._hardships = directory / "hardships.jsonl"
        self._seconds = directory / "seconds"

    def clear(self) -> None:
        """Forget the run before."""
        for path in (self._results, self._hardships, self._seconds):
            path.unlink(missing_ok=True)

    def read_results(self) -> list[Result]:
        """Return what came of each cell."""
        results = [
            Result(**{**row, "cell": Cell(**row["cell"]), "violations": tuple(row["violations"])})
            for row in _read(self._results)
        ]
        return list({result.cell: result for result in results}.values())

    def note_result(self, result: Result) -> None:
        """Add what came of a cell."""
        _add(self._results, asdict(result))

    def read_hardships(self) -> list[Hardship]:
        """Return what came of each hardship."""
        found = [
            Hardship(**{**row, "violations": tuple(row["violations"])})
            for row in _read(self._hardships)
        ]
        return list({hardship.name: hardship for hardship in found}.values())

    def note_hardship(self, hardship: Hardship) -> None:
        """Add what came of a hardship."""
        _add(self._hardships, asdict(hardship))

    def add_seconds(self, seconds: float) -> float:
        """Add what a run took; return what all took that are noted here."""
        total = seconds + (float(self._seconds.read_text()) if self._seconds.exists() else 0.0)
        self._seconds.write_text(f"{total:.1f}")
        return total


def _read(path: Path) -> Sequence[dict[str, Any]]:
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def _add(path: Path, row: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
