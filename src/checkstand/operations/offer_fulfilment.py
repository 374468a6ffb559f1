"""Offer a paid order to the shop again when it was not acknowledged in time.

Binance is asked first: money that went back in its portal is not told by any notice, and goods
must not follow it. The offer is the same event under the same id.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog

from checkstand.domain import fulfilment
from checkstand.domain.case import Case, Decision
from checkstand.domain.fulfilment import Obstacle, offer_of
from checkstand.domain.report import Finding
from checkstand.domain.settlement import Circumstances
from checkstand.operations.advance_attempt import Lease, make_call, plan_call, record_answer
from checkstand.operations.resources import Resources
from checkstand.storage import accounts, cases, events, orders
from checkstand.storage.database import Transaction

_log = structlog.get_logger()

#: Part of it may have gone back by refunds of ours: the rest is owed goods for. What went back
#: otherwise is an anomaly once Binance has said so, and keeps the offer from being made.
_STILL_THERE: Final = frozenset({Finding.PAID, Finding.RETURNED})
#: When Binance was away, or we died between asking and offering.
_AGAIN: Final = timedelta(minutes=5)


async def offer_fulfilments(resources: Resources, *, limit: int = 100) -> int:
    """Offer what is due; return how many orders were looked at. Safe on any number of hosts."""
    now = resources.clock.now()

    async def read(tx: Transaction) -> list[tuple[UUID, UUID]]:
        return await orders.list_to_offer(tx, now=now, limit=limit)

    due = await resources.database.read(read)
    for account_id, order_id in due:
        try:
            await offer_fulfilment(resources, account_id=account_id, order_id=order_id)
        except Exception:  # noqa: BLE001  (whatever it is, the next order is another matter)
            _log.exception("a paid order was not offered again", order_id=str(order_id))
    return len(due)


async def offer_fulfilment(resources: Resources, *, account_id: UUID, order_id: UUID) -> bool:
    """Ask Binance about a paid order, and offer it again if the money is still there.

    1. One transaction takes the attempt that was paid under a lease.
    2. Binance is asked about it, and what it says is accepted as ever.
    3. One transaction looks again, and makes the event's deliveries due.
    """
    lease = await _begin(resources, account_id, order_id)
    if lease is None:
        return False
    planned = await plan_call(resources, lease=lease)
    if planned is None:
        return False
    answer = await make_call(resources, planned=planned)
    await record_answer(resources, planned=planned, answer=answer)
    if answer.report is None or answer.report.finding not in _STILL_THERE:
        return False  # it is due again, and what was odd is an anomaly by now
    return await _offer(resources, account_id, order_id)


async def _begin(resources: Resources, account_id: UUID, order_id: UUID) -> Lease | None:
    owner = resources.ids.new()
    given = resources.circumstances(account_id)
    key = (account_id, order_id)

    async def step(tx: Transaction) -> Lease | None:
        case = (await cases.lock(tx, [key]))[key]
        if not _is_due(case, given):
            return None
        decision = _put_off(Decision.nothing(case), given)
        payment = next(p for p in case.payments if p.payment_id == case.order.settled_by)
        attempt = case.attempt(payment.attempt_id)
        is_free = attempt.lease_until is None or attempt.lease_until <= given.now
        may_ask = is_free and fulfilment.why_not_offer(case, now=given.now) is None
        if may_ask:
            until = given.now + resources.provider_lease
            decision = decision.with_attempt(replace(attempt, lease_owner=owner, lease_until=until))
        await cases.save(tx, [decision], public_url=resources.policy.public_url)
        if not may_ask:
            return None
        return Lease(
            account_id=account_id,
            order_id=order_id,
            attempt_id=attempt.attempt_id,
            owner=owner,
        )

    return await resources.database.run(step, name="offer_fulfilment.begin")


async def _offer(resources: Resources, account_id: UUID, order_id: UUID) -> bool:
    given = resources.circumstances(account_id)
    key = (account_id, order_id)

    async def step(tx: Transaction) -> bool:
        case = (await cases.lock(tx, [key]))[key]
        offer = offer_of(case.order)
        if offer is None or fulfilment.why_not_offer(case, now=given.now) is not None:
            return False
        if (await accounts.get(tx, account_id)).halted_reason is not None:
            return False  # the answer may be the reason: it is another merchant's then
        decision = fulfilment.offered(
            Decision.nothing(case), now=given.now, lease=given.fulfilment_lease
        )
        await cases.save(tx, [decision], public_url=resources.policy.public_url)
        await events.offer_again(tx, account_id, offer.event_id, now=given.now)
        return True

    offered = await resources.database.run(step, name="offer_fulfilment.offer")
    resources.deliveries_wake.up()
    return offered


def _is_due(case: Case, given: Circumstances) -> bool:
    due_at = case.order.fulfilment_due_at
    is_over = fulfilment.why_not_claim(case, None, now=given.now) is Obstacle.NOT_PAID
    return due_at is not None and due_at <= given.now and not is_over


def _put_off(decision: Decision, given: Circumstances) -> Decision:
    return decision.with_order(fulfilment_due_at=given.now + _AGAIN)
