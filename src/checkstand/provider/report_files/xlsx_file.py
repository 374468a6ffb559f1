"""XLSX read from its XML as a stream, so that cells keep the digits they were written with.

A library would hand amounts over as floats. Nothing is built up in memory: shared strings, which
the cells refer to by number, wait in a temporary file. A document type, and with it every entity
that could be expanded, is refused; so is a file that unpacks to more than it can honestly hold.
"""

import mmap
import re
import tempfile
import zipfile
import zlib
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final
from xml.parsers import expat

from checkstand.provider.report_files.cells import (
    CELL_CHARACTERS_MAX,
    CELLS_MAX,
    SHEETS_MAX,
    NumberText,
    unreadable,
)

#: A million rows of a dozen cells are some 700 MB of XML; ten times packed is usual, thirty much.
_UNPACKED_BYTES_MAX: Final = 4 * 1024**3
_RATIO_MAX: Final = 200
_SMALL: Final = 10 * 1024 * 1024
_CHUNK: Final = 256 * 1024
_SHEETS: Final = re.compile(r"xl/worksheets/[^/]+\.xml", re.IGNORECASE)
#: A spreadsheet lets a sheet's name have 31.
_NAME_CHARACTERS_MAX: Final = 64
_LETTERS: Final = re.compile(r"[A-Z]{1,3}")
_PACKINGS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_FAILURES: Final = (
    zipfile.BadZipFile,
    zlib.error,
    expat.ExpatError,
    EOFError,
    NotImplementedError,  # a way of packing that nobody uses
    RuntimeError,  # packed under a password
    ValueError,
    OSError,
)


class XlsxFile:
    """An open workbook; closing it removes what was unpacked."""

    def __init__(self, path: Path) -> None:
        # Opened here, so that it is closed with us, whoever still holds a part of the archive.
        self._file = path.open("rb")
        try:
            self._archive = _open_archive(self._file)
            self._check_sizes()
            self._check_calendar()
            self._strings = _SharedStrings(self._archive)
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Give the files back."""
        self._strings.close()
        self._file.close()

    def sheets(self) -> list["XlsxSheet"]:
        """Return the worksheets as the workbook orders and names them, then any others."""
        parts = dict.fromkeys(n for n in self._archive.namelist() if _SHEETS.fullmatch(n))
        if len(parts) > SHEETS_MAX:
            raise unreadable(f"it has more than {SHEETS_MAX} sheets")
        shown = {part: name for part, name in _shown_names(self._archive).items() if part in parts}
        others = {part: _stem_of(part) for part in sorted(parts, key=_in_order)}
        names = shown | {part: name for part, name in others.items() if part not in shown}
        return [XlsxSheet(self._archive, part, name, self._strings) for part, name in names.items()]

    def _check_sizes(self) -> None:
        entries = self._archive.infolist()
        if any(entry.compress_type not in _PACKINGS for entry in entries):
            raise unreadable("it is packed in a way that no spreadsheet is")
        total = sum(entry.file_size for entry in entries)
        packed = sum(entry.compress_size for entry in entries)
        if total > _UNPACKED_BYTES_MAX or (total > _SMALL and total > packed * _RATIO_MAX):
            raise unreadable("it unpacks to far more than a report can hold")

    def _check_calendar(self) -> None:
        """Refuse dates counted from 1904: read as usual they would be four years early."""
        try:
            with self._archive.open("xl/workbook.xml") as file:
                head = file.read(_SMALL)
        except KeyError:
            raise unreadable("it is a ZIP archive, but no spreadsheet; unpack it first") from None
        except _FAILURES as error:
            raise unreadable(str(error)) from error
        if re.search(rb"date1904\s*=\s*[\"'](1|true)", head):
            raise unreadable("its dates count from 1904; save it as CSV")


def _open_archive(file: BinaryIO) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except _FAILURES as error:
        raise unreadable(str(error)) from error


def _shown_names(archive: zipfile.ZipFile) -> dict[str, str]:
    """Return part → name of the sheets that the workbook lists, in its order."""
    ids: dict[str, str] = {}  # relationship → name
    targets: dict[str, str] = {}  # relationship → part

    def sheet(attributes: dict[str, str]) -> None:
        for key, value in attributes.items():
            if key.rpartition(":")[2] == "id" and "name" in attributes:
                ids[value] = attributes["name"][:_NAME_CHARACTERS_MAX]

    def relationship(attributes: dict[str, str]) -> None:
        target = attributes.get("Target", "")
        part = target[1:] if target.startswith("/") else f"xl/{target}"
        targets[attributes.get("Id", "")] = part

    _for_each(archive, "xl/workbook.xml", "sheet", sheet)
    if "xl/_rels/workbook.xml.rels" in archive.namelist():
        _for_each(archive, "xl/_rels/workbook.xml.rels", "Relationship", relationship)
    return {targets[each]: name for each, name in ids.items() if each in targets}


def _for_each(
    archive: zipfile.ZipFile, part: str, wanted: str, take: Callable[[dict[str, str]], None]
) -> None:
    """Hand over the attributes of each element of a name."""

    def start(tag: str, attributes: dict[str, str]) -> None:
        if tag.rpartition(":")[2] == wanted:
            take(attributes)

    parser = _strict_parser()
    parser.StartElementHandler = start
    for _ in _parsing(archive, part, parser):
        pass


def _stem_of(part: str) -> str:
    return part.rpartition("/")[2].rpartition(".")[0]


def _in_order(part: str) -> list[int | str]:
    """Sort sheet10 after sheet9."""
    return [int(each) if each.isdigit() else each for each in re.split(r"([0-9]+)", part)]


class XlsxSheet:
    """One worksheet."""

    format = "xlsx"

    def __init__(
        self, archive: zipfile.ZipFile, part: str, name: str, strings: "_SharedStrings"
    ) -> None:
        self.name = name
        self._archive = archive
        self._part = part
        self._strings = strings

    def rows(self) -> Iterator[list[str]]:
        """Yield the cells of each row."""
        reader = _RowReader(self._strings)
        for _ in _parsing(self._archive, self._part, reader.parser):
            yield from reader.rows
            reader.rows.clear()


def _parsing(archive: zipfile.ZipFile, name: str, parser: Any) -> Iterator[None]:
    """Feed a part of the workbook to a parser and pause after each piece."""
    try:
        with archive.open(name) as file:
            while chunk := file.read(_CHUNK):
                parser.Parse(chunk, False)  # noqa: FBT003  (expat's signature)
                yield
            parser.Parse(b"", True)  # noqa: FBT003
            yield
    except _FAILURES as error:
        raise unreadable(str(error)) from error


def _strict_parser() -> Any:
    parser = expat.ParserCreate()
    parser.buffer_text = True

    def refuse(*_: Any) -> None:
        raise unreadable("its XML declares a document type")

    parser.StartDoctypeDeclHandler = refuse
    return parser


class _RowReader:
    """Collects the rows of a worksheet's XML."""

    def __init__(self, strings: "_SharedStrings") -> None:
        self.rows: list[list[str]] = []
        self.parser = _strict_parser()
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self._strings = strings
        self._row: list[str] = []
        self._column = -1
        self._kind = "n"
        self._parts: list[str] = []
        self._length = 0
        self._takes_text = False

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        tag = tag.rpartition(":")[2]
        if tag in {"v", "t"}:
            self._takes_text = True
        elif tag == "c":
            reference = attributes.get("r")
            self._column = _column_of(reference) if reference else self._column + 1
            self._kind = attributes.get("t", "n")
            self._parts = []
            self._length = 0
        elif tag == "row":
            self._row, self._column = [], -1
        elif tag == "rPh":  # how a Japanese word is read: not part of the text
            self._takes_text = False

    def _end(self, tag: str) -> None:
        tag = tag.rpartition(":")[2]
        if tag in {"v", "t"}:
            self._takes_text = False
        elif tag == "c":
            self._end_cell()
        elif tag == "row":
            self.rows.append(self._row)
            self._row = []

    def _text(self, text: str) -> None:
        if self._takes_text:
            self._length += len(text)
            if self._length > CELL_CHARACTERS_MAX:
                raise unreadable("a cell of it is longer than a spreadsheet allows")
            self._parts.append(text)

    def _end_cell(self) -> None:
        if not 0 <= self._column < CELLS_MAX:
            return
        text = "".join(self._parts)
        if self._kind == "s":
            text = self._strings.get(text)
        elif self._kind == "n" and text:
            text = NumberText(text)
        row = self._row
        while len(row) < self._column:
            row.append("")
        if len(row) == self._column:
            row.append(text)
        else:
            row[self._column] = text


def _column_of(reference: str) -> int:
    found = _LETTERS.match(reference)
    if found is None:
        raise unreadable(f"it has a cell called {reference[:16]!r}")
    number = 0
    for letter in found.group():
        number = number * 26 + ord(letter) - 64
    return number - 1


class _SharedStrings:
    """The texts that cells refer to by number, on disk: a million rows have millions of them."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._offsets = array("Q", [0])
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  (closed by `close`)
        self._end_at = 0
        self._parts: list[str] = []
        self._length = 0
        self._takes_text = False
        try:
            self._unpack(archive)
        except BaseException:
            self._file.close()
            raise
        self._map = mmap.mmap(self._file.fileno(), 0, prot=mmap.PROT_READ) if self._end_at else b""

    def _unpack(self, archive: zipfile.ZipFile) -> None:
        name = next((n for n in archive.namelist() if n.lower() == "xl/sharedstrings.xml"), None)
        if name is not None:
            parser = _strict_parser()
            parser.StartElementHandler = self._start
            parser.EndElementHandler = self._end
            parser.CharacterDataHandler = self._text
            for _ in _parsing(archive, name, parser):
                pass
        self._file.flush()

    def close(self) -> None:
        """Remove what was unpacked."""
        if isinstance(self._map, mmap.mmap):
            self._map.close()
        self._file.close()

    def get(self, number: str) -> str:
        """Return one text."""
        if not number.isascii() or not number.isdigit() or int(number) >= len(self._offsets) - 1:
            raise unreadable("a cell of it refers to a text that is not there")
        index = int(number)
        return self._map[self._offsets[index] : self._offsets[index + 1]].decode()

    def _start(self, tag: str, _attributes: dict[str, str]) -> None:
        tag = tag.rpartition(":")[2]
        if tag == "si":
            self._parts = []
            self._length = 0
        elif tag == "t":
            self._takes_text = True
        elif tag == "rPh":
            self._takes_text = False

    def _end(self, tag: str) -> None:
        tag = tag.rpartition(":")[2]
        if tag == "t":
            self._takes_text = False
        elif tag == "si":
            self._end_at += self._file.write("".join(self._parts).encode())
            self._offsets.append(self._end_at)

    def _text(self, text: str) -> None:
        if self._takes_text:
            self._length += len(text)
            if self._length > CELL_CHARACTERS_MAX:
                raise unreadable("a text of it is longer than a spreadsheet allows")
            self._parts.append(text)
