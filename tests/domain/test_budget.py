"""The budget for calls to Binance: what may go, what waits, and how long a refusal is heeded."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkstand.domain.budget import (
    Bucket,
    CallRate,
    Trouble,
    hear,
    polls_allowed,
    spend,
    spend_on_polls,
)

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
RATE = CallRate(per_minute=60, burst=5)


def _at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_burst_goes_at_once_and_then_one_a_second() -> None:
    bucket = Bucket(paid_until=NOON)
    assert polls_allowed(bucket, rate=RATE, now=NOON) == 5

    bucket = spend_on_polls(bucket, 5, rate=RATE, now=NOON)

    assert polls_allowed(bucket, rate=RATE, now=NOON) == 0
    assert polls_allowed(bucket, rate=RATE, now=_at(0.999)) == 0
    assert polls_allowed(bucket, rate=RATE, now=_at(1)) == 1
    assert polls_allowed(bucket, rate=RATE, now=_at(60)) == 5


def test_creates_are_counted_and_polls_wait_for_what_they_used() -> None:
    bucket = spend(Bucket(paid_until=NOON), 7, rate=RATE, now=NOON)
    bucket = spend_on_polls(bucket, 1, rate=RATE, now=NOON)

    assert polls_allowed(bucket, rate=RATE, now=_at(3.9)) == 0
    assert polls_allowed(bucket, rate=RATE, now=_at(4)) == 1


def test_flood_of_creates_leaves_a_trickle_of_polls_and_is_forgiven_soon() -> None:
    bucket = Bucket(paid_until=NOON)
    polls = 0
    for second in range(120):
        bucket = spend(bucket, 100, rate=RATE, now=_at(second))
        allowed = polls_allowed(bucket, rate=RATE, now=_at(second))
        bucket = spend_on_polls(bucket, allowed, rate=RATE, now=_at(second))
        polls += allowed

    assert polls == 12  # one in ten calls' time
    assert polls_allowed(bucket, rate=RATE, now=_at(119 + 11)) >= 1


@given(
    st.lists(st.tuples(st.floats(0, 5), st.integers(0, 3)), min_size=1, max_size=200),
    st.integers(1, 600),
    st.integers(1, 20),
)
def test_polls_of_any_minute_stay_within_rate_and_burst(
    turns: list[tuple[float, int]], per_minute: int, burst: int
) -> None:
    rate = CallRate(per_minute=per_minute, burst=burst)
    bucket, now, made = Bucket(paid_until=NOON), NOON, []
    for wait, creates in turns:
        now += timedelta(seconds=wait)
        bucket = spend(bucket, creates, rate=rate, now=now)
        allowed = polls_allowed(bucket, rate=rate, now=now)
        bucket = spend_on_polls(bucket, allowed, rate=rate, now=now)
        made.extend([now] * allowed)

    for start in made:
        end = start + timedelta(minutes=1)
        within = sum(start <= moment < end for moment in made)
        # The trickle beside a flood of creates is a tenth of the rate at most.
        assert within <= per_minute + burst + per_minute // 10 + 1


@pytest.mark.parametrize(
    ("trouble", "rests"),
    [
        (Trouble.TOO_MANY, [10, 20, 40, 80, 160, 300, 300]),
        (Trouble.SERVER_FAILED, [1, 2, 4, 8, 16, 32, 60, 60]),
    ],
)
def test_each_trouble_in_a_row_rests_longer(trouble: Trouble, rests: list[int]) -> None:
    bucket, now = Bucket(paid_until=NOON), NOON
    for rest in rests:
        bucket = hear(bucket, trouble, now=now)
        assert bucket.resting_until == now + timedelta(seconds=rest)
        assert polls_allowed(bucket, rate=RATE, now=now + timedelta(seconds=rest - 0.1)) == 0
        now += timedelta(seconds=rest)
        assert polls_allowed(bucket, rate=RATE, now=now) > 0

    bucket = hear(bucket, Trouble.NONE, now=now)

    assert hear(bucket, trouble, now=now).resting_until == now + timedelta(seconds=rests[0])


def test_calls_that_fail_together_rest_once() -> None:
    bucket = Bucket(paid_until=NOON)
    for _ in range(16):
        bucket = hear(bucket, Trouble.TOO_MANY, now=_at(0.1))

    assert bucket.resting_until == _at(10.1)


def test_too_many_lengthens_the_rest_after_a_failure() -> None:
    bucket = hear(Bucket(paid_until=NOON), Trouble.SERVER_FAILED, now=NOON)

    bucket = hear(bucket, Trouble.TOO_MANY, now=_at(0.5))

    assert bucket.resting_until == _at(20.5)


def test_good_answer_amid_a_rest_does_not_end_it() -> None:
    bucket = hear(Bucket(paid_until=NOON), Trouble.TOO_MANY, now=NOON)

    bucket = hear(bucket, Trouble.NONE, now=_at(5))

    assert polls_allowed(bucket, rate=RATE, now=_at(9)) == 0
