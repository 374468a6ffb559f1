"""The event: a past fact that we tell the shop, once, under an id derived from the fact."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID, uuid5

from checkstand.domain.order import OrderStatus
from checkstand.domain.reconciliation import Discrepancy


class EventType(StrEnum):
    """The words on the wire."""

    ORDER_PENDING = "order.pending"
    ORDER_PAID = "order.paid"
    ORDER_FULFILLED = "order.fulfilled"
    ORDER_CANCELED = "order.canceled"
    ORDER_EXPIRED = "order.expired"
    ORDER_REFUNDED = "order.refunded"
    ORDER_ATTENTION = "order.attention"
    REFUND_SUCCEEDED = "refund.succeeded"
    REFUND_FAILED = "refund.failed"
    RECONCILIATION_DISCREPANCY = "reconciliation.discrepancy"


#: What a move to each status tells.
EVENT_OF: Final = {
    OrderStatus.PENDING_PAYMENT: EventType.ORDER_PENDING,
    OrderStatus.PAID: EventType.ORDER_PAID,
    OrderStatus.FULFILLED: EventType.ORDER_FULFILLED,
    OrderStatus.CANCELED: EventType.ORDER_CANCELED,
    OrderStatus.EXPIRED: EventType.ORDER_EXPIRED,
    OrderStatus.REFUNDED: EventType.ORDER_REFUNDED,
}

#: These overtake earlier, undelivered events of their order after a minute.
URGENT: Final = frozenset(
    {EventType.ORDER_PAID, EventType.ORDER_ATTENTION, EventType.REFUND_SUCCEEDED}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One fact about one order at one version."""

    account_id: UUID
    order_id: UUID
    event_id: UUID
    type: EventType
    order_version: int
    created_at: datetime
    refund_id: UUID | None = None  # the refund it is about, if it is about one
    discrepancy: Discrepancy | None = None  # the same of a discrepancy


def event_id_of(order_id: UUID, type_: EventType, fact: str) -> UUID:
    """Derive the id from the fact, so that the same fact never makes a second event."""
    return uuid5(order_id, f"{type_}:{fact}")
