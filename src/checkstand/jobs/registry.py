"""Every background duty as one row: what is done, how often, and what wakes it early."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from checkstand.operations.advance_due_attempts import advance_due_attempts
from checkstand.operations.deliver_events import deliver_events
from checkstand.operations.expire_orders import expire_orders
from checkstand.operations.prune_keys import prune_keys
from checkstand.operations.refresh_certificates import refresh_all_certificates
from checkstand.operations.resources import Resources, Wake
from checkstand.operations.retry_notices import retry_notices


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """One thing the worker does again and again."""

    name: str
    #: Returns how much it found; as long as it finds something it is done again at once.
    run: Callable[[Resources], Awaitable[int]]
    every_seconds: float
    wake: Callable[[Resources], Wake] | None = None


async def _refresh_certificates(resources: Resources) -> int:
    await refresh_all_certificates(resources)
    return 0


async def _retry_notices(resources: Resources) -> int:
    await retry_notices(resources)
    return 0  # what fits nothing now will not fit in the next second either


DUTIES: Final = (
    Duty(
        name="advance attempts",
        run=advance_due_attempts,
        every_seconds=1,
        wake=lambda resources: resources.attempts_wake,
    ),
    Duty(
        name="deliver events",
        run=deliver_events,
        every_seconds=1,
        wake=lambda resources: resources.deliveries_wake,
    ),
    Duty(name="expire orders", run=expire_orders, every_seconds=5),
    Duty(name="retry notices", run=_retry_notices, every_seconds=60),
    # Binance publishes no rotation timetable; an unknown serial refetches at once anyway.
    Duty(name="refresh certificates", run=_refresh_certificates, every_seconds=1800),
    Duty(name="prune keys", run=prune_keys, every_seconds=3600),
)
