"""The books as files: read again by other programs, digit for digit."""

import csv
import io
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from xml.etree import ElementTree as ET

import pytest
from beancount import loader
from beancount.core.data import Balance, Transaction

from checkstand.domain.ledger import Book, Transfer
from checkstand.queries.ledger import Balances, BookedTransfer
from checkstand.queries.ledger_files import FORMATS, XlsxFile

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
#: What a shop may call an order: everything that files give a meaning to.
ODD = "a\"b\\c,d;e'f<g>&h é☕\ufffe"
MOST = Decimal("999999999999999.99999999")


def _booked(number: int = 1, **changes: Any) -> BookedTransfer:
    order_id = changes.pop("merchant_order_id", "shop-1")
    seal = changes.pop("seal", 7)
    fields: dict[str, Any] = {
        "account_id": UUID(int=1),
        "kind": "payment",
        "fact": f"fact-{number}",
        "asset": "USDT",
        "amount": Decimal("12.50"),
        "debit": "binance:funding",
        "credit": "sales",
        "at": NOON,
        "order_id": UUID(int=2),
        "payment_id": UUID(int=3),
    }
    transfer = Transfer(**fields | changes)
    return BookedTransfer(transfer=transfer, seal=seal, merchant_order_id=order_id)


BOOKED = [
    _booked(1),
    _booked(2, kind="fee", debit="fees", credit="binance:funding", amount=Decimal("0.00000001")),
    _booked(3, amount=MOST, asset="1INCH", merchant_order_id=ODD),
    _booked(4, debit="refunds", credit="binance:funding", refund_id=UUID(int=4), seal=None),
    _booked(5, at=NOON + timedelta(days=2), debit="binance:spot", credit="in_transit"),
    _booked(6, at=NOON + timedelta(days=2), debit="exchange", credit="external"),
    _booked(7, at=NOON + timedelta(days=2), credit="suspense", group_id=UUID(int=5)),
]


def _write(
    format_: str,
    booked: Sequence[BookedTransfer] = BOOKED,
    *,
    opening: Balances | None = None,
    since: datetime | None = None,
) -> bytes:
    file = io.BytesIO()
    written = FORMATS[format_](file)
    written.begin(opening or {}, since=since)
    for each in booked:
        written.add(each)
    written.end()
    return file.getvalue()


def _read_csv(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def _read_xlsx(content: bytes) -> list[list[list[str]]]:
    """Read every sheet as a spreadsheet program does: by way of the workbook's own list."""
    main = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
    with zipfile.ZipFile(io.BytesIO(content)) as book:
        assert book.testzip() is None
        workbook = ET.fromstring(book.read("xl/workbook.xml"))
        links = ET.fromstring(book.read("xl/_rels/workbook.xml.rels"))
        types = book.read("[Content_Types].xml").decode()
        targets = {link.get("Id"): link.get("Target") for link in links}
        sheets = []
        for sheet in workbook.iter(f"{main}sheet"):
            (id_,) = (value for name, value in sheet.items() if name.endswith("}id"))
            path = f"xl/{targets[id_]}"
            assert f'PartName="/{path}"' in types
            tree = ET.fromstring(book.read(path))
            rows = tree.iter(f"{main}row")
            cells = [list(row.iter(f"{main}c")) for row in rows]
            assert {cell.get("t") for row in cells for cell in row} == {"inlineStr"}
            sheets.append([["".join(cell.itertext()) for cell in row] for row in cells])
    return sheets


def test_csv_holds_every_field_to_the_digit() -> None:
    rows = _read_csv(_write("csv"))

    assert [row["amount"] for row in rows[:3]] == ["12.50", "0.00000001", str(MOST)]
    assert rows[2]["merchant_order_id"] == ODD
    assert rows[3] == {
        "at": "2026-11-23T12:00:00.000000+00:00",
        "kind": "payment",
        "fact": "fact-4",
        "asset": "USDT",
        "amount": "12.50",
        "debit": "refunds",
        "credit": "binance:funding",
        "merchant_order_id": "shop-1",
        "order_id": str(UUID(int=2)),
        "payment_id": str(UUID(int=3)),
        "refund_id": str(UUID(int=4)),
        "group_id": "",
        "seal": "",
    }
    assert len(rows) == len(BOOKED)


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@x"])
def test_csv_cell_cannot_become_a_formula(name: str) -> None:
    (row,) = _read_csv(_write("csv", [_booked(merchant_order_id=name)]))

    assert row["merchant_order_id"] == f"'{name}"


def test_xlsx_holds_the_same_cells_as_text() -> None:
    (sheet,) = _read_xlsx(_write("xlsx"))
    lines = list(csv.reader(io.StringIO(_write("csv").decode(), newline="")))

    # XML has no way to write U+FFFE.
    assert sheet == [[cell.replace("\ufffe", "\ufffd") for cell in line] for line in lines]


def test_xlsx_goes_on_in_another_sheet_when_one_is_full() -> None:
    file = io.BytesIO()
    written = XlsxFile(file, rows_max=4)
    written.begin({}, since=None)
    for each in BOOKED:
        written.add(each)
    written.end()

    sheets = _read_xlsx(file.getvalue())

    assert [len(sheet) for sheet in sheets] == [4, 4, 2]
    assert {tuple(sheet[0])[:2] for sheet in sheets} == {("at", "kind")}
    facts = [row[2] for sheet in sheets for row in sheet[1:]]
    assert facts == [each.transfer.fact for each in BOOKED]


def _load(content: bytes) -> list[Any]:
    """Read a file as Beancount does; its own errors, failed balances among them, end the test."""
    entries, errors, _ = loader.load_string(content.decode())
    assert [error.message for error in errors] == []
    return list(entries)


def test_beancount_accepts_the_books_and_their_balances() -> None:
    entries = _load(_write("beancount"))

    transactions = [entry for entry in entries if isinstance(entry, Transaction)]
    assert [str(t.meta["fact"]) for t in transactions] == [b.transfer.fact for b in BOOKED]
    amounts = [p.units for t in transactions for p in t.postings if p.units is not None]
    assert [str(units.number) for units in amounts[:2]] == ["12.50", "-12.50"]
    assert (amounts[4].number, amounts[4].currency) == (MOST, "X_1INCH")
    assert transactions[2].meta["merchant_order_id"] == ODD
    assert transactions[-1].date.isoformat() == "2026-11-25"
    used = {posting.account for t in transactions for posting in t.postings}
    assert len(used) == len(Book)


def test_beancount_says_what_must_stand_at_the_end() -> None:
    balances = {
        (entry.account, entry.amount.currency): str(entry.amount.number)
        for entry in _load(_write("beancount"))
        if isinstance(entry, Balance)
    }

    assert balances["Assets:Binance:Funding", "USDT"] == "12.49999999"
    assert balances["Income:Sales", "USDT"] == "-12.50"
    assert balances["Assets:Binance:Funding", "X_1INCH"] == str(MOST)


def test_beancount_notices_a_transaction_that_was_taken_out() -> None:
    text = _write("beancount").decode()
    whole = text.split("\n\n")
    without = "\n\n".join(part for part in whole if "fact-1" not in part)

    _, errors, _ = loader.load_string(without)

    assert len(whole) == len(BOOKED) + 3
    assert "Balance failed" in errors[0].message


def test_beancount_begins_with_what_stood_before() -> None:
    opening = {
        ("USDT", "binance:funding"): Decimal("100.00"),
        ("USDT", "sales"): Decimal("-100.00"),
        ("BTC", "fees"): Decimal(0),
    }

    entries = _load(_write("beancount", opening=opening, since=NOON - timedelta(hours=12)))

    first = next(entry for entry in entries if isinstance(entry, Transaction))
    assert (first.narration, len(first.postings)) == ("opening balances", 2)
    balances = [str(e.amount.number) for e in entries if isinstance(e, Balance)]
    assert "112.49999999" in balances


@pytest.mark.parametrize("format_", FORMATS)
def test_nothing_booked_is_a_file_with_nothing_in_it(format_: str) -> None:
    content = _write(format_, [])

    match format_:
        case "csv":
            assert _read_csv(content) == []
        case "xlsx":
            assert [len(sheet) for sheet in _read_xlsx(content)] == [1]
        case _:
            assert {type(entry).__name__ for entry in _load(content)} == {"Open"}


def test_every_account_of_the_chart_has_a_place_in_beancount() -> None:
    booked = [_booked(n, debit=book, credit="external") for n, book in enumerate(Book)]
    booked = [b for b in booked if b.transfer.debit != "external"]

    _load(_write("beancount", [replace(b, seal=None) for b in booked]))
