"""The life of an order: what may happen to it, and what follows.

Each function is one synchronous step over the store, so when pay, close and expiry race, the
one that comes first wins and the others find its result.
"""

import hashlib
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial

from checkstand.simulator import amounts, coins, wallets
from checkstand.simulator.accounts import EntryKind
from checkstand.simulator.coins import Quote
from checkstand.simulator.faults import Stage, Target
from checkstand.simulator.notices import order_data
from checkstand.simulator.records import (
    TRANSITIONS,
    UNPAID_ENDS,
    Move,
    Order,
    OrderStatus,
    Payment,
)
from checkstand.simulator.world import World

DEFAULT_PAYER_ID = "100000001"


class NotPossible(Exception):
    """The order's state does not allow what was asked; nothing changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentTerms:
    """How a payer pays, where it differs from the plain case."""

    commission: Decimal | None = None  # none: the settings' rate
    amount: Decimal | None = None  # misfortune: another amount arrives than was asked
    currency: str | None = None  # misfortune: in another currency
    payer_id: str = DEFAULT_PAYER_ID
    pay_currency: str | None = None  # the coin the payer chooses; none: the order's
    tops_up: bool = False  # whether a payer short of money comes by it on the way
    tells: bool = True  # whether a webhook is sent
    forced: bool = False  # pays an order that has ended unpaid


PLAIN = PaymentTerms()


def open_order(world: World, order: Order) -> Order:
    """Remember a new order and let its time run."""
    began = Move(order.created_ms, order.status, "created")
    opened = world.store.put_order(replace(order, history=(began,)))
    rearm(world, opened)
    return opened


def rearm(world: World, order: Order) -> None:
    """Set the timers of an order: of its expiry, and of a close that was accepted."""
    if OrderStatus.EXPIRED in TRANSITIONS[order.status]:
        world.clock.call_at(order.expires_ms, partial(_time_passes, world, order.prepay_id))
    if order.status is OrderStatus.INITIAL and order.close_requested_ms is not None:
        due_ms = order.close_requested_ms + world.settings.close_delay_ms
        world.clock.call_at(due_ms, partial(_close_lands, world, order.prepay_id))


def start_paying(world: World, order: Order) -> Order:
    """Let the payer begin: from here on the merchant cannot close."""
    return _move(world, order, OrderStatus.PENDING, "the payer started paying")


def pay(world: World, order: Order, terms: PaymentTerms = PLAIN) -> Order:
    """Take the money; raise `NotPossible` unless the order is open or the payment is forced.

    Raises it too when the payer's wallet holds too little or the coin is not among the order's.
    """
    late = terms.forced and order.status in UNPAID_ENDS
    if order.payment is not None:  # a refund that is refused leads to PAID, too; nobody pays twice
        raise NotPossible(f"order {order.merchant_trade_no} is {order.status}: it was paid already")
    if not late:
        _check(order, OrderStatus.PAID)
    spent = _choose_coin(world, order, terms)
    _see_to_funds(world, order, terms, spent)
    payment = _make_payment(world, order, terms, spent)
    wallets.take_payment(world, order, payment)
    why = "paid late" if late else "paid"
    paid = _put(world, replace(order, payment=payment), OrderStatus.PAID, why)
    if terms.tells:
        tell(world, paid, "PAY_SUCCESS")
    return paid


def decline(world: World, order: Order) -> Order:
    """Let the payer walk away: a started payment is undone, an open order stays as it is."""
    if order.status is OrderStatus.INITIAL:
        return order
    return _move(world, order, OrderStatus.INITIAL, "the payer cancelled")


def fail(world: World, order: Order) -> Order:
    """Let the payment fail in the system; no notice of that is documented."""
    return _move(world, order, OrderStatus.ERROR, "the payment failed")


def expire(world: World, order: Order) -> Order:
    """End the order as when its time has passed."""
    expired = _move(world, order, OrderStatus.EXPIRED, "its time passed")
    _tell_closed(world, expired)
    return expired


def request_close(world: World, order: Order) -> Order:
    """Accept a close; it takes effect a moment later, unless the payer is faster."""
    if order.close_requested_ms is not None:
        return order
    now_ms = world.clock.now_ms()
    delay_ms = world.settings.close_delay_ms
    world.clock.call_at(now_ms + delay_ms, partial(_close_lands, world, order.prepay_id))
    return world.store.put_order(replace(order, close_requested_ms=now_ms))


def tell(world: World, order: Order, biz_status: str) -> None:
    """Send the merchant a PAY notice about this order."""
    world.postman.tell(
        merchant_id=order.merchant_id,
        merchant_trade_no=order.merchant_trade_no,
        biz_id=order.prepay_id,
        biz_type="PAY",
        biz_status=biz_status,
        data=order_data(order, now_ms=world.clock.now_ms()),
        url=order.webhook_url,
    )


def open_id(merchant_id: str, payer_id: str) -> str:
    """Return the stable pseudonym under which one merchant knows a payer."""
    return hashlib.sha256(f"{merchant_id}:{payer_id}".encode()).hexdigest()[:32]


def set_status(world: World, order: Order, status: OrderStatus, why: str) -> Order:
    """Move an order on if it is not there already."""
    return order if order.status is status else _move(world, order, status, why)


def _choose_coin(world: World, order: Order, terms: PaymentTerms) -> Quote:
    """Say what the payer spends: other money arriving was spent as such."""
    if terms.amount is not None or terms.currency is not None:
        amount = order.amount if terms.amount is None else terms.amount
        return Quote(terms.currency or order.currency, amount, Decimal(1))
    if terms.pay_currency is None:
        return coins.quote(world, order, order.currency)
    allowed = coins.list_pay_currencies(world, order)
    if terms.pay_currency not in allowed:
        raise NotPossible(
            f"order {order.merchant_trade_no} can be paid with {', '.join(allowed)}, "
            f"so not with {terms.pay_currency}"
        )
    return coins.quote(world, order, terms.pay_currency)


def _see_to_funds(world: World, order: Order, terms: PaymentTerms, spent: Quote) -> None:
    if terms.payer_id not in world.store.payers:
        raise NotPossible(f"there is no payer {terms.payer_id}")
    purse = wallets.funding(terms.payer_id, spent.currency)
    missing = spent.amount - world.store.balances[purse]
    if missing <= 0:
        return
    if not terms.tops_up:
        raise NotPossible(f"the payer lacks {amounts.as_sent(missing)} {spent.currency}")
    reference = order.prepay_id
    wallets.book(world, purse, missing, kind=EntryKind.TOP_UP, reference=reference)


def _make_payment(world: World, order: Order, terms: PaymentTerms, spent: Quote) -> Payment:
    amount = order.amount if terms.amount is None else terms.amount
    commission = terms.commission
    if commission is None:
        commission = amounts.share(amount, world.settings.commission_rate)
    now_ms = world.clock.now_ms()
    target = Target(merchant_id=order.merchant_id, merchant_trade_no=order.merchant_trade_no)
    silent = [fault.parameters["seconds"] for fault in world.faults.draw(Stage.PAYMENT, target)]
    return Payment(
        transaction_id=f"P_{world.randomness.alphanumeric(14).upper()}",
        open_user_id=open_id(order.merchant_id, terms.payer_id),
        payer_id=terms.payer_id,
        amount=amount,
        currency=terms.currency or order.currency,
        commission=commission,
        paid_ms=now_ms,
        spent_currency=spent.currency,
        spent_amount=spent.amount,
        price=spent.price,
        fee_told_from_ms=now_ms + round(max(silent) * 1000) if silent else 0,
    )


def _time_passes(world: World, prepay_id: str) -> None:
    order = world.store.orders[prepay_id]
    if OrderStatus.EXPIRED in TRANSITIONS[order.status]:
        expire(world, order)


def _close_lands(world: World, prepay_id: str) -> None:
    order = world.store.orders[prepay_id]
    target = Target(merchant_id=order.merchant_id, merchant_trade_no=order.merchant_trade_no)
    if order.status is OrderStatus.INITIAL and any(world.faults.draw(Stage.CLOSE, target)):
        order = pay(world, order, PaymentTerms(tops_up=True))
    if OrderStatus.CANCELED in TRANSITIONS[order.status]:
        _tell_closed(world, _move(world, order, OrderStatus.CANCELED, "closed by the merchant"))
    else:
        # Too late: the payer was faster, or is paying. A later close may be asked for again.
        world.store.put_order(replace(order, close_requested_ms=None))


def _tell_closed(world: World, order: Order) -> None:
    if world.settings.sends_pay_closed:
        tell(world, order, "PAY_CLOSED")


def _check(order: Order, status: OrderStatus) -> None:
    if status not in TRANSITIONS[order.status]:
        raise NotPossible(f"order {order.merchant_trade_no} is {order.status}, so not {status}")


def _move(world: World, order: Order, status: OrderStatus, why: str) -> Order:
    _check(order, status)
    return _put(world, order, status, why)


def _put(world: World, order: Order, status: OrderStatus, why: str) -> Order:
    move = Move(world.clock.now_ms(), status, why)
    return world.store.put_order(replace(order, status=status, history=(*order.history, move)))
