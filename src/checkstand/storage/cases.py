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
from checkstand.domain.refund import Refund
from checkstand.storage import anomalies, attempts, events, ledger, orders, payments, refunds
from checkstand.storage.attempts import Holding
from checkstand.storage.database import Transaction

Key = tuple[UUID, UUID]  # account_id, order_id
Row = TypeVar("Row", Attempt, Payment, Anomaly, Refund)


async def lock(
    tx: Transaction, keys: Sequence[Key], *, skips_held: bool = False
) -> dict[Key, Case]:
    """Hold orders, their attempts and refunds, in the one global order; read their whole cases.

    With `skips_held` a case of which somebody else holds anything is left out. A refund is held
    alone only while its lease is taken, which is waited for.
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


async def _gather(tx: Transaction, found: Sequence[Order], *, holding: Holding) -> dict[Key, Case]:
    if not found:
        return {}
    keys = [(order.account_id, order.order_id) for order in found]
    # What follows is asked once the orders are held, so nobody adds to it any more.
    with_attempts = await attempts.of_orders(tx, keys, holding=holding)
    paid = sorted({_key(f.attempt) for f in with_attempts if f.has_payments})
    odd = sorted({_key(f.attempt) for f in with_attempts if f.has_anomalies})
    all_attempts = _by_order([f.attempt for f in with_attempts])
    all_payments = _by_order(await payments.of_orders(tx, paid))
    all_anomalies = _by_order(await anomalies.of_orders(tx, odd))
    holds = holding is not Holding.NOTHING
    all_refunds = _by_order(await refunds.of_orders(tx, paid, lock=holds))
    wanted = {_key(f.attempt): f.of_order for f in with_attempts}
    return {
        key: Case(
            order=order,
            attempts=tuple(all_attempts[key]),
            payments=tuple(all_payments[key]),
            anomalies=tuple(all_anomalies[key]),
            refunds=tuple(all_refunds[key]),
        )
        for key, order in zip(keys, found, strict=True)
        if holding is not Holding.FREE or len(all_attempts[key]) == wanted.get(key)
    }


def _by_order(rows: Sequence[Row]) -> defaultdict[Key, list[Row]]:
    grouped: defaultdict[Key, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[_key(row)].append(row)
    return grouped


def _key(row: Attempt | Payment | Anomaly | Refund) -> Key:
    return row.account_id, row.order_id
