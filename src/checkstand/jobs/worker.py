"""The worker: does each duty on its timetable until it is told to stop.

Any number of workers may run: rows are claimed under leases, so two of them share the work.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import structlog

from checkstand.errors import CheckstandError
from checkstand.jobs.registry import CHORES, KEEP_KEYS, QUEUES, Chore, Queue
from checkstand.operations.resources import Resources

_log = structlog.get_logger()

T = TypeVar("T")

#: After a failure a duty rests for this long: the database may be away.
_REST_SECONDS = 1.0
#: However often a chore is woken, it is done no more often than this.
_SOONEST_AGAIN_SECONDS = 0.5


async def run_worker(
    resources: Resources,
    *,
    queues: Sequence[Queue] = QUEUES,
    chores: Sequence[Chore] = CHORES,
) -> None:
    """Do every duty until cancelled; what is cut short is taken up by whoever comes next."""
    async with asyncio.TaskGroup() as group:
        for queue in queues:
            group.create_task(_work_on(resources, queue, group), name=queue.name)
        for chore in chores:
            group.create_task(_do_again_and_again(resources, chore), name=chore.name)


def running_worker(resources: Resources) -> AbstractAsyncContextManager[None]:
    """Run the worker beside something else."""
    return _beside(run_worker(resources))


def keeping_keys(resources: Resources) -> AbstractAsyncContextManager[None]:
    """Do the one duty that every process has for itself: Binance's keys are kept in memory."""
    return _beside(_do_again_and_again(resources, KEEP_KEYS))


@contextlib.asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _work_on(resources: Resources, queue: Queue, group: asyncio.TaskGroup) -> None:
    """Keep the lanes of a queue busy while there is something to do."""
    wake = queue.wake(resources)
    busy: set[asyncio.Task[object]] = set()

    def leave(task: asyncio.Task[object]) -> None:
        busy.discard(task)
        wake.up()

    while True:
        free = queue.lanes - len(busy)
        claimed = await _guard(queue.name, queue.claim(resources, free)) if free else None
        for item in claimed or ():
            task = group.create_task(_guard(queue.name, queue.work(resources, item)))
            busy.add(task)
            task.add_done_callback(leave)
        if not claimed:
            await wake.wait(timeout_seconds=queue.every_seconds)


async def _do_again_and_again(resources: Resources, chore: Chore) -> None:
    while True:
        await _guard(chore.name, chore.run(resources))
        if chore.wake is None:
            await asyncio.sleep(chore.every_seconds)
        else:
            await asyncio.sleep(_SOONEST_AGAIN_SECONDS)
            await chore.wake(resources).wait(timeout_seconds=chore.every_seconds)


async def _guard(name: str, work: Awaitable[T]) -> T | None:
    """Await a piece of work; this is the door at which everything that goes wrong is caught."""
    try:
        return await work
    except CheckstandError as error:
        _log.warning("duty failed", duty=name, code=error.code, detail=error.message)
    except Exception:  # noqa: BLE001  (one of the three doors at which everything is caught)
        _log.exception("duty failed unexpectedly", duty=name)
    await asyncio.sleep(_REST_SECONDS)
    return None
