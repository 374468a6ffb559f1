"""What is done with an attempt next, and when: decided from the row alone, never in a hurry."""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from checkstand.domain import settlement
from checkstand.domain.attempt import Attempt, AttemptStatus, CloseReason
from checkstand.domain.case import Decision
from checkstand.domain.schedule import NextStep, next_look, next_step

_HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("attempt", "after", "expected"),
    [
        ({"status": "PREPARED"}, 0, "submit"),
        ({"status": "PREPARED"}, 3570, "submit"),  # thirty seconds left are enough
        ({"status": "PREPARED"}, 3571, "replace"),
        ({"status": "SUBMITTING"}, 1, "ask"),
        ({"status": "SUBMITTING", "absent_after_send": True}, 1, "submit"),
        ({"status": "SUBMITTING", "absent_after_send": True}, 3571, "ask"),
        ({"status": "SUBMITTING", "absent_after_send": False}, 1, "ask"),
        ({"status": "OPEN"}, 1, "ask"),
        ({"status": "OPEN"}, 7200, "ask"),
        ({"status": "CLOSING"}, 1, "close"),
        ({"status": "CLOSING", "closes": 1}, 1, "ask"),
        ({"status": "CLOSING", "closes": 1, "asks": 1}, 1, "close"),
        ({"status": "CLOSING", "closes": 1, "asks": 1, "accepted": True}, 1, "ask"),
        ({"status": "CLOSING", "payer_active": True}, 1, "ask"),
        ({"status": "PAID"}, 1, "ask"),
        ({"status": "CLOSED"}, 1, "ask"),
        ({"status": "LAPSED"}, 1, "ask"),
        ({"status": "REJECTED"}, 1, "ask"),
        ({"status": "NEVER_EXISTED"}, 1, "ask"),
    ],
)
def test_next_step_follows_from_the_row(
    make: Any, attempt: dict[str, Any], after: int, expected: str
) -> None:
    fields = dict(attempt)
    if (absent_after_send := fields.pop("absent_after_send", None)) is not None:
        ago = timedelta(seconds=1 if absent_after_send else -1)
        fields["last_absent_at"] = make.noon + ago
        fields["last_sent_at"] = make.noon
    if fields.pop("accepted", False):
        fields["close_accepted_at"] = make.noon
    now = make.noon + timedelta(seconds=after)

    assert next_step(make.attempt(**fields), now=now) is NextStep(expected)


def test_open_attempt_is_asked_about_soon_then_seldom_then_right_after_its_time(
    make: Any,
) -> None:
    attempt, now = make.attempt(), make.noon
    looks = []
    while now < attempt.expires_at:
        due = next_look(attempt, now=now)
        assert due is not None
        looks.append((due - make.noon).total_seconds())
        now = due

    assert looks[:13] == [5, 10, 20, 30, 45, 60, 90, 120, 180, 240, 300, 420, 600]
    waits = [later - earlier for earlier, later in pairwise([0, *looks[:-1]])]
    assert waits[:-1] == sorted(waits[:-1])
    assert max(waits) == 300
    assert 3600 <= looks[-1] <= 3602


@pytest.mark.parametrize(
    ("overdue", "pause"),
    [
        (timedelta(), timedelta(seconds=30)),
        (timedelta(minutes=10), timedelta(seconds=30)),
        (timedelta(hours=1), timedelta(minutes=3)),
        (timedelta(hours=10), timedelta(minutes=30)),
        (timedelta(days=30), timedelta(hours=1)),
    ],
)
def test_attempt_that_binance_never_ends_is_asked_about_ever_less_often(
    make: Any, overdue: timedelta, pause: timedelta
) -> None:
    now = make.noon + _HOUR + overdue
    closing = make.attempt("CLOSING", closes=9, asks=9)

    assert next_look(make.attempt(), now=now) == now + pause
    assert next_look(closing, now=now) == now + max(pause, timedelta(minutes=1))


@pytest.mark.parametrize(
    ("status", "hours"),
    [
        ("CLOSED", [2 / 60, 15 / 60, 2, 24, 72]),
        ("LAPSED", [2 / 60, 15 / 60, 2, 24, 72]),
        ("PAID", [24, 7 * 24, 30 * 24]),
        ("REJECTED", []),
        ("NEVER_EXISTED", []),
    ],
)
def test_end_is_asked_about_again(make: Any, status: str, hours: list[float]) -> None:
    attempt = make.attempt(status, ended_at=make.noon)
    looks, now = [], make.noon
    while (due := next_look(attempt, now=now)) is not None:
        looks.append(due - make.noon)
        now = due

    assert looks == [timedelta(hours=hour) for hour in hours]


def test_worker_that_was_away_asks_once_and_goes_on_from_there(make: Any) -> None:
    attempt = make.attempt("LAPSED", ended_at=make.noon)

    assert next_look(attempt, now=make.noon + timedelta(hours=30)) == make.noon + 72 * _HOUR
    assert next_look(attempt, now=make.noon + timedelta(days=9)) is None


def _wait(attempt: Attempt, *, now: datetime) -> timedelta:
    due = next_look(attempt, now=now)
    assert due is not None
    return due - now


def test_unknown_outcome_is_asked_about_at_once_and_then_less_and_less(make: Any) -> None:
    now = make.noon + timedelta(seconds=3)
    waits = [_wait(make.attempt("SUBMITTING", asks=asks), now=now) for asks in range(9)]

    assert waits == [timedelta(seconds=s) for s in (0, 1, 2, 5, 10, 30, 60, 60, 60)]


def test_after_its_time_an_absent_attempt_waits_for_the_proof(make: Any) -> None:
    attempt = make.attempt("SUBMITTING", absences=1, asks=1, last_absent_at=make.noon)
    over = attempt.expires_at + timedelta(minutes=1)

    assert next_look(attempt, now=over) == attempt.expires_at + timedelta(minutes=10)
    at_proof = attempt.expires_at + timedelta(minutes=10)
    assert _wait(attempt, now=at_proof) > timedelta()


def _refuse_close(attempt: Attempt, *, now: datetime) -> Attempt:
    """Have a close refused, as the operation writes it down."""
    sent = replace(attempt, closes=attempt.closes + 1, asks=0)
    return replace(sent, due_at=next_look(sent, now=now))


def test_close_that_is_refused_again_and_again_is_tried_less_and_less_often(make: Any) -> None:
    """400204 while a query says INITIAL: ask, close, ask, but not twice a second for ever."""
    attempt = make.attempt("CLOSING", close_reason=CloseReason.CANCEL, due_at=make.noon)
    case = make.case(attempt, status="PENDING_PAYMENT", cancel_requested_at=make.noon)
    now, calls = make.noon, 0

    while now < make.noon + timedelta(minutes=20):
        (attempt,) = case.attempts
        assert attempt.due_at is not None
        now = max(now, attempt.due_at)
        calls += 1
        if next_step(attempt, now=now) is NextStep.CLOSE:
            case = replace(case, attempts=(_refuse_close(attempt, now=now),))
        else:
            given = make.given(after=now - make.noon)
            case = settlement.apply(
                Decision.nothing(case), attempt.attempt_id, make.report("open"), given=given
            ).case

    assert calls < 60


def test_accepted_close_without_effect_is_asked_for_again(make: Any) -> None:
    attempt = make.attempt("CLOSING", closes=1, close_accepted_at=make.noon)
    case = make.case(attempt, status="PENDING_PAYMENT", cancel_requested_at=make.noon)

    def asked(after: int) -> Attempt:
        decided = settlement.apply(
            Decision.nothing(case),
            attempt.attempt_id,
            make.report("open"),
            given=make.given(after=after),
        )
        return decided.case.attempts[0]

    assert next_step(asked(29), now=make.noon) is NextStep.ASK
    assert next_step(asked(30), now=make.noon) is NextStep.CLOSE


@pytest.mark.parametrize("status", AttemptStatus)
@pytest.mark.parametrize("asks", [0, 3, 50])
@pytest.mark.parametrize("after", [timedelta(), 2 * _HOUR, timedelta(days=400)])
def test_nothing_is_due_before_now(
    make: Any, status: AttemptStatus, asks: int, after: timedelta
) -> None:
    now = make.noon + after
    attempt = make.attempt(status, asks=asks, ended_at=make.noon)

    due = next_look(attempt, now=now)

    assert due is None or due >= now
