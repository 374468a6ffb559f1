"""The refund: money sent back out of one payment, with a life of its own."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final
from uuid import UUID

from checkstand.domain.money import Money


class RefundStatus(StrEnum):
    """Where one refund stands."""

    REQUESTED = "REQUESTED"  # written down and reserved; it waits for its turn or for balance
    SENT = "SENT"  # about to be sent, or sent and not answered yet
    UNKNOWN = "UNKNOWN"  # sent, and no readable answer: asked about until it is known
    PENDING = "PENDING"  # Binance took it on and has not finished it
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"  # nothing went back; Binance's later word may still say that it did


#: Somewhere between us and Binance: at most one per payment, the others wait in order.
IN_FLIGHT: Final = frozenset({RefundStatus.SENT, RefundStatus.UNKNOWN})

#: Its money is reserved: it may still go back.
OPEN: Final = IN_FLIGHT | {RefundStatus.REQUESTED, RefundStatus.PENDING}

#: Binance takes at most this many refunds of one order (reference 2.6).
ATTEMPTS_MAX: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """One refund as it stands, with what was sent, what was heard and when to look again."""

    account_id: UUID
    order_id: UUID
    attempt_id: UUID
    payment_id: UUID
    refund_id: UUID
    merchant_refund_id: str  # the shop's own
    amount: Money  # what was asked for, and is reserved while the refund is open
    requested_at: datetime
    requested_by: str  # an actor: merchant, person, checkstand
    reason: str | None = None
    status: RefundStatus = RefundStatus.REQUESTED
    is_elsewhere: bool = False  # made in Binance's portal: recorded here, never sent by us
    checked_at: datetime | None = None  # when Binance was asked about the order before the send
    compared_at: datetime | None = None  # when it was asked about an earlier refund, or had none
    sends: int = 0  # recorded before they were sent
    last_sent_at: datetime | None = None
    in_doubt: bool = False  # an earlier send may have landed, so a refusal now is not a no
    absences: int = 0  # times Binance said it has no such refund
    last_absent_at: datetime | None = None  # since the last send
    returned: Decimal | None = None  # what Binance says goes back: this is what is booked
    fee_returned: Decimal | None = None  # None is "not told yet", which is not zero
    fee_return_learnt_at: datetime | None = None
    remaining_attempts: int | None = None  # Binance's word in its last answer
    failure: str | None = None  # why it failed, or what it waits for
    ended_at: datetime | None = None
    returned_at: datetime | None = None  # when the money left, if that is known to be earlier
    asks: int = 0  # queries answered since the status last changed
    due_at: datetime | None = None
    lease_owner: UUID | None = None
    lease_until: datetime | None = None
    requester: str | None = None  # who asked, as `key:<id>`
    approval_reason: str | None = None  # why a second person must approve; None: nobody need
    approved_by: str | None = None
    approved_at: datetime | None = None

    @property
    def is_unapproved(self) -> bool:
        """Say whether a second person has to approve it and has not: it is never sent so."""
        return self.approval_reason is not None and self.approved_at is None

    @property
    def awaits_approval(self) -> bool:
        """Say whether it waits for a second person."""
        return self.status is RefundStatus.REQUESTED and self.is_unapproved

    @property
    def may_have_gone(self) -> bool:
        """Say whether it may explain money that went back: sent, and not provably refused."""
        unsent = self.status is RefundStatus.REQUESTED and not self.in_doubt
        return self.is_elsewhere or (self.sends > 0 and not unsent)

    @property
    def refund_request_id(self) -> str:
        """Our number for it at Binance, the same at every send."""
        return self.refund_id.hex

    @property
    def is_open(self) -> bool:
        """Say whether its money may still go back."""
        return self.status in OPEN
