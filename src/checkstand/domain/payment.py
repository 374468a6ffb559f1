"""The payment: money Binance says arrived for one attempt."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID, uuid5

from checkstand.domain.money import Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """Money that arrived. Recorded as soon as it is known, held or not."""

    account_id: UUID
    order_id: UUID
    attempt_id: UUID
    payment_id: UUID
    money: Money
    received_at: datetime  # when we learnt it
    paid_at: datetime | None  # when Binance says it happened
    transaction_id: str | None = None
    fee: Decimal | None = None  # None is "not told yet", which is not zero
    fee_learnt_at: datetime | None = None  # when we learnt the figure that stands
    held: bool = False  # not settled: an anomaly says why
    refund_reserved: Decimal = Decimal(0)  # asked back by open refunds
    refunded: Decimal = Decimal(0)  # gone back, as Binance says

    @property
    def refundable(self) -> Decimal:
        """Say how much has neither gone back nor been asked back; never less than nothing."""
        return max(self.money.amount - self.refunded - self.refund_reserved, Decimal(0))

    @property
    def is_returned(self) -> bool:
        """Say whether all of it has gone back."""
        return self.refunded >= self.money.amount


def payment_id_of(attempt_id: UUID) -> UUID:
    """Derive the id from the fact: an attempt is paid at most once, whoever tells us."""
    return uuid5(attempt_id, "payment")
