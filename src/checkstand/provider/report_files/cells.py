"""What every format of report file has in common: cells of text, and limits on hostile ones."""

from collections.abc import Iterator
from typing import Final, Protocol

from checkstand.errors import Refused

#: A spreadsheet's own limit for one cell; nothing we read comes near it.
CELL_CHARACTERS_MAX: Final = 32_767
#: Columns beyond these cannot be ours, and a hostile row may claim sixteen thousand.
CELLS_MAX: Final = 256


#: A workbook of ours has a handful; each one costs a look into it.
SHEETS_MAX: Final = 64


class NumberText(str):
    """The text of a number cell: a double for most writers, so only fifteen digits are sure."""

    __slots__ = ()


class Sheet(Protocol):
    """One sheet of a file. Its rows may be read again and again."""

    format: str
    name: str  # as the spreadsheet shows it; empty for text, which has no sheets

    def rows(self) -> Iterator[list[str]]:
        """Yield the cells of each row from the first on, empty ones as empty text."""
        ...


def unreadable(why: str) -> Refused:
    """Say that a file is no report we can read."""
    return Refused("report_unreadable", f"this is no report file that can be read: {why}")
