"""Moves money between wallets: the only place where a balance changes.

A merchant's payments arrive in the funding wallet net of commission, as two entries; payers pay
from a funding wallet too. Whether something may move is asked of the callers, not here.
"""

from decimal import Decimal

from checkstand.simulator.accounts import Entry, EntryKind, Purse, Wallet
from checkstand.simulator.records import Order, Payment, Refund
from checkstand.simulator.world import World


def funding(owner: str, currency: str) -> Purse:
    """Return the purse that payments go through."""
    return Purse(owner, Wallet.FUNDING, currency)


def book(
    world: World, purse: Purse, amount: Decimal, *, kind: EntryKind, reference: str
) -> Entry | None:
    """Add `amount`, or take it if below zero; nothing at all leaves no entry."""
    now_ms = world.clock.now_ms()
    return world.store.book(purse, amount, at_ms=now_ms, kind=kind, reference=reference)


def take_payment(world: World, order: Order, payment: Payment) -> None:
    """Take what the payer spends, and give the merchant what arrives, less the commission."""
    reference = order.prepay_id
    spent = funding(payment.payer_id, payment.spent_currency)
    book(world, spent, -payment.spent_amount, kind=EntryKind.PAYMENT, reference=reference)
    earned = funding(order.merchant_id, payment.currency)
    book(world, earned, payment.amount, kind=EntryKind.PAYMENT, reference=reference)
    book(world, earned, -payment.commission, kind=EntryKind.COMMISSION, reference=reference)


def take_refund(world: World, refund: Refund, currency: str, *, back: bool = False) -> None:
    """Take a refund out of the merchant's wallet, less the fee's share; `back` undoes it."""
    purse, sign = funding(refund.merchant_id, currency), 1 if back else -1
    reference = refund.refund_request_id
    book(world, purse, sign * refund.amount, kind=EntryKind.REFUND, reference=reference)
    fee = -sign * refund.commission
    book(world, purse, fee, kind=EntryKind.COMMISSION_BACK, reference=reference)


def give_refund(world: World, refund: Refund, payment: Payment) -> None:
    """Give the payer the money back, in the order's currency."""
    purse = funding(payment.payer_id, payment.currency)
    reference = refund.refund_request_id
    book(world, purse, refund.amount, kind=EntryKind.REFUND, reference=reference)
