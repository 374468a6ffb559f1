"""Tell the shop: claim what is owed, sign it, send it, and write down how it went.

A crash between sending and writing down sends again, under the same event id: at least once,
and the shop's side of "once" is that id.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from checkstand.deliveries import schedule
from checkstand.deliveries.sender import DeliveryAnswer
from checkstand.deliveries.signing import sign
from checkstand.domain import fulfilment
from checkstand.domain.case import Decision
from checkstand.domain.event import EventType
from checkstand.domain.fulfilment import Obstacle, token_of
from checkstand.domain.order import OrderStatus
from checkstand.errors import CheckstandError
from checkstand.operations.fulfil_order import decide_fulfilment
from checkstand.operations.resources import LEASE_MARGIN, Resources
from checkstand.storage import cases, events
from checkstand.storage.database import Transaction
from checkstand.storage.events import Owed


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedDelivery:
    """One delivery under a lease of ours."""

    owed: Owed
    owner: UUID


async def claim_deliveries(resources: Resources, *, limit: int) -> list[ClaimedDelivery]:
    """Take leases on deliveries whose time and turn have come."""
    owner = resources.ids.new()
    now = resources.clock.now()
    policy = resources.policy

    async def step(tx: Transaction) -> list[Owed]:
        return await events.claim_due(
            tx,
            owner=owner,
            now=now,
            until=now + policy.delivery_timeout + LEASE_MARGIN,
            urgent_before=now - policy.urgent_after,
            limit=limit,
        )

    claimed = await resources.database.run(step, name="claim_deliveries")
    return [ClaimedDelivery(owed=owed, owner=owner) for owed in claimed]


async def deliver_event(resources: Resources, *, claimed: ClaimedDelivery) -> None:
    """Send one delivery and write down how it went.

    What cannot be written down is sent again when the lease runs out, under the same id.
    """
    goods = None
    if claimed.owed.type == EventType.ORDER_PAID:
        goods = await _take_goods(resources, claimed)
        if goods is None:
            return
    try:
        answer: DeliveryAnswer | None = await _send(resources, claimed.owed)
        summary = f"answered {answer.status}" if answer else ""
    except CheckstandError as error:
        answer, summary = None, error.message
    await _record(resources, claimed, goods, answer, summary)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Goods:
    """What a try of `order.paid` took in hand for the shop."""

    until: datetime | None  # None: nothing, as they are in hand since before, or acknowledged


async def _take_goods(resources: Resources, claimed: ClaimedDelivery) -> _Goods | None:
    """Take a paid order's goods in hand for the shop; None when it is not to be told now.

    Story: the shop was down when its order was paid, the money was sent back meanwhile, and the
    late news of the payment must not send the goods.
    """
    owed = claimed.owed
    token = token_of(owed.event_id)
    given = resources.circumstances(owed.account_id)
    key = (owed.account_id, owed.order_id)

    async def step(tx: Transaction) -> _Goods | None:
        case = (await cases.lock(tx, [key]))[key]
        match fulfilment.why_not_claim(case, token, now=given.now):
            case None:
                decision, until = fulfilment.take_for_delivery(
                    Decision.nothing(case), token, now=given.now, lease=given.fulfilment_lease
                )
                await cases.save(tx, [decision], public_url=resources.policy.public_url)
                return _Goods(until=until)
            case Obstacle.NOT_PAID if case.order.status is not OrderStatus.REFUNDED:
                return _Goods(until=None)  # this is news of the past
            case Obstacle.NOT_PAID:
                await _give_up(tx, claimed, now=given.now)
                return None
            case _:
                due_at = case.order.fulfilment_until
                if due_at is None or due_at <= given.now:
                    due_at = given.now + given.fulfilment_lease
                await events.postpone(tx, owed, owner=claimed.owner, due_at=due_at)
                return None

    return await resources.database.run(step, name="deliver_event.take_goods")


async def _give_up(tx: Transaction, claimed: ClaimedDelivery, *, now: datetime) -> None:
    await events.record_try(
        tx,
        claimed.owed,
        at=now,
        status_code=None,
        summary="not told: the money went back before the shop could be",
    )
    await events.end_try(
        tx,
        claimed.owed,
        owner=claimed.owner,
        status="given_up",
        due_at=None,
        ended_at=now,
        lets_next_go=True,
    )


async def _send(resources: Resources, owed: Owed) -> DeliveryAnswer:
    secret = resources.vault.decrypt(
        owed.secret_ciphertext,
        account_id=owed.account_id,
        row_id=owed.endpoint_id,
        column="secret",
    )
    body = owed.body.encode()
    headers = sign(
        secrets=[secret],
        event_id=str(owed.event_id),
        sent_at=resources.clock.now(),
        body=body,
    )
    headers["content-type"] = "application/json; charset=utf-8"
    return await resources.sender.send(url=owed.url, headers=headers, body=body)


async def _record(
    resources: Resources,
    claimed: ClaimedDelivery,
    goods: _Goods | None,
    answer: DeliveryAnswer | None,
    summary: str,
) -> None:
    owed = claimed.owed
    now = resources.clock.now()
    is_delivered = answer is not None and answer.is_delivered
    due_at = None if is_delivered else _next_try(resources, owed, answer, now=now)
    status = "delivered" if is_delivered else "pending" if due_at else "given_up"

    async def step(tx: Transaction) -> None:
        if is_delivered and owed.fulfil_on_delivery and owed.type == EventType.ORDER_PAID:
            await _fulfil(tx, resources, owed)
        elif answer is not None and not is_delivered and goods is not None and goods.until:
            await _let_go(tx, resources, owed, until=goods.until)
        await events.record_try(
            tx, owed, at=now, status_code=answer.status if answer else None, summary=summary
        )
        await events.end_try(
            tx,
            owed,
            owner=claimed.owner,
            status=status,
            due_at=due_at,
            ended_at=None if due_at else now,
            lets_next_go=not schedule.holds_back_later(
                status=answer.status if answer else None, is_given_up=due_at is None
            ),
        )

    await resources.database.run(step, name="deliver_event.record")
    resources.deliveries_wake.up()


def _next_try(
    resources: Resources, owed: Owed, answer: DeliveryAnswer | None, *, now: datetime
) -> datetime | None:
    return schedule.next_try_at(
        tries_made=owed.tries,
        now=now,
        fraction=resources.random.fraction(),
        status=answer.status if answer else None,
        retry_after=answer.retry_after if answer else None,
    )


async def _fulfil(tx: Transaction, resources: Resources, owed: Owed) -> None:
    """Take a 2xx from the fulfilling endpoint as the shop's acknowledgement."""
    key = (owed.account_id, owed.order_id)
    case = (await cases.lock(tx, [key]))[key]
    given = resources.circumstances(owed.account_id)
    if fulfilment.why_not_fulfil(case, None, now=given.now) is not None:
        return
    decision = decide_fulfilment(case, given, actor="merchant")
    await cases.save(tx, [decision], public_url=resources.policy.public_url)


async def _let_go(tx: Transaction, resources: Resources, owed: Owed, *, until: datetime) -> None:
    """Take the shop's refusal as such: it has nothing in hand. Silence may mean that it has."""
    key = (owed.account_id, owed.order_id)
    case = (await cases.lock(tx, [key]))[key]
    decision = fulfilment.release(
        Decision.nothing(case),
        token_of(owed.event_id),
        until=until,
        now=resources.clock.now(),
    )
    await cases.save(tx, [decision], public_url=resources.policy.public_url)
