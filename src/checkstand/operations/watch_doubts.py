"""Tell a person, once, of outcomes that stay unknown; and close that when they are known."""

from datetime import datetime
from uuid import UUID

import structlog

from checkstand.domain import doubt
from checkstand.domain.anomaly import AnomalyKind
from checkstand.domain.case import Case, Decision
from checkstand.domain.settlement import Circumstances
from checkstand.operations.change_order import change_order
from checkstand.operations.resources import Resources
from checkstand.storage import anomalies, attempts, doubts, refunds
from checkstand.storage.database import Transaction

_log = structlog.get_logger()


async def watch_doubts(resources: Resources, *, limit: int = 500) -> int:
    """Look at what is unknown for too long; return how many orders were looked at.

    Safe to run on any number of hosts: each doubt is told once.
    """
    now, patience = resources.clock.now(), resources.policy.patience

    async def read(tx: Transaction) -> set[tuple[UUID, UUID]]:
        unknown_before = now - patience.unknown
        of_attempts = await attempts.list_in_doubt(
            tx,
            unknown_before=unknown_before,
            paying_before=now - patience.paying,
            limit=limit,
        )
        of_refunds = await refunds.list_in_doubt(tx, unknown_before=unknown_before, limit=limit)
        told = await anomalies.list_orders_with_open(tx, AnomalyKind.UNKNOWN_TOO_LONG, limit=limit)
        return {*of_attempts, *of_refunds, *told}

    def decide(case: Case, given: Circumstances) -> Decision:
        decision = doubt.open_overdue(Decision.nothing(case), patience=patience, now=given.now)
        return doubt.settle_known(decision, now=given.now)

    found = sorted(await resources.database.read(read))
    for account_id, order_id in found:
        try:
            await change_order(
                resources,
                account_id=account_id,
                order_id=order_id,
                decide=decide,
                name="watch_doubts",
            )
        except Exception:  # noqa: BLE001  (whatever it is, the next order is another matter)
            _log.exception("a doubt was not told", order_id=str(order_id))
    await _warn(resources, now=now)
    return len(found)


async def _warn(resources: Resources, *, now: datetime) -> None:
    async def read(tx: Transaction) -> datetime | None:
        return await doubts.oldest(tx, now=now)

    since = await resources.database.read(read)
    if since is not None and now - since >= resources.policy.patience.unknown:
        _log.warning("an outcome stays unknown", oldest_seconds=int((now - since).total_seconds()))
