"""The report calls: addresses of files, which the simulator serves on its own host.

A file's content is written when it is fetched (`books.py`), so a day that is not over grows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

from checkstand.simulator import books
from checkstand.simulator.accounts import BalanceReport, BalanceReportStatus, ReportFile, Wallet
from checkstand.simulator.notices import balance_report_data
from checkstand.simulator.records import Merchant
from checkstand.simulator.rejections import Rejection
from checkstand.simulator.wire import Bare
from checkstand.simulator.world import World

Body = Mapping[str, Any]
#: Where the files are, on the simulator's own host.
FILES_PATH = "/report-files"
_SPAN_MAX = timedelta(days=92)  # three months
_KINDS: Mapping[tuple[str, str | None], tuple[str, ...]] = {
    ("Transaction", "Payment"): ("T_Payment",),
    ("Transaction", "Payout"): ("T_Payout",),
    ("Settlement", None): ("S_Payment", "S_Refund"),
}


def list_files(world: World, merchant: Merchant, body: Body) -> object:
    """Name the files of the days on which something happened, one per day and kind."""
    report_type = body["reportType"]
    transaction_type = body.get("transactionType") if report_type == "Transaction" else None
    if report_type == "Transaction" and transaction_type is None:
        raise Rejection("400100", "transactionType")
    first, last = _span(body, "%d/%m/%Y")
    return [
        {
            "reportType": report_type,
            "transactionType": kind.partition("_")[2],
            "transactionDate": day.isoformat(),
            "fileName": books.file_name(kind, day),
            "downloadUrl": _address(world, merchant, kind, day),
        }
        for day in _days(first, min(last, _today(world)))
        for kind in _KINDS[report_type, transaction_type]
        if books.has_rows(world, merchant.merchant_id, kind, day)
    ]


def ask_balances(world: World, merchant: Merchant, body: Body) -> object:
    """Start a balance report; a sentence carries its id, and a webhook says when it is there."""
    first, last = _span(body, "%Y-%m-%d")
    if last >= _today(world):
        raise Rejection("400102", "endDate")  # no data of the current day
    now_ms = world.clock.now_ms()
    _check_allowance(world, merchant, now_ms)
    report = BalanceReport(
        merchant_id=merchant.merchant_id,
        download_id=world.store.next_id(now_ms),
        wallets=(Wallet(body["walletType"]),) if "walletType" in body else tuple(Wallet),
        first_day=first.isoformat(),
        last_day=last.isoformat(),
        token=world.randomness.hex(32),
        requested_ms=now_ms,
    )
    world.store.balance_reports[report.download_id] = report
    rearm(world, report)
    sentence = "Your request has been submitted successfully. Your task ID: "
    return sentence + report.download_id


def query_balances(world: World, merchant: Merchant, body: Body) -> object:
    """Say how a balance report stands; the documented sample comes without the envelope."""
    found = world.store.balance_reports.get(body["downloadId"])
    data: dict[str, Any] = {"exist": False, "downloadUrl": "", "status": "FAILED"}
    if found and found.merchant_id == merchant.merchant_id:
        status = _status(world, found)
        url = _balance_url(world, found) if status is BalanceReportStatus.SUCCESS else ""
        data = {"exist": True, "downloadUrl": url, "status": status}
    return data if world.settings.report_query_has_envelope else Bare(data)


def read_file(world: World, token: str) -> tuple[str, str] | None:
    """Return name and content of a file, or nothing if there is none or it is too late."""
    file = world.store.report_files.get(token)
    if file:
        day = date.fromisoformat(file.day)
        content = books.write_day(world, file.merchant_id, file.kind, day)
        return books.file_name(file.kind, day), content
    for report in world.store.balance_reports.values():
        if report.token == token and _status(world, report) is BalanceReportStatus.SUCCESS:
            return f"Balance_{report.download_id}.csv", books.write_balances(world, report)
    return None


def rearm(world: World, report: BalanceReport) -> None:
    """Set the timer of a balance report that is being made."""
    if _status(world, report) is BalanceReportStatus.PROCESSING:
        due_ms = report.requested_ms + world.settings.report_delay_ms
        world.clock.call_at(due_ms, partial(_tell, world, report))


def _tell(world: World, report: BalanceReport) -> None:
    expires_ms = report.requested_ms + world.settings.report_lifetime_ms
    url = _balance_url(world, report)
    world.postman.tell(
        merchant_id=report.merchant_id,
        biz_type="BALANCE",
        biz_status="BALANCE_SUCCESS",
        biz_id=report.download_id,
        data=balance_report_data(report, url=url, expires_ms=expires_ms),
    )


def _status(world: World, report: BalanceReport) -> BalanceReportStatus:
    age_ms, settings = world.clock.now_ms() - report.requested_ms, world.settings
    if age_ms >= settings.report_lifetime_ms:
        return BalanceReportStatus.EXPIRED
    if age_ms < settings.report_delay_ms:
        return BalanceReportStatus.PROCESSING
    return BalanceReportStatus.SUCCESS


def _check_allowance(world: World, merchant: Merchant, now_ms: int) -> None:
    month = _utc(now_ms).strftime("%Y-%m")
    made = [
        each
        for each in world.store.balance_reports.values()
        if each.merchant_id == merchant.merchant_id
        and _utc(each.requested_ms).strftime("%Y-%m") == month
    ]
    if len(made) >= world.settings.reports_per_month_max:
        raise Rejection("400001")


def _span(body: Body, form: str) -> tuple[date, date]:
    first, last = (_read_day(body[name], form, name) for name in ("startDate", "endDate"))
    if not first <= last <= first + _SPAN_MAX:
        raise Rejection("400102", "endDate")
    return first, last


def _read_day(text: str, form: str, name: str) -> date:
    try:
        return datetime.strptime(text, form).replace(tzinfo=UTC).date()
    except ValueError:
        raise Rejection("400101", name) from None


def _days(first: date, last: date) -> Iterator[date]:
    for number in range((last - first).days + 1):
        yield first + timedelta(days=number)


def _address(world: World, merchant: Merchant, kind: str, day: date) -> str:
    """Return where a day's file is; the same day asked for again is the same address."""
    wanted = ReportFile(merchant_id=merchant.merchant_id, token="", kind=kind, day=day.isoformat())
    for known in world.store.report_files.values():
        if replace(known, token="") == wanted:
            return _url(world, known.token)
    token = world.randomness.hex(32)
    world.store.report_files[token] = replace(wanted, token=token)
    return _url(world, token)


def _balance_url(world: World, report: BalanceReport) -> str:
    return _url(world, report.token)


def _url(world: World, token: str) -> str:
    return f"{world.base_url}{FILES_PATH}/{token}"


def _today(world: World) -> date:
    return world.clock.now().date()


def _utc(moment_ms: int) -> datetime:
    return datetime.fromtimestamp(moment_ms / 1000, UTC)
