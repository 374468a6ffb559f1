"""What the control API says of the simulator's memory: plain JSON, amounts as text, no secrets."""

from typing import Any

import msgspec

from checkstand.simulator.accounts import Payer, Wallet
from checkstand.simulator.clock import SimulatedClock
from checkstand.simulator.faults import Fault
from checkstand.simulator.records import Credential, Merchant, Notice, Order, Refund
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
        "payers": [payer_report(world, each) for each in store.payers.values()],
        "transfers": [_plain(each) for each in store.transfers.values()],
        "payouts": [_plain(each) for each in store.payouts.values()],
        "sub_merchants": [_plain(each) for each in store.sub_merchants.values()],
        "balance_reports": [_plain(each) for each in store.balance_reports.values()],
        "entries": [_plain(each) for each in store.entries],
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
    """Return a merchant with wallets and API keys, without the secrets."""
    store, merchant_id = world.store, merchant.merchant_id
    return {
        "merchant_id": merchant_id,
        "name": merchant.name,
        "api_keys": [k for k, c in store.credentials.items() if c.merchant_id == merchant_id],
        "keys": [
            key_report(each, credential)
            for each, credential in store.credentials.items()
            if credential.merchant_id == merchant_id
        ],
        "webhook_url": merchant.webhook_url,
        "wallets": wallets_report(world, merchant_id),
    }


def key_report(api_key: str, credential: Credential) -> dict[str, Any]:
    """Return an API key with what it may do and from where."""
    return {
        "api_key": api_key,
        "features": sorted(credential.features),
        "trusted_ips": sorted(credential.trusted_ips),
    }


def payer_report(world: World, payer: Payer) -> dict[str, Any]:
    """Return a payer with wallets."""
    wallets = wallets_report(world, payer.payer_id)
    return {"payer_id": payer.payer_id, "name": payer.name, "wallets": wallets}


def wallets_report(world: World, owner: str) -> dict[str, dict[str, str]]:
    """Return what somebody has: wallet, coin, amount."""
    wallets: dict[str, dict[str, str]] = {wallet: {} for wallet in Wallet}
    for purse, balance in world.store.list_purses(owner).items():
        wallets[purse.wallet][purse.currency] = format(balance, "f")
    return wallets


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
