from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkstand.binance import ClockOffset
from checkstand.binance.clock_offset import parse_http_date

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ZERO = timedelta()


def learn(
    offset: ClockOffset, *, at: datetime = NOON, ahead: timedelta, back_after: timedelta
) -> None:
    """Ask at `at`; a server that is `ahead` writes the date halfway and truncates it."""
    theirs = (at + back_after / 2 + ahead).replace(microsecond=0)
    offset.learn(
        asked_at=at, answered_at=at + back_after, date=format_datetime(theirs, usegmt=True)
    )


def test_a_good_clock_is_left_alone() -> None:
    offset = ClockOffset()

    learn(offset, ahead=timedelta(milliseconds=300), back_after=timedelta(milliseconds=80))

    assert offset.correction() == ZERO


@pytest.mark.parametrize("seconds", [-3600, -5, -1.2, 1.2, 5, 3600])
def test_a_clock_that_binance_would_refuse_is_corrected(seconds: float) -> None:
    offset, ahead = ClockOffset(), timedelta(seconds=seconds)

    learn(offset, ahead=ahead, back_after=timedelta(milliseconds=80))

    assert abs(offset.correction() - ahead) < timedelta(seconds=1)


def test_several_answers_narrow_it() -> None:
    offset, ahead = ClockOffset(), timedelta(seconds=5.4)

    for step in range(20):
        at = NOON + step * timedelta(milliseconds=270)
        learn(offset, at=at, ahead=ahead, back_after=timedelta(milliseconds=20))

    least, most = offset.bounds() or (ZERO, ZERO)
    assert most - least < timedelta(milliseconds=300)
    assert least <= ahead <= most


def test_a_clock_that_was_set_meanwhile_starts_anew() -> None:
    offset = ClockOffset()
    learn(offset, ahead=timedelta(seconds=30), back_after=timedelta(milliseconds=20))

    learn(offset, at=NOON + timedelta(minutes=1), ahead=ZERO, back_after=timedelta(milliseconds=20))

    assert offset.correction() == ZERO


def test_an_answer_before_the_question_teaches_nothing() -> None:
    offset = ClockOffset()

    learn(offset, ahead=timedelta(seconds=30), back_after=timedelta(seconds=-1))

    assert offset.bounds() is None


spans = st.timedeltas(min_value=timedelta(days=-2), max_value=timedelta(days=2))
trips = st.timedeltas(min_value=ZERO, max_value=timedelta(seconds=40))


@settings(deadline=None)
@given(spans, st.lists(st.tuples(trips, trips), min_size=1, max_size=8))
def test_the_truth_is_never_outside_the_bounds(
    ahead: timedelta, answers: list[tuple[timedelta, timedelta]]
) -> None:
    offset, at = ClockOffset(), NOON

    for gap, trip in answers:
        at += gap
        learn(offset, at=at, ahead=ahead, back_after=trip)
        at += trip

    least, most = offset.bounds() or (ZERO, ZERO)
    assert least <= ahead <= most


@settings(deadline=None)
@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9999, 1, 1)))  # noqa: DTZ001
def test_http_dates_are_read_as_the_standard_library_writes_them(at: datetime) -> None:
    at = at.replace(microsecond=0, tzinfo=UTC)

    assert parse_http_date(format_datetime(at, usegmt=True)) == at


@settings(deadline=None)
@given(st.none() | st.text() | st.from_regex(r"\A[A-Z][a-z]{2}, .{21} GMT\Z"))
def test_any_other_date_is_none_or_a_date(text: str | None) -> None:
    assert parse_http_date(text) is None or text is not None
