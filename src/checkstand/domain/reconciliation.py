"""Reconciliation: what is said of ours beside theirs, a day at a time. Days are UTC.

Every fact falls into one of four buckets. What differs is a discrepancy with a kind; its id derives
from what was found, so that finding it again finds the same one.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final
from uuid import UUID, uuid5

from checkstand.domain.money import render_amount

DAY: Final = timedelta(days=1)
#: The days there can be: Binance Pay is not older, and a later one is a slip of the pen.
FIRST_DAY: Final = date(2018, 1, 1)
LAST_DAY: Final = date(2100, 12, 31)


class Bucket(StrEnum):
    """Where a fact stands once ours and theirs were laid side by side."""

    MATCHED = "matched"
    DIFFERING = "differing"
    ONLY_OURS = "only_ours"
    ONLY_THEIRS = "only_theirs"
    WAITING = "waiting"  # not listed, and files of the days around it are still missing


class DiscrepancyKind(StrEnum):
    """Why ours and theirs are not the same."""

    AMOUNT = "amount"
    CURRENCY = "currency"
    FEE = "fee"
    FEE_UNKNOWN = "fee_unknown"  # they name a fee that we have not been told
    TRANSACTION_ID = "transaction_id"
    TIME = "time"  # more than a day apart
    IDS = "ids"  # the ids of one line name different orders of ours
    STATUS = "status"  # listed as paid, and unpaid here
    LISTED_TWICE = "listed_twice"  # in one and the same file
    NOT_LISTED = "not_listed"  # only ours
    NOT_OURS = "not_ours"  # only theirs: no order of ours fits
    ORPHAN_NOTICE = "orphan_notice"  # only theirs, by a signed notice
    REFUND_AMOUNT = "refund_amount"
    REFUND_CURRENCY = "refund_currency"
    REFUND_FEE = "refund_fee"
    REFUND_STATUS = "refund_status"  # listed as returned, and not returned here
    REFUND_NOT_LISTED = "refund_not_listed"
    REFUND_NOT_OURS = "refund_not_ours"
    REFUNDED_ELSEWHERE = "refunded_elsewhere"  # of an order of ours, and nothing here explains it
    BALANCE = "balance"  # opening and movements do not add up to closing


class DiscrepancyResolution(StrEnum):
    """How a discrepancy ended. The first two are no person's word."""

    AGREED = "agreed"  # a later run found ours and theirs the same
    WITHDRAWN = "withdrawn"  # what showed it counts no more: nobody knows that they agree
    ACCEPTED = "accepted"
    EXPLAINED = "explained"
    WRITTEN_OFF = "written_off"


#: What a person may say.
HUMAN_RESOLUTIONS: Final = (
    DiscrepancyResolution.ACCEPTED,
    DiscrepancyResolution.EXPLAINED,
    DiscrepancyResolution.WRITTEN_OFF,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One difference as a run found it."""

    bucket: Bucket
    kind: DiscrepancyKind
    subject: str  # what it is about: `payment:…`, `refund:…`, `prepay 2703…`
    order_id: UUID | None = None
    attempt_id: UUID | None = None
    refund_id: UUID | None = None
    currency: str | None = None
    amount: Decimal | None = None
    ours: str | None = None
    theirs: str | None = None
    can_heal: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Discrepancy:
    """A difference that was written down, open until it is gone or a person has settled it."""

    account_id: UUID
    discrepancy_id: UUID
    day: date
    finding: Finding
    found_at: datetime
    asked_at: datetime | None
    resolved_at: datetime | None
    resolved_by: str | None
    resolution: DiscrepancyResolution | None
    reason: str | None
    closed_in: date | None


def discrepancy_id_of(account_id: UUID, day: date, finding: Finding) -> UUID:
    """Derive the id from what was found: another figure is another discrepancy."""
    facts = (day, finding.kind, finding.subject, finding.ours, finding.theirs)
    return uuid5(account_id, "discrepancy:" + "\n".join(str(fact) for fact in facts))


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time, its end not included."""

    start: datetime
    end: datetime


def span_of(day: date) -> Span:
    """Return a day's stretch of time."""
    start = datetime.combine(day, time(), UTC)
    return Span(start, start + DAY)


def days_between(first: date, last: date) -> list[date]:
    """Return every day from the first to the last."""
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def is_covered(day: date, spans: Iterable[Span]) -> bool:
    """Say whether spans together hold a whole day."""
    wanted = span_of(day)
    reached = wanted.start
    for span in sorted(spans, key=lambda each: each.start):
        if span.start > reached:
            break
        reached = max(reached, span.end)
    return reached >= wanted.end


def may_say_only_ours(day: date, spans: Sequence[Span]) -> bool:
    """Say whether a payment that no file lists is missing there: the neighbour days are in too.

    Two clocks near midnight, and a file that was cut off, put a fact into the next day's file.
    """
    return all(is_covered(each, spans) for each in (day - DAY, day, day + DAY))


@dataclass(frozen=True, slots=True, kw_only=True)
class Movements:
    """What our rows say moved in a wallet between two looks at it, of one asset."""

    payments: Decimal = Decimal(0)
    fees: Decimal = Decimal(0)
    fees_unknown: int = 0  # payments whose fee nobody has told us: the sum cannot be exact
    refunds: Decimal = Decimal(0)
    fees_returned: Decimal = Decimal(0)
    payouts: Decimal = Decimal(0)  # the known transfers: what files list as paid out

    @property
    def total(self) -> Decimal:
        """Return by how much the wallet should have grown."""
        came = self.payments - self.fees + self.fees_returned
        return came - self.refunds - self.payouts


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceLine:
    """The balance equation of one asset and day."""

    asset: str
    opening: Decimal
    movements: Movements
    closing: Decimal

    @property
    def expected(self) -> Decimal:
        """Return what the wallet should hold at the end."""
        return self.opening + self.movements.total

    @property
    def difference(self) -> Decimal:
        """Return by how much the wallet holds more than it should."""
        return self.closing - self.expected


def balance_lines(
    opening: Mapping[str, Decimal],
    closing: Mapping[str, Decimal],
    movements: Mapping[str, Movements],
) -> list[BalanceLine]:
    """Lay out the equation for every asset that was there or moved."""
    assets = sorted({*opening, *closing, *movements})
    return [
        BalanceLine(
            asset=asset,
            opening=opening.get(asset, Decimal(0)),
            movements=movements.get(asset, Movements()),
            closing=closing.get(asset, Decimal(0)),
        )
        for asset in assets
    ]


def balance_findings(lines: Iterable[BalanceLine]) -> list[Finding]:
    """Say which assets do not add up. An unknown fee explains nothing: it is named beside."""
    return [
        Finding(
            bucket=Bucket.DIFFERING,
            kind=DiscrepancyKind.BALANCE,
            subject=f"balance:{line.asset}",
            currency=line.asset,
            amount=line.difference,
            ours=_words(line),
            theirs=plain_amount(line.closing),
        )
        for line in lines
        if line.difference != 0
    ]


def _words(line: BalanceLine) -> str:
    expected = plain_amount(line.expected)
    unknown = line.movements.fees_unknown
    return f"{expected}, {unknown} fees unknown" if unknown else expected


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """How many facts of one kind, bucket and asset a day has, and what they come to."""

    kind: str  # payments, refunds or notices
    bucket: str
    currency: str
    facts: int
    amount: Decimal
    fee: Decimal | None
    fees_unknown: int
    asked: int  # whose attempt a query of ours confirmed


@dataclass(frozen=True, slots=True, kw_only=True)
class Booked:
    """What a closed day books of one kind, day and asset."""

    kind: str
    day: date
    currency: str
    facts: int
    amount: Decimal
    fee: Decimal | None
    fees_unknown: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DayRow:
    """A day as it stands."""

    day: date
    reconciled_at: datetime | None
    result: Mapping[str, Any] | None
    closed_at: datetime | None
    closed_by: str | None
    document: str | None  # the signed summary of a closed day


def render_total(total: Total) -> dict[str, object]:
    """Describe a total for people and programs."""
    return {
        "kind": total.kind,
        "bucket": total.bucket,
        "currency": total.currency or None,
        "count": total.facts,
        "amount": plain_amount(total.amount),
        "fee": None if total.fee is None else plain_amount(total.fee),
        "fees_unknown": total.fees_unknown,
        "confirmed_by_query": total.asked,
    }


def render_booked(booked: Booked) -> dict[str, object]:
    """Describe what a closed day books; `belongs_to` points at the day of the facts."""
    return {
        "kind": booked.kind,
        "belongs_to": booked.day.isoformat(),
        "currency": booked.currency,
        "count": booked.facts,
        "amount": plain_amount(booked.amount),
        "fee": None if booked.fee is None else plain_amount(booked.fee),
        "fees_unknown": booked.fees_unknown,
    }


def render_balance(line: BalanceLine) -> dict[str, object]:
    """Describe the balance equation of one asset."""
    moved = line.movements
    return {
        "asset": line.asset,
        "opening": plain_amount(line.opening),
        "payments": plain_amount(moved.payments),
        "fees": plain_amount(moved.fees),
        "fees_unknown": moved.fees_unknown,
        "refunds": plain_amount(moved.refunds),
        "fees_returned": plain_amount(moved.fees_returned),
        "payouts": plain_amount(moved.payouts),
        "expected": plain_amount(line.expected),
        "closing": plain_amount(line.closing),
        "difference": plain_amount(line.difference),
    }


def canonical(value: object) -> bytes:
    """Write JSON in the one way in which it is signed."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.encode()


def plain_amount(amount: Decimal) -> str:
    """Write an amount without the zeros at its end, never with an exponent."""
    return render_amount(amount.normalize())
