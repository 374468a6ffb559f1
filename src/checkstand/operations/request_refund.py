"""Ask money back: set it aside and write the intention; a worker sends it at once.

Nothing is sent to Binance here. Whoever asks hears that the refund is REQUESTED, and later, by
`refund.succeeded` or `refund.failed`, what became of it.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from checkstand.domain import refunding
from checkstand.domain.case import Case, Decision
from checkstand.domain.limits import REFUND_WINDOW, LimitKind, needs_approval
from checkstand.domain.money import Money
from checkstand.domain.payment import Payment
from checkstand.domain.refund import Refund
from checkstand.domain.view import render_refund
from checkstand.errors import Conflict, NotFound, Refused
from checkstand.operations.answer_once import StoredAnswer, answer_once
from checkstand.operations.change_order import order_not_found
from checkstand.operations.fulfil_order import refuse_refund_of_goods_in_hand
from checkstand.operations.resources import Resources
from checkstand.storage import cases, limits, payments, refunds
from checkstand.storage.database import Transaction
from checkstand.storage.idempotency import KeyedRequest

ROUTE: Final = "refund"
ACCEPTED: Final = 202
KNOWN: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundWish:
    """What the shop asks for."""

    order_id: UUID
    merchant_refund_id: str
    amount: Decimal | None  # None: all that is left
    payment_id: UUID | None  # None: the payment that paid the order
    reason: str | None
    is_forced: bool = False  # although the shop has the goods in hand
    requester: str | None = None  # who asks, as `key:<id>`


async def request_refund(
    resources: Resources, *, account_id: UUID, wish: RefundWish, key: str, request_hash: bytes
) -> StoredAnswer:
    """Ask for a refund. Safe to repeat under the same key, or under the same merchant_refund_id.

    Raises NotFound for the order or payment, Conflict for a key or an id that stands for another
    refund, and Refused with a code when the money cannot be asked back.
    """
    request = KeyedRequest(
        account_id=account_id,
        route=ROUTE,
        key=key,
        request_hash=request_hash,
        owner=resources.ids.new(),
    )
    now = resources.clock.now()
    refund_id = resources.ids.new()

    async def step(tx: Transaction) -> StoredAnswer:
        async def work() -> StoredAnswer:
            held = await cases.lock(tx, [(account_id, wish.order_id)])
            case = held.get((account_id, wish.order_id))
            if case is None:
                raise order_not_found(wish.order_id)
            known = await refunds.find_by_merchant_id(tx, account_id, wish.merchant_refund_id)
            if known is not None:
                return _known(known, wish)
            payment = _payment_of(case, wish)
            refund = _refund_of(payment, wish, refund_id=refund_id, resources=resources)
            if not wish.is_forced:
                refuse_refund_of_goods_in_hand(case, now=now, payment_id=payment.payment_id)
            obstacle = refunding.find_obstacle(case, payment, refund.amount.amount)
            if obstacle is not None:
                raise Refused(obstacle.code, obstacle.sentence, field=obstacle.field)
            is_set_aside = await payments.reserve(
                tx, account_id, payment.payment_id, refund.amount.amount
            )
            if not is_set_aside:
                raise AssertionError("the payment is held, so what was left of it is still left")
            refund = await _limited(tx, refund, now=now)
            decision = refunding.request(Decision.nothing(case), refund, now=now)
            await cases.save(tx, [decision], public_url=resources.policy.public_url)
            written = decision.case.refund(refund_id)
            return StoredAnswer(status=ACCEPTED, body=render_refund(written))

        return await answer_once(tx, request, now=now, work=work)

    answer = await resources.database.run(step, name="request_refund")
    resources.refunds_wake.up()
    return answer


async def _limited(tx: Transaction, refund: Refund, *, now: datetime) -> Refund:
    """Let a refund wait for a second person when it is above the account's limits."""
    found = await limits.list_of(tx, refund.account_id)
    currency = refund.amount.currency
    kinds = (LimitKind.REFUNDED_PER_DAY, LimitKind.REFUNDS_PER_DAY)
    if not any(found.find(kind, currency) for kind in kinds):
        return refund
    of_the_day = await limits.sum_refunds(
        tx, refund.account_id, currency, since=now - REFUND_WINDOW
    )
    reason = needs_approval(found, of_the_day, refund)
    if reason is None:
        return refund
    waits = f"waits for a second approver: {reason}"
    return replace(refund, approval_reason=reason, failure=waits)


def _known(known: Refund, wish: RefundWish) -> StoredAnswer:
    """Answer for an id that was used: the same wish is the same refund, another a conflict."""
    same = (
        known.order_id == wish.order_id
        and wish.amount in {None, known.amount.amount}
        and wish.payment_id in {None, known.payment_id}
        and wish.reason == known.reason
    )
    if not same:
        raise Conflict(
            "refund_exists",
            f"merchant_refund_id {wish.merchant_refund_id} stands for another refund",
            field="merchant_refund_id",
            facts={"refund_id": str(known.refund_id)},
        )
    return StoredAnswer(status=KNOWN, body=render_refund(known))


def _payment_of(case: Case, wish: RefundWish) -> Payment:
    """Find the payment that money is asked back of. Raises NotFound or Refused."""
    if wish.payment_id is not None:
        found = next((p for p in case.payments if p.payment_id == wish.payment_id), None)
        if found is None:
            raise NotFound(
                "payment_not_found",
                f"the order has no payment {wish.payment_id}; its `payments` lists them",
                field="payment_id",
            )
        return found
    settled = next((p for p in case.payments if p.payment_id == case.order.settled_by), None)
    if settled is not None:
        return settled
    if len(case.payments) == 1:
        return case.payments[0]
    raise Refused(
        "order_not_refundable",
        "no payment has settled this order; name one of its `payments` by payment_id"
        if case.payments
        else f"the order is {case.order.status}: nothing was paid that could go back",
        field="payment_id" if case.payments else None,
        facts={"order_status": str(case.order.status)},
    )


def _refund_of(
    payment: Payment, wish: RefundWish, *, refund_id: UUID, resources: Resources
) -> Refund:
    amount = payment.refundable if wish.amount is None else wish.amount
    if amount == 0:
        raise Refused(
            "refund_exceeds_payment",
            "all of this payment has gone back or has been asked back",
            field="amount",
        )
    return Refund(
        account_id=payment.account_id,
        order_id=payment.order_id,
        attempt_id=payment.attempt_id,
        payment_id=payment.payment_id,
        refund_id=refund_id,
        merchant_refund_id=wish.merchant_refund_id,
        amount=Money(amount, payment.money.currency),
        requested_at=resources.clock.now(),
        requested_by="merchant",
        requester=wish.requester,
        reason=wish.reason,
    )
