"""Cases to decide about, made in one line each. Nothing here does any I/O."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from checkstand.domain.attempt import Attempt, AttemptStatus, Links
from checkstand.domain.case import Case, Decision
from checkstand.domain.money import Money
from checkstand.domain.order import Order, OrderStatus, Terms
from checkstand.domain.payment import Payment, payment_id_of
from checkstand.domain.report import Finding, Report, Source
from checkstand.domain.settlement import Circumstances

_ACCOUNT_ID = UUID(int=0xACC)
_CREDENTIAL_ID = UUID(int=0xC4ED)
_NOT_YET_OPEN = frozenset(
    {AttemptStatus.PREPARED, AttemptStatus.SUBMITTING, AttemptStatus.REJECTED}
    | {AttemptStatus.NEVER_EXISTED}
)


class Make:
    """Makes domain values that hang together: an order for 12.50 USDT, opened at noon."""

    noon = datetime(2026, 11, 23, 12, tzinfo=UTC)
    price = Money(Decimal("12.50"), "USDT")

    def terms(self, **changes: Any) -> Terms:
        """What a shop asked for."""
        fields: dict[str, Any] = {
            "merchant_order_id": "shop-1",
            "price": self.price,
            "fiat_price": None,
            "description": "A tin of green tea",
        }
        return Terms(**fields | changes)

    def order(self, **changes: Any) -> Order:
        """An order of 24 hours."""
        fields: dict[str, Any] = {
            "account_id": _ACCOUNT_ID,
            "order_id": UUID(int=0x04DE4),
            "terms": self.terms(),
            "checkout_token": "token",
            "created_at": self.noon,
            "expires_at": self.noon + timedelta(hours=24),
        }
        return Order(**fields | changes)

    def attempt(self, status: AttemptStatus | str = "OPEN", **changes: Any) -> Attempt:
        """An attempt of that order in a state, with what an attempt in that state has."""
        status = AttemptStatus(status)
        number = changes.get("number", 1)
        has_opened = status not in _NOT_YET_OPEN
        fields: dict[str, Any] = {
            "account_id": _ACCOUNT_ID,
            "order_id": UUID(int=0x04DE4),
            "attempt_id": UUID(int=0xA77E0 + number),
            "number": number,
            "status": status,
            "created_at": self.noon,
            "expires_at": self.noon + timedelta(hours=1),
            "credential_id": _CREDENTIAL_ID,
            "expected": self.price,
            "sends": 0 if status is AttemptStatus.PREPARED else 1,
            "last_sent_at": None if status is AttemptStatus.PREPARED else self.noon,
            "prepay_id": f"29{number:016}" if has_opened else None,
            "links": self.links(number) if has_opened else None,
            "due_at": self.noon,
            "ended_at": None,
        }
        made = Attempt(**fields | changes)
        if made.is_live or "ended_at" in changes:
            return made
        return replace(made, ended_at=self.noon + timedelta(minutes=5))

    def links(self, number: int = 1) -> Links:
        """The ways to pay that a create answers with."""
        return Links(
            qr_content=f"https://pay.example/qr/{number}",
            deeplink=f"bnc://pay.example/{number}",
            universal_url=f"https://pay.example/u/{number}",
            checkout_url=f"https://pay.example/c/{number}",
        )

    def payment(self, attempt: Attempt, **changes: Any) -> Payment:
        """The payment of an attempt, of what was expected."""
        fields: dict[str, Any] = {
            "account_id": attempt.account_id,
            "order_id": attempt.order_id,
            "attempt_id": attempt.attempt_id,
            "payment_id": payment_id_of(attempt.attempt_id),
            "money": self.price,
            "received_at": self.noon + timedelta(minutes=4),
            "paid_at": self.noon + timedelta(minutes=4),
        }
        return Payment(**fields | changes)

    def case(self, *attempts: Attempt, **order: Any) -> Case:
        """An order with attempts; a status may be given as text."""
        if "status" in order:
            order["status"] = OrderStatus(order["status"])
        return Case(order=self.order(**order), attempts=attempts)

    def settled_case(self, *attempts: Attempt, status: str = "PAID", **order: Any) -> Case:
        """An order that the first attempt paid; that one is PAID whatever it was."""
        first = replace(attempts[0], status=AttemptStatus.PAID, ended_at=self.noon)
        payment = self.payment(first)
        case = self.case(
            first,
            *attempts[1:],
            status=status,
            previous_status=OrderStatus.PENDING_PAYMENT,
            settled_by=payment.payment_id,
            paid_at=payment.paid_at,
            **order,
        )
        return replace(case, payments=(payment,))

    def report(self, finding: Finding | str, source: Source | str = "query", **more: Any) -> Report:
        """A report with what Binance would say beside it, by that channel."""
        finding, source = Finding(finding), Source(source)
        tells_money = finding not in {Finding.ABSENT, Finding.REFUSED}
        fields: dict[str, Any] = {
            "finding": finding,
            "source": source,
            "reference": f"{source}:1",
            "word": str(finding).upper(),
            "money": self.price if tells_money else None,
            "prepay_id": "290000000000000001" if tells_money else None,
        }
        if finding is Finding.OPEN and source is Source.ANSWER:
            fields["links"] = self.links()
        return Report(**fields | more)

    def given(self, *, after: timedelta | float = 60, fresh: int = 1) -> Circumstances:
        """Circumstances some seconds after noon."""
        after = after if isinstance(after, timedelta) else timedelta(seconds=after)
        return Circumstances(
            now=self.noon + after, fresh_id=UUID(int=0xF4E54 + fresh), credential_id=_CREDENTIAL_ID
        )

    def nothing(self, case: Case) -> Decision:
        """Start a decision."""
        return Decision.nothing(case)


@pytest.fixture(scope="session")
def make() -> Make:
    """The maker of domain values."""
    return Make()
