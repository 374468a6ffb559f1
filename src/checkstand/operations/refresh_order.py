"""Ask Binance about an order now, instead of when its turn comes."""

from uuid import UUID

from checkstand.domain.case import Case
from checkstand.operations.advance_attempt import Lease, advance_attempt
from checkstand.operations.change_order import order_not_found
from checkstand.operations.resources import Resources
from checkstand.storage import attempts, cases, provider_rests
from checkstand.storage.database import Transaction


async def refresh_order(resources: Resources, *, account_id: UUID, order_id: UUID) -> Case:
    """Query the order's current attempt and return the order as it is then. Raises NotFound.

    When somebody else is asking at this moment, their answer is not waited for; nor is Binance
    asked while the account's calls are used up or rest: a worker asks as soon as they may.
    """
    lease = await _take_lease(resources, account_id, order_id)
    if lease is not None:
        await advance_attempt(resources, lease=lease)
    key = (account_id, order_id)

    async def read(tx: Transaction) -> Case:
        case = (await cases.get_many(tx, [key])).get(key)
        if case is None:
            raise order_not_found(order_id)
        return case

    return await resources.database.read(read, snapshot=True)


async def ask_soon(resources: Resources, *, account_id: UUID, order_id: UUID) -> bool:
    """Let a worker ask about an order at once: the shopper says "I've paid".

    At most one query an attempt in five seconds, shared by everybody who looks at the page;
    False when one was just asked for.
    """
    now = resources.clock.now()

    async def step(tx: Transaction) -> bool:
        last_before = now - resources.policy.shopper_ask_every
        return await attempts.make_due(tx, account_id, order_id, now=now, last_before=last_before)

    asked = await resources.database.run(step, name="ask_soon")
    if asked:
        resources.attempts_wake.up()
    return asked


async def _take_lease(resources: Resources, account_id: UUID, order_id: UUID) -> Lease | None:
    owner = resources.ids.new()
    now = resources.clock.now()
    rate = resources.policy.call_rate
    if not resources.budget.allowances([account_id], rate=rate, now=now)[account_id]:
        await ask_soon(resources, account_id=account_id, order_id=order_id)
        return None

    async def step(tx: Transaction) -> Lease | None:
        if await provider_rests.find(tx, account_id, now=now) is not None:
            return None
        attempt_id = await attempts.take_lease(
            tx, account_id, order_id, owner=owner, now=now, until=now + resources.provider_lease
        )
        if attempt_id is None:
            return None
        return Lease(account_id=account_id, order_id=order_id, attempt_id=attempt_id, owner=owner)

    lease = await resources.database.run(step, name="refresh_order.claim")
    if lease is not None:
        resources.budget.spend_on_poll(account_id, rate=rate, now=now)
    return lease
