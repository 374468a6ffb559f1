"""XLS, the older binary format. Its numbers are doubles by nature: the shortest text that means
the same double is taken, which is what was written as long as that had fifteen digits or fewer.
"""

import io
import struct
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import xlrd

from checkstand.provider.report_files.cells import (
    CELLS_MAX,
    SHEETS_MAX,
    NumberText,
    unreadable,
)

#: The format holds 65,536 rows a sheet: anything near this size is no report.
_BYTES_MAX: Final = 128 * 1024 * 1024
#: What the library lets through when a file lies about its own structure.
_FAILURES: Final = (
    xlrd.XLRDError,
    xlrd.compdoc.CompDocError,
    struct.error,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
)


class XlsSheet:
    """One worksheet, read whole: the format is bounded."""

    format = "xls"

    def __init__(self, sheet: Any, datemode: int) -> None:
        self.name = str(sheet.name)
        self._sheet = sheet
        self._datemode = datemode

    def rows(self) -> Iterator[list[str]]:
        """Yield the cells of each row."""
        for number in range(self._sheet.nrows):
            try:
                cells = self._sheet.row(number)[:CELLS_MAX]
                row = [_text_of(cell, self._datemode) for cell in cells]
            except _FAILURES as error:
                raise unreadable(f"row {number + 1}: {error}") from error
            yield row


def open_xls(path: Path) -> list[XlsSheet]:
    """Open a workbook. Raises Refused."""
    if path.stat().st_size > _BYTES_MAX:
        raise unreadable("an XLS of that size is no report")
    try:
        # The library talks to stdout about what it finds odd.
        book = xlrd.open_workbook(str(path), logfile=io.StringIO(), ragged_rows=True)
        sheets = [XlsSheet(sheet, book.datemode) for sheet in book.sheets()]
    except _FAILURES as error:
        raise unreadable(str(error) or type(error).__name__) from error
    if len(sheets) > SHEETS_MAX:
        raise unreadable(f"it has more than {SHEETS_MAX} sheets")
    return sheets


def _text_of(cell: Any, datemode: int) -> str:
    if cell.ctype == xlrd.XL_CELL_NUMBER:
        return NumberText(repr(cell.value).removesuffix(".0"))
    if cell.ctype == xlrd.XL_CELL_DATE:
        moment = xlrd.xldate_as_datetime(cell.value, datemode)
        return str((moment + timedelta(microseconds=500)).isoformat(" ", "milliseconds"))
    return cell.value if isinstance(cell.value, str) else str(cell.value)
