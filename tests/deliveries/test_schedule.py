"""When the next try is due, and who waits for whom."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkstand.deliveries.schedule import (
    PAUSES,
    holds_back_later,
    may_overtake,
    next_try_at,
)

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def due_after(**facts: object) -> timedelta | None:
    given: dict[str, object] = {"tries_made": 1, "now": NOW, "fraction": 0.0, "status": 500}
    due = next_try_at(**{**given, **facts})  # type: ignore[arg-type]
    return None if due is None else due - NOW


def test_a_shop_that_stays_away_is_tried_for_three_days_and_then_given_up() -> None:
    now, tries = NOW, 0
    while True:
        tries += 1
        due = next_try_at(tries_made=tries, now=now, fraction=0.5, status=None)
        if due is None:
            break
        assert due > now
        now = due

    assert tries == len(PAUSES) + 1 == 15
    assert timedelta(days=3) <= now - NOW <= timedelta(days=3.6)


def test_the_first_tries_follow_quickly() -> None:
    assert due_after(tries_made=1) == timedelta(seconds=5)
    assert due_after(tries_made=2) == timedelta(seconds=30)


@given(fraction=st.floats(0, 1, exclude_max=True), tries=st.integers(1, len(PAUSES)))
def test_jitter_lengthens_a_pause_by_a_fifth_at_most(fraction: float, tries: int) -> None:
    pause = due_after(fraction=fraction, tries_made=tries)

    assert pause is not None
    assert PAUSES[tries - 1] <= pause <= PAUSES[tries - 1] * 1.2


@pytest.mark.parametrize("status", [None, 301, 400, 401, 403, 404, 408, 409, 422, 425, 429, 500])
def test_every_failure_but_gone_is_tried_again(status: int | None) -> None:
    assert due_after(status=status) == PAUSES[0]


def test_gone_ends_the_tries_at_once() -> None:
    assert due_after(status=410) is None


@pytest.mark.parametrize("status", [200, 202, 204, 299])
def test_a_taken_delivery_has_no_next_try(status: int) -> None:
    with pytest.raises(ValueError, match="taken"):
        due_after(status=status)


def test_a_count_without_the_failed_try_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="tries_made"):
        due_after(tries_made=0)


@pytest.mark.parametrize(
    ("header", "pause"),
    [
        ("120", timedelta(seconds=120)),
        (" 120 ", timedelta(seconds=120)),
        (format_datetime(NOW + timedelta(minutes=7), usegmt=True), timedelta(minutes=7)),
        ("1", PAUSES[0]),  # never sooner than our own pause
        (format_datetime(NOW - timedelta(days=1), usegmt=True), PAUSES[0]),
        ("99999999", timedelta(hours=12)),
        ("9" * 5000, timedelta(hours=12)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", timedelta(hours=12)),
        ("soon", PAUSES[0]),
        ("-5", PAUSES[0]),
        ("²", PAUSES[0]),
        ("", PAUSES[0]),
    ],
)
def test_retry_after_is_honoured_within_reason(header: str, pause: timedelta) -> None:
    assert due_after(status=429, retry_after=header) == pause


@given(header=st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ [\d:]+ [+-]\d{4}"))
def test_no_retry_after_header_breaks_the_schedule(header: str) -> None:
    pause = due_after(retry_after=header)

    assert pause is not None
    assert PAUSES[0] <= pause <= timedelta(hours=12)


@pytest.mark.parametrize("status", [None, 302, 408, 409, 425, 429, 500, 503])
def test_a_delivery_that_may_still_arrive_keeps_the_later_ones_waiting(status: int | None) -> None:
    assert holds_back_later(status=status, is_given_up=False)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
def test_a_delivery_refused_for_what_it_is_lets_the_next_go(status: int) -> None:
    assert not holds_back_later(status=status, is_given_up=False)


@pytest.mark.parametrize("status", [None, 429, 503])
def test_a_delivery_given_up_lets_the_next_go(status: int | None) -> None:
    assert not holds_back_later(status=status, is_given_up=True)


def test_news_of_money_overtakes_after_a_minute_and_other_news_never() -> None:
    almost, minute = timedelta(seconds=59), timedelta(seconds=60)

    assert not may_overtake(event_type="order.paid", waited=almost)
    assert may_overtake(event_type="order.paid", waited=minute)
    assert may_overtake(event_type="refund.succeeded", waited=minute)
    assert may_overtake(event_type="order.attention", waited=minute)
    assert not may_overtake(event_type="order.pending", waited=timedelta(days=1))
