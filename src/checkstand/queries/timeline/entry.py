"""The entry: one thing that happened to an order, as one line that a person understands."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from checkstand.domain.money import render_amount


class Kind(StrEnum):
    """What sort of thing an entry tells, in the order in which facts of one moment are told.

    Of what one decision writes, its causes come first, then what it books and moves, and last what
    is done because of it. A new kind is a row here and one in docs/api.md.
    """

    REQUEST = "request"  # the shop's create under an idempotency key
    ACT = "act"  # what the shop, a shopper or a person did
    CALL = "call"  # one request to Binance, and its answer
    NOTICE = "notice"  # Binance told us something unasked
    CHECK = "check"  # what we made of it
    REPORT = "report"  # a file of Binance's lists it
    PAYMENT = "payment"  # money arrived, or its fee was learnt
    REFUND = "refund"  # money is asked back, or went
    ANOMALY = "anomaly"  # something odd was opened or settled
    DISCREPANCY = "discrepancy"  # reconciliation found ours and theirs to differ, or settled that
    ATTEMPT = "attempt"  # one Binance order was prepared, is to be closed, or ended
    TRANSFER = "transfer"  # something was booked
    TRANSITION = "transition"  # a line of the order's history
    EVENT = "event"  # something to be told to the shop was written down
    DAY = "day"  # a closed day counts it
    HALT = "halt"  # the account was stopped, or went on
    RECOVERY = "recovery"  # the database was restored: begun, or ended
    ORPHAN = "orphan"  # Binance has an order with this one's mark that we had forgotten
    RETENTION = "retention"  # something was forgotten by policy
    DELIVERY = "delivery"  # a try to tell the shop, or its end
    OMITTED = "omitted"  # there is more of a kind than is shown


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEntry:
    """One thing that happened. `status_before` and `status_after` are set by transitions alone."""

    at: datetime
    actor: str  # merchant, shopper, binance, checkstand or person
    kind: Kind
    summary: str
    status_before: str | None = None
    status_after: str | None = None
    ref: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)
    fact: str | None = None  # what others follow from: "call:…", "version:3"
    follows: tuple[str, ...] = ()  # the facts that it cannot come before; not all need be there


def follows(*facts: str | None) -> tuple[str, ...]:
    """Name what an entry follows from, as far as it is known."""
    return tuple(fact for fact in facts if fact is not None)


def money(amount: Decimal, currency: str) -> str:
    """Write a sum as people read it."""
    return f"{render_amount(amount)} {currency}"


def because(reason: str | None) -> str:
    """Write a reason behind what it is the reason of."""
    return f": {reason}" if reason else ""


def texts(ids: Iterable[object]) -> list[str]:
    """Write ids as the API does."""
    return [str(each) for each in ids]


def show_url(url: str) -> str:
    """Write a shop's address without what may be a secret in it."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
