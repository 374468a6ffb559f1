"""Transfers between a merchant's own wallets: funding to spot and back.

The request id is an idempotency key, and a replay says so in the envelope. That a wallet which
is short ends in FAILURE rather than in a code is a guess.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

from checkstand.simulator import amounts
from checkstand.simulator.accounts import EntryKind, Purse, Transfer, TransferStatus, Wallet
from checkstand.simulator.records import Merchant
from checkstand.simulator.rejections import Rejection
from checkstand.simulator.wallets import book
from checkstand.simulator.wire import Repeated
from checkstand.simulator.world import World

Body = Mapping[str, Any]
_WAYS: Final = {
    "TO_MAIN": (Wallet.FUNDING, Wallet.SPOT),
    "TO_PAY": (Wallet.SPOT, Wallet.FUNDING),
}


def transfer(world: World, merchant: Merchant, body: Body) -> object:
    """Move money to the other wallet, or repeat what was said of it."""
    known = world.store.transfers.get((merchant.merchant_id, body["requestId"]))
    if known:
        return Repeated(_described(known))
    if body["currency"] not in world.settings.currencies:
        raise Rejection("400102", "currency")
    asked = Transfer(
        merchant_id=merchant.merchant_id,
        request_id=body["requestId"],
        currency=body["currency"],
        amount=body["amount"],
        transfer_type=body["transferType"],
        status=TransferStatus.PROCESS,
        requested_ms=world.clock.now_ms(),
    )
    return _described(_start(world, asked))


def query_transfer(world: World, merchant: Merchant, body: Body) -> object:
    """Say how a transfer stands."""
    found = world.store.transfers.get((merchant.merchant_id, body["tranId"]))
    if found is None:
        raise Rejection("400202")  # no code for an unknown transfer is documented
    data = _described(found)
    return {key: data[key] for key in ("tranId", "status", "currency", "amount")}


def rearm(world: World, waiting: Transfer) -> None:
    """Set the timer of a transfer that is under way."""
    if waiting.status is TransferStatus.PROCESS:
        due_ms = waiting.requested_ms + world.settings.transfer_delay_ms
        key = (waiting.merchant_id, waiting.request_id)
        world.clock.call_at(due_ms, partial(_arrive, world, key))


def _start(world: World, asked: Transfer) -> Transfer:
    """Take the money; it arrives at once, or when the settings say so."""
    source, _ = _WAYS[asked.transfer_type]
    purse = Purse(asked.merchant_id, source, asked.currency)
    key = (asked.merchant_id, asked.request_id)
    if world.store.balances[purse] < asked.amount:
        world.store.transfers[key] = replace(asked, status=TransferStatus.FAILURE)
        return world.store.transfers[key]
    book(world, purse, -asked.amount, kind=EntryKind.TRANSFER, reference=asked.request_id)
    world.store.transfers[key] = asked
    if world.settings.transfer_delay_ms:
        rearm(world, asked)
    else:
        _arrive(world, key)
    return world.store.transfers[key]


def _arrive(world: World, key: tuple[str, str]) -> None:
    arrived = world.store.transfers[key]
    _, target = _WAYS[arrived.transfer_type]
    purse = Purse(arrived.merchant_id, target, arrived.currency)
    book(world, purse, arrived.amount, kind=EntryKind.TRANSFER, reference=arrived.request_id)
    world.store.transfers[key] = replace(arrived, status=TransferStatus.SUCCESS)


def _described(transfer: Transfer) -> dict[str, Any]:
    return {
        "tranId": transfer.request_id,
        "status": transfer.status,
        "currency": transfer.currency,
        "amount": amounts.as_sent(transfer.amount),
        "transferType": transfer.transfer_type,
    }
