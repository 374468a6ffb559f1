"""The order: what a shop wants paid, its states, and every move it may make."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final
from uuid import UUID

from checkstand.domain.money import Money


class OrderStatus(StrEnum):
    """The merchant guide's own words, in the order of a good day."""

    CREATED = "CREATED"  # written down; Binance may or may not know it yet
    PENDING_PAYMENT = "PENDING_PAYMENT"  # a code was shown and nobody has paid it yet
    PAID = "PAID"  # a payment that binds arrived; the shop owes the goods
    FULFILLED = "FULFILLED"  # the shop acknowledged
    CANCELED = "CANCELED"  # asked for or refused by Binance, and no attempt is live
    EXPIRED = "EXPIRED"  # its time passed, and no attempt is live
    REFUNDED = "REFUNDED"  # the payment that paid it went back in full


#: Every move an order may make. Anything else is refused here and by the database's CHECK.
TRANSITIONS: Final[Mapping[OrderStatus, frozenset[OrderStatus]]] = {
    OrderStatus.CREATED: frozenset(
        {OrderStatus.PENDING_PAYMENT, OrderStatus.PAID, OrderStatus.CANCELED, OrderStatus.EXPIRED}
    ),
    OrderStatus.PENDING_PAYMENT: frozenset(
        {OrderStatus.PAID, OrderStatus.CANCELED, OrderStatus.EXPIRED}
    ),
    OrderStatus.PAID: frozenset({OrderStatus.FULFILLED, OrderStatus.REFUNDED}),
    OrderStatus.FULFILLED: frozenset({OrderStatus.REFUNDED}),
    OrderStatus.CANCELED: frozenset({OrderStatus.PAID}),  # late money counts
    OrderStatus.EXPIRED: frozenset(
        {OrderStatus.PAID, OrderStatus.PENDING_PAYMENT}  # late money counts; or renewed
    ),
    OrderStatus.REFUNDED: frozenset(),
}

#: The states in which nobody has paid and somebody still may.
UNPAID: Final = frozenset({OrderStatus.CREATED, OrderStatus.PENDING_PAYMENT})
#: It ended unpaid; money that comes all the same counts.
OVER: Final = frozenset({OrderStatus.CANCELED, OrderStatus.EXPIRED})


def allowed_moves() -> list[tuple[OrderStatus, OrderStatus]]:
    """List every (previous, next) pair the database accepts, sorted.

    A version may also change while the status stays (an anomaly opened, say), so each status
    may follow itself.
    """
    stays = [(status, status) for status in OrderStatus]
    moves = [(before, after) for before, afters in TRANSITIONS.items() for after in afters]
    return sorted(stays + moves)


@dataclass(frozen=True, slots=True, kw_only=True)
class Goods:
    """One line of what is sold, as the shop described it."""

    name: str
    goods_type: str = "02"  # Binance's word: 01 tangible, 02 virtual
    category: str = "Z000"  # Binance's word: Z000 is "others"
    reference: str = "goods"
    quantity: int = 1
    unit_amount: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the shop asked for. Never changes after creation; equal terms are the same order."""

    merchant_order_id: str
    price: Money | None  # priced in crypto: we know what must arrive
    fiat_price: Money | None  # priced in fiat: Binance's create answer says what must arrive
    description: str
    goods: tuple[Goods, ...] = ()
    support_pay_currency: str | None = None
    return_url: str | None = None
    cancel_url: str | None = None
    expires_in_seconds: int = 86_400
    cart_id: str | None = None
    terminal: str = "WEB"
    metadata: Mapping[str, str] = field(default_factory=dict)
    # Whose order it is, for limits alone. Forgotten after a while, so what the same request says
    # of it does not make another order; nor does the address that it was made from.
    buyer_reference: str | None = field(default=None, compare=False, repr=False)
    client_ip: str | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One order as it stands. `version` counts every change that the shop can see."""

    account_id: UUID
    order_id: UUID
    terms: Terms
    checkout_token: str
    created_at: datetime
    expires_at: datetime
    status: OrderStatus = OrderStatus.CREATED
    previous_status: OrderStatus = OrderStatus.CREATED
    version: int = 1
    settled_by: UUID | None = None  # the payment that paid it
    paid_at: datetime | None = None
    fulfilled_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    cancel_requested_by: str | None = None  # an actor: merchant or shopper
    fulfilment_token: str | None = None  # who has the goods in hand, or had them last
    fulfilment_until: datetime | None = None  # and until when
    fulfilment_due_at: datetime | None = None  # when they are offered to the shop again
    fulfilment_offers: int = 0  # how often they were offered again
