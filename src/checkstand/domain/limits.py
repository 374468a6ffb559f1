"""What an account may do without asking somebody: the limits it has set itself, none by default.

Limits guard what we *ask*; money that arrives is never refused by one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

from checkstand.domain.money import Money, render_amount
from checkstand.domain.order import Terms
from checkstand.domain.refund import Refund


class LimitKind(StrEnum):
    """What is limited."""

    ORDER_AMOUNT = "order_amount"  # of one order, per currency
    OPEN_ORDERS_PER_BUYER = "open_orders_per_buyer"  # with one buyer_reference
    OPEN_ORDERS_PER_ADDRESS = "open_orders_per_address"  # with one client_ip
    REFUNDED_PER_DAY = "refunded_per_day"  # sum, per asset; above it a second person approves
    REFUNDS_PER_DAY = "refunds_per_day"  # count, per asset; above it a second person approves


#: These hold for each currency apart; the others for the account as a whole.
PER_CURRENCY: Final = frozenset(
    {LimitKind.ORDER_AMOUNT, LimitKind.REFUNDED_PER_DAY, LimitKind.REFUNDS_PER_DAY}
)
#: These are whole numbers; the others are amounts.
COUNTS: Final = frozenset(
    {
        LimitKind.OPEN_ORDERS_PER_BUYER,
        LimitKind.OPEN_ORDERS_PER_ADDRESS,
        LimitKind.REFUNDS_PER_DAY,
    }
)
#: A day is the last 24 hours: at midnight nobody starts anew.
REFUND_WINDOW: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One limit: the most that is allowed. `currency` is empty where the kind knows none."""

    kind: LimitKind
    currency: str = ""
    most: Decimal


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one account."""

    by_place: Mapping[tuple[LimitKind, str], Limit]

    @classmethod
    def of(cls, limits: Iterable[Limit]) -> "Limits":
        """Gather limits."""
        return cls({(limit.kind, limit.currency): limit for limit in limits})

    def find(self, kind: LimitKind, currency: str = "") -> Limit | None:
        """Return one limit, if it is set."""
        return self.by_place.get((kind, currency))


@dataclass(frozen=True, slots=True)
class Exceeded:
    """A limit that a request would break, in a sentence, and the field that does it."""

    kind: LimitKind
    sentence: str
    field: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOrders:
    """How many orders can still be paid that share a buyer or an address, this one among them."""

    of_buyer: int
    of_address: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundsOfDay:
    """What was asked back in one asset in the last 24 hours and needed nobody's leave, or has it.

    Failed ones are not counted, nor are those that wait for somebody.
    """

    amount: Decimal
    number: int


def amount_exceeded(limits: Limits, terms: Terms) -> Exceeded | None:
    """Say whether an order is larger than the account allows."""
    for price, field in ((terms.price, "amount"), (terms.fiat_price, "fiat_amount")):
        limit = limits.find(LimitKind.ORDER_AMOUNT, price.currency) if price else None
        if price and limit and price.amount > limit.most:
            sentence = f"an order may be for {Money(limit.most, price.currency)} at most"
            return Exceeded(limit.kind, sentence, field)
    return None


def counts_open_orders(limits: Limits, terms: Terms) -> bool:
    """Say whether it matters how many open orders share this one's buyer or address."""
    buyer = limits.find(LimitKind.OPEN_ORDERS_PER_BUYER)
    address = limits.find(LimitKind.OPEN_ORDERS_PER_ADDRESS)
    return bool((buyer and terms.buyer_reference) or (address and terms.client_ip))


def open_orders_exceeded(limits: Limits, found: OpenOrders) -> Exceeded | None:
    """Say whether a buyer or an address has too many orders that can still be paid."""
    for kind, number, field, whose in (
        (LimitKind.OPEN_ORDERS_PER_BUYER, found.of_buyer, "buyer_reference", "buyer"),
        (LimitKind.OPEN_ORDERS_PER_ADDRESS, found.of_address, "client_ip", "address"),
    ):
        limit = limits.find(kind)
        if limit and number > limit.most:
            sentence = (
                f"one {whose} may have {limit.most} unpaid orders at most; "
                "cancel one, or wait until it has expired"
            )
            return Exceeded(kind, sentence, field)
    return None


def needs_approval(limits: Limits, of_the_day: RefundsOfDay, refund: Refund) -> str | None:
    """Say why a second person must approve a refund; None when nobody need."""
    currency = refund.amount.currency
    amount = limits.find(LimitKind.REFUNDED_PER_DAY, currency)
    total = of_the_day.amount + refund.amount.amount
    if amount and total > amount.most:
        day = f"{render_amount(total)} {currency} within 24 hours"
        return f"{day} is more than the {render_amount(amount.most)} that need no second approver"
    number = limits.find(LimitKind.REFUNDS_PER_DAY, currency)
    if number and of_the_day.number + 1 > number.most:
        return (
            f"more than {number.most} refunds in {currency} within 24 hours need a second approver"
        )
    return None
