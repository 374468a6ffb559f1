"""The anomaly: something about an order that a rule or a person must settle."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID, uuid5


class AnomalyKind(StrEnum):
    """What is odd. Several may be open on one order."""

    AMOUNT_DIFFERS = "amount_differs"
    CURRENCY_DIFFERS = "currency_differs"
    PAID_LATE = "paid_late"
    PAID_TWICE = "paid_twice"
    REFUND_DIFFERS = "refund_differs"
    REFUNDED_ELSEWHERE = "refunded_elsewhere"
    FEE_DIFFERS = "fee_differs"
    PROVIDER_CONTRADICTS = "provider_contradicts"
    UNKNOWN_TOO_LONG = "unknown_too_long"


#: While one of these is open there is money nobody has decided about: no expiry, no new code.
UNSETTLED_MONEY: Final = frozenset(
    {
        AnomalyKind.AMOUNT_DIFFERS,
        AnomalyKind.CURRENCY_DIFFERS,
        AnomalyKind.PAID_TWICE,
        AnomalyKind.PROVIDER_CONTRADICTS,
    }
)


#: Who signs what no person decided.
POLICY: Final = "policy"


class Resolution(StrEnum):
    """How an anomaly ended."""

    ACCEPT = "accept"
    REFUND = "refund"
    WRITE_OFF = "write_off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """One oddity of one attempt, open until somebody or a policy resolves it with a reason."""

    account_id: UUID
    order_id: UUID
    attempt_id: UUID
    anomaly_id: UUID
    kind: AnomalyKind
    detail: str
    opened_at: datetime
    resolved_at: datetime | None = None
    resolved_by: str | None = None
    resolution: Resolution | None = None
    reason: str | None = None

    @property
    def is_open(self) -> bool:
        """Say whether it still waits for a decision."""
        return self.resolved_at is None


def anomaly_id_of(attempt_id: UUID, kind: AnomalyKind, fact: str | None = None) -> UUID:
    """Derive the id from the fact: the same oddity told twice is one anomaly.

    `fact` tells several of one kind on one attempt apart, such as two refunds that differ.
    """
    return uuid5(attempt_id, f"anomaly:{kind}:{fact}" if fact else f"anomaly:{kind}")
