"""Open a file as tables of cell text. Its content says what it is; its name says nothing."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from checkstand.errors import Refused
from checkstand.provider.report_files.cells import Sheet, unreadable
from checkstand.provider.report_files.text_file import TextSheet
from checkstand.provider.report_files.xls_file import open_xls
from checkstand.provider.report_files.xlsx_file import XlsxFile

_ZIP: Final = b"PK\x03\x04"
#: The container of XLS, and the bare stream that some writers leave out the container of.
_COMPOUND: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_BARE_BIFF: Final = (b"\x09\x00", b"\x09\x02", b"\x09\x04", b"\x09\x08")
_OTHERS: Final = {
    b"\x1f\x8b": "it is packed with gzip; unpack it first",
    b"%PDF": "it is a PDF",
    b"7z\xbc\xaf": "it is packed; unpack it first",
}
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")


@contextlib.contextmanager
def opening_sheets(path: Path) -> Iterator[Sequence[Sheet]]:
    """Open a report file for as long as the block lasts. Raises Refused."""
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise Refused("report_unreadable", f"{path} cannot be read: {error.strerror}") from error
    if head.startswith(_ZIP):
        workbook = XlsxFile(path)
        try:
            yield workbook.sheets()
        finally:
            workbook.close()
    elif head.startswith((_COMPOUND, *_BARE_BIFF)):
        yield open_xls(path)
    else:
        _refuse_others(head)
        yield [TextSheet(path, head)]


def _refuse_others(head: bytes) -> None:
    if not head.strip():
        raise unreadable("it is empty")
    for magic, why in _OTHERS.items():
        if head.startswith(magic):
            raise unreadable(why)
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
        raise unreadable("it is a web page or XML; save the table as CSV or XLSX")
    if b"\0" in head and not head.startswith(_UTF16):
        raise unreadable("it is neither XLSX, XLS nor text")
