"""The books as files that other programs read: CSV, Beancount and XLSX.

Written as they are read, a transfer at a time, so that memory stays flat. Amounts are the decimal
text of the books in every format. In XLSX they are text cells: a spreadsheet's numbers are binary
floats with fifteen digits, which 999999999999999.99999999 USDT does not fit into.
"""

import csv
import io
import re
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import IO, Final, Protocol
from uuid import UUID
from xml.sax.saxutils import escape

from checkstand.domain.ledger import Book
from checkstand.domain.money import render_amount
from checkstand.queries.ledger import (
    Balances,
    BookedTransfer,
    get_balances,
    iterate_transfers,
)
from checkstand.storage.database import Database

_COLUMNS: Final = (
    "at",
    "kind",
    "fact",
    "asset",
    "amount",
    "debit",
    "credit",
    "merchant_order_id",
    "order_id",
    "payment_id",
    "refund_id",
    "group_id",
    "seal",
)


class LedgerFile(Protocol):
    """Takes transfers in the order of their time."""

    def begin(self, opening: Balances, *, since: datetime | None) -> None:
        """Begin, with what stood on the accounts before the first transfer."""
        ...

    def add(self, booked: BookedTransfer) -> None:
        """Write one transfer."""
        ...

    def end(self) -> None:
        """Write what comes last. The file itself stays open."""
        ...


class CsvFile:
    """One line a transfer under a line of names; RFC 4180, UTF-8."""

    def __init__(self, file: IO[bytes]) -> None:
        self._text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
        self._csv = csv.writer(self._text)

    def begin(self, opening: Balances, *, since: datetime | None) -> None:  # noqa: ARG002
        """Write the names of the columns."""
        self._csv.writerow(_COLUMNS)

    def add(self, booked: BookedTransfer) -> None:
        """Write a line. No cell can begin a formula, in programs that would compute it."""
        self._csv.writerow(
            f"'{cell}" if cell[:1] in {"=", "+", "-", "@", "\t", "\r"} else cell
            for cell in _cells(booked)
        )

    def end(self) -> None:
        """Leave the file to whoever opened it."""
        self._text.detach()


#: How Beancount calls our accounts: five kinds, and what is in them.
_BEANCOUNT: Final[Mapping[str, str]] = {
    Book.FUNDING: "Assets:Binance:Funding",
    Book.SPOT: "Assets:Binance:Spot",
    Book.IN_TRANSIT: "Assets:InTransit",
    Book.SUSPENSE: "Liabilities:Suspense",
    Book.SALES: "Income:Sales",
    Book.REFUNDS: "Income:Refunds",
    Book.FEES: "Expenses:Fees",
    Book.EXCHANGE: "Equity:Exchange",
    Book.EXTERNAL: "Equity:External",
}


class BeancountFile:
    """One transaction a transfer, and balances at the end that Beancount checks."""

    def __init__(self, file: IO[bytes]) -> None:
        self._text = io.TextIOWrapper(file, "utf-8", newline="\n", write_through=True)
        self._balances: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
        self._day: date | None = None

    def begin(self, opening: Balances, *, since: datetime | None) -> None:
        """Open the accounts; with an opening, enter it as one transaction."""
        self._write('option "title" "Checkstand"\n\n')
        for account in _BEANCOUNT.values():
            self._write(f"1970-01-01 open {account}\n")
        standing = {key: amount for key, amount in opening.items() if amount != 0}
        if since is None or not standing:
            return
        self._day = since.astimezone(UTC).date()
        self._write(f'\n{self._day} * "opening balances"\n')
        for (asset, book), amount in standing.items():
            self._post(book, amount, asset)

    def add(self, booked: BookedTransfer) -> None:
        """Write a transaction with two postings."""
        transfer = booked.transfer
        self._day = transfer.at.astimezone(UTC).date()
        self._write(f'\n{self._day} * "{_quoted(transfer.kind)}"\n')
        for name, cell in zip(_COLUMNS, _cells(booked), strict=True):
            if cell and name not in {"kind", "asset", "amount", "debit", "credit"}:
                self._write(f'  {name}: "{_quoted(cell)}"\n')
        self._post(transfer.debit, transfer.amount, transfer.asset)
        self._post(transfer.credit, -transfer.amount, transfer.asset)

    def end(self) -> None:
        """Say what must stand on each account now."""
        if self._day is not None:
            after = self._day + timedelta(days=1)
            self._write("\n")
            for (asset, book), amount in sorted(self._balances.items()):
                account = _BEANCOUNT[book]
                figure = render_amount(amount)
                self._write(f"{after} balance {account}  {figure} {_commodity(asset)}\n")
        self._text.detach()

    def _post(self, book: str, amount: Decimal, asset: str) -> None:
        self._balances[asset, book] += amount
        self._write(f"  {_BEANCOUNT[book]}  {render_amount(amount)} {_commodity(asset)}\n")

    def _write(self, text: str) -> None:
        self._text.write(text)


#: What a sheet takes, the line of names included.
_ROWS_MAX: Final = 1_048_576
_MAIN: Final = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE: Final = "http://schemas.openxmlformats.org/package/2006"
_TYPE: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_XML: Final = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_NOT_IN_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class XlsxFile:
    """A workbook of text cells; where one sheet is full the next begins."""

    def __init__(self, file: IO[bytes], *, rows_max: int = _ROWS_MAX) -> None:
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED)
        self._rows_max = rows_max
        self._sheets = 0
        self._rows = 0
        self._sheet: IO[bytes]

    def begin(self, opening: Balances, *, since: datetime | None) -> None:  # noqa: ARG002
        """Begin the first sheet."""
        self._begin_sheet()

    def add(self, booked: BookedTransfer) -> None:
        """Write a row."""
        if self._rows == self._rows_max:
            self._end_sheet()
            self._begin_sheet()
        self._write_row(_cells(booked))

    def end(self) -> None:
        """Write what holds the sheets together."""
        self._end_sheet()
        for name, text in _workbook(self._sheets).items():
            self._zip.writestr(name, _XML + text)
        self._zip.close()

    def _begin_sheet(self) -> None:
        self._sheets += 1
        self._rows = 0
        # Large files need to be said to be large before they are written.
        self._sheet = self._zip.open(
            f"xl/worksheets/sheet{self._sheets}.xml", "w", force_zip64=True
        )
        self._sheet.write(f'{_XML}<worksheet xmlns="{_MAIN}"><sheetData>'.encode())
        self._write_row(iter(_COLUMNS))

    def _end_sheet(self) -> None:
        self._sheet.write(b"</sheetData></worksheet>")
        self._sheet.close()

    def _write_row(self, cells: Iterator[str]) -> None:
        self._rows += 1
        texts = "".join(
            f'<c t="inlineStr"><is><t xml:space="preserve">{_xml(cell)}</t></is></c>'
            for cell in cells
        )
        self._sheet.write(f"<row>{texts}</row>".encode())


async def write_ledger(
    database: Database,
    account_id: UUID,
    file: LedgerFile,
    *,
    since: datetime | None,
    before: datetime,
) -> int:
    """Write what an account booked in a time; return how many transfers that was."""
    opening = {} if since is None else await get_balances(database, account_id, before=since)
    file.begin(opening, since=since)
    count = 0
    async for booked in iterate_transfers(database, account_id, since=since, before=before):
        file.add(booked)
        count += 1
    file.end()
    return count


#: Every format by the name that an operator gives it.
FORMATS: Final[Mapping[str, Callable[[IO[bytes]], LedgerFile]]] = {
    "csv": CsvFile,
    "beancount": BeancountFile,
    "xlsx": XlsxFile,
}


def _cells(booked: BookedTransfer) -> Iterator[str]:
    transfer = booked.transfer
    yield transfer.at.astimezone(UTC).isoformat(timespec="microseconds")
    yield from (transfer.kind, transfer.fact, transfer.asset, render_amount(transfer.amount))
    yield from (str(transfer.debit), str(transfer.credit), booked.merchant_order_id or "")
    for id_ in (transfer.order_id, transfer.payment_id, transfer.refund_id, transfer.group_id):
        yield "" if id_ is None else str(id_)
    yield "" if booked.seal is None else str(booked.seal)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _commodity(asset: str) -> str:
    """Name an asset so that Beancount takes it: there a name begins with a letter."""
    return asset if asset[0].isalpha() else f"X_{asset}"  # no asset of Binance's has an underscore


def _xml(text: str) -> str:
    return escape(_NOT_IN_XML.sub("\ufffd", text))


def _workbook(sheets: int) -> dict[str, str]:
    """Write the parts of a workbook beside its sheets."""
    numbers = range(1, sheets + 1)
    listed = "".join(f'<sheet name="{n}" sheetId="{n}" r:id="r{n}"/>' for n in numbers)
    linked = "".join(
        f'<Relationship Id="r{n}" Type="{_OFFICE}/worksheet" Target="worksheets/sheet{n}.xml"/>'
        for n in numbers
    )
    typed = "".join(
        f'<Override PartName="/xl/worksheets/sheet{n}.xml" ContentType="{_TYPE}.worksheet+xml"/>'
        for n in numbers
    )
    return {
        "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}">'
        f"<sheets>{listed}</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">'
        f"{linked}</Relationships>",
        "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="r1" '
        f'Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types"><Default '
        'Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPE}.sheet.main+xml"/>'
        f"{typed}</Types>",
    }
