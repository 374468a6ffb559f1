"""The case: an order with everything known about it, and the decision that changes it.

A decision starts from a case as it was locked and ends in a case as it is to be saved, with the
history and the events that explain the difference. Several facts about one order are folded
into one decision with consecutive versions.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from checkstand.domain.anomaly import (
    POLICY,
    UNSETTLED_MONEY,
    Anomaly,
    AnomalyKind,
    Resolution,
    anomaly_id_of,
)
from checkstand.domain.attempt import Attempt
from checkstand.domain.event import EVENT_OF, Event, EventType, event_id_of
from checkstand.domain.order import TRANSITIONS, Order, OrderStatus
from checkstand.domain.payment import Payment
from checkstand.domain.refund import Refund


class MoveRefused(Exception):
    """The table has no such move: a bug in a rule, never in the input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One order with its attempts (oldest first), payments, anomalies and refunds."""

    order: Order
    attempts: tuple[Attempt, ...] = ()
    payments: tuple[Payment, ...] = ()
    anomalies: tuple[Anomaly, ...] = ()
    refunds: tuple[Refund, ...] = ()

    @property
    def current(self) -> Attempt | None:
        """Return the attempt that the order now rests on: the newest."""
        return self.attempts[-1] if self.attempts else None

    @property
    def live(self) -> Attempt | None:
        """Return the attempt that may be payable, if any; there is at most one."""
        return next((attempt for attempt in self.attempts if attempt.is_live), None)

    @property
    def has_unsettled_money(self) -> bool:
        """Say whether money is held that nobody has decided about."""
        return any(a.is_open and a.kind in UNSETTLED_MONEY for a in self.anomalies)

    def attempt(self, attempt_id: UUID) -> Attempt:
        """Return one attempt of this order."""
        return next(attempt for attempt in self.attempts if attempt.attempt_id == attempt_id)

    def payment_for(self, attempt_id: UUID) -> Payment | None:
        """Return the payment of one attempt, if it was paid."""
        return next((p for p in self.payments if p.attempt_id == attempt_id), None)

    def anomalies_of(self, attempt_id: UUID, kind: AnomalyKind) -> tuple[Anomaly, ...]:
        """Return the anomalies of one kind about one attempt, open and resolved."""
        return tuple(a for a in self.anomalies if (a.attempt_id, a.kind) == (attempt_id, kind))

    def find_recurring(
        self, attempt_id: UUID, kind: AnomalyKind, fact: str | None
    ) -> tuple[str | None, Anomaly | None]:
        """Find an oddity that may come again: the fact it has this time, and what is known of it.

        One that a policy has closed, because it was over, is another when it comes again.
        """
        while True:
            odd = anomaly_id_of(attempt_id, kind, fact)
            known = next((a for a in self.anomalies if a.anomaly_id == odd), None)
            if known is None or known.resolved_at is None or known.resolved_by != POLICY:
                return fact, known
            fact = f"{fact or 'it'} after {known.resolved_at.isoformat()}"

    def payment(self, payment_id: UUID) -> Payment:
        """Return one payment of this order."""
        return next(payment for payment in self.payments if payment.payment_id == payment_id)

    def refund(self, refund_id: UUID) -> Refund:
        """Return one refund of this order."""
        return next(refund for refund in self.refunds if refund.refund_id == refund_id)

    def refunds_of(self, payment_id: UUID) -> tuple[Refund, ...]:
        """Return the refunds of one payment, oldest first."""
        return tuple(refund for refund in self.refunds if refund.payment_id == payment_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One line of an order's history: what changed, why, and what it rests on."""

    version: int
    previous_status: OrderStatus
    status: OrderStatus
    actor: str  # merchant, shopper, binance, checkstand or person
    reason: str
    reference: str | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What follows from new facts about one case. A value: nothing has happened yet."""

    before: Case
    case: Case
    steps: tuple[Step, ...] = ()
    events: tuple[Event, ...] = ()

    @classmethod
    def nothing(cls, case: Case) -> "Decision":
        """Start from a case with nothing decided."""
        return cls(before=case, case=case)

    def with_attempt(self, attempt: Attempt) -> "Decision":
        """Put a changed or a new attempt into the case."""
        others = [a for a in self.case.attempts if a.attempt_id != attempt.attempt_id]
        attempts = tuple(sorted([*others, attempt], key=lambda a: a.number))
        return replace(self, case=replace(self.case, attempts=attempts))

    def with_payment(self, payment: Payment) -> "Decision":
        """Put a new payment, or one with more facts, into the case."""
        others = tuple(p for p in self.case.payments if p.payment_id != payment.payment_id)
        return replace(self, case=replace(self.case, payments=(*others, payment)))

    def with_refund(self, refund: Refund) -> "Decision":
        """Put a new or a changed refund into the case."""
        others = [r for r in self.case.refunds if r.refund_id != refund.refund_id]
        refunds = tuple(sorted([*others, refund], key=lambda r: (r.requested_at, r.refund_id)))
        return replace(self, case=replace(self.case, refunds=refunds))

    def with_anomaly(self, anomaly: Anomaly) -> "Decision":
        """Put a resolved anomaly into the case."""
        others = [a for a in self.case.anomalies if a.anomaly_id != anomaly.anomaly_id]
        anomalies = tuple(sorted([*others, anomaly], key=lambda a: (a.opened_at, a.anomaly_id)))
        return replace(self, case=replace(self.case, anomalies=anomalies))

    def with_order(self, **changes: Any) -> "Decision":
        """Change fields of the order that the shop does not see."""
        return replace(self, case=replace(self.case, order=replace(self.case.order, **changes)))

    def move(
        self,
        status: OrderStatus,
        *,
        actor: str,
        reason: str,
        reference: str | None,
        at: datetime,
        fact: str | None = None,
        **changes: Any,
    ) -> "Decision":
        """Move the order to another status and tell the shop. Raises MoveRefused."""
        order = self.case.order
        if status not in TRANSITIONS[order.status]:
            raise MoveRefused(f"{order.status} → {status} is no move of order {order.order_id}")
        decided = _next_version(
            self, status, actor=actor, reason=reason, reference=reference, at=at, changes=changes
        )
        type_ = EVENT_OF[status]
        return decided.tell(type_, fact=fact or str(decided.case.order.version), at=at)

    def open_anomaly(
        self,
        kind: AnomalyKind,
        attempt: Attempt,
        *,
        detail: str,
        reference: str | None,
        at: datetime,
        fact: str | None = None,
        **resolution: Any,
    ) -> "Decision":
        """Open an anomaly and tell the shop, once for each kind, attempt and fact.

        With `resolution` a policy settles it at once; then nobody needs to be told.
        """
        anomaly_id = anomaly_id_of(attempt.attempt_id, kind, fact)
        if any(a.anomaly_id == anomaly_id for a in self.case.anomalies):
            return self
        anomaly = Anomaly(
            account_id=attempt.account_id,
            order_id=attempt.order_id,
            attempt_id=attempt.attempt_id,
            anomaly_id=anomaly_id,
            kind=kind,
            detail=detail,
            opened_at=at,
            **resolution,
        )
        case = replace(self.case, anomalies=(*self.case.anomalies, anomaly))
        decided = replace(self, case=case)
        if not anomaly.is_open:
            return decided
        decided = decided.note(
            actor="checkstand", reason=f"anomaly {kind}: {detail}", reference=reference, at=at
        )
        return decided.tell(EventType.ORDER_ATTENTION, fact=str(anomaly_id), at=at)

    def close_anomaly(
        self,
        anomaly: Anomaly,
        resolution: Resolution,
        *,
        by: str,
        reason: str,
        actor: str,
        at: datetime,
    ) -> "Decision":
        """Close an open anomaly, and write the decision into the order's history."""
        closed = replace(
            anomaly, resolved_at=at, resolved_by=by, resolution=resolution, reason=reason
        )
        return self.with_anomaly(closed).note(
            actor=actor,
            reason=f"anomaly {anomaly.kind} resolved ({resolution}): {reason}",
            reference=f"anomaly:{anomaly.anomaly_id}",
            at=at,
        )

    def note(self, *, actor: str, reason: str, reference: str | None, at: datetime) -> "Decision":
        """Count a change that the shop can see and that moves no status."""
        status = self.case.order.status
        return _next_version(
            self, status, actor=actor, reason=reason, reference=reference, at=at, changes={}
        )

    def tell(
        self, type_: EventType, *, fact: str, at: datetime, refund_id: UUID | None = None
    ) -> "Decision":
        """Add an event at the order's version as it now is."""
        order = self.case.order
        event = Event(
            account_id=order.account_id,
            order_id=order.order_id,
            event_id=event_id_of(order.order_id, type_, fact),
            type=type_,
            order_version=order.version,
            created_at=at,
            refund_id=refund_id,
        )
        return replace(self, events=(*self.events, event))


def _next_version(
    decision: Decision,
    status: OrderStatus,
    *,
    actor: str,
    reason: str,
    reference: str | None,
    at: datetime,
    changes: dict[str, Any],
) -> Decision:
    order = decision.case.order
    moved = replace(
        order,
        status=status,
        previous_status=order.status,
        version=order.version + 1,
        **changes,
    )
    step = Step(
        version=moved.version,
        previous_status=order.status,
        status=status,
        actor=actor,
        reason=reason,
        reference=reference,
        at=at,
    )
    return replace(
        decision, case=replace(decision.case, order=moved), steps=(*decision.steps, step)
    )
