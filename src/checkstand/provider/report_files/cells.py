"""What every format of report file has in common: cells of text, and limits on hostile ones."""

from collections.abc import Iterator
from typing import Final, Protocol

from checkstand.errors import Refused

#: A spreadsheet's own limit for one cell; nothing we read comes near it.
CELL_CHARACTERS_MAX: Final = 32_767
#: Columns beyond these cannot be ours, and a hostile row may claim sixteen thousand.
CELLS_MAX: Final = 256


class NumberText(str):
    """The text of a number cell: a double in the file, so only fifteen digits of it are sure."""

    __slots__ = ()


class Sheet(Protocol):
    """One table of a file. Its rows may be read again and again."""

    format: str

    def rows(self) -> Iterator[list[str]]:
        """Yield the cells of each row from the first on, empty ones as empty text."""
        ...


def unreadable(why: str) -> Refused:
    """Say that a file is no report we can read."""
    return Refused("report_unreadable", f"this is no report file that can be read: {why}")
