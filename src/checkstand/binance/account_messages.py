"""What is said about the merchant's own money: balances, transfers between wallets, reports.

As in `messages.py`: Binance's field names in snake_case, open sets of words as text.
"""

import re
from typing import Any, Final

import msgspec

from checkstand.binance.results import Result
from checkstand.binance.wire import Amount, Id, Message, Moment

# --- Balances -------------------------------------------------------------------------------


class QueryBalance(Message, frozen=True):
    """The body of the balance queries; v1 wants a currency."""

    wallet: str  # FUNDING_WALLET, SPOT_WALLET
    currency: str | None = None


class AssetBalance(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a wallet holds of one coin."""

    asset: str
    available: Amount
    freeze: Amount | None = None
    available_fiat_valuation: Amount | None = None  # in the answer's `fiat`
    available_btc_valuation: Amount | None = None


class WalletBalance(Result, frozen=True, kw_only=True):
    """What a wallet holds."""

    wallet: str
    balance: tuple[AssetBalance, ...]
    fiat: str | None = None
    updated_at: Moment | None = msgspec.field(name="updateTime", default=None)


def listed_balance(fields: dict[str, Any]) -> dict[str, Any]:
    """Make a list of `balance`, which the page's table calls one object."""
    balance = fields.get("balance")
    return {**fields, "balance": [balance]} if isinstance(balance, dict) else fields


class CoinBalance(Result, frozen=True, kw_only=True):
    """What a wallet holds of one coin, as v1 says it."""

    asset: str
    balance: Amount
    fiat: str | None = None
    available_fiat_valuation: Amount | None = None
    available_btc_valuation: Amount | None = None


# --- Transfers ------------------------------------------------------------------------------


class CreateTransfer(Message, frozen=True):
    """The body of a wallet transfer. Its amount is text, unlike others."""

    request_id: str
    currency: str
    amount: str
    transfer_type: str  # TO_MAIN (to spot), TO_PAY (to funding)


class QueryTransfer(Message, frozen=True):
    """The body of the transfer query."""

    tran_id: str


class WalletTransfer(Result, frozen=True, kw_only=True):
    """A transfer between the merchant's own wallets, new or asked for."""

    tran_id: Id  # the request id it was made with
    status: str  # SUCCESS, FAILURE, PROCESS
    currency: str | None = None
    amount: Amount | None = None
    transfer_type: str | None = None


# --- Reports --------------------------------------------------------------------------------


class ListReportFiles(Message, frozen=True):
    """The body of get file. Days as in 31/01/2026."""

    report_type: str  # Transaction, Settlement
    start_date: str
    end_date: str
    transaction_type: str | None = None  # Payment, Payout; needed for Transaction


class ReportFile(Result, frozen=True, kw_only=True):
    """Where one day's report can be fetched. The address is a secret while it lives."""

    file_name: str
    download_url: str
    report_type: str | None = None
    transaction_type: str | None = None
    transaction_date: str | None = None


class RequestBalanceReport(Message, frozen=True):
    """The body of a balance report's order. Days as in 2026-01-31."""

    start_date: str
    end_date: str
    report_type: str
    wallet_type: str | None = None


class RequestedReport(Result, frozen=True, kw_only=True):
    """A balance report that is being made."""

    download_id: str
    sentence: str  # as Binance said it, with the id in it


_TASK_ID: Final = re.compile(r"[0-9]{4,}", re.ASCII)


def requested_report(said: Any) -> RequestedReport:
    """Find the id in "... Your task ID: 1974...". Raises ValueError where there is none."""
    sentence = str(said) if isinstance(said, str | int) else ""
    found = _TASK_ID.findall(sentence)
    if not found:
        raise ValueError("the answer names no task id")
    return RequestedReport(download_id=found[-1], sentence=sentence)


class QueryBalanceReport(Message, frozen=True):
    """The body of the balance report query."""

    download_id: str


class BalanceReport(Result, frozen=True, kw_only=True):
    """A balance report as Binance sees it."""

    status: str  # PROCESSING, SUCCESS, FAILED, EXPIRED
    exist: bool | None = None
    download_url: str | None = None  # empty until SUCCESS
