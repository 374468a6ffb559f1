"""Renew an order's code: the old one is closed first, so that never two can be paid."""

from dataclasses import replace
from datetime import timedelta
from typing import Final, TypeVar
from uuid import UUID

from checkstand.domain import settlement
from checkstand.domain.act import SHOP, SHOPPER, Doer
from checkstand.domain.attempt import SHORTEST_LIFE, AttemptStatus
from checkstand.domain.case import Case, Decision
from checkstand.domain.order import UNPAID, OrderStatus
from checkstand.domain.settlement import Circumstances
from checkstand.domain.view import render_links, render_order
from checkstand.errors import Conflict, Refused
from checkstand.operations.answer_once import StoredAnswer, answer_once
from checkstand.operations.change_order import Deed, plan_change, wake_after_change
from checkstand.operations.resources import Resources
from checkstand.storage import cases
from checkstand.storage.database import Step, Transaction, UniqueViolation
from checkstand.storage.idempotency import KeyedRequest

T = TypeVar("T")

ROUTE: Final = "renew"
ACCEPTED: Final = 202

_ONE_LIVE_PER_CART: Final = "orders_one_live_per_cart"


async def renew_order(
    resources: Resources,
    *,
    account_id: UUID,
    order_id: UUID,
    expires_in: timedelta | None = None,
    doer: Doer = SHOP,
) -> Case:
    """Ask for a fresh code; it appears once the old one cannot be paid. Two at once are one.

    The shop brings an EXPIRED order back to life so, for `expires_in` or as long as it was to live
    at first; a shopper renews only while the order lives. Raises NotFound, Refused for an order
    that is over, paid, or being paid, and Conflict when its cart has another live order by now.
    """
    change = _plan(
        resources, account_id=account_id, order_id=order_id, expires_in=expires_in, doer=doer
    )
    return await _run(resources, change)


async def renew_order_once(
    resources: Resources,
    *,
    account_id: UUID,
    order_id: UUID,
    key: str,
    request_hash: bytes,
    expires_in: timedelta | None = None,
    doer: Doer = SHOP,
) -> StoredAnswer:
    """Renew as `renew_order` does, once under one key, whatever crashes; answer with the order.

    A replay tells what was answered at first, with the links as they are now. Raises Conflict for
    a key that was used for something else, and what `renew_order` raises.
    """
    request = KeyedRequest(
        account_id=account_id,
        route=ROUTE,
        key=key,
        request_hash=request_hash,
        owner=resources.ids.new(),
    )
    now = resources.clock.now()
    change = _plan(
        resources, account_id=account_id, order_id=order_id, expires_in=expires_in, doer=doer
    )

    async def step(tx: Transaction) -> StoredAnswer:
        async def work() -> StoredAnswer:
            case = await change(tx)
            body = render_order(case, public_url=resources.policy.public_url)
            return StoredAnswer(status=ACCEPTED, body=body)

        answer = await answer_once(tx, request, now=now, work=work)
        if not answer.replayed:
            return answer
        place = (account_id, order_id)
        case = (await cases.get_many(tx, [place]))[place]
        return replace(answer, body={**answer.body, **render_links(case)})

    return await _run(resources, step)


def _plan(
    resources: Resources,
    *,
    account_id: UUID,
    order_id: UUID,
    expires_in: timedelta | None,
    doer: Doer,
) -> Step[Case]:
    def decide(case: Case, given: Circumstances) -> Decision:
        if doer.actor != SHOPPER.actor and _can_revive(case):
            return _revive(case, given, expires_in=expires_in, doer=doer)
        if expires_in is not None:
            raise Refused(
                "invalid_request",
                f"only an EXPIRED order gets a new lifetime; this one is {case.order.status}",
                field="expires_in",
            )
        return _decide(case, given)

    return plan_change(
        resources,
        account_id=account_id,
        order_id=order_id,
        decide=decide,
        deed=Deed(doer=doer, what="renew the code"),
    )


async def _run(resources: Resources, step: Step[T]) -> T:
    try:
        done = await resources.database.run(step, name="renew_order")
    except UniqueViolation as error:
        if error.constraint_name != _ONE_LIVE_PER_CART:
            raise
        raise Conflict(
            "cart_has_live_order",
            "the order's cart has another order that can be paid by now; cancel that one first",
            field="cart_id",
        ) from error
    wake_after_change(resources)
    return done


def _can_revive(case: Case) -> bool:
    """Say whether the shop may bring an order back to life: it ended unpaid, of age alone."""
    order = case.order
    if order.status is not OrderStatus.EXPIRED or order.cancel_requested_at or case.live:
        return False
    return not case.has_unsettled_money and all(payment.held for payment in case.payments)


def _revive(
    case: Case, given: Circumstances, *, expires_in: timedelta | None, doer: Doer
) -> Decision:
    """Give an expired order a new life, and a new code."""
    lifetime = expires_in or timedelta(seconds=case.order.terms.expires_in_seconds)
    decision = Decision.nothing(case).with_order(expires_at=given.now + lifetime)
    decision = decision.move(
        OrderStatus.PENDING_PAYMENT,
        actor=doer.actor,
        reason="renewed: a new code is made",
        reference=None,
        at=given.now,
    )
    return settlement.renew(decision, given=given)


def can_renew(case: Case, given: Circumstances) -> bool:
    """Say whether a fresh code may be asked for now."""
    order, live = case.order, case.live
    if order.status not in UNPAID or order.cancel_requested_at:
        return False
    if order.expires_at - given.now < SHORTEST_LIFE:
        return False  # no other code could follow the one that is taken away
    # Held money that was written off or went back pays for nothing any more.
    if case.has_unsettled_money or any(not payment.held for payment in case.payments):
        return False
    return live is None or not live.payer_active


def _decide(case: Case, given: Circumstances) -> Decision:
    if not can_renew(case, given):
        raise Refused(
            "order_not_renewable",
            f"the order is {case.order.status} and cannot get a new code now",
            facts={"order_id": str(case.order.order_id), "order_status": str(case.order.status)},
        )
    live = case.live
    if live is not None and live.status is not AttemptStatus.OPEN:
        return Decision.nothing(case)  # a code is on its way already
    return settlement.renew(Decision.nothing(case), given=given)
