"""What the control API says of the simulator's memory: plain JSON, amounts as text, no secrets."""

from typing import Any

import msgspec

from checkstand.simulator.clock import SimulatedClock
from checkstand.simulator.faults import Fault
from checkstand.simulator.records import Merchant, Notice, Order, Refund
from checkstand.simulator.world import World


def state_report(world: World) -> dict[str, Any]:
    """Return everything the simulator knows."""
    store = world.store
    return {
        "clock": clock_report(world.clock),
        "merchants": [merchant_report(world, each) for each in store.merchants.values()],
        "orders": [order_report(each) for each in store.orders.values()],
        "payments": [
            {"prepay_id": order.prepay_id, **msgspec.to_builtins(order.payment)}
            for order in store.orders.values()
            if order.payment
        ],
        "refunds": [refund_report(each) for each in store.refunds.values()],
        "webhooks": [notice_report(each) for each in store.notices],
        "faults": [fault_report(each) for each in world.faults.listed],
        "certificates": [key.serial for key in world.keys.listed],
    }


def clock_report(clock: SimulatedClock) -> dict[str, Any]:
    """Return what the clock shows and does."""
    return {
        "now": clock.now(),
        "now_ms": clock.now_ms(),
        "frozen": clock.frozen,
        "speed": clock.speed,
        "next_due_ms": clock.next_due_ms,
    }


def merchant_report(world: World, merchant: Merchant) -> dict[str, Any]:
    """Return a merchant with wallet and API keys, without the secrets."""
    store, merchant_id = world.store, merchant.merchant_id
    return {
        "merchant_id": merchant_id,
        "name": merchant.name,
        "api_keys": [k for k, c in store.credentials.items() if c.merchant_id == merchant_id],
        "webhook_url": merchant.webhook_url,
        "wallet": {
            currency: format(balance, "f")
            for (owner, currency), balance in store.wallets.items()
            if owner == merchant_id
        },
    }


def order_report(order: Order) -> dict[str, Any]:
    """Return an order with its links, payment and history."""
    return _plain(order)


def refund_report(refund: Refund) -> dict[str, Any]:
    """Return a refund."""
    return _plain(refund)


def notice_report(notice: Notice) -> dict[str, Any]:
    """Return a webhook with its body as text and every try."""
    return {**_plain(notice), "body": notice.body.decode()}


def fault_report(fault: Fault) -> dict[str, Any]:
    """Return a fault with the strikes it has left."""
    return _plain(fault)


def _plain(record: object) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(record)
    return plain
