"""The worker: does each duty on its timetable until it is told to stop.

Any number of workers may run: rows are claimed under leases, so two of them share the work.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import structlog

from checkstand.errors import CheckstandError
from checkstand.jobs.registry import DUTIES, Duty
from checkstand.operations.resources import Resources, Wake

_log = structlog.get_logger()

#: After a failure the duty rests for this long: the database may be away.
_REST_SECONDS = 1.0


async def run_worker(resources: Resources) -> None:
    """Do every duty until cancelled; what is under way is finished or taken up by the next."""
    async with asyncio.TaskGroup() as group:
        for duty in DUTIES:
            group.create_task(_do_again_and_again(resources, duty), name=duty.name)


@contextlib.asynccontextmanager
async def running_worker(resources: Resources) -> AsyncIterator[None]:
    """Run the worker beside something else."""
    task = asyncio.create_task(run_worker(resources))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _do_again_and_again(resources: Resources, duty: Duty) -> None:
    wake = duty.wake(resources) if duty.wake else Wake()
    while True:
        found = await _do_once(resources, duty)
        if found == 0:
            await wake.wait(timeout_seconds=duty.every_seconds)


async def _do_once(resources: Resources, duty: Duty) -> int:
    """Do a duty once; this is the door at which everything that goes wrong in one is caught."""
    try:
        return await duty.run(resources)
    except CheckstandError as error:
        _log.warning("duty failed", duty=duty.name, code=error.code, detail=error.message)
    except Exception:  # noqa: BLE001  (one of the three doors at which everything is caught)
        _log.exception("duty failed unexpectedly", duty=duty.name)
    await asyncio.sleep(_REST_SECONDS)
    return 0
