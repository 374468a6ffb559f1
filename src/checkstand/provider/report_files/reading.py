"""Rows of cell text become lines. A row that cannot be read refuses its whole file, by its number,
and so does a sheet that no map fits: a file taken in half would make the other half look like money
that Binance never moved.
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
    COLUMNS_MIN,
    IDS,
    PREAMBLE_ROWS,
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
#: Doubles hold fifteen digits for sure; what follows them may be the double's, not the writer's.
_SURE_DIGITS: Final = 15
#: Amounts of Binance Pay have no more (reference 2.1).
_DECIMALS_MAX: Final = 8
#: Doubles below this lie closer together than 0.00000001: each tells one amount from the next.
_TELLING_MAX: Final = 2**26
_WIDE: Final = Context(prec=128)  # more digits than a cell of ours may have
_EXCEL_EPOCH: Final = datetime(1899, 12, 30, tzinfo=UTC)
_YEARS: Final = range(2018, 2101)  # Binance Pay is not older


@dataclass(slots=True)
class TableSurvey:
    """What the table of one sheet was found to hold."""

    zone: tzinfo = UTC
    first_at: datetime | None = None
    last_at: datetime | None = None
    kinds: Counter[LineKind] = field(default_factory=Counter)
    skipped: int = 0  # rows without time and id, such as totals
    rounded: int = 0  # amounts of number cells, without what a double added to them
    unsure: int = 0  # amounts of number cells that are larger than a double is exact for
    first_unsure: str = ""  # where the first of them is, and what stands there
    foreign_fees: int = 0  # fees in another coin than their line
    first_foreign_fee: str = ""

    def add(self, line: ReportLine) -> None:
        """Count a line."""
        self.kinds[line.kind] += 1
        if self.first_at is None or line.at < self.first_at:
            self.first_at = line.at
        if self.last_at is None or line.at > self.last_at:
            self.last_at = line.at


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a whole file was found to hold, before any of it is taken in."""

    format: str
    map_name: str  # several with commas, where sheets are read by several
    tables: Sequence[TableSurvey]
    others: Sequence[str] = ()  # sheets that hold no table

    @property
    def lines(self) -> int:
        """Return how many lines there are."""
        return sum(table.kinds.total() for table in self.tables)

    @property
    def first_at(self) -> datetime | None:
        """Return the moment of the earliest line."""
        return min((t.first_at for t in self.tables if t.first_at is not None), default=None)

    @property
    def last_at(self) -> datetime | None:
        """Return the moment of the latest line."""
        return max((t.last_at for t in self.tables if t.last_at is not None), default=None)

    @property
    def kinds(self) -> set[LineKind]:
        """Return what there are lines of."""
        return {kind for table in self.tables for kind in table.kinds}

    @property
    def notes(self) -> list[str]:
        """Say what a person should know about the file."""
        notes = [f"the sheet {name!r} was passed over: it holds no table" for name in self.others]
        skipped = sum(table.skipped for table in self.tables)
        if skipped:
            notes.append(f"{skipped} rows without time and id were skipped")
        notes += self._notes_on_digits()
        fees = sum(table.foreign_fees for table in self.tables)
        if fees:
            first = next(t.first_foreign_fee for t in self.tables if t.foreign_fees)
            notes.append(
                f"{fees} fees are in another coin than their payment and were not compared; "
                f"check them by hand. The first: {first}"
            )
        if "latin-1" in self.format:
            notes.append("the text is not UTF-8; it was read byte by byte")
        return notes

    def _notes_on_digits(self) -> list[str]:
        notes = []
        rounded = sum(table.rounded for table in self.tables)
        if rounded:
            notes.append(
                f"{rounded} number cells were taken to {_DECIMALS_MAX} decimals or "
                f"{_SURE_DIGITS} digits, whichever is more"
            )
        unsure = sum(table.unsure for table in self.tables)
        if unsure:
            first = next(t.first_unsure for t in self.tables if t.unsure)
            notes.append(
                f"{unsure} number cells have more digits than a spreadsheet keeps for sure: the "
                f"last one may not be Binance's. Take such a file as CSV. The first: {first}"
            )
        if self.format == "xls":
            notes.append("XLS keeps numbers as doubles: the shortest text of each was taken")
        return notes


@dataclass(frozen=True, slots=True)
class _Table:
    """A sheet whose header was understood."""

    sheet: Sheet
    header: FittedHeader
    label: str  # what messages call it


class ReportReader:
    """An open report file whose headers were understood."""

    def __init__(self, tables: Sequence[_Table], others: Sequence[str]) -> None:
        self._tables = tables
        self._others = others

    @property
    def kinds_listed(self) -> set[LineKind]:
        """Return what the file lists whether or not it has a line of it."""
        return {kind for table in self._tables for kind in table.header.kinds_listed}

    def survey(self) -> Survey:
        """Read the whole file, keeping nothing of it. Raises Refused."""
        surveys = [TableSurvey(zone=table.header.map.zone) for table in self._tables]
        for found, line in self._read(surveys):
            found.add(line)
        return Survey(
            format=self._tables[0].sheet.format,
            map_name=", ".join(dict.fromkeys(table.header.map.name for table in self._tables)),
            tables=surveys,
            others=self._others,
        )

    def lines(self) -> Iterator[ReportLine]:
        """Yield the lines in the file's own order, the same each time. Raises Refused."""
        return (line for _, line in self._read([TableSurvey() for _ in self._tables]))

    def _read(self, surveys: Sequence[TableSurvey]) -> Iterator[tuple[TableSurvey, ReportLine]]:
        """Read one table after the other; their rows are counted on, so that each has a number."""
        before = 0
        for table, survey in zip(self._tables, surveys, strict=True):
            reader = _LineReader(table, survey, before=before)
            number = table.header.row
            for row in islice(table.sheet.rows(), number, None):
                number += 1
                line = reader.read(number, row)
                if line is not None:
                    yield survey, line
            before += number


@contextlib.contextmanager
def opening_report(path: Path, maps: Sequence[ColumnMap]) -> Iterator[ReportReader]:
    """Open a report file and find its headers. Raises Refused, showing a header it cannot map."""
    with opening_sheets(path) as sheets:
        tables, others, unknown = _sort_sheets(sheets, maps)
        if unknown is not None:
            beginning = list(islice(unknown.rows(), PREAMBLE_ROWS))
            raise unknown_header(beginning, sheet=unknown.name if len(sheets) > 1 else "")
        if not tables:
            raise unreadable("it holds no table")
        yield ReportReader(tables, others)


def _sort_sheets(
    sheets: Sequence[Sheet], maps: Sequence[ColumnMap]
) -> tuple[list[_Table], list[str], Sheet | None]:
    """Tell tables that a map fits from covers without any; the last is a table that none fits."""
    tables: list[_Table] = []
    covers: list[Sheet] = []
    for sheet in sheets:
        header = find_header(list(islice(sheet.rows(), PREAMBLE_ROWS)), maps)
        if header is not None:
            label = f"the sheet {sheet.name!r}" if len(sheets) > 1 else "the file"
            tables.append(_Table(sheet, header, label))
        elif _width_of(sheet) >= COLUMNS_MIN:
            return tables, [], sheet
        elif _width_of(sheet):
            covers.append(sheet)
    if covers and not tables:
        return tables, [], covers[0]
    return tables, [cover.name for cover in covers], None


def _width_of(sheet: Sheet) -> int:
    """Return the cells of the fullest row, as far as it matters."""
    widest = 0
    for row in sheet.rows():
        widest = max(widest, sum(1 for cell in row if cell.strip()))
        if widest >= COLUMNS_MIN:
            break
    return widest


class _LineReader:
    """Reads one row after the other, by the places that the header gave."""

    def __init__(self, table: _Table, survey: TableSurvey, *, before: int) -> None:
        self._label = table.label
        self._before = before  # rows of the sheets before this one
        self._header = table.header
        self._map = table.header.map
        self._places = dict(table.header.places)
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
                f"row {number} of {self._label} cannot be read: {error}\n{shown}",
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
        amount, currency = self._money(number, row)
        status = self._cell(row, "status") or None
        return ReportLine(
            self._before + number,
            kind,
            read_time(time_text, self._map),
            transaction_id,
            prepay_id,
            trade_no,
            refund_ref if kind is LineKind.REFUND else None,
            currency,
            amount.copy_abs(),  # abs() would round to the context
            self._fee(number, row, currency),
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

    def _money(self, number: int, row: Sequence[str]) -> tuple[Decimal, str]:
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
        return self._amount(number, text), currency

    def _fee(self, number: int, row: Sequence[str], currency: str) -> Decimal | None:
        """Read the fee; one in another coin is told and left out: ours is in the payment's."""
        cell = text = self._cell(row, "fee")
        if text in {"", "-", "--"}:
            return None
        coin = self._cell(row, "fee_currency")
        found = _WITH_CURRENCY.fullmatch(text) if " " in text else None
        if found:
            text, beside = found.groups()
            if coin not in {"", beside}:
                raise ValueError(f"its fee is in {beside}, the fee's currency is {coin}")
            coin = beside
        fee = self._amount(number, text).copy_abs()
        if coin in {"", currency}:
            return fee
        self._survey.foreign_fees += 1
        if not self._survey.first_foreign_fee:
            column = self._header.cells[self._places["fee"]].strip()
            shown = cell if found else f"{cell} {coin}"
            self._survey.first_foreign_fee = (
                f"row {number} of {self._label}, column {column!r}: {shown} of a line in {currency}"
            )
        return None

    def _amount(self, number: int, text: str) -> Decimal:
        amount = read_amount(text, decimal=self._map.decimal)
        if isinstance(text, NumberText) and len(amount.as_tuple().digits) > _SURE_DIGITS:
            return self._settle_digits(number, amount)
        return amount

    def _settle_digits(self, number: int, amount: Decimal) -> Decimal:
        """Take off what a double added to an amount, and none of what was written.

        `0.30000000000000004` is what a spreadsheet makes of 0.3, and `12345678.12345678` is an
        amount: it has no more decimals than money does. What is left beyond fifteen digits is
        right wherever doubles lie closer together than amounts.
        """
        places = max(_DECIMALS_MAX, _SURE_DIGITS - 1 - amount.adjusted())
        settled = amount
        if _places_of(amount) > places:
            settled = amount.quantize(Decimal(1).scaleb(-places), context=_WIDE)
            self._survey.rounded += 1
        if abs(settled) >= _TELLING_MAX and len(settled.normalize(_WIDE).as_tuple().digits) > (
            _SURE_DIGITS
        ):
            self._survey.unsure += 1
            if not self._survey.first_unsure:
                self._survey.first_unsure = f"row {number} of {self._label}, {settled:f}"
        return settled

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


def _places_of(amount: Decimal) -> int:
    exponent = amount.as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0


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
