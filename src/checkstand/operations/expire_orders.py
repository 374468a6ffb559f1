"""End the orders whose time has passed and which nobody can pay any more."""

from uuid import UUID

import structlog

from checkstand.domain import settlement
from checkstand.domain.anomaly import UNSETTLED_MONEY
from checkstand.domain.case import Case, Decision
from checkstand.domain.settlement import Circumstances
from checkstand.operations.change_order import change_order
from checkstand.operations.resources import Resources
from checkstand.storage import orders
from checkstand.storage.database import Transaction

_log = structlog.get_logger()


async def expire_orders(resources: Resources, *, limit: int = 500) -> int:
    """Expire what is due; return how many were looked at. Safe to run on any number of hosts."""
    now = resources.clock.now()

    async def step(tx: Transaction) -> list[tuple[UUID, UUID]]:
        return await orders.list_to_expire(
            tx, now=now, blocked_by=sorted(UNSETTLED_MONEY), limit=limit
        )

    due = await resources.database.read(step)
    for account_id, order_id in due:
        try:
            await change_order(
                resources,
                account_id=account_id,
                order_id=order_id,
                decide=_decide,
                name="expire_orders",
            )
        except Exception:  # noqa: BLE001  (whatever it is, the next order is another matter)
            _log.exception("an order was not expired", order_id=str(order_id))
    return len(due)


def _decide(case: Case, given: Circumstances) -> Decision:
    return settlement.follow(Decision.nothing(case), given=given)
