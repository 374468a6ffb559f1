"""What the simulator remembers of money: wallets, entries, transfers, payouts, report files.

Frozen, like `records.py`. An entry is one movement of one coin in one wallet; balances follow
from entries and never change without one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple


class Wallet(StrEnum):
    """The service's words for the two wallets of an account."""

    FUNDING = "FUNDING_WALLET"
    SPOT = "SPOT_WALLET"


class Purse(NamedTuple):
    """One coin in one wallet of one merchant or payer."""

    owner: str
    wallet: Wallet
    currency: str


class EntryKind(StrEnum):
    """Why money moved."""

    OPENING = "opening"
    CORRECTION = "correction"  # somebody set the balance by hand
    TOP_UP = "top_up"  # a payer came by as much as a payment took
    PAYMENT = "payment"
    COMMISSION = "commission"
    REFUND = "refund"
    COMMISSION_BACK = "commission_back"
    TRANSFER = "transfer"
    PAYOUT = "payout"
    PAYOUT_BACK = "payout_back"  # a line failed after its money had been taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One movement of one coin in one wallet."""

    at_ms: int  # 0: before the simulation began
    owner: str
    wallet: Wallet
    currency: str
    amount: Decimal  # above zero: came in
    balance: Decimal  # afterwards
    kind: EntryKind
    reference: str  # whatever the movement is known by: prepay id, request id


@dataclass(frozen=True, slots=True, kw_only=True)
class Payer:
    """Somebody with a wallet to pay from."""

    payer_id: str
    name: str
    opening_balances: Mapping[str, Decimal] = field(default_factory=dict)


class TransferStatus(StrEnum):
    """The service's words for a transfer between a merchant's own wallets."""

    PROCESS = "PROCESS"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """Money between a merchant's own wallets."""

    merchant_id: str
    request_id: str
    currency: str
    amount: Decimal
    transfer_type: str  # TO_MAIN: to spot; TO_PAY: to funding
    status: TransferStatus
    requested_ms: int


class BatchStatus(StrEnum):
    """The service's words for a batch of payouts."""

    ACCEPTED = "ACCEPTED"
    PROCESSING = "PROCESSING"
    SUCCESS = "SUCCESS"
    PART_SUCCESS = "PART_SUCCESS"
    FAILED = "FAILED"


class LineStatus(StrEnum):
    """The service's words for one line of a batch."""

    PROCESSING = "PROCESSING"
    SUCCESS = "SUCCESS"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True, kw_only=True)
class PayoutLine:
    """Money for one receiver."""

    order_id: str
    merchant_send_id: str
    receive_type: str
    receiver: str
    payee_id: str
    amount: Decimal
    wallet: Wallet
    remark: str | None
    status: LineStatus = LineStatus.PROCESSING
    is_taken: bool = False  # whether the money has left the wallet


@dataclass(frozen=True, slots=True, kw_only=True)
class Payout:
    """A batch of payouts."""

    merchant_id: str
    request_id: str
    payout_id: str
    name: str
    currency: str
    total_amount: Decimal
    lines: tuple[PayoutLine, ...]
    webhook_url: str | None
    status: BatchStatus = BatchStatus.ACCEPTED
    requested_ms: int
    due_ms: int  # when its next step follows


@dataclass(frozen=True, slots=True, kw_only=True)
class SubMerchant:
    """A shop below a merchant."""

    merchant_id: str
    sub_merchant_id: str
    name: str
    details: Mapping[str, object]  # the other fields as they were sent


class BalanceReportStatus(StrEnum):
    """The service's words for a balance report."""

    PROCESSING = "PROCESSING"
    SUCCESS = "SUCCESS"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceReport:
    """A balance report somebody asked for; its file is written when it is downloaded."""

    merchant_id: str
    download_id: str
    wallets: tuple[Wallet, ...]
    first_day: str  # as 2026-01-31
    last_day: str
    token: str
    requested_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFile:
    """The address of a day's report; its content is written when it is downloaded."""

    merchant_id: str
    token: str
    kind: str  # as in the file's name: T_Payment
    day: str
