"""The books: what a merchant has and where it came from, in transfers that balance by construction.

A transfer is one amount of one asset from a credited account to a debited one. What a case must
have in the books follows from its payments and refunds alone (`entries_of`); a decision books the
difference between its case before and after (`transfers_of`). A transfer is known by its kind and
its fact: the payment, the refund, the fee of either; never the channel it was heard by. What may
happen again to the same fact (a figure that changes) carries the order's version as well.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final
from uuid import UUID

from checkstand.domain.case import Decision
from checkstand.domain.money import render_amount
from checkstand.domain.payment import Payment
from checkstand.domain.refund import Refund, RefundStatus


class Book(StrEnum):
    """The chart of accounts, kept for each merchant account and asset."""

    FUNDING = "binance:funding"  # the wallet that payments arrive in and refunds leave from
    SPOT = "binance:spot"  # the other wallet at Binance
    SALES = "sales"  # what shoppers paid for
    FEES = "fees"  # what Binance kept
    REFUNDS = "refunds"  # what went back of sales
    SUSPENSE = "suspense"  # money that arrived and that nobody has decided about
    IN_TRANSIT = "in_transit"  # left one place and not yet seen at the other
    EXCHANGE = "exchange"  # the other side of conversions, so that each asset balances
    EXTERNAL = "external"  # everywhere outside Binance


class TransferKind(StrEnum):
    """What a transfer books."""

    PAYMENT = "payment"
    PAYMENT_CORRECTED = "payment_corrected"
    PAYMENT_RELEASED = "payment_released"  # held money was decided about
    FEE = "fee"
    FEE_CORRECTED = "fee_corrected"
    REFUND = "refund"
    REFUND_CORRECTED = "refund_corrected"
    REFUND_RELEASED = "refund_released"  # its payment was held, and no longer is
    FEE_RETURNED = "fee_returned"
    FEE_RETURN_CORRECTED = "fee_return_corrected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """One movement in the books: never changed, never removed."""

    account_id: UUID
    kind: str
    fact: str
    asset: str
    amount: Decimal  # always more than zero: the accounts say the direction
    debit: str
    credit: str
    at: datetime
    order_id: UUID | None = None
    payment_id: UUID | None = None
    refund_id: UUID | None = None
    group_id: UUID | None = None  # transfers that are one act, such as both halves of a conversion


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What must be in the books about one fact as it now stands."""

    kind: TransferKind
    fact: UUID
    asset: str
    amount: Decimal  # below zero where Binance says so
    debit: Book
    credit: Book
    at: datetime
    payment_id: UUID
    refund_id: UUID | None = None


#: What a change of an entry's figure is called.
_CORRECTED: Final = {
    TransferKind.PAYMENT: TransferKind.PAYMENT_CORRECTED,
    TransferKind.FEE: TransferKind.FEE_CORRECTED,
    TransferKind.REFUND: TransferKind.REFUND_CORRECTED,
    TransferKind.FEE_RETURNED: TransferKind.FEE_RETURN_CORRECTED,
}
#: What a change of an entry's accounts is called: only a hold that ends (or begins) makes one.
_RELEASED: Final = {
    TransferKind.PAYMENT: TransferKind.PAYMENT_RELEASED,
    TransferKind.REFUND: TransferKind.REFUND_RELEASED,
}

#: A fact (its id as text), an account and an asset, and what stands there: debits less credits.
Positions = Mapping[tuple[str, str, str], Decimal]


def entries_of(payments: Sequence[Payment], refunds: Sequence[Refund]) -> Iterator[Entry]:
    """Say what payments and refunds must have in the books. What is not known is not there."""
    held = {payment.payment_id for payment in payments if payment.held}
    for payment in payments:
        yield from _of_payment(payment)
    for refund in refunds:
        if refund.status is RefundStatus.SUCCEEDED:
            yield from _of_refund(refund, held=refund.payment_id in held)


def transfers_of(decision: Decision) -> tuple[Transfer, ...]:
    """Book what a decision changed: the difference between its case before and after."""
    before = _by_fact(entries_of(decision.before.payments, decision.before.refunds))
    after = _by_fact(entries_of(decision.case.payments, decision.case.refunds))
    booked: list[Transfer] = []
    for key, entry in after.items():
        booked += _difference(decision, before.get(key), entry)
    return tuple(booked)


def positions_of(entries: Iterable[Entry]) -> Positions:
    """Add up entries for each fact, account and asset; what is zero is left out."""
    return _add_up(
        (str(e.refund_id or e.payment_id), e.asset, e.amount, e.debit, e.credit) for e in entries
    )


def positions_in(transfers: Iterable[Transfer]) -> Positions:
    """Add up transfers as `positions_of` does entries: both agree where the books are right."""
    return _add_up(
        (str(t.refund_id or t.payment_id), t.asset, t.amount, t.debit, t.credit) for t in transfers
    )


def _of_payment(payment: Payment) -> Iterator[Entry]:
    asset = payment.money.currency
    yield Entry(
        kind=TransferKind.PAYMENT,
        fact=payment.payment_id,
        asset=asset,
        amount=payment.money.amount,
        debit=Book.FUNDING,
        credit=Book.SUSPENSE if payment.held else Book.SALES,
        at=payment.received_at,
        payment_id=payment.payment_id,
    )
    if payment.fee is not None:
        yield Entry(
            kind=TransferKind.FEE,
            fact=payment.payment_id,
            asset=asset,
            amount=payment.fee,
            debit=Book.FEES,
            credit=Book.FUNDING,
            at=payment.fee_learnt_at or payment.received_at,
            payment_id=payment.payment_id,
        )


def _of_refund(refund: Refund, *, held: bool) -> Iterator[Entry]:
    asset, at = refund.amount.currency, refund.ended_at or refund.requested_at
    yield Entry(
        kind=TransferKind.REFUND,
        fact=refund.refund_id,
        asset=asset,
        amount=refund.amount.amount if refund.returned is None else refund.returned,
        debit=Book.SUSPENSE if held else Book.REFUNDS,
        credit=Book.FUNDING,
        at=at,
        payment_id=refund.payment_id,
        refund_id=refund.refund_id,
    )
    if refund.fee_returned is not None:
        yield Entry(
            kind=TransferKind.FEE_RETURNED,
            fact=refund.refund_id,
            asset=asset,
            amount=refund.fee_returned,
            debit=Book.FUNDING,
            credit=Book.FEES,
            at=max(at, refund.fee_return_learnt_at or at),
            payment_id=refund.payment_id,
            refund_id=refund.refund_id,
        )


def _by_fact(entries: Iterable[Entry]) -> dict[tuple[TransferKind, UUID], Entry]:
    return {(entry.kind, entry.fact): entry for entry in entries}


def _difference(decision: Decision, known: Entry | None, entry: Entry) -> Iterator[Transfer]:
    """Book one entry: whole when it is new, else what changed about it."""
    if known is None:
        yield from _move(decision, entry, entry.kind, entry.amount, entry.debit, entry.credit)
        return
    for debit, credit in ((known.credit, entry.credit), (entry.debit, known.debit)):
        if debit is not credit:  # what stands on one account goes over to the other
            kind = _RELEASED[entry.kind]
            yield from _move(decision, entry, kind, known.amount, debit, credit, again=True)
    more = entry.amount - known.amount
    kind = _CORRECTED[entry.kind]
    yield from _move(decision, entry, kind, more, entry.debit, entry.credit, again=True)


def _move(
    decision: Decision,
    entry: Entry,
    kind: TransferKind,
    amount: Decimal,
    debit: Book,
    credit: Book,
    *,
    again: bool = False,
) -> Iterator[Transfer]:
    if amount == 0:
        return
    if amount < 0:
        debit, credit = credit, debit
    order, steps = decision.case.order, decision.steps
    yield Transfer(
        account_id=order.account_id,
        kind=kind,
        fact=f"{entry.fact}@{order.version}" if again else str(entry.fact),
        asset=entry.asset,
        amount=abs(amount),
        debit=debit,
        credit=credit,
        at=steps[-1].at if again and steps else entry.at,
        order_id=order.order_id,
        payment_id=entry.payment_id,
        refund_id=entry.refund_id,
    )


def _add_up(lines: Iterable[tuple[str, str, Decimal, str, str]]) -> Positions:
    sums: defaultdict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
    for fact, asset, amount, debit, credit in lines:
        sums[fact, str(debit), asset] += amount
        sums[fact, str(credit), asset] -= amount
    return {key: amount for key, amount in sums.items() if amount != 0}


def render_transfer(transfer: Transfer) -> str:
    """Write a transfer as the one text that is hashed when it is sealed. It names nobody."""
    ids = (transfer.order_id, transfer.payment_id, transfer.refund_id, transfer.group_id)
    parts = (
        transfer.account_id,
        transfer.kind,
        transfer.fact,
        transfer.asset,
        render_amount(transfer.amount),
        transfer.debit,
        transfer.credit,
        transfer.at.astimezone(UTC).isoformat(timespec="microseconds"),
        *("" if id_ is None else id_ for id_ in ids),
    )
    return json.dumps([str(part) for part in parts], separators=(",", ":"))
