"""One clock: read, frozen, moved, set, hurried; its timers follow all of it."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from checkstand.simulator.clock import SimulatedClock


class Host:
    """A host clock that moves when told."""

    def __init__(self) -> None:
        self.ms = 1_700_000_000_000

    def __call__(self) -> int:
        return self.ms


def test_clock_runs_with_the_host_until_it_is_frozen() -> None:
    host = Host()
    clock = SimulatedClock(host_ms=host)

    host.ms += 1500
    running = clock.now_ms()
    clock.freeze()
    host.ms += 9999

    assert running == 1_700_000_001_500
    assert clock.now_ms() == running
    assert clock.now() == datetime(2023, 11, 14, 22, 13, 21, 500_000, tzinfo=UTC)


def test_resumed_clock_runs_on_from_its_reading() -> None:
    host = Host()
    clock = SimulatedClock(host_ms=host)
    clock.freeze()
    host.ms += 60_000

    clock.resume()
    host.ms += 7

    assert clock.now_ms() == 1_700_000_000_007


def test_hurried_clock_keeps_its_reading_and_gains_speed() -> None:
    host = Host()
    clock = SimulatedClock(host_ms=host)
    host.ms += 1000

    clock.hurry(60)
    host.ms += 1000

    assert clock.now_ms() == 1_700_000_061_000


def test_timers_fire_in_due_order_and_see_their_own_time() -> None:
    clock = SimulatedClock(host_ms=Host())
    clock.freeze()
    start = clock.now_ms()
    seen: list[tuple[str, int]] = []

    def note(name: str) -> None:
        seen.append((name, clock.now_ms() - start))

    def note_and_go_on() -> None:
        note("first")
        clock.call_later(5, lambda: note("between"))

    clock.call_later(20, lambda: note("second"))
    clock.call_later(10, note_and_go_on)
    clock.call_later(99, lambda: note("too late"))
    clock.call_later(15, lambda: note("cancelled")).cancel()
    clock.advance(60)

    assert seen == [("first", 10_000), ("between", 15_000), ("second", 20_000)]
    assert clock.now_ms() == start + 60_000


def test_late_timer_never_turns_the_clock_back() -> None:
    host = Host()
    clock = SimulatedClock(host_ms=host)
    seen: list[int] = []
    clock.call_later(1, lambda: seen.append(clock.now_ms()))
    host.ms += 5000  # nobody woke the timer

    clock.advance(1)

    assert seen == [1_700_000_005_000]
    assert clock.now_ms() == 1_700_000_006_000


def test_clock_is_set_to_an_aware_moment_only() -> None:
    clock = SimulatedClock(host_ms=Host())
    clock.freeze()

    clock.set(datetime(2030, 1, 1, tzinfo=UTC))

    assert clock.now() == datetime(2030, 1, 1, tzinfo=UTC)
    with pytest.raises(ValueError, match="aware"):
        clock.set(datetime(2030, 1, 1))  # noqa: DTZ001


def test_advancing_backwards_is_refused_and_setting_back_fires_nothing() -> None:
    clock = SimulatedClock(host_ms=Host())
    clock.freeze()
    fired: list[int] = []
    clock.call_later(1, lambda: fired.append(1))

    with pytest.raises(ValueError, match="forwards"):
        clock.advance(-1)
    clock.set(clock.now() - timedelta(days=1))

    assert fired == []


async def test_running_clock_wakes_a_timer_by_itself() -> None:
    clock = SimulatedClock()
    fired = asyncio.Event()

    clock.call_later(0.01, fired.set)

    await asyncio.wait_for(fired.wait(), timeout=10)


async def test_hurried_clock_wakes_a_far_timer_soon() -> None:
    clock = SimulatedClock()
    fired = asyncio.Event()
    clock.call_later(3600, fired.set)

    clock.hurry(1_000_000)

    await asyncio.wait_for(fired.wait(), timeout=10)


async def test_frozen_clock_holds_a_sleeper_until_it_is_moved() -> None:
    clock = SimulatedClock()
    clock.freeze()
    sleeper = asyncio.create_task(clock.sleep(30))
    await asyncio.sleep(0.02)
    held = not sleeper.done()

    clock.advance(30)
    await asyncio.wait_for(sleeper, timeout=10)

    assert held


async def test_closing_lets_sleepers_go_and_fires_nothing() -> None:
    clock = SimulatedClock()
    fired: list[int] = []
    clock.call_later(0.001, lambda: fired.append(1))
    sleeper = asyncio.create_task(clock.sleep(3600))
    await asyncio.sleep(0)

    clock.close()

    await asyncio.wait_for(sleeper, timeout=10)
    assert fired == []
