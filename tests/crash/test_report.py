"""Results survive a stop, and the page shows what they say."""

from pathlib import Path

from crash.hardships import Hardship
from crash.lane import TOGETHER
from crash.matrix import (
    OK,
    UNREACHED,
    VIOLATION,
    Cell,
    CleanRun,
    Matrix,
    Result,
)
from crash.notebook import Notebook
from crash.report import render

BEFORE = Cell("pay", TOGETHER, "serve", "before commit settle_notices", 1)
AFTER = Cell("pay", TOGETHER, "serve", "after commit settle_notices", 1)
NEVER = Cell("pay", TOGETHER, "serve", "before delivery", 2)


def _matrix() -> Matrix:
    points = ["before commit settle_notices", "after commit settle_notices", "before delivery"]
    return Matrix(
        clean=[
            CleanRun(
                path="pay",
                arrangement=TOGETHER,
                points={"serve": points},
                end_state={"status": "FULFILLED"},
                codes=1,
                seconds=0.2,
            )
        ],
        cells=[BEFORE, AFTER, NEVER],
        results=[
            Result(cell=BEFORE, verdict=OK, status="FULFILLED", seconds=6.5, codes=2),
            Result(cell=AFTER, verdict=VIOLATION, violations=("goods were given out 2 times",)),
            Result(cell=NEVER, verdict=UNREACHED),
        ],
        seconds=120,
    )


def test_notes_are_read_as_they_were_written_and_the_later_one_counts(tmp_path: Path) -> None:
    notebook = Notebook(tmp_path / "notes")
    hardship = Hardship(name="disk_full", outcome="nobody waited", violations=("a loss",))
    first, second, third = _matrix().results
    for result in (Result(cell=BEFORE, verdict=VIOLATION), first, second, third):
        notebook.note_result(result)
    notebook.note_hardship(hardship)
    notebook.add_seconds(60)

    again = Notebook(tmp_path / "notes")

    assert again.read_results() == [first, second, third]
    assert again.read_hardships() == [hardship]
    assert again.add_seconds(1.5) == 61.5
    again.clear()
    assert again.read_results() == []


def test_page_has_a_row_a_point_and_counts_what_went_wrong() -> None:
    hardship = Hardship(name="disk_full", outcome="nobody waited", violations=["a loss"])

    page = render(_matrix(), [hardship], command="make crash")

    lines = page.splitlines()
    settled = "| `commit settle_notices` 1 | FULFILLED 6.5 s, 2 codes | **violation**: goods were"
    assert any(line.startswith(settled) for line in lines)
    assert "| `delivery` 2 | not passed |  |" in lines
    assert "| points on them | 2 |" in lines
    assert "| kills | 2 |" in lines
    assert "| **violations** | **2** |" in lines
    assert "- pay, serve, after commit settle_notices:1: goods were given out 2 times" in lines
    assert any("six seconds" in line and "nobody waited" in line for line in lines)
