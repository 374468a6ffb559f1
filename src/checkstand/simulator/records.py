"""What the simulator remembers of the trade: merchants, orders, payments, refunds, and notices.

All of it is frozen; a change is a new record put in place of the old one, so that whoever holds
a record holds one consistent moment. Wallets and what moves between them are in `accounts.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Final


class OrderStatus(StrEnum):
    """The service's words for an order's state."""

    INITIAL = "INITIAL"  # created, unpaid
    PENDING = "PENDING"  # the payer has started paying
    PAID = "PAID"
    CANCELED = "CANCELED"  # closed by the merchant
    EXPIRED = "EXPIRED"  # its time passed unpaid
    ERROR = "ERROR"  # the payment failed
    REFUNDING = "REFUNDING"
    REFUNDED = "REFUNDED"  # in part
    FULL_REFUNDED = "FULL_REFUNDED"


class RefundStatus(StrEnum):
    """The service's words for a refund's state."""

    PENDING = "REFUND_PENDING"
    SUCCESS = "REFUND_SUCCESS"
    FAIL = "REFUND_FAIL"


class NoticeState(StrEnum):
    """How far the telling of one piece of news has come."""

    WAITING = "waiting"  # for its first try, an answer or the next try
    ACKNOWLEDGED = "acknowledged"
    GIVEN_UP = "given_up"
    DROPPED = "dropped"  # by a fault
    NOWHERE = "nowhere"  # neither the request nor the merchant names a URL


_S = OrderStatus

#: Every move an order may make; a forced (late) payment is the one exception.
TRANSITIONS: Final[Mapping[OrderStatus, frozenset[OrderStatus]]] = {
    _S.INITIAL: frozenset({_S.PENDING, _S.PAID, _S.CANCELED, _S.EXPIRED, _S.ERROR}),
    _S.PENDING: frozenset({_S.INITIAL, _S.PAID, _S.EXPIRED, _S.ERROR}),
    _S.PAID: frozenset({_S.REFUNDING, _S.REFUNDED, _S.FULL_REFUNDED}),
    _S.REFUNDING: frozenset({_S.PAID, _S.REFUNDED, _S.FULL_REFUNDED}),
    _S.REFUNDED: frozenset({_S.REFUNDING, _S.FULL_REFUNDED}),
    _S.CANCELED: frozenset(),
    _S.EXPIRED: frozenset(),
    _S.ERROR: frozenset(),
    _S.FULL_REFUNDED: frozenset(),
}

#: States that only a forced (late) payment leaves.
UNPAID_ENDS: Final = frozenset({_S.CANCELED, _S.EXPIRED, _S.ERROR})


#: What the portal can allow a key to do; the words are those of the service's own scopes, where
#: there are any.
FEATURES: Final = frozenset(
    {
        "BALANCE",
        "CHECKOUT",
        "INTERNAL_TRANSFER",
        "PAYOUT",
        "REFUND",
        "REPORT",
        "SUB_MERCHANT",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Merchant:
    """One merchant with its first API key; further keys are credentials of the same id."""

    api_key: str
    api_secret: str = field(repr=False)
    merchant_id: str
    name: str = "Simulated shop"
    webhook_url: str | None = None  # what the portal's setting would be
    features: frozenset[str] = FEATURES  # what the key may do; the rest is 400606
    trusted_ips: frozenset[str] = frozenset()  # addresses or networks; none: from anywhere
    opening_balances: Mapping[str, Decimal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Credential:
    """What a request is checked with."""

    api_secret: str = field(repr=False)
    merchant_id: str
    features: frozenset[str] = FEATURES
    trusted_ips: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """The ways to the wallet page that a create answer hands out."""

    token: str
    qr_code_link: str
    qr_content: str
    checkout_url: str
    deeplink: str
    universal_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """Money that arrived for an order."""

    transaction_id: str
    open_user_id: str
    payer_id: str
    amount: Decimal
    currency: str
    commission: Decimal
    paid_ms: int
    spent_currency: str  # the coin the payer chose, and how much of it went
    spent_amount: Decimal
    price: Decimal  # of one such coin, in the order's currency
    fee_told_from_ms: int = 0  # until then no message says the commission

    def tells_fee(self, now_ms: int) -> bool:
        """Say whether messages of this moment carry the commission."""
        return now_ms >= self.fee_told_from_ms


@dataclass(frozen=True, slots=True)
class Move:
    """One entry of an order's history."""

    at_ms: int
    status: OrderStatus
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One order of one merchant."""

    merchant_id: str
    merchant_trade_no: str  # unique for one merchant only
    prepay_id: str
    status: OrderStatus
    amount: Decimal
    currency: str
    fiat_amount: Decimal | None = None
    fiat_currency: str | None = None
    description: str | None = None
    product_type: str
    product_name: str
    trade_type: str
    created_ms: int
    expires_ms: int
    webhook_url: str | None = None
    return_url: str | None = None
    cancel_url: str | None = None
    pass_through_info: str | None = None
    pay_currencies: tuple[str, ...] = ()  # the coins a payer may choose; none: all
    sub_merchant_id: str | None = None
    links: Links
    close_requested_ms: int | None = None
    payment: Payment | None = None
    refund_attempts: int = 0  # accepted refunds asked for over the API
    history: tuple[Move, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """Money on its way back."""

    merchant_id: str
    refund_request_id: str
    prepay_id: str
    status: RefundStatus
    amount: Decimal
    commission: Decimal  # the part of the fee that comes back
    refunded_amount: Decimal  # of the order, this one included, when it was asked for
    refunded_commission: Decimal
    remaining_attempts: int
    payer_open_id: str
    webhook_url: str | None
    by_portal: bool  # made by hand in the portal: nobody is told
    requested_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One sending of a notice, with what came back."""

    at_ms: int
    timestamp: str
    nonce: str
    certificate_serial: str
    signature: str
    http_status: int | None = None  # none when no answer came
    answer: str = ""
    error: str = ""
    acknowledged: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One piece of news for a merchant, with every try to tell it."""

    number: int
    merchant_id: str
    merchant_trade_no: str  # empty where it is not about an order
    prepay_id: str  # likewise
    biz_type: str
    biz_status: str
    url: str | None
    body: bytes
    created_ms: int
    state: NoticeState = NoticeState.WAITING
    next_try_ms: int | None = None  # while it waits
    keeps_timestamp: bool = False  # retries carry the first try's timestamp
    tries: tuple[Try, ...] = ()
