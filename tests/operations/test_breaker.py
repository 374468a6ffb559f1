"""The breaker: after a failure nobody asks for a while, then one at a time."""

from checkstand.operations.breaker import Breaker


class Time:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def test_breaker_lets_everybody_through_while_all_is_well() -> None:
    breaker = Breaker(Time())

    assert all(breaker.lets_through() for _ in range(5))
    breaker.note_well()
    assert breaker.lets_through()


def test_nobody_passes_until_the_rest_is_over_and_then_one_does() -> None:
    time = Time()
    breaker = Breaker(time)
    breaker.note_failed()

    assert not breaker.lets_through()
    time.now += 0.99
    assert not breaker.lets_through()
    time.now += 0.02
    assert [breaker.lets_through() for _ in range(3)] == [True, False, False]


def test_probe_that_fails_begins_another_rest_and_one_that_succeeds_ends_it() -> None:
    time = Time()
    breaker = Breaker(time)
    breaker.note_failed()
    time.now += 1.01
    assert breaker.lets_through()

    breaker.note_failed()
    assert not breaker.lets_through()
    time.now += 1.01
    assert breaker.lets_through()
    breaker.note_well()

    assert all(breaker.lets_through() for _ in range(3))


def test_probe_that_is_never_heard_of_does_not_keep_the_breaker_open() -> None:
    time = Time()
    breaker = Breaker(time)
    breaker.note_failed()
    time.now += 1.01
    assert breaker.lets_through()

    time.now += 2.99
    assert not breaker.lets_through()
    time.now += 0.02
    assert breaker.lets_through()
