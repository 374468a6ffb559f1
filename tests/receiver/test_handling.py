"""Each event is handled once: repeated, at the same time, and after failures."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from checkstand.receiver import Event, Outcome, SeenEvents, handle_once, handle_once_async


class Handler:
    """Counts its runs; fails as often as it is told to."""

    def __init__(self, *, failures: int = 0) -> None:
        self.runs = 0
        self._failures = failures

    def __call__(self, event: Event) -> None:
        self.runs += 1
        if self.runs <= self._failures:
            raise ConnectionError("the warehouse does not answer")


def test_a_repeated_event_is_handled_once_and_answered_well(event: Event, seen: SeenEvents) -> None:
    handler = Handler()

    outcomes = [handle_once(event, handler, seen=seen) for _ in range(3)]

    assert outcomes == [Outcome.HANDLED, Outcome.REPEATED, Outcome.REPEATED]
    assert [outcome.http_status for outcome in outcomes] == [200, 200, 200]
    assert handler.runs == 1


def test_a_failed_event_is_handled_at_the_next_try(event: Event, seen: SeenEvents) -> None:
    handler = Handler(failures=2)

    for _ in range(2):
        with pytest.raises(ConnectionError):
            handle_once(event, handler, seen=seen)

    assert handle_once(event, handler, seen=seen) is Outcome.HANDLED
    assert handle_once(event, handler, seen=seen) is Outcome.REPEATED
    assert handler.runs == 3


def test_a_duplicate_during_the_handling_is_asked_to_come_back(
    event: Event, seen: SeenEvents
) -> None:
    during: list[Outcome] = []

    def handler(inner: Event) -> None:
        during.append(handle_once(inner, Handler(), seen=seen))

    assert handle_once(event, handler, seen=seen) is Outcome.HANDLED
    assert during == [Outcome.BUSY]
    assert Outcome.BUSY.http_status == 409


def test_an_interrupted_handler_has_not_handled(event: Event, seen: SeenEvents) -> None:
    def interrupted(event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        handle_once(event, interrupted, seen=seen)

    assert handle_once(event, Handler(), seen=seen) is Outcome.HANDLED


def test_of_many_duplicates_at_once_exactly_one_is_handled(event: Event, seen: SeenEvents) -> None:
    handler, start = Handler(), Barrier(16)

    def worker(_: int) -> Outcome:
        start.wait()
        return handle_once(event, handler, seen=seen)

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(worker, range(16)))

    assert handler.runs == 1
    assert outcomes.count(Outcome.HANDLED) == 1


async def test_awaiting_duplicates_at_once_are_handled_once(event: Event, seen: SeenEvents) -> None:
    runs, go_on = 0, asyncio.Event()

    async def handler(_: Event) -> None:
        nonlocal runs
        runs += 1
        await go_on.wait()

    first = asyncio.create_task(handle_once_async(event, handler, seen=seen))
    while not runs:
        await asyncio.sleep(0)
    second = await handle_once_async(event, handler, seen=seen)
    go_on.set()

    assert (await first, second, runs) == (Outcome.HANDLED, Outcome.BUSY, 1)
    assert await handle_once_async(event, handler, seen=seen) is Outcome.REPEATED


async def test_a_cancelled_request_leaves_the_event_to_the_next_try(
    event: Event, seen: SeenEvents
) -> None:
    started = asyncio.Event()

    async def stuck(_: Event) -> None:
        started.set()
        await asyncio.Event().wait()

    async def quick(_: Event) -> None:
        pass

    task = asyncio.create_task(handle_once_async(event, stuck, seen=seen))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await handle_once_async(event, quick, seen=seen) is Outcome.HANDLED
