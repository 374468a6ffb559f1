"""Tell the shop again what it was told, under the same event id."""

from uuid import UUID

from checkstand.domain.act import SHOP, Act, Doer
from checkstand.errors import NotFound
from checkstand.operations.resources import Resources
from checkstand.storage import acts, events
from checkstand.storage.database import Transaction


async def redeliver_event(
    resources: Resources, *, account_id: UUID, event_id: UUID, doer: Doer = SHOP
) -> None:
    """Make every delivery of an event due again, and keep who asked for it. Raises NotFound."""
    now = resources.clock.now()
    act_id = resources.ids.new()

    async def step(tx: Transaction) -> bool:
        again = await events.redeliver(tx, account_id, event_id, now=now)
        if again is None:
            return False
        act = Act(
            account_id=account_id,
            act_id=act_id,
            order_id=again.order_id,
            doer=doer,
            what="deliver an event again" + (", given up before" * again.was_given_up),
            subject=f"event:{event_id}",
            reason=None,
            at=now,
        )
        await acts.record(tx, act)
        return True

    if not await resources.database.run(step, name="redeliver_event"):
        raise NotFound("event_not_found", "there is no such event, or nobody to tell it to")
    resources.deliveries_wake.up()
