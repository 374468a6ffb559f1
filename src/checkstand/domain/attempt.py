"""The attempt: one Binance order made for an order of ours, kept for ever."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from checkstand.domain.money import Money


class AttemptStatus(StrEnum):
    """Where one attempt stands. Every unpaid state may still become PAID."""

    PREPARED = "PREPARED"  # written down, never sent
    SUBMITTING = "SUBMITTING"  # sent at least once; whether it landed is not known
    OPEN = "OPEN"  # Binance has it and it can be paid
    CLOSING = "CLOSING"  # we want it closed; it can be paid until Binance says otherwise
    PAID = "PAID"
    CLOSED = "CLOSED"  # closed at Binance, unpaid
    LAPSED = "LAPSED"  # its time at Binance ran out, unpaid
    REJECTED = "REJECTED"  # Binance refused to make it, for good
    NEVER_EXISTED = "NEVER_EXISTED"  # proved absent: asked twice, the last time after its time


#: An attempt in one of these may be payable now or become so: at most one per order.
LIVE: Final = frozenset(
    {AttemptStatus.PREPARED, AttemptStatus.SUBMITTING, AttemptStatus.OPEN, AttemptStatus.CLOSING}
)

#: A code that could be shown must have this long to live, or a fresh attempt is made instead.
SHORTEST_LIFE: Final = timedelta(seconds=30)


class CloseReason(StrEnum):
    """Why we want an attempt closed; it decides what happens when it is."""

    CANCEL = "cancel"  # the order is to be cancelled
    RENEW = "renew"  # a new code is wanted
    RECOVER = "recover"  # its links were lost, so nobody can pay by it
    EXPIRE = "expire"  # the order's own time has passed


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """The ways to an open Binance order. Capabilities: never logged."""

    qr_content: str
    deeplink: str
    universal_url: str
    checkout_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt as it stands, with what was sent, what was heard and when to look again."""

    account_id: UUID
    order_id: UUID
    attempt_id: UUID
    number: int  # 1 for the first of its order
    expires_at: datetime
    created_at: datetime
    credential_id: UUID
    status: AttemptStatus = AttemptStatus.PREPARED
    prepay_id: str | None = None  # only ever from an answer to our own call
    expected: Money | None = None  # what must arrive; unknown for a fiat price until answered
    links: Links | None = None
    payer_active: bool = False  # Binance said PENDING: somebody is paying right now
    sends: int = 0  # creates recorded before they were sent
    last_sent_at: datetime | None = None
    absences: int = 0  # times Binance said it has no such order
    last_absent_at: datetime | None = None
    close_reason: CloseReason | None = None
    close_requested_at: datetime | None = None
    closes: int = 0  # closes recorded before they were sent
    close_accepted_at: datetime | None = None
    ended_at: datetime | None = None
    hinted_at: datetime | None = None  # a signed notice we could not bind asks for a query
    asks: int = 0  # queries answered since the status last changed
    due_at: datetime | None = None  # when a worker looks at it next
    lease_owner: UUID | None = None
    lease_until: datetime | None = None

    @property
    def merchant_trade_no(self) -> str:
        """Our number for it at Binance: 32 letters and digits, never derived from the shop's id."""
        return self.attempt_id.hex

    @property
    def is_live(self) -> bool:
        """Say whether it may be payable now or become so."""
        return self.status in LIVE
