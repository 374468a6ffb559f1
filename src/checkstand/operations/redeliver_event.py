"""Tell the shop again what it was told, under the same event id."""

from uuid import UUID

from checkstand.errors import NotFound
from checkstand.operations.resources import Resources
from checkstand.storage import events
from checkstand.storage.database import Transaction


async def redeliver_event(resources: Resources, *, account_id: UUID, event_id: UUID) -> None:
    """Make every delivery of an event due again. Raises NotFound."""
    now = resources.clock.now()

    async def step(tx: Transaction) -> bool:
        return await events.redeliver(tx, account_id, event_id, now=now)

    if not await resources.database.run(step, name="redeliver_event"):
        raise NotFound("event_not_found", "there is no such event, or nobody to tell it to")
    resources.deliveries_wake.up()
