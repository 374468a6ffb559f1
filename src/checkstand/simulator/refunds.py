"""Refunds: out of the merchant's wallet, at most ten asked for per order.

A refund takes the money at once, is pending for a moment, and ends in success or, by a fault,
in failure, which gives the money back. Refunds made by hand in the portal tell nobody; whether
they use up an attempt is a setting.
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Any

from checkstand.simulator import amounts, orders, wallets
from checkstand.simulator.faults import Stage, Target
from checkstand.simulator.notices import refund_data, refund_info
from checkstand.simulator.order_calls import Body
from checkstand.simulator.records import (
    Merchant,
    Order,
    OrderStatus,
    Payment,
    Refund,
    RefundStatus,
)
from checkstand.simulator.rejections import Rejection
from checkstand.simulator.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    refund_request_id: str
    amount: Decimal
    webhook_url: str | None = None
    by_portal: bool = False


def refund(world: World, merchant: Merchant, body: Body) -> object:
    """Accept a refund, or repeat what was said of it: the request id is an idempotency key."""
    request_id = body["refundRequestId"]
    known = world.store.refunds.get((merchant.merchant_id, request_id))
    if known:
        return {**_info(world, known), "duplicateRequest": "Y"}
    order = world.store.orders.get(body["prepayId"])
    if order is None or order.merchant_id != merchant.merchant_id:
        raise Rejection("400301")
    wish = _Wish(
        refund_request_id=request_id,
        amount=body["refundAmount"],
        webhook_url=body.get("webhookUrl"),
    )
    return {**_info(world, _accept(world, order, wish)), "duplicateRequest": "N"}


def query_refund(world: World, merchant: Merchant, body: Body) -> object:
    """Say how a refund stands."""
    found = world.store.refunds.get((merchant.merchant_id, body["refundRequestId"]))
    if found is None:
        raise Rejection("400202")  # no code for an unknown refund is documented
    if world.settings.refund_query_is_current:
        found = _as_of_now(world, found)
    return {
        **_info(world, found),
        "refundedCommission": amounts.as_text(found.refunded_commission),
        "refundCommission": amounts.as_text(found.commission),
        "refundStatus": found.status,
    }


def _as_of_now(world: World, refund: Refund) -> Refund:
    """Bring what a refund says of its order's other refunds up to date."""
    order = world.store.orders[refund.prepay_id]
    counted = [r for r in world.store.list_refunds(refund.prepay_id) if _counts(r)]
    return replace(
        refund,
        refunded_amount=sum((r.amount for r in counted), Decimal()),
        refunded_commission=sum((r.commission for r in counted), Decimal()),
        remaining_attempts=world.settings.refund_attempts_max - order.refund_attempts,
    )


def refund_in_portal(world: World, order: Order, amount: Decimal | None) -> Refund:
    """Refund by hand in the merchant portal: at once, and no webhook tells of it."""
    if amount is None:
        amount = _refundable(world, order)
    request_id = f"PORTAL{world.randomness.digits(16)}"
    wish = _Wish(refund_request_id=request_id, amount=amount, by_portal=True)
    accepted = _accept(world, order, wish)
    _end(world, (accepted.merchant_id, accepted.refund_request_id))
    return world.store.refunds[accepted.merchant_id, accepted.refund_request_id]


def _accept(world: World, order: Order, wish: _Wish) -> Refund:
    """Take the money and start the refund; raise `Rejection` if a rule is against it."""
    payment = order.payment
    if payment is None:
        raise Rejection("400204")  # no code for refunding an unpaid order is documented
    attempts_left = world.settings.refund_attempts_max - order.refund_attempts
    left = _refundable(world, order)
    amount = wish.amount
    if not wish.by_portal:
        if attempts_left <= 0:
            raise Rejection("400302")
        if attempts_left == 1:
            amount = left  # the last attempt returns everything left, whatever was asked
    if amount > left or left <= 0:
        raise Rejection("400303")
    counted = [r for r in world.store.list_refunds(order.prepay_id) if _counts(r)]
    commission = _commission_back(payment, amount, counted)
    purse = wallets.funding(order.merchant_id, payment.currency)
    if world.store.balances[purse] < amount - commission:
        raise Rejection("400304")
    uses_attempt = not wish.by_portal or world.settings.portal_refunds_use_attempts
    attempts = order.refund_attempts + uses_attempt
    refund = world.store.put_refund(
        Refund(
            merchant_id=order.merchant_id,
            refund_request_id=wish.refund_request_id,
            prepay_id=order.prepay_id,
            status=RefundStatus.PENDING,
            amount=amount,
            commission=commission,
            refunded_amount=sum((r.amount for r in counted), amount),
            refunded_commission=sum((r.commission for r in counted), commission),
            remaining_attempts=world.settings.refund_attempts_max - attempts,
            payer_open_id=orders.open_id(order.merchant_id, "merchant"),
            webhook_url=wish.webhook_url,
            by_portal=wish.by_portal,
            requested_ms=world.clock.now_ms(),
        )
    )
    wallets.take_refund(world, refund, payment.currency)
    _show(world, world.store.put_order(replace(order, refund_attempts=attempts)))
    rearm(world, refund)
    return refund


def rearm(world: World, refund: Refund) -> None:
    """Set the timer of a refund that is pending; one made in the portal never waits."""
    if refund.status is RefundStatus.PENDING and not refund.by_portal:
        due_ms = refund.requested_ms + world.settings.refund_delay_ms
        key = (refund.merchant_id, refund.refund_request_id)
        world.clock.call_at(due_ms, partial(_end, world, key))


def _end(world: World, key: tuple[str, str]) -> None:
    """Let a pending refund succeed, or fail where a fault says so, and tell the merchant."""
    refund = world.store.refunds[key]
    order = world.store.orders[refund.prepay_id]
    target = Target(merchant_id=order.merchant_id, merchant_trade_no=order.merchant_trade_no)
    failed = not refund.by_portal and any(world.faults.draw(Stage.REFUND, target))
    if order.payment and failed:
        wallets.take_refund(world, refund, order.payment.currency, back=True)
    elif order.payment:
        wallets.give_refund(world, refund, order.payment)
    status = RefundStatus.FAIL if failed else RefundStatus.SUCCESS
    refund = world.store.put_refund(replace(refund, status=status))
    order = _show(world, order)
    if refund.by_portal:
        return
    world.postman.tell(
        merchant_id=order.merchant_id,
        merchant_trade_no=order.merchant_trade_no,
        biz_id=order.prepay_id,
        biz_type="PAY_REFUND",
        biz_status="REFUND_REJECTED" if failed else "REFUND_SUCCESS",
        data=refund_data(order, refund, now_ms=world.clock.now_ms()),
        url=refund.webhook_url,
    )


def _show(world: World, order: Order) -> Order:
    """Give the order the status that follows from its refunds."""
    refunds = world.store.list_refunds(order.prepay_id)
    pending = any(r.status is RefundStatus.PENDING for r in refunds)
    done = sum((r.amount for r in refunds if r.status is RefundStatus.SUCCESS), Decimal())
    if order.payment and done >= order.payment.amount:
        status = OrderStatus.FULL_REFUNDED
    elif pending and world.settings.shows_refunding:
        status = OrderStatus.REFUNDING
    elif done:
        status = OrderStatus.REFUNDED
    else:
        status = OrderStatus.PAID
    return orders.set_status(world, order, status, "refunds moved")


def _refundable(world: World, order: Order) -> Decimal:
    if order.payment is None:
        return Decimal()
    taken = [r.amount for r in world.store.list_refunds(order.prepay_id) if _counts(r)]
    return order.payment.amount - sum(taken, Decimal())


def _counts(refund: Refund) -> bool:
    return refund.status is not RefundStatus.FAIL


def _commission_back(payment: Payment, amount: Decimal, counted: list[Refund]) -> Decimal:
    """Return the fee's part that comes back; the refund that empties the order gets the rest."""
    fee, total = payment.commission, payment.amount
    returned = sum((r.commission for r in counted), Decimal())
    if sum((r.amount for r in counted), amount) >= total:
        return fee - returned
    return amounts.share(amount, fee / total)


def _info(world: World, refund: Refund) -> dict[str, Any]:
    return refund_info(world.store.orders[refund.prepay_id], refund)
