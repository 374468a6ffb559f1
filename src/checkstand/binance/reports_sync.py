# Generated from reports.py by scripts/generate_sync_client.py: change that file and run this.
"""Reports: the files of transactions and settlements, and balance reports made on request."""

from datetime import date

from checkstand.binance.account_messages import (
    BalanceReport,
    ListReportFiles,
    QueryBalanceReport,
    ReportFile,
    RequestBalanceReport,
    RequestedReport,
)
from checkstand.binance.caller_sync import Caller
from checkstand.binance.calls import (
    LIST_REPORT_FILES,
    QUERY_BALANCE_REPORT,
    REQUEST_BALANCE_REPORT,
)
from checkstand.binance.exchange import CallOptions
from checkstand.binance.raw_sync import RawCaller, as_raw


class Reports:
    """`client.reports`"""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    @property
    def with_raw_response(self) -> "RawReports":
        """The same calls, each result beside its response."""
        return RawReports(self._caller)

    def list_files(
        self,
        *,
        report_type: str,
        start_date: date,
        end_date: date,
        transaction_type: str | None = None,
        options: CallOptions | None = None,
    ) -> list[ReportFile]:
        """Return where the files of up to three months are (Transaction, Settlement).

        Transaction wants a `transaction_type` too: Payment or Payout.
        """
        request = ListReportFiles(
            report_type=report_type,
            transaction_type=transaction_type,
            start_date=f"{start_date:%d/%m/%Y}",
            end_date=f"{end_date:%d/%m/%Y}",
        )
        return self._caller.call(LIST_REPORT_FILES, request, options)

    def request_balance(
        self,
        *,
        start_date: date,
        end_date: date,
        wallet_type: str | None = None,
        options: CallOptions | None = None,
    ) -> RequestedReport:
        """Ask for a balance report of days that are over; fifty a month are allowed.

        It is ready when BALANCE is told, or when `query_balance` says SUCCESS.
        """
        request = RequestBalanceReport(
            report_type="Balance",
            wallet_type=wallet_type,
            start_date=start_date.isoformat(),
            end_date=end_date.isoformat(),
        )
        return self._caller.call(REQUEST_BALANCE_REPORT, request, options)

    def query_balance(
        self, *, download_id: str, options: CallOptions | None = None
    ) -> BalanceReport:
        """Ask whether a balance report is ready, and where."""
        request = QueryBalanceReport(download_id=download_id)
        return self._caller.call(QUERY_BALANCE_REPORT, request, options)


class RawReports:
    """`client.reports.with_raw_response`"""

    def __init__(self, caller: Caller) -> None:
        reports = Reports(RawCaller(caller))
        self.list_files = as_raw(reports.list_files)
        self.request_balance = as_raw(reports.request_balance)
        self.query_balance = as_raw(reports.query_balance)
