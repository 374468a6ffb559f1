"""The report line, one movement of money as a report file of Binance lists it; and the file.

It is evidence, not truth: nothing is ever booked from a line. It is compared with what we know,
and where the two differ Binance is asked, or a person.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID


class LineKind(StrEnum):
    """What moved."""

    PAYMENT = "payment"
    REFUND = "refund"
    PAYOUT = "payout"  # out of the wallet and about no order: known by the balance equation alone


@dataclass(frozen=True, slots=True)
class ReportLine:
    """One line of a report file, its amounts exactly as they are written there."""

    number: int  # its row in the file, counted on from sheet to sheet, so that a person finds it
    kind: LineKind
    at: datetime
    transaction_id: str | None
    prepay_id: str | None
    trade_no: str | None
    refund_ref: str | None  # our refundRequestId, or the portal's
    currency: str
    amount: Decimal  # never negative: the kind says which way it went
    fee: Decimal | None  # None: the file has no such column, or says nothing here
    status: str | None  # Binance's word, where the file has one
    settled: bool  # the money moved; False for a failed or pending line


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A report file as it was taken in, or is being."""

    account_id: UUID
    file_id: UUID
    sha256: bytes
    name: str
    source: str  # api or upload
    format: str
    map_name: str
    lines: int
    first_at: datetime | None
    last_at: datetime | None
    notes: Sequence[str]
    received_at: datetime
    lines_taken: int = 0
    taken_at: datetime | None = None
    withdrawn_at: datetime | None = None
