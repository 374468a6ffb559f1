"""The content of report files, as CSV from the simulator's own memory.

The columns of the real files are documented nowhere: these are made up, and a program that reads
reports must find its columns by their headers. Days are UTC.
"""

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from checkstand.simulator import amounts
from checkstand.simulator.accounts import BalanceReport, Entry, Purse
from checkstand.simulator.records import Order, Payment, Refund, RefundStatus
from checkstand.simulator.world import World

_Rows = list[list[str]]
_DAY_MS = 86_400_000


def file_name(kind: str, day: date) -> str:
    """Return the documented name with the ending that is true here: `T_Payment_20260131.csv`."""
    return f"{kind}_{day:%Y%m%d}.csv"


def has_rows(world: World, merchant_id: str, kind: str, day: date) -> bool:
    """Say whether anything happened that day."""
    return bool(_KINDS[kind][1](world, merchant_id, day))


def write_day(world: World, merchant_id: str, kind: str, day: date) -> str:
    """Return one day's file."""
    header, rows = _KINDS[kind]
    return _write(header, rows(world, merchant_id, day))


def write_balances(world: World, report: BalanceReport) -> str:
    """Return opening and closing balance of each day, wallet and coin, with what moved."""
    header = ["Date", "Wallet", "Asset", "Opening", "In", "Out", "Closing"]
    first, last = date.fromisoformat(report.first_day), date.fromisoformat(report.last_day)
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    moved: dict[Purse, list[Entry]] = {}
    for entry in world.store.entries:
        if entry.owner == report.merchant_id and entry.wallet in report.wallets:
            purse = Purse(entry.owner, entry.wallet, entry.currency)
            moved.setdefault(purse, []).append(entry)
    rows = [
        [day.isoformat(), purse.wallet.value, purse.currency, *_day_of(entries, day)]
        for day in days
        for purse, entries in sorted(moved.items())
    ]
    return _write(header, rows)


def _day_of(entries: Iterable[Entry], day: date) -> list[str]:
    start_ms = _start_ms(day)
    opening = came = went = Decimal()
    for entry in entries:
        if entry.at_ms < start_ms:
            opening += entry.amount
        elif entry.at_ms < start_ms + _DAY_MS:
            came += max(entry.amount, Decimal())
            went -= min(entry.amount, Decimal())
    return [amounts.as_text(each) for each in (opening, came, went, opening + came - went)]


def _payments(world: World, merchant_id: str, day: date) -> _Rows:
    return [
        [
            _time(payment.paid_ms),
            payment.transaction_id,
            order.prepay_id,
            order.merchant_trade_no,
            payment.currency,
            amounts.as_text(payment.amount),
            amounts.as_text(payment.commission),
            amounts.as_text(payment.amount - payment.commission),
        ]
        for order, payment in _paid(world, merchant_id)
        if _is_on(payment.paid_ms, day)
    ]


def _refunds(world: World, merchant_id: str, day: date) -> _Rows:
    return [
        [
            _time(refund.requested_ms),
            refund.refund_request_id,
            order.prepay_id,
            order.merchant_trade_no,
            payment.currency,
            amounts.as_text(refund.amount),
            amounts.as_text(refund.commission),
            amounts.as_text(refund.amount - refund.commission),
        ]
        for order, payment in _paid(world, merchant_id)
        for refund in world.store.list_refunds(order.prepay_id)
        if _has_happened(refund) and _is_on(refund.requested_ms, day)
    ]


def _payouts(world: World, merchant_id: str, day: date) -> _Rows:
    return [
        [
            _time(payout.requested_ms),
            payout.request_id,
            line.order_id,
            line.merchant_send_id,
            line.receive_type,
            line.receiver,
            payout.currency,
            amounts.as_text(line.amount),
            line.status.value,
        ]
        for payout in world.store.payouts.values()
        if payout.merchant_id == merchant_id and _is_on(payout.requested_ms, day)
        for line in payout.lines
    ]


_MONEY = ["Currency", "Amount", "Commission", "Net"]
_PAYMENT = ["Time (UTC)", "Transaction ID", "Prepay ID", "Merchant Trade No", *_MONEY]
_REFUND = ["Time (UTC)", "Refund Request ID", "Prepay ID", "Merchant Trade No", *_MONEY]
_PAYOUT = [
    "Time (UTC)",
    "Request ID",
    "Order ID",
    "Merchant Send ID",
    "Receive Type",
    "Receiver",
    "Currency",
    "Amount",
    "Status",
]
#: By the beginning of the file's name: header, and what a day's rows are.
_KINDS: Mapping[str, tuple[list[str], Callable[[World, str, date], _Rows]]] = {
    "T_Payment": (_PAYMENT, _payments),
    "T_Payout": (_PAYOUT, _payouts),
    "S_Payment": (_PAYMENT, _payments),
    "S_Refund": (_REFUND, _refunds),
}


def _paid(world: World, merchant_id: str) -> list[tuple[Order, Payment]]:
    return [
        (order, order.payment)
        for order in world.store.orders.values()
        if order.merchant_id == merchant_id and order.payment
    ]


def _has_happened(refund: Refund) -> bool:
    return refund.status is RefundStatus.SUCCESS


def _is_on(moment_ms: int, day: date) -> bool:
    return _start_ms(day) <= moment_ms < _start_ms(day) + _DAY_MS


def _start_ms(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000


def _time(moment_ms: int) -> str:
    return datetime.fromtimestamp(moment_ms // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _write(header: list[str], rows: _Rows) -> str:
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    return text.getvalue()
