"""Report files of text: CSV and its relatives, in the encodings that spreadsheets write."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TextIO

from checkstand.provider.report_files.cells import CELLS_MAX, unreadable

_DELIMITERS: Final = (",", ";", "\t", "|")
_LINE_CHARACTERS_MAX: Final = 1024 * 1024
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")
#: Read to tell the delimiter, and no further.
_HEAD_LINES: Final = 20


class TextSheet:
    """A file of delimited text."""

    def __init__(self, path: Path, head: bytes) -> None:
        self.name = ""
        self._path = path
        self._encoding = _encoding_of(path, head)
        self._delimiter = self._tell_delimiter()
        self.format = f"text ({self._encoding}, {self._delimiter!r})"

    def rows(self) -> Iterator[list[str]]:
        """Yield the cells of each row."""
        return self._rows(self._delimiter)

    def _rows(self, delimiter: str) -> Iterator[list[str]]:
        try:
            with self._path.open(encoding=self._encoding, newline="") as file:
                for row in csv.reader(_bounded(file), delimiter=delimiter):
                    yield row[:CELLS_MAX]
        except (csv.Error, UnicodeError) as error:
            raise unreadable(str(error)) from error

    def _tell_delimiter(self) -> str:
        """Take the sign that splits the beginning into the most cells."""

        def width(delimiter: str) -> int:
            rows = self._rows(delimiter)
            return max(
                (len(row) for row, _ in zip(rows, range(_HEAD_LINES), strict=False)), default=0
            )

        return max(_DELIMITERS, key=width)


def _bounded(file: TextIO) -> Iterator[str]:
    while line := file.readline(_LINE_CHARACTERS_MAX):
        if len(line) == _LINE_CHARACTERS_MAX:
            raise unreadable("a line of it is longer than a million characters")
        if "\0" in line:
            raise unreadable("there are NUL bytes in its text")
        yield line


def _encoding_of(path: Path, head: bytes) -> str:
    """Tell the encoding: a byte order mark says it, valid UTF-8 is UTF-8, else one byte a letter.

    What we read of a file is ASCII in every encoding but UTF-16; the others only spoil names.
    """
    if head.startswith(_UTF16):
        return "utf-16"
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            while file.read(1024 * 1024):
                pass
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8-sig"
