"""Makes report files of every format, as other programs would write them."""

import csv
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

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


def write_xlsx_sheets(path: Path, sheets: Mapping[str, Table]) -> Path:
    """Write a workbook of several sheets, their parts numbered against their order."""
    space = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    listed, related, parts = [], [], {}
    for number, (name, rows) in enumerate(sheets.items()):
        part = f"worksheets/sheet{len(sheets) - number}.xml"
        listed.append(f'<sheet name={quoteattr(name)} sheetId="{number + 1}" r:id="r{number}"/>')
        related.append(f'<Relationship Id="r{number}" Target="{part}"/>')
        body = "".join(f"<row>{''.join(map(_cell, row))}</row>" for row in rows)
        parts[part] = f"<worksheet {space}><sheetData>{body}</sheetData></worksheet>"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "xl/workbook.xml", f"<workbook {space} {_LINKS}>{''.join(listed)}</workbook>"
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels", f"<Relationships>{''.join(related)}</Relationships>"
        )
        for part, text in parts.items():
            archive.writestr(f"xl/{part}", text)
    return path


_LINKS = 'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'


def _cell(text: str) -> str:
    if isinstance(text, Number):
        return f"<c><v>{text}</v></c>"
    return f'<c t="inlineStr"><is><t>{escape(text)}</t></is></c>'


def write_xls(path: Path, rows: Table) -> Path:
    """Write the older binary format."""
    return write_xls_sheets(path, {"Report": rows})


def write_xls_sheets(path: Path, sheets: Mapping[str, Table]) -> Path:
    """Write a workbook of several sheets in the older binary format."""
    book = xlwt.Workbook()
    for name, rows in sheets.items():
        sheet = book.add_sheet(name)
        for number, row in enumerate(rows):
            for column, text in enumerate(row):
                sheet.write(number, column, float(text) if isinstance(text, Number) else text)
    book.save(str(path))
    return path
