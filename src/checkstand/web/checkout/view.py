"""What the shopper's page needs to be told, and may ask to be done: the port of this room.

Values only. Whoever implements `Checkouts` decides what is true; the page shows it. The token is
the only secret a shopper has, and nothing here may tell more than this one order.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final, Protocol


class CheckoutState(StrEnum):
    """What the shopper can be told, in the order of a day with everything in it."""

    PREPARING = "preparing"  # no code yet: the first, or the next after a renewal
    READY = "ready"  # a code that can be paid now
    CHECKING = "checking"  # no code may be shown until Binance has answered
    CODE_EXPIRED = "code_expired"  # the code surely cannot be paid any more; the order still lives
    PAID = "paid"  # accepted, and the shop fulfils
    EXPIRED = "expired"  # the order's own time is over, unpaid
    CANCELLED = "cancelled"  # closed by shopper, shop or Binance, unpaid
    SORTING = "sorting"  # money arrived that a person has to look at
    REFUNDED = "refunded"  # the payment went back in full


#: Pages in these states stop asking by themselves; a look at the tab asks once more.
FINAL: Final = frozenset(
    {
        CheckoutState.PAID,
        CheckoutState.EXPIRED,
        CheckoutState.CANCELLED,
        CheckoutState.REFUNDED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutStatus:
    """As little as an open page needs in order to know that it is still true.

    Whatever changes the page must change `state`, `version` or `code_expires_at`: these three
    are the fingerprint, and a page with another fingerprint fetches itself again.
    """

    state: CheckoutState
    version: int  # the order's
    code_expires_at: datetime | None  # of the code on show; None when there is none
    now: datetime

    @property
    def fingerprint(self) -> str:
        """Name what the page shows."""
        return _fingerprint(self.state, self.version, self.code_expires_at)

    @property
    def seconds_left(self) -> int | None:
        """Count what is left of the code on show, never below zero."""
        return _seconds_between(self.now, self.code_expires_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutView:
    """One order as its shopper may see it. Links are None unless the code can be paid now."""

    merchant_name: str
    reference: str  # the shop's own number, merchant_order_id
    order_id: str
    description: str | None = None

    state: CheckoutState
    version: int  # the order's
    is_simulated: bool = False  # no real money moves; the page says so in every state

    amount: Decimal | None  # the coins; None for a fiat price that Binance has not quoted yet
    currency: str | None
    fiat_amount: Decimal | None = None  # the price, where the shop priced in fiat
    fiat_currency: str | None = None

    qr_svg: str | None = None  # from `draw_qr`, shown as it is
    universal_url: str | None = None
    deeplink: str | None = None
    binance_checkout_url: str | None = None

    now: datetime
    code_expires_at: datetime | None = None
    order_expires_at: datetime
    paid_at: datetime | None = None

    can_renew: bool = False
    can_cancel: bool = False
    return_url: str | None = None  # where a shopper who paid goes on
    cancel_url: str | None = None  # where one who did not goes back to
    support_url: str | None = None
    support_email: str | None = None

    @property
    def fingerprint(self) -> str:
        """Name what the page shows; equal to that of the status of the same moment."""
        return _fingerprint(self.state, self.version, self.code_expires_at)

    @property
    def seconds_left(self) -> int | None:
        """Count what is left of the code on show, never below zero."""
        return _seconds_between(self.now, self.code_expires_at)


class Checkouts(Protocol):
    """What the page asks of the rest of the house. Every call takes the token as it came."""

    async def find(self, token: str) -> CheckoutView | None:
        """Return everything the page shows, or None for a token that is not ours."""
        ...

    async def status(self, token: str) -> CheckoutStatus | None:
        """Return the little an open page asks for every few seconds: one indexed read."""
        ...

    async def check(self, token: str) -> bool:
        """Make the attempt due now; at most one query per five seconds, shared by all viewers.

        Returns whether an answer of Binance is on its way; False when there is nothing to ask.
        """
        ...

    async def cancel(self, token: str) -> bool:
        """Start the safe close; return False where the order cannot be cancelled now."""
        ...

    async def renew(self, token: str) -> bool:
        """Start to replace the code; return False where there can be no other now."""
        ...


def _fingerprint(state: CheckoutState, version: int, code_expires_at: datetime | None) -> str:
    ends = code_expires_at.isoformat() if code_expires_at else ""
    return hashlib.sha256(f"{state}|{version}|{ends}".encode()).hexdigest()[:16]


def _seconds_between(now: datetime, end: datetime | None) -> int | None:
    return max(0, int((end - now).total_seconds())) if end else None
