"""Report files keep their digits in every format, and what cannot be read is refused, shown."""

import os
import random
import zipfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from checkstand.domain.report_line import LineKind, ReportLine
from checkstand.errors import Refused
from checkstand.provider.report_files.cells import NumberText
from checkstand.provider.report_files.columns import BUILT_IN, ColumnMap, parse_map
from checkstand.provider.report_files.reading import Survey, opening_report, read_amount, read_time
from tests.provider.files import (
    HEADER,
    ROW,
    Number,
    Table,
    write_csv,
    write_xls,
    write_xls_sheets,
    write_xlsx,
    write_xlsx_sheets,
)

UTC_MAP = BUILT_IN[0]
_DIGITS = st.from_regex(r"(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?", fullmatch=True)


def read(path: Path, *maps: ColumnMap) -> tuple[Survey, list[ReportLine]]:
    with opening_report(path, maps) as reader:
        return reader.survey(), list(reader.lines())


def refusal(path: Path, *maps: ColumnMap) -> Refused:
    with pytest.raises(Refused) as caught:
        read(path, *maps)
    return caught.value


def with_cell(name: str, text: str) -> list[str]:
    row = list(ROW)
    row[HEADER.index(name)] = text
    return row


@given(_DIGITS)
def test_amounts_keep_exactly_the_digits_that_are_written(text: str) -> None:
    assert f"{read_amount(text):f}" == text


@given(_DIGITS)
def test_number_cells_keep_the_digits_of_their_text(text: str) -> None:
    assert f"{read_amount(NumberText(text)):f}" == text


@given(st.text(max_size=80))
def test_any_other_text_is_no_amount_and_nothing_worse(text: str) -> None:
    for cell in (text, NumberText(text)):
        try:
            amount = read_amount(cell)
        except ValueError:
            continue
        assert amount.is_finite()


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None
)
@given(amount=_DIGITS, fee=_DIGITS)
@example(amount="123456789012345678.000000000000001", fee="100000000000000000.000000000000001")
def test_every_text_format_carries_the_same_digits(tmp_path: Path, amount: str, fee: str) -> None:
    row = with_cell("Amount", amount)
    row[HEADER.index("Commission")] = fee
    files = [
        write_csv(tmp_path / "a", [HEADER, row]),
        write_csv(tmp_path / "b", [HEADER, row], encoding="utf-16", delimiter="\t"),
        write_xlsx(tmp_path / "c", [HEADER, row]),
        write_xlsx(tmp_path / "d", [HEADER, row], shared=False),
        write_xls(tmp_path / "e", [HEADER, row]),
    ]
    for file in files:
        _, (line,) = read(file)
        assert (f"{line.amount:f}", f"{line.fee:f}") == (amount, fee)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_text_is_read_in_any_encoding_and_with_any_delimiter(
    tmp_path: Path, encoding: str, delimiter: str
) -> None:
    rows = [["Umsätze des Teehauses"], [], HEADER, ROW]

    survey, (line,) = read(
        write_csv(tmp_path / "report.xls", rows, encoding=encoding, delimiter=delimiter)
    )

    assert survey.format.startswith("text")
    assert line == ReportLine(
        number=4,
        kind=LineKind.PAYMENT,
        at=datetime(2031, 1, 11, 12, tzinfo=UTC),
        transaction_id="P_1",
        prepay_id="270342174837100001",
        trade_no="ab" * 16,
        refund_ref=None,
        currency="USDT",
        amount=Decimal("12.50"),
        fee=Decimal("0.125"),
        status=None,
        settled=True,
    )


def test_content_tells_the_format_whatever_the_name_says(tmp_path: Path) -> None:
    for write, format_ in ((write_csv, "text"), (write_xlsx, "xlsx"), (write_xls, "xls")):
        survey, lines = read(write(tmp_path / "T_Payment_20310111.doc", [HEADER, ROW]))
        assert survey.format.startswith(format_)
        assert [line.prepay_id for line in lines] == ["270342174837100001"]


def test_numbers_of_spreadsheets_are_taken_to_the_digits_that_are_sure(tmp_path: Path) -> None:
    row = with_cell("Amount", Number("0.30000000000000004"))
    row[HEADER.index("Commission")] = Number("1E-8")

    survey, (line,) = read(write_xlsx(tmp_path / "a", [HEADER, row]))
    _, (older,) = read(write_xls(tmp_path / "b", [HEADER, row]))

    assert (f"{line.amount:f}", f"{line.fee:f}") == ("0.300000000000000", "0.00000001")
    assert (older.amount, older.fee) == (line.amount, line.fee)
    assert survey.notes == [
        "1 number cells were taken to 8 decimals or 15 digits, whichever is more"
    ]


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None
)
@given(st.integers(10**14, 67 * 10**14 - 1).map(lambda n: Decimal(n).scaleb(-8)))
@example(Decimal("12345678.12345678"))
@example(Decimal("67108863.99999999"))
def test_long_amount_is_read_the_same_however_a_program_writes_its_number(
    tmp_path: Path, amount: Decimal
) -> None:
    as_text, as_double = Number(f"{amount:f}"), Number(f"{float(amount):.17g}")
    files = [
        write_xlsx(tmp_path / "a", [HEADER, with_cell("Amount", as_text)]),
        write_xlsx(tmp_path / "b", [HEADER, with_cell("Amount", as_double)]),
        write_xls(tmp_path / "c", [HEADER, with_cell("Amount", as_text)]),
    ]
    for file in files:
        survey, (line,) = read(file)
        assert line.amount == amount
        assert not [note for note in survey.notes if "for sure" in note]


def test_digits_that_no_double_holds_are_taken_as_written_and_told(tmp_path: Path) -> None:
    row = with_cell("Amount", Number("123456789.12345678"))

    survey, (line,) = read(write_xlsx(tmp_path / "a", [HEADER, row]))

    assert f"{line.amount:f}" == "123456789.12345678"
    (note,) = survey.notes
    assert "row 2 of the file, 123456789.12345678" in note
    assert "Take such a file as CSV" in note


def test_sum_that_a_spreadsheet_made_loses_what_its_double_added(tmp_path: Path) -> None:
    for written, meant in (
        ("12.550000000000001", "12.55"),
        ("12345678.123456782", "12345678.12345678"),
        ("1.2345678901234567E-9", "0.00000000123456789012346"),
    ):
        _, (line,) = read(
            write_xlsx(tmp_path / "a", [HEADER, with_cell("Amount", Number(written))])
        )
        assert line.amount == Decimal(meant)


def test_dates_of_spreadsheets_are_read_from_their_serial_numbers(tmp_path: Path) -> None:
    row = with_cell("Time (UTC)", Number("47859.520833333336"))

    for file in (
        write_xlsx(tmp_path / "a", [HEADER, row]),
        write_xls(tmp_path / "b", [HEADER, row]),
    ):
        _, (line,) = read(file)
        assert line.at == datetime(2031, 1, 11, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("cell", "text"),
    [(str, "2.70342E+17"), (Number, "2.70342174837100E+17"), (Number, "270342174837100000")],
)
def test_id_that_a_spreadsheet_rounded_refuses_the_file(
    tmp_path: Path, cell: Any, text: str
) -> None:
    error = refusal(write_xlsx(tmp_path / "a", [HEADER, with_cell("Prepay ID", cell(text))]))

    assert error.code == "report_line_unreadable"
    assert "row 2" in error.message
    assert f"rounded its id to {text}" in error.message


def test_unknown_header_is_refused_by_showing_it_and_saying_how_to_map_it(tmp_path: Path) -> None:
    rows = [["Report of January"], ["Moment", "Txn", "Ccy", "Gross"], ["a", "b", "c", "d"]]

    error = refusal(write_csv(tmp_path / "a", rows))

    assert error.code == "report_header_unknown"
    assert "Moment | Txn | Ccy | Gross" in error.message
    assert "checkstand reconcile columns set" in error.message
    assert error.facts["header"] == ["Moment", "Txn", "Ccy", "Gross"]


def test_merchant_s_map_reads_what_ours_do_not(tmp_path: Path) -> None:
    rows = [
        ["Moment", "Txn", "What", "Gross", "State"],
        ["31/01/2031 08:00:00", "P_1", "Sale", "1.234,50 USDT", "OK"],
        ["31/01/2031 08:00:01", "P_2", "Return", "-5,00 USDT", "Nope"],
        ["", "", "", "1.229,50 USDT", ""],
    ]
    mine = parse_map(
        "mine",
        {
            "columns": {
                "time": "Moment",
                "transaction_id": "Txn",
                "kind": "What",
                "amount": "Gross",
                "status": ["State"],
            },
            "kinds": {"Sale": "payment", "Return": "refund"},
            "zone": "Asia/Shanghai",
            "time_format": "%d/%m/%Y %H:%M:%S",
            "decimal": ",",
            "settled": ["OK"],
            "unsettled": ["Nope"],
        },
    )

    survey, (sale, back) = read(write_csv(tmp_path / "a", rows, delimiter=";"), mine)

    assert (sale.kind, sale.amount, sale.currency) == (LineKind.PAYMENT, Decimal("1234.50"), "USDT")
    assert (back.kind, back.amount, back.settled) == (LineKind.REFUND, Decimal("5.00"), False)
    assert sale.at == datetime(2031, 1, 31, 0, 0, tzinfo=UTC)
    assert survey.notes == ["1 rows without time and id were skipped"]  # the total below


def test_two_columns_of_one_meaning_are_not_chosen_between(tmp_path: Path) -> None:
    header = [*HEADER, "Order Amount"]

    assert refusal(write_csv(tmp_path / "a", [header, [*ROW, "9"]])).code == "report_header_unknown"


REFUND_HEADER: Final = ["Time (UTC)", "Refund ID", "Prepay ID", "Currency", "Refund Amount"]
REFUND: Final = ["2031-01-12 12:00:00", "cd" * 16, ROW[2], "USDT", "5.00"]
WRITERS: Final = (write_xlsx_sheets, write_xls_sheets)


@pytest.mark.parametrize("write", WRITERS)
def test_every_sheet_of_a_workbook_is_read_in_the_order_it_is_shown(
    tmp_path: Path, write: Any
) -> None:
    sheets: dict[str, Table] = {
        "About": [["Report of", "January"], ["made by", "Ada"]],
        "Payments": [HEADER, ROW, with_cell("Transaction ID", "P_2")],
        "Nothing": [],
        "Refunds": [["Returned"], REFUND_HEADER, REFUND],
        "More payments": [HEADER, with_cell("Transaction ID", "P_3")],
    }

    survey, lines = read(write(tmp_path / "a", sheets))

    assert [(line.number, line.kind, line.transaction_id) for line in lines] == [
        (2, LineKind.PAYMENT, "P_1"),
        (3, LineKind.PAYMENT, "P_2"),
        (6, LineKind.REFUND, None),  # the rows of the sheets are counted on
        (8, LineKind.PAYMENT, "P_3"),
    ]
    assert survey.lines == 4
    assert survey.map_name == "payments, refunds"
    assert survey.notes[0] == "the sheet 'About' was passed over: it holds no table"


@pytest.mark.parametrize("write", WRITERS)
def test_sheet_that_no_map_fits_refuses_the_workbook_by_its_name(
    tmp_path: Path, write: Any
) -> None:
    goes_on: dict[str, Table] = {
        "Payments": [HEADER, ROW],
        "Payments (2)": [with_cell("Transaction ID", "P_2")],
    }

    error = refusal(write(tmp_path / "a", goes_on))

    assert error.code == "report_header_unknown"
    assert "the sheet 'Payments (2)'" in error.message
    assert "put that one's header above its first row" in error.message
    assert error.facts["sheet"] == "Payments (2)"


def test_table_far_below_is_no_cover(tmp_path: Path) -> None:
    low = [["about"]] * 40 + [["Moment", "Txn", "Gross"], ["a", "b", "c"]]
    sheets: dict[str, Table] = {"Payments": [HEADER, ROW], "Low": low}

    error = refusal(write_xlsx_sheets(tmp_path / "a", sheets))

    assert "the sheet 'Low'" in error.message


def test_row_that_cannot_be_read_is_told_with_its_sheet(tmp_path: Path) -> None:
    sheets: dict[str, Table] = {
        "One": [HEADER, ROW],
        "Two": [HEADER, ROW, with_cell("Amount", "x")],
    }

    error = refusal(write_xlsx_sheets(tmp_path / "a", sheets))

    assert error.message.startswith("row 3 of the sheet 'Two' cannot be read")


def test_workbook_with_more_sheets_than_a_report_has_is_refused(tmp_path: Path) -> None:
    sheets: dict[str, Table] = {f"S{number}": [HEADER, ROW] for number in range(65)}

    assert "more than 64 sheets" in refusal(write_xlsx_sheets(tmp_path / "a", sheets)).message
    assert "more than 64 sheets" in refusal(write_xls_sheets(tmp_path / "b", sheets)).message


def test_sheets_without_names_of_their_own_are_read_by_their_numbers(tmp_path: Path) -> None:
    path = write_xlsx(tmp_path / "a", [HEADER, ROW])
    with zipfile.ZipFile(path) as archive:
        part = archive.read("xl/worksheets/sheet1.xml")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("xl/worksheets/sheet10.xml", b"<worksheet/>")
        archive.writestr("xl/worksheets/sheet2.xml", part)

    _, lines = read(path)

    assert [line.number for line in lines] == [2, 4]


@pytest.mark.parametrize("beside", [True, False])
def test_fee_in_another_coin_is_left_out_and_told_by_row_and_column(
    tmp_path: Path, beside: bool
) -> None:
    header = [*HEADER, "Fee Currency"]
    same = [*with_cell("Commission", "0.125 USDT"), ""]
    other = [*with_cell("Commission", "0.0002 BNB"), ""]
    if not beside:
        same, other = [*ROW, "USDT"], [*with_cell("Commission", "0.0002"), "BNB"]

    survey, (first, second) = read(write_csv(tmp_path / "a", [header, same, other]))

    assert (first.fee, second.fee) == (Decimal("0.125"), None)
    (note,) = survey.notes
    assert note.startswith("1 fees are in another coin than their payment and were not compared")
    assert note.endswith("row 3 of the file, column 'Commission': 0.0002 BNB of a line in USDT")


WRONG_CELLS = {
    "amount": ("Amount", "12.5.0", "'12.5.0' is no amount"),
    "exponent": ("Amount", "1E2", "'1E2' is no amount"),
    "not a number": ("Amount", "NaN", "'NaN' is no amount"),
    "hex": ("Amount", "0x10", "is no amount"),
    "arabic digits": ("Amount", "١٢", "is no amount"),
    "long": ("Amount", "1" * 65, "its amount is too long"),
    "currency": ("Currency", "usdt", "'usdt' is no currency"),
    "two currencies": ("Amount", "12.50 BTC", "its amount is in BTC, its currency is USDT"),
    "time": ("Time (UTC)", "11/01/2031 12:00", "give the map a time_format"),
    "early": ("Time (UTC)", "1904-01-01 00:00:00", "out of range"),
    "no time": ("Time (UTC)", "", "is not like 2026-01-31"),
}


@pytest.mark.parametrize("case", WRONG_CELLS)
def test_row_that_cannot_be_read_refuses_the_file_by_its_number(tmp_path: Path, case: str) -> None:
    name, text, words = WRONG_CELLS[case]

    error = refusal(write_csv(tmp_path / "a", [HEADER, ROW, with_cell(name, text)]))

    assert error.code == "report_line_unreadable"
    assert error.message.startswith("row 3 of the file")
    assert words in error.message


def test_row_without_any_id_and_unknown_status_are_refused(tmp_path: Path) -> None:
    header = [*HEADER[:7], "Status"]
    nameless = ["2031-01-11 12:00:00", "", "-", " ", "USDT", "1", "", "Success"]
    odd = [*ROW[:7], "Frobbed"]

    assert "it has no id" in refusal(write_csv(tmp_path / "a", [header, nameless])).message
    assert "'frobbed' is not known" in refusal(write_csv(tmp_path / "b", [header, odd])).message


def test_zones_and_forms_of_time_are_understood() -> None:
    noon = datetime(2031, 1, 11, 12, tzinfo=UTC)
    for text in (
        "2031-01-11 12:00:00",
        "2031-01-11T12:00:00Z",
        "2031/01/11 12:00:00",
        "2031-01-11 20:00:00+08:00",
        "2031-01-11 12:00:00 UTC",
        str(int(noon.timestamp() * 1000)),
        str(int(noon.timestamp())),
    ):
        assert read_time(text, UTC_MAP) == noon, text


HOSTILE = {
    "empty": (b"", "it is empty"),
    "blank": (b"  \n ", "it is empty"),
    "web page": (b"\xef\xbb\xbf <html><table>", "it is a web page"),
    "gzip": (b"\x1f\x8b\x08\x00", "packed with gzip"),
    "pdf": (b"%PDF-1.7", "it is a PDF"),
    "binary": (b"a,b\0c\n" * 10, "neither XLSX, XLS nor text"),
    "half a zip": (b"PK\x03\x04" + b"\0" * 100, "no report file"),
    "half a workbook": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 100, "no report file"),
    "bare biff": (b"\x09\x08\x10\x00" + b"\xff" * 64, "no report file"),
    "endless line": (b"a" * (1024 * 1024 + 1), "longer than a million"),
    "endless cell": (b"a,b\n" + b"x" * 200_000 + b",b\n", "no report file"),
    "odd utf-16": (b"\xff\xfea", "no report file"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_no_report_is_refused_in_a_sentence(tmp_path: Path, case: str) -> None:
    content, words = HOSTILE[case]
    path = tmp_path / "a"
    path.write_bytes(content)

    error = refusal(path)

    assert error.code in {"report_unreadable", "report_header_unknown"}
    assert words in error.message


def test_document_type_is_refused_before_an_entity_can_grow(tmp_path: Path) -> None:
    prolog = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'
    strings = prolog + "<sst><si><t>&b;</t></si></sst>"

    for file in (
        write_xlsx(tmp_path / "a", [HEADER, ROW], prolog=prolog),
        write_xlsx(tmp_path / "b", [HEADER, ROW], strings=strings),
    ):
        assert "document type" in refusal(file).message


def test_archive_that_unpacks_to_far_too_much_is_refused(tmp_path: Path) -> None:
    path = write_xlsx(tmp_path / "a", [HEADER, ROW])
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/media/bomb", b"\0" * (64 * 1024 * 1024))

    assert "unpacks to far more" in refusal(path).message


def test_workbook_that_lies_is_refused(tmp_path: Path) -> None:
    no_text = write_xlsx(tmp_path / "a", [HEADER, ROW], strings="<sst/>")
    old_dates = '<workbook><workbookPr date1904="1"/></workbook>'
    no_workbook = tmp_path / "c"
    with zipfile.ZipFile(no_workbook, "w") as archive:
        archive.writestr("a.csv", "x")

    assert "a text that is not there" in refusal(no_text).message
    assert "1904" in refusal(write_xlsx(tmp_path / "b", [HEADER, ROW], workbook=old_dates)).message
    assert "unpack it first" in refusal(no_workbook).message


def test_cut_and_altered_spreadsheets_are_read_or_refused_and_nothing_worse(
    tmp_path: Path,
) -> None:
    chance = random.Random(7)
    for write in (write_xlsx, write_xls):
        whole = write(tmp_path / "whole", [HEADER, ROW]).read_bytes()
        for number in range(300):
            altered = bytearray(
                whole[: chance.randrange(8, len(whole))] if number % 3 == 0 else whole
            )
            for _ in range(chance.randrange(1, 6)):
                altered[chance.randrange(len(altered))] = chance.randrange(256)
            path = tmp_path / "altered"
            path.write_bytes(altered)
            try:
                read(path)
            except Refused as error:
                assert error.code.startswith("report_")  # noqa: PT017  (or it was read)


WRONG_MAPS = {
    "no object": ([], "object"),
    "no columns": ({}, "object"),
    "no time": ({"columns": {"amount": "A", "prepay_id": "P"}}, "needs time"),
    "no id": ({"columns": {"amount": "A", "time": "T"}}, "one of"),
    "field": ({"columns": {"colour": "A"}}, "no field 'colour'"),
    "key": ({"columns": {}, "colour": 1}, "no 'colour'"),
    "zone": ({"columns": {"amount": "A", "time": "T", "prepay_id": "P"}, "zone": "Mars"}, "zone"),
    "zone path": (
        {"columns": {"amount": "A", "time": "T", "prepay_id": "P"}, "zone": "../../etc/passwd"},
        "zone",
    ),
    "format": (
        {"columns": {"amount": "A", "time": "T", "prepay_id": "P"}, "time_format": "%H"},
        "time_format",
    ),
    "kinds": ({"columns": {"amount": "A", "time": "T", "prepay_id": "P", "kind": "K"}}, "kinds"),
    "decimal": ({"columns": {"amount": "A", "time": "T", "prepay_id": "P"}, "decimal": "x"}, "x"),
    "header": ({"columns": {"amount": 7, "time": "T", "prepay_id": "P"}}, "header"),
}


@pytest.mark.parametrize("case", WRONG_MAPS)
def test_map_that_says_too_little_or_too_much_is_refused(case: str) -> None:
    document, words = WRONG_MAPS[case]

    with pytest.raises(Refused) as caught:
        parse_map("mine", document)

    assert caught.value.code == "column_map_invalid"
    assert words in caught.value.message


def test_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert os.fspath(tmp_path / "none") in refusal(tmp_path / "none").message
