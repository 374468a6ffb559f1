"""Time jumps where nothing else can happen, and only there."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from torture.loop import NothingHappens, VirtualLoop


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    opened = VirtualLoop()
    yield opened
    opened.close()


def test_days_pass_at_once_and_in_order(loop: VirtualLoop) -> None:
    seen: list[tuple[str, float]] = []

    async def sleep(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append((name, loop.time()))

    async def both() -> None:
        await asyncio.gather(sleep("late", 86_400), sleep("early", 3_600))

    loop.run_until_complete(both())

    assert seen == [("early", 3_600.0), ("late", 86_400.0)]


def test_time_stands_still_while_something_real_is_awaited(loop: VirtualLoop) -> None:
    async def wait_for_thread() -> float:
        done = loop.create_future()
        timer = loop.call_later(1, done.cancel)
        with loop.reality():
            threading.Timer(0.05, loop.call_soon_threadsafe, [done.set_result, None]).start()
            await done
        timer.cancel()
        return loop.time()

    assert loop.run_until_complete(wait_for_thread()) == 0.0


def test_waiting_for_nothing_is_an_error_and_no_hang(loop: VirtualLoop) -> None:
    task = loop.create_task(asyncio.Event().wait())

    with pytest.raises(NothingHappens):
        loop.run_until_complete(task)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)


def test_work_for_a_thread_is_done_at_once(loop: VirtualLoop) -> None:
    async def ask() -> int:
        return await asyncio.to_thread(threading.get_ident)

    assert loop.run_until_complete(ask()) == threading.get_ident()


def test_rewound_loop_begins_at_zero(loop: VirtualLoop) -> None:
    loop.run_until_complete(asyncio.sleep(5))
    loop.call_later(100, lambda: None)

    loop.rewind()

    assert loop.time() == 0.0
    with pytest.raises(NothingHappens):
        loop.jump()
