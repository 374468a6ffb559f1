"""Makes report files of every format, as other programs would write them."""

import csv
import zipfile
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import xlwt

HEADER = (
    "Time (UTC)",
    "Transaction ID",
    "Prepay ID",
    "Merchant Trade No",
    "Currency",
    "Amount",
    "Commission",
    "Net",
)
ROW = ("2031-01-11 12:00:00", "P_1", "270342174837100001", "ab" * 16, "USDT", "12.50", "0.125", "x")

Table = Sequence[Sequence[str]]


class Number(str):
    """What a spreadsheet writes as a number, digits as given."""

    __slots__ = ()


def write_csv(path: Path, rows: Table, *, encoding: str = "utf-8", delimiter: str = ",") -> Path:
    """Write delimited text."""
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


def write_xlsx(
    path: Path,
    rows: Table,
    *,
    shared: bool = True,
    prolog: str = "",
    workbook: str = "<workbook/>",
    strings: str | None = None,
) -> Path:
    """Write a spreadsheet: texts as shared strings or inline, `Number` as numbers."""
    texts: list[str] = []
    cells: list[str] = []
    for row in rows:
        parts = []
        for column, text in enumerate(row):
            reference = f"{chr(65 + column)}{len(cells) + 1}"
            if isinstance(text, Number):
                parts.append(f'<c r="{reference}"><v>{text}</v></c>')
            elif shared:
                parts.append(f'<c r="{reference}" t="s"><v>{len(texts)}</v></c>')
                texts.append(text)
            else:
                parts.append(f'<c r="{reference}" t="inlineStr"><is><t>{escape(text)}</t></is></c>')
        cells.append(f'<row r="{len(cells) + 1}">{"".join(parts)}</row>')
    space = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    items = "".join(f"<si><t>{escape(text)}</t></si>" for text in texts)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", workbook)
        archive.writestr(
            "xl/worksheets/sheet1.xml",
            f"{prolog}<worksheet {space}><sheetData>{''.join(cells)}</sheetData></worksheet>",
        )
        archive.writestr("xl/sharedStrings.xml", strings or f"<sst {space}>{items}</sst>")
    return path


def write_xls(path: Path, rows: Table) -> Path:
    """Write the older binary format."""
    book = xlwt.Workbook()
    sheet = book.add_sheet("Report")
    for number, row in enumerate(rows):
        for column, text in enumerate(row):
            sheet.write(number, column, float(text) if isinstance(text, Number) else text)
    book.save(str(path))
    return path
