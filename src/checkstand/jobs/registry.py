"""Every background duty as one row: what is done, how often, and what wakes it early.

A chore is done from time to time. A queue is worked on: rows are claimed under leases and done
side by side, so that one slow shop or one slow answer holds up nobody else.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from checkstand.operations.advance_attempt import Lease, advance_attempt
from checkstand.operations.claim_due_attempts import claim_due_attempts
from checkstand.operations.deliver_event import (
    ClaimedDelivery,
    claim_deliveries,
    deliver_event,
)
from checkstand.operations.expire_orders import expire_orders
from checkstand.operations.fetch_reports import reconcile_recent_days, take_balances
from checkstand.operations.prune_keys import prune_keys
from checkstand.operations.refresh_certificates import refresh_all_certificates
from checkstand.operations.resources import Resources, Wake
from checkstand.operations.retry_notices import retry_notices


@dataclass(frozen=True, slots=True, kw_only=True)
class Chore:
    """Something done from time to time, whole."""

    name: str
    run: Callable[[Resources], Awaitable[object]]
    every_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """Rows that become due, claimed a few at a time and done in so many lanes."""

    name: str
    claim: Callable[[Resources, int], Awaitable[Sequence[Any]]]
    work: Callable[[Resources, Any], Awaitable[object]]
    wake: Callable[[Resources], Wake]
    every_seconds: float
    lanes: int


async def _claim_attempts(resources: Resources, limit: int) -> Sequence[Lease]:
    return await claim_due_attempts(resources, limit=limit)


async def _advance(resources: Resources, lease: Lease) -> object:
    return await advance_attempt(resources, lease=lease)


async def _claim_deliveries(resources: Resources, limit: int) -> Sequence[ClaimedDelivery]:
    return await claim_deliveries(resources, limit=limit)


async def _deliver(resources: Resources, claimed: ClaimedDelivery) -> None:
    await deliver_event(resources, claimed=claimed)


QUEUES: Final = (
    Queue(
        name="attempts",
        claim=_claim_attempts,
        work=_advance,
        wake=lambda resources: resources.attempts_wake,
        every_seconds=1,
        lanes=16,  # Binance publishes no limits; a handful at once bothers nobody
    ),
    Queue(
        name="deliveries",
        claim=_claim_deliveries,
        work=_deliver,
        wake=lambda resources: resources.deliveries_wake,
        every_seconds=1,
        lanes=32,  # a dead shop holds a lane for as long as a webhook may take
    ),
)

CHORES: Final = (
    Chore(name="expire orders", run=expire_orders, every_seconds=5),
    Chore(name="retry notices", run=retry_notices, every_seconds=60),
    # Binance publishes no rotation timetable; an unknown serial refetches at once anyway.
    Chore(name="refresh certificates", run=refresh_all_certificates, every_seconds=1800),
    Chore(name="prune keys", run=prune_keys, every_seconds=3600),
    # The first look after midnight opens a day: the sooner it comes, the less moves before it.
    Chore(name="take balances", run=take_balances, every_seconds=300),
    Chore(name="reconcile recent days", run=reconcile_recent_days, every_seconds=6 * 3600),
)
