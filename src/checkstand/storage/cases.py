"""Cases: an order with everything known about it, read together and saved together."""

from collections import defaultdict
from collections.abc import Sequence
from typing import TypeVar
from uuid import UUID

from checkstand.domain.anomaly import Anomaly
from checkstand.domain.attempt import Attempt
from checkstand.domain.case import Case, Decision
from checkstand.domain.order import Order
from checkstand.domain.payment import Payment
from checkstand.storage import anomalies, attempts, events, orders, payments
from checkstand.storage.attempts import Holding
from checkstand.storage.database import Transaction

Key = tuple[UUID, UUID]  # account_id, order_id
Row = TypeVar("Row", Attempt, Payment, Anomaly)


async def lock(
    tx: Transaction, keys: Sequence[Key], *, skips_held: bool = False
) -> dict[Key, Case]:
    """Hold orders and their attempts, in the one global order, and read the rest of each case.

    With `skips_held` a case of which somebody else holds anything is left out.
    """
    unique = sorted(set(keys))
    if not unique:
        return {}
    held = await orders.lock(tx, unique, skips_held=skips_held)
    return await _gather(tx, held, holding=Holding.FREE if skips_held else Holding.ALL)


async def get_many(tx: Transaction, keys: Sequence[Key]) -> dict[Key, Case]:
    """Read cases as they stand, holding nothing."""
    unique = sorted(set(keys))
    if not unique:
        return {}
    return await _gather(tx, await orders.get_many(tx, unique), holding=Holding.NOTHING)


async def save(tx: Transaction, decisions: Sequence[Decision], *, public_url: str) -> None:
    """Write everything that decisions changed: state, history and what the shop is told."""
    changed = [d for d in decisions if d.case != d.before or d.steps]
    await orders.save(tx, changed)
    await attempts.save(tx, changed)
    await payments.save(tx, changed)
    await anomalies.save(tx, changed)
    await orders.append_history(tx, changed)
    await events.append(tx, changed, public_url=public_url)


async def _gather(tx: Transaction, found: Sequence[Order], *, holding: Holding) -> dict[Key, Case]:
    if not found:
        return {}
    keys = [(order.account_id, order.order_id) for order in found]
    # What follows is asked once the orders are held, so nobody adds to it any more.
    with_attempts = await attempts.of_orders(tx, keys, holding=holding)
    paid = {_key(f.attempt) for f in with_attempts if f.has_payments}
    odd = {_key(f.attempt) for f in with_attempts if f.has_anomalies}
    all_attempts = _by_order([f.attempt for f in with_attempts])
    all_payments = _by_order(await payments.of_orders(tx, sorted(paid)))
    all_anomalies = _by_order(await anomalies.of_orders(tx, sorted(odd)))
    wanted = {_key(f.attempt): f.of_order for f in with_attempts}
    return {
        key: Case(
            order=order,
            attempts=tuple(all_attempts[key]),
            payments=tuple(all_payments[key]),
            anomalies=tuple(all_anomalies[key]),
        )
        for key, order in zip(keys, found, strict=True)
        if holding is not Holding.FREE or len(all_attempts[key]) == wanted.get(key)
    }


def _by_order(rows: Sequence[Row]) -> defaultdict[Key, list[Row]]:
    grouped: defaultdict[Key, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[_key(row)].append(row)
    return grouped


def _key(row: Attempt | Payment | Anomaly) -> Key:
    return row.account_id, row.order_id
