"""Cases: an order with everything known about it, read together and saved together."""

from collections.abc import Sequence
from uuid import UUID

from checkstand.domain.case import Case, Decision
from checkstand.domain.order import Order
from checkstand.storage import anomalies, attempts, events, ledger, orders, payments, refunds
from checkstand.storage.database import Transaction

Key = tuple[UUID, UUID]  # account_id, order_id


async def lock(tx: Transaction, keys: Sequence[Key]) -> dict[Key, Case]:
    """Hold orders, their attempts and refunds, in the one global order; read their whole cases."""
    unique = sorted(set(keys))
    if not unique:
        return {}
    held = await orders.lock(tx, unique)
    return await _gather(tx, held, lock=True)


async def get_many(tx: Transaction, keys: Sequence[Key]) -> dict[Key, Case]:
    """Read cases as they stand, holding nothing."""
    unique = sorted(set(keys))
    if not unique:
        return {}
    return await _gather(tx, await orders.get_many(tx, unique), lock=False)


async def save(tx: Transaction, decisions: Sequence[Decision], *, public_url: str) -> None:
    """Write everything that decisions changed: state, history, books, what the shop is told."""
    changed = [d for d in decisions if d.case != d.before or d.steps]
    await orders.save(tx, changed)
    await attempts.save(tx, changed)
    await payments.save(tx, changed)
    await refunds.save(tx, changed)
    await anomalies.save(tx, changed)
    await orders.append_history(tx, changed)
    await ledger.record(tx, changed)
    await events.append(tx, changed, public_url=public_url)


async def _gather(tx: Transaction, found: Sequence[Order], *, lock: bool) -> dict[Key, Case]:
    keys = [(order.account_id, order.order_id) for order in found]
    all_attempts = await attempts.of_orders(tx, keys, lock=lock)
    all_payments = await payments.of_orders(tx, keys)
    all_anomalies = await anomalies.of_orders(tx, keys)
    all_refunds = await refunds.of_orders(tx, keys, lock=lock)
    return {
        (order.account_id, order.order_id): Case(
            order=order,
            attempts=tuple(a for a in all_attempts if a.order_id == order.order_id),
            payments=tuple(p for p in all_payments if p.order_id == order.order_id),
            anomalies=tuple(a for a in all_anomalies if a.order_id == order.order_id),
            refunds=tuple(r for r in all_refunds if r.order_id == order.order_id),
        )
        for order in found
    }
