"""Every background duty as one row: what is done, how often, and what wakes it early.

A chore is done from time to time. A queue is worked on: rows are claimed under leases and done
side by side, so that one slow shop or one slow answer holds up nobody else.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from checkstand.operations.advance_attempt import Lease, advance_attempt
from checkstand.operations.advance_refund import RefundLease, advance_refund, claim_due_refunds
from checkstand.operations.claim_due_attempts import claim_due_attempts
from checkstand.operations.deliver_event import (
    ClaimedDelivery,
    claim_deliveries,
    deliver_event,
)
from checkstand.operations.expire_orders import expire_orders
from checkstand.operations.explain_orphans import explain_orphans
from checkstand.operations.fetch_reports import reconcile_recent_days, take_balances
from checkstand.operations.offer_fulfilment import offer_fulfilments
from checkstand.operations.place_events import place_late_events, place_new_events
from checkstand.operations.prune_keys import prune_keys
from checkstand.operations.prune_records import prune_records
from checkstand.operations.recover import gather_recoveries
from checkstand.operations.refresh_certificates import refresh_all_certificates
from checkstand.operations.resources import Resources, Wake
from checkstand.operations.retry_notices import match_orphans, retry_notices
from checkstand.operations.seal_transfers import seal_all_transfers, seal_new_transfers
from checkstand.operations.watch_doubts import watch_doubts
from checkstand.operations.witness_database import witness_database


@dataclass(frozen=True, slots=True, kw_only=True)
class Chore:
    """Something done from time to time, whole, and sooner when somebody says so."""

    name: str
    run: Callable[[Resources], Awaitable[object]]
    every_seconds: float
    wake: Callable[[Resources], Wake] | None = None


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


async def _claim_refunds(resources: Resources, limit: int) -> Sequence[RefundLease]:
    return await claim_due_refunds(resources, limit=limit)


async def _advance_refund(resources: Resources, lease: RefundLease) -> None:
    await advance_refund(resources, lease=lease)


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
        name="refunds",
        claim=_claim_refunds,
        work=_advance_refund,
        wake=lambda resources: resources.refunds_wake,
        every_seconds=1,
        lanes=4,
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

#: Binance publishes no rotation timetable; an unknown serial refetches at once anyway.
KEEP_KEYS: Final = Chore(
    name="refresh certificates", run=refresh_all_certificates, every_seconds=1800
)

CHORES: Final = (
    Chore(name="expire orders", run=expire_orders, every_seconds=5),
    Chore(name="offer fulfilments", run=offer_fulfilments, every_seconds=10),
    Chore(name="watch doubts", run=watch_doubts, every_seconds=30),
    Chore(
        name="retry notices",
        run=retry_notices,
        every_seconds=5,  # money may lie in what was only stored
        wake=lambda resources: resources.notices_wake,
    ),
    Chore(name="match orphans", run=match_orphans, every_seconds=60),
    KEEP_KEYS,
    Chore(name="gather recoveries", run=gather_recoveries, every_seconds=5),
    Chore(name="explain orphans", run=explain_orphans, every_seconds=60),
    Chore(name="witness database", run=witness_database, every_seconds=60),
    Chore(name="prune records", run=prune_records, every_seconds=3600),
    Chore(name="prune keys", run=prune_keys, every_seconds=3600),
    Chore(name="place events", run=place_new_events, every_seconds=1),
    Chore(name="place late events", run=place_late_events, every_seconds=600),
    Chore(name="seal transfers", run=seal_new_transfers, every_seconds=10),
    # Looks at the whole ledger for what that missed; an hour unsealed is a flaw.
    Chore(name="seal stragglers", run=seal_all_transfers, every_seconds=1800),
    # The first look after midnight opens a day: the sooner it comes, the less moves before it.
    Chore(name="take balances", run=take_balances, every_seconds=300),
    Chore(name="reconcile recent days", run=reconcile_recent_days, every_seconds=6 * 3600),
)
