"""Column maps: what the headers of a report file mean.

Binance documents the columns nowhere (reference 2.13, 12), so the built-in maps are guesses, each
a set of headers that fit together. A merchant whose files have others stores a map of its own. A
header that no map fits is refused by showing it: half understood is not understood.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo

from checkstand.domain.report_line import LineKind
from checkstand.errors import Refused

#: Everything a line can say. The first ones identify it.
IDS: Final = ("transaction_id", "prepay_id", "trade_no", "refund_id")
FIELDS: Final = (*IDS, "time", "kind", "currency", "amount", "fee", "fee_currency", "status")
_REQUIRED: Final = ("time", "amount")
#: Words by which files say that money moved, and that it did not (yet).
SETTLED: Final = frozenset(
    {"success", "succeeded", "successful", "paid", "completed", "complete", "settled", "done"}
    | {"pay_success", "refund_success", "refunded", "full_refunded"}
)
UNSETTLED: Final = frozenset(
    {"initial", "pending", "processing", "refunding", "failed", "fail", "failure", "closed"}
    | {"canceled", "cancelled", "expired", "error", "refund_pending", "refund_fail"}
    | {"refund_rejected", "rejected", "refuse"}
)
#: How many rows may stand above the header.
PREAMBLE_ROWS: Final = 30
#: Time, amount and an id: no map fits a sheet whose rows have fewer cells.
COLUMNS_MIN: Final = 3
_MAP_KEYS: Final = frozenset(
    {"columns", "kind", "kinds", "zone", "time_format", "decimal", "settled", "unsettled"}
)
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnMap:
    """Which header stands for which field, and how cells are written."""

    name: str
    columns: Mapping[str, Sequence[str]]  # field → the headers it may have
    kind: LineKind | None = LineKind.PAYMENT  # None: the column `kind` says it
    kinds: Mapping[str, LineKind] = field(default_factory=dict)  # the words in that column
    needs: Sequence[str] = ()  # fields without which this map does not fit
    zone: tzinfo = UTC
    time_format: str | None = None  # as in strptime; None: ISO 8601 and its relatives
    decimal: str = "."
    settled: frozenset[str] = SETTLED
    unsettled: frozenset[str] = UNSETTLED
    is_built_in: bool = False

    def fit(self, header: Sequence[str]) -> dict[str, int] | None:
        """Say in which column each field is; None when the header is not this map's."""
        cells = [plain(cell) for cell in header]
        found: dict[str, int] = {}
        for name, headers in self.columns.items():
            places = [i for i, cell in enumerate(cells) if cell and cell in map(plain, headers)]
            if len(places) > 1:
                return None  # two columns claim to be the same thing
            if places:
                found[name] = places[0]
            elif not self.is_built_in:
                return None  # whoever wrote the map meant this column to be there
        needed = (*_REQUIRED, *self.needs)
        has_id = any(name in found for name in IDS)
        return found if has_id and all(name in found for name in needed) else None


def plain(text: str) -> str:
    """Take a header's letters and digits alone: spelling differs, `Trade No.` and `trade_no`."""
    return re.sub(r"[\W_]+", "", text.casefold())


_TIME: Final = ("Time (UTC)", "Transaction Time", "Transaction Time (UTC)", "Transact Time")
_TIME_TOO: Final = (*_TIME, "Time", "Paid Time", "Payment Time", "Date (UTC)", "Create Time (UTC)")
_MONEY: Final = {
    "time": _TIME_TOO,
    "transaction_id": ("Transaction ID", "Transaction No", "Transaction Number"),
    "prepay_id": ("Prepay ID", "Prepay Order ID", "Binance Order ID"),
    "trade_no": ("Merchant Trade No", "Merchant Order No", "Merchant Order ID", "Trade No"),
    "currency": ("Currency", "Order Currency", "Asset", "Coin"),
    "fee": ("Commission", "Fee", "Transaction Fee", "Service Fee"),
    "fee_currency": ("Commission Currency", "Commission Asset", "Fee Currency", "Fee Coin"),
    "status": ("Status", "Order Status", "Transaction Status"),
}

#: Guesses, likeliest last to be wrong first: the more a map demands, the earlier it stands.
BUILT_IN: Final = (
    ColumnMap(
        name="payouts",
        kind=LineKind.PAYOUT,
        columns=_MONEY
        | {
            "amount": ("Amount", "Payout Amount"),
            "trade_no": ("Merchant Send ID",),
            "transaction_id": ("Order ID", "Transaction ID"),
        },
        needs=("trade_no", "currency"),
        is_built_in=True,
    ),
    ColumnMap(
        name="refunds",
        kind=LineKind.REFUND,
        columns=_MONEY
        | {
            "refund_id": ("Refund Request ID", "Merchant Refund ID", "Refund ID"),
            "time": (*_TIME_TOO, "Refund Time", "Refund Time (UTC)"),
            "amount": ("Refund Amount", "Amount"),
            "fee": ("Refund Commission", "Commission", "Refunded Fee", "Fee"),
        },
        needs=("refund_id", "currency"),
        is_built_in=True,
    ),
    ColumnMap(
        name="typed",
        kind=None,
        kinds={
            "payment": LineKind.PAYMENT,
            "pay": LineKind.PAYMENT,
            "refund": LineKind.REFUND,
            "payrefund": LineKind.REFUND,
            "payout": LineKind.PAYOUT,
        },
        columns=_MONEY
        | {
            "kind": ("Type", "Transaction Type", "Order Type"),
            "amount": ("Amount", "Order Amount", "Gross Amount"),
            "refund_id": ("Refund Request ID", "Merchant Refund ID"),
        },
        needs=("kind", "currency"),
        is_built_in=True,
    ),
    ColumnMap(
        name="payments",
        columns=_MONEY | {"amount": ("Amount", "Order Amount", "Gross Amount", "Total Fee")},
        needs=("currency",),
        is_built_in=True,
    ),
    ColumnMap(
        # Names as the API has them: what a program of the shop's own may have written.
        name="api-names",
        columns={
            "time": ("transactTime",),
            "transaction_id": ("transactionId",),
            "prepay_id": ("prepayId",),
            "trade_no": ("merchantTradeNo",),
            "currency": ("currency",),
            "amount": ("orderAmount", "totalFee"),
            "fee": ("commission",),
            "status": ("status", "bizStatus"),
        },
        needs=("currency",),
        is_built_in=True,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedHeader:
    """A header that was understood: the map, and where its fields are."""

    map: ColumnMap
    row: int  # counted from 1
    places: Mapping[str, int]
    cells: Sequence[str]  # the header itself, to be shown

    @property
    def kinds_listed(self) -> set[LineKind]:
        """Return what a table under this header lists whether or not it has a line of it."""
        return set() if self.map.kind is None else {self.map.kind}


def find_header(rows: Sequence[Sequence[str]], maps: Sequence[ColumnMap]) -> FittedHeader | None:
    """Find the header among a file's first rows, by the merchant's maps before our guesses."""
    for number, row in enumerate(rows[:PREAMBLE_ROWS], 1):
        for column_map in (*maps, *BUILT_IN):
            places = column_map.fit(row)
            if places is not None:
                return FittedHeader(map=column_map, row=number, places=places, cells=row)
    return None


def unknown_header(rows: Sequence[Sequence[str]], *, sheet: str = "") -> Refused:
    """Show a header that no map fits, and say how to map it; `sheet` is one of several."""
    widest = max(
        rows[:PREAMBLE_ROWS], key=lambda row: sum(bool(c.strip()) for c in row), default=[]
    )
    shown = [cell.strip()[:64] for cell in widest][:64]
    return Refused(
        "report_header_unknown",
        f"no column map fits the header of {_named(sheet)}: "
        + " | ".join(shown)
        + "\nWrite one as JSON, such as "
        '{"columns": {"time": "…", "transaction_id": "…", "currency": "…", "amount": "…"}}, '
        "and store it: checkstand reconcile columns set NAME FILE.json (docs/reconciliation.md)"
        + (_OF_SEVERAL if sheet else ""),
        field="columns",
        facts={"header": shown} | ({"sheet": sheet} if sheet else {}),
    )


def _named(sheet: str) -> str:
    return f"the sheet {sheet!r}, and half a workbook is not taken in" if sheet else "this file"


_OF_SEVERAL: Final = (
    "\nOr, if the sheet goes on from the one before it, put that one's header above its first row; "
    "if it lists no payments, refunds or payouts, remove it from a copy of the file."
)


def parse_map(name: str, document: Any) -> ColumnMap:
    """Read a merchant's map. Raises Refused with what is wrong."""
    if not _NAME.fullmatch(name):
        raise _invalid("its name is 1 to 64 of a-z, 0-9 and -", "name")
    if not isinstance(document, dict) or not isinstance(document.get("columns"), dict):
        raise _invalid('it is an object with "columns", field → header', "columns")
    unknown = sorted(set(document) - _MAP_KEYS)
    if unknown:
        raise _invalid(f"there is no {unknown[0]!r}; there are {', '.join(sorted(_MAP_KEYS))}")
    kinds = {plain(str(word)): _kind_of(kind) for word, kind in _object(document, "kinds").items()}
    columns = _columns_of(document["columns"])
    if ("kind" in columns) != bool(kinds):
        raise _invalid("a column `kind` and `kinds` (word → payment, refund, payout) go together")
    return ColumnMap(
        name=name,
        columns=columns,
        kind=None if kinds else _kind_of(document.get("kind", "payment")),
        kinds=kinds,
        zone=_zone_of(document.get("zone", "UTC")),
        time_format=_format_of(document.get("time_format")),
        decimal=_one_of(document.get("decimal", "."), (".", ",")),
        settled=_words(document, "settled", SETTLED),
        unsettled=_words(document, "unsettled", UNSETTLED),
    )


def _columns_of(given: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    columns: dict[str, tuple[str, ...]] = {}
    for name, header in given.items():
        if name not in FIELDS:
            raise _invalid(f"there is no field {name!r}; there are {', '.join(FIELDS)}", "columns")
        headers = [header] if isinstance(header, str) else header
        if not isinstance(headers, list) or not all(
            isinstance(h, str) and plain(h) for h in headers
        ):
            raise _invalid(f"{name} needs a header, or a list of them", "columns")
        columns[name] = tuple(headers)
    missing = [name for name in _REQUIRED if name not in columns]
    if missing or not any(name in columns for name in IDS):
        raise _invalid(f"it needs time, amount, and one of {', '.join(IDS)}", "columns")
    return columns


def _object(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = document.get(key, {})
    if not isinstance(value, dict):
        raise _invalid(f"{key} is an object", key)
    return value


def _words(document: Mapping[str, Any], key: str, usual: frozenset[str]) -> frozenset[str]:
    value = document.get(key)
    if value is None:
        return usual
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise _invalid(f"{key} is a list of words", key)
    return frozenset(word.strip().casefold() for word in value)


def _kind_of(word: Any) -> LineKind:
    return LineKind(_one_of(word, tuple(LineKind)))


def _one_of(value: Any, allowed: Sequence[str]) -> str:
    if value not in allowed:
        raise _invalid(f"{value!r} is none of {', '.join(map(str, allowed))}")
    return str(value)


def _zone_of(name: Any) -> tzinfo:
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ValueError, TypeError, LookupError, OSError):
        raise _invalid(
            f"there is no time zone {name!r}; say Asia/Shanghai or UTC", "zone"
        ) from None


def _format_of(text: Any) -> str | None:
    if text is None:
        return None
    try:
        moment = datetime(2026, 11, 23, 14, 5, 7)  # noqa: DTZ001  (a form is tried, no time told)
        sound = datetime.strptime(moment.strftime(text), text) == moment  # noqa: DTZ007
    except (ValueError, TypeError):
        sound = False
    if not sound:
        raise _invalid("time_format must be like %d/%m/%Y %H:%M:%S", "time_format")
    return str(text)


def _invalid(why: str, field_name: str | None = None) -> Refused:
    return Refused("column_map_invalid", f"this is no column map: {why}", field=field_name)
