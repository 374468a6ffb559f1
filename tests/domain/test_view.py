"""The order as the shop reads it: the same fields always, amounts as text, times in UTC."""

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from checkstand.domain.anomaly import AnomalyKind
from checkstand.domain.attempt import AttemptStatus, CloseReason
from checkstand.domain.case import Decision
from checkstand.domain.event import Event, EventType
from checkstand.domain.money import Money
from checkstand.domain.view import render_event, render_links, render_order, render_time

_FIELDS = [
    "order_id",
    "merchant_order_id",
    "status",
    "anomalies",
    "amount",
    "currency",
    "fiat_amount",
    "fiat_currency",
    "description",
    "cart_id",
    "paid_amount",
    "refunded_amount",
    "checkout_url",
    "qr_content",
    "deeplink",
    "universal_url",
    "binance_checkout_url",
    "created_at",
    "expires_at",
    "paid_at",
    "fulfilled_at",
    "version",
    "metadata",
    "payments",
]
_LINKS = ["qr_content", "deeplink", "universal_url", "binance_checkout_url"]
_EURO = Money(Decimal("10.00"), "EUR")


def _render(case: Any) -> dict[str, Any]:
    return render_order(case, public_url="https://shop.example")


def test_every_field_is_there_from_the_first_moment(make: Any) -> None:
    order = _render(make.case())

    assert list(order) == _FIELDS
    absent = {name for name, value in order.items() if value is None}
    assert absent == {*_LINKS, "fiat_amount", "fiat_currency", "cart_id", "paid_at", "fulfilled_at"}
    assert order["checkout_url"] == "https://shop.example/checkout/token"
    assert (order["status"], order["version"]) == ("CREATED", 1)
    assert (order["paid_amount"], order["refunded_amount"]) == ("0", "0")


@pytest.mark.parametrize("status", ["PENDING_PAYMENT", "PAID", "FULFILLED", "CANCELED"])
def test_every_field_is_there_in_every_state(make: Any, status: str) -> None:
    assert list(_render(make.case(make.attempt(), status=status))) == _FIELDS


def test_it_is_json_with_no_number_for_money(make: Any) -> None:
    case = make.settled_case(make.attempt(), terms=make.terms(metadata={"till": "7"}))

    order = json.loads(json.dumps(_render(case)))

    assert (order["amount"], order["currency"], order["paid_amount"]) == ("12.50", "USDT", "12.50")
    assert order["paid_at"] == "2026-11-23T12:04:00.000Z"
    assert order["metadata"] == {"till": "7"}


def test_tiny_amounts_are_written_in_plain_digits(make: Any) -> None:
    price = Money(Decimal("0.00000001"), "BTC")
    attempt = make.attempt(expected=price)
    case = make.settled_case(attempt, terms=make.terms(price=price))
    case = replace(case, payments=(replace(case.payments[0], money=price),))

    order = _render(case)

    assert (order["amount"], order["paid_amount"]) == ("0.00000001", "0.00000001")


def test_held_money_does_not_count_as_paid(make: Any) -> None:
    attempt = make.attempt("PAID")
    case = replace(make.case(attempt), payments=(make.payment(attempt, held=True),))

    assert _render(case)["paid_amount"] == "0"


def test_fiat_price_is_shown_beside_what_has_to_arrive(make: Any) -> None:
    terms = make.terms(price=None, fiat_price=_EURO)
    quoted = Money(Decimal("11.63"), "USDT")

    before = _render(make.case(make.attempt("SUBMITTING", expected=None), terms=terms))
    after = _render(make.case(make.attempt(expected=quoted), terms=terms))

    assert (before["amount"], before["currency"]) == (None, None)
    assert (after["amount"], after["currency"]) == ("11.63", "USDT")
    assert (after["fiat_amount"], after["fiat_currency"]) == ("10.00", "EUR")


def test_paid_order_shows_the_quote_it_was_paid_by(make: Any) -> None:
    """The first code was paid late, when the second had another rate."""
    old, new = Money(Decimal("11.63"), "USDT"), Money(Decimal("11.70"), "USDT")
    case = make.settled_case(
        make.attempt(expected=old),
        make.attempt("CLOSED", number=2, expected=new),
        terms=make.terms(price=None, fiat_price=_EURO),
    )
    case = replace(case, payments=(replace(case.payments[0], money=old),))

    order = _render(case)

    assert (order["amount"], order["paid_amount"]) == ("11.63", "11.63")


def test_only_open_anomalies_are_listed(make: Any) -> None:
    attempt = make.attempt()
    decision = Decision.nothing(make.case(attempt))
    for kind, resolved_at in [(AnomalyKind.PAID_LATE, make.noon), (AnomalyKind.PAID_TWICE, None)]:
        decision = decision.open_anomaly(
            kind, attempt, detail="odd", reference=None, at=make.noon, resolved_at=resolved_at
        )

    assert _render(decision.case)["anomalies"] == ["paid_twice"]


@pytest.mark.parametrize("status", AttemptStatus)
def test_links_are_shown_while_the_code_can_be_paid(make: Any, status: AttemptStatus) -> None:
    case = make.case(make.attempt(status))

    links = render_links(case)

    assert list(links) == _LINKS
    is_shown = all(links.values())
    assert is_shown == (status in {AttemptStatus.OPEN, AttemptStatus.CLOSING})
    assert is_shown or not any(links.values())


@pytest.mark.parametrize("reason", CloseReason)
def test_links_of_a_code_that_is_being_closed_are_not_shown(make: Any, reason: CloseReason) -> None:
    case = make.case(make.attempt("CLOSING", close_reason=reason))

    assert not any(render_links(case).values())


def test_links_of_an_old_code_are_never_shown(make: Any) -> None:
    case = make.case(make.attempt("OPEN"), make.attempt("PREPARED", number=2))

    assert not any(render_links(case).values())


def test_event_carries_the_order_and_its_version(make: Any) -> None:
    event = Event(
        account_id=UUID(int=1),
        order_id=UUID(int=2),
        event_id=UUID(int=3),
        type=EventType.ORDER_PAID,
        order_version=3,
        created_at=make.noon,
    )
    case = make.settled_case(make.attempt(), terms=make.terms(description="Thé vert ☕"))

    text = render_event(event, case, public_url="https://shop.example")

    body = json.loads(text)
    assert list(body) == ["id", "type", "created_at", "account_id", "order_version", "data"]
    assert (body["type"], body["order_version"]) == ("order.paid", 3)
    assert body["data"]["order"] == _render(case)
    assert "Thé vert ☕" in text


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (None, None),
        ("2026-11-23T12:00:00+00:00", "2026-11-23T12:00:00.000Z"),
        ("2026-11-23T12:00:00.123999+00:00", "2026-11-23T12:00:00.123Z"),
        ("2026-11-23T13:00:00+01:00", "2026-11-23T12:00:00.000Z"),
    ],
)
def test_times_are_utc_to_the_millisecond(moment: str | None, expected: str | None) -> None:
    assert render_time(datetime.fromisoformat(moment) if moment else None) == expected


def test_times_of_any_zone_end_in_z() -> None:
    somewhere = timezone(timedelta(hours=-7))

    assert render_time(datetime(2026, 1, 1, 17, tzinfo=somewhere)) == "2026-01-02T00:00:00.000Z"
