"""Rows of cell text become lines. A row that cannot be read refuses its whole file, by its number:
a file taken in half would make the other half look like money that Binance never moved.
"""

import contextlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Context, Decimal, InvalidOperation
from itertools import islice
from pathlib import Path
from typing import Final

from checkstand.domain.report_line import LineKind, ReportLine
from checkstand.errors import Refused
from checkstand.provider.report_files.cells import NumberText, Sheet, unreadable
from checkstand.provider.report_files.columns import (
    IDS,
    ColumnMap,
    FittedHeader,
    find_header,
    plain,
    unknown_header,
)
from checkstand.provider.report_files.sheets import opening_sheets

#: Longer than any id of Binance's (reference 2) and any amount.
_ID_CHARACTERS_MAX: Final = 128
_AMOUNT: Final = re.compile(
    r"-?(?:0|[1-9][0-9]*|[1-9][0-9]{0,2}(?:,[0-9]{3})+)(?:\.[0-9]+)?", re.ASCII
)
_AMOUNT_CHARACTERS_MAX: Final = 64
_WITH_CURRENCY: Final = re.compile(r"(\S+)\s+([A-Z0-9]{2,16})", re.ASCII)
_CURRENCY: Final = re.compile(r"[A-Z0-9]{2,16}", re.ASCII)
#: What a spreadsheet makes of a long number: 270342174837100001 becomes 2.70342E+17.
_ROUNDED: Final = re.compile(r"[0-9](?:[.,][0-9]+)?[eE]\+?[0-9]+", re.ASCII)
#: Doubles hold fifteen digits for sure; what follows them is the double's, not the writer's.
_SURE_DIGITS: Final = 15
_SURE: Final = Context(prec=_SURE_DIGITS)
_EXCEL_EPOCH: Final = datetime(1899, 12, 30, tzinfo=UTC)
_YEARS: Final = range(2018, 2101)  # Binance Pay is not older


@dataclass(slots=True)
class Survey:
    """What a whole file was found to hold, before any of it is taken in."""

    format: str
    map_name: str
    zone: tzinfo
    lines: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None
    kinds: Counter[LineKind] = field(default_factory=Counter)
    skipped: int = 0  # rows without time and id, such as totals
    rounded: int = 0  # amounts of number cells, cut to the digits a double holds for sure

    @property
    def notes(self) -> list[str]:
        """Say what a person should know about the file."""
        notes = []
        if self.skipped:
            notes.append(f"{self.skipped} rows without time and id were skipped")
        if self.format.startswith("xls") and self.rounded:
            notes.append(f"{self.rounded} number cells were taken to {_SURE_DIGITS} digits")
        if self.format == "xls":
            notes.append("XLS keeps numbers as doubles: the shortest text of each was taken")
        if "latin-1" in self.format:
            notes.append("the text is not UTF-8; it was read byte by byte")
        return notes


class ReportReader:
    """An open report file whose header was understood."""

    def __init__(self, sheet: Sheet, header: FittedHeader) -> None:
        self._sheet = sheet
        self._header = header

    def survey(self) -> Survey:
        """Read the whole file, keeping nothing of it. Raises Refused."""
        column_map = self._header.map
        survey = Survey(self._sheet.format, column_map.name, column_map.zone)
        for line in self._read(survey):
            survey.lines += 1
            survey.kinds[line.kind] += 1
            if survey.first_at is None or line.at < survey.first_at:
                survey.first_at = line.at
            if survey.last_at is None or line.at > survey.last_at:
                survey.last_at = line.at
        return survey

    def lines(self) -> Iterator[ReportLine]:
        """Yield the lines in the file's own order, the same each time. Raises Refused."""
        return self._read(Survey("", "", UTC))

    def _read(self, survey: Survey) -> Iterator[ReportLine]:
        rows = islice(self._sheet.rows(), self._header.row, None)
        reader = _LineReader(self._header, survey)
        for number, row in enumerate(rows, self._header.row + 1):
            line = reader.read(number, row)
            if line is not None:
                yield line


@contextlib.contextmanager
def opening_report(path: Path, maps: Sequence[ColumnMap]) -> Iterator[ReportReader]:
    """Open a report file and find its header. Raises Refused, showing a header it cannot map."""
    with opening_sheets(path) as sheets:
        beginnings = [list(islice(sheet.rows(), 30)) for sheet in sheets]
        for sheet, rows in zip(sheets, beginnings, strict=True):
            header = find_header(rows, maps)
            if header is not None:
                yield ReportReader(sheet, header)
                return
        filled = [rows for rows in beginnings if any(any(row) for row in rows)]
        if not filled:
            raise unreadable("it holds no table")
        raise unknown_header(filled[0])


class _LineReader:
    """Reads one row after the other, by the places that the header gave."""

    def __init__(self, header: FittedHeader, survey: Survey) -> None:
        self._map = header.map
        self._places = dict(header.places)
        self._width = max(self._places.values()) + 1
        self._survey = survey
        self._ids = [self._places.get(name, self._width) for name in IDS]
        self._currencies: set[str] = set()
        self._statuses: dict[str, bool] = {}

    def read(self, number: int, row: list[str]) -> ReportLine | None:
        """Return the row's line; None for a row that is no line, such as a total."""
        row += [""] * (self._width + 1 - len(row))  # one more: what a missing column holds
        try:
            return self._line(number, row)
        except ValueError as error:
            shown = " | ".join(cell[:40] for cell in row[:16])
            raise Refused(
                "report_line_unreadable",
                f"row {number} of the file cannot be read: {error}\n{shown}",
                facts={"row": number},
            ) from error

    def _line(self, number: int, row: Sequence[str]) -> ReportLine | None:
        time_text = self._cell(row, "time")
        transaction_id, prepay_id, trade_no, refund_ref = [_id(row[place]) for place in self._ids]
        if not (transaction_id or prepay_id or trade_no or refund_ref):
            if time_text:
                raise ValueError("it has no id")
            self._survey.skipped += any(cell.strip() for cell in row)
            return None
        kind = self._kind(row)
        amount, currency = self._money(row)
        status = self._cell(row, "status") or None
        return ReportLine(
            number,
            kind,
            read_time(time_text, self._map),
            transaction_id,
            prepay_id,
            trade_no,
            refund_ref if kind is LineKind.REFUND else None,
            currency,
            amount.copy_abs(),  # abs() would round to the context
            self._fee(row),
            status,
            status is None or self._is_settled(status),
        )

    def _cell(self, row: Sequence[str], name: str) -> str:
        place = self._places.get(name)
        if place is None:
            return ""
        cell = row[place]
        return cell if type(cell) is NumberText else cell.strip()

    def _kind(self, row: Sequence[str]) -> LineKind:
        if self._map.kind is not None:
            return self._map.kind
        word = self._cell(row, "kind")
        kind = self._map.kinds.get(plain(word))
        if kind is None:
            raise ValueError(f"its kind {word!r} is none of {', '.join(self._map.kinds)}")
        return kind

    def _money(self, row: Sequence[str]) -> tuple[Decimal, str]:
        text, currency = self._cell(row, "amount"), self._cell(row, "currency")
        found = _WITH_CURRENCY.fullmatch(text) if " " in text else None
        if found:
            text, beside = found.groups()
            if currency not in {"", beside}:
                raise ValueError(f"its amount is in {beside}, its currency is {currency}")
            currency = beside
        if currency not in self._currencies:
            if not _CURRENCY.fullmatch(currency):
                raise ValueError(f"{currency!r} is no currency")
            self._currencies.add(currency)
        return self._amount(text), currency

    def _fee(self, row: Sequence[str]) -> Decimal | None:
        text = self._cell(row, "fee")
        if text in {"", "-", "--"}:
            return None
        found = _WITH_CURRENCY.fullmatch(text) if " " in text else None
        return self._amount(found.group(1) if found else text).copy_abs()

    def _amount(self, text: str) -> Decimal:
        amount = read_amount(text, decimal=self._map.decimal)
        if isinstance(text, NumberText) and len(amount.as_tuple().digits) > _SURE_DIGITS:
            self._survey.rounded += 1
            return _SURE.create_decimal(amount)
        return amount

    def _is_settled(self, status: str) -> bool:
        known = self._statuses.get(status)
        if known is None:
            known = self._statuses[status] = self._judge(status.casefold())
        return known

    def _judge(self, word: str) -> bool:
        if word in self._map.settled:
            return True
        if word in self._map.unsettled:
            return False
        raise ValueError(
            f"its status {word[:40]!r} is not known; name it in the map's `settled` or `unsettled`"
        )


def read_amount(text: str, *, decimal: str = ".") -> Decimal:
    """Read an amount with exactly the digits that are written. Raises ValueError.

    A number cell may have an exponent; text may not, but may group its thousands.
    """
    if len(text) > _AMOUNT_CHARACTERS_MAX:
        raise ValueError("its amount is too long")
    if isinstance(text, NumberText):
        try:
            amount = Decimal(str(text).strip())
        except InvalidOperation:
            raise ValueError(f"{str(text)!r} is no number") from None
        if not amount.is_finite() or not -40 < amount.adjusted() < 40:
            raise ValueError(f"{str(text)!r} is no amount")
        return Decimal(f"{amount:f}")
    if decimal == ",":
        text = text.translate(_SWAPPED)
    if not _AMOUNT.fullmatch(text):
        raise ValueError(f"{text!r} is no amount")
    return Decimal(text.replace(",", "") if "," in text else text)


_SWAPPED: Final = str.maketrans({",": ".", ".": ","})


def read_time(text: str, column_map: ColumnMap) -> datetime:
    """Read a moment; one without a zone of its own is in the map's. Raises ValueError."""
    if column_map.time_format is not None and not isinstance(text, NumberText):
        moment = datetime.strptime(text, column_map.time_format)  # noqa: DTZ007  (zone below)
    elif text.isascii() and text.isdigit() and len(text) in {10, 13}:
        seconds, milliseconds = divmod(int(text.ljust(13, "0")), 1000)
        moment = datetime.fromtimestamp(seconds, UTC) + timedelta(milliseconds=milliseconds)
    elif isinstance(text, NumberText):
        return _in_zone(_from_serial(text), column_map)
    else:
        try:
            moment = datetime.fromisoformat(text.replace("/", "-").replace(" UTC", "+00:00"))
        except ValueError:
            raise ValueError(
                f"its time {text!r} is not like 2026-01-31 14:05:07; give the map a time_format"
            ) from None
    return _in_zone(moment, column_map)


def _in_zone(moment: datetime, column_map: ColumnMap) -> datetime:
    if moment.year not in _YEARS:
        raise ValueError(f"its time {moment} is out of range")
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=column_map.zone)
    return moment if moment.tzinfo is UTC else moment.astimezone(UTC)


def _from_serial(text: str) -> datetime:
    """Read a spreadsheet's date: days since the end of 1899, to the millisecond."""
    days = read_amount(text)
    if not 40_000 < days < 80_000:
        raise ValueError(f"its time {str(text)!r} is no date")
    milliseconds = int((days * 86_400_000).to_integral_value())
    return (_EXCEL_EPOCH + timedelta(milliseconds=milliseconds)).replace(tzinfo=None)


def _id(cell: str) -> str | None:
    text = cell.strip()
    if not text or text == "-":
        return None
    if len(text) > _ID_CHARACTERS_MAX or not text.isprintable():
        raise ValueError("one of its ids is too long, or no text")
    is_number = isinstance(cell, NumberText)
    if _ROUNDED.fullmatch(text) or (is_number and len(text.split(".")[0]) > _SURE_DIGITS):
        raise ValueError(
            f"a spreadsheet rounded its id to {text}; take the file as it was downloaded"
        )
    if is_number:
        return text.removesuffix(".0")
    return text.lstrip("'") if text.startswith("'") else text
