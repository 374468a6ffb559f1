"""Open an order: once per key, once per merchant_order_id, and never lost once it is committed.

1. One transaction claims the key, writes the order and its attempt, and takes the lease.
2. Binance is asked, with nothing held.
3. One transaction, under the lease, accepts what came of it and stores the answer.

Whoever finds the key's holder dead goes on from the rows. After the first commit nobody is told
5xx any more: an unknown outcome is an order whose page waits.
"""

import json
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog

from checkstand.domain import settlement
from checkstand.domain.attempt import AttemptStatus
from checkstand.domain.case import Case, Decision
from checkstand.domain.order import Order, OrderStatus, Terms
from checkstand.domain.schedule import NextStep
from checkstand.domain.view import render_links, render_order
from checkstand.errors import Conflict
from checkstand.operations.advance_attempt import (
    Lease,
    PlannedCall,
    decide_answer,
    end_call,
    make_call,
    note_sending,
    wake_others,
)
from checkstand.operations.answer_once import StoredAnswer, answered_before
from checkstand.operations.begin_call import begin_call
from checkstand.operations.limit_book import check_new_order
from checkstand.operations.resources import Resources
from checkstand.provider.gateway import Answer
from checkstand.storage import attempts, cases, idempotency, orders
from checkstand.storage.database import Transaction
from checkstand.storage.idempotency import Claim, ClaimOutcome, KeyedRequest

_log = structlog.get_logger()

ROUTE: Final = "create"
_TOKEN_LENGTH: Final = 24  # of 62 letters and digits: 142 bits

CREATED: Final = 201
ACCEPTED: Final = 202
KNOWN: Final = 200
REJECTED: Final = 422


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    """Where the first transaction left off: an answer, or a call to make."""

    answer: StoredAnswer | None = None
    planned: PlannedCall | None = None


async def create_order(
    resources: Resources, *, account_id: UUID, terms: Terms, key: str, request_hash: bytes
) -> StoredAnswer:
    """Open an order and have its code made. Safe to repeat under the same key.

    Raises Conflict for a key that is running or was used for something else, for a
    merchant_order_id that stands for other terms, and for a cart that has a live order. Raises
    Refused for a new order that is against a limit of the account, and AccountHalted for one of
    an account that is stopped.
    """
    request = KeyedRequest(
        account_id=account_id,
        route=ROUTE,
        key=key,
        request_hash=request_hash,
        owner=resources.ids.new(),
    )
    begun = await _begin(resources, request=request, terms=terms)
    if begun.answer is not None:
        return begun.answer
    if begun.planned is None:
        raise AssertionError("the first phase answers or plans a call")
    # Counted and never refused: polls wait for what creates have used.
    resources.budget.spend(account_id, rate=resources.policy.call_rate, now=resources.clock.now())
    try:
        answer = await make_call(resources, planned=begun.planned)
        return await _conclude(resources, request=request, planned=begun.planned, answer=answer)
    except Exception:  # noqa: BLE001  (it is committed, and no failure takes that back)
        _log.exception("create not concluded", order_id=str(begun.planned.lease.order_id))
        # A worker goes on from the rows when the lease runs out; so does whoever repeats the key.
        body = render_order(begun.planned.case, public_url=resources.policy.public_url)
        return StoredAnswer(status=_status_of(begun.planned.case), body=body)


async def _begin(resources: Resources, *, request: KeyedRequest, terms: Terms) -> _Begun:
    account = resources.accounts.get(request.account_id)
    given = resources.circumstances(request.account_id)
    order = Order(
        account_id=request.account_id,
        order_id=resources.ids.new(),
        terms=terms,
        checkout_token=account.reference + resources.random.token(_TOKEN_LENGTH),
        created_at=given.now,
        expires_at=given.now + timedelta(seconds=terms.expires_in_seconds),
    )
    call_id = resources.ids.new()

    async def step(tx: Transaction) -> _Begun:
        claim = await idempotency.claim(
            tx, request, now=given.now, until=given.now + resources.provider_lease
        )
        if claim.outcome is not ClaimOutcome.OURS:
            return await _answered_before(tx, request, claim)
        if claim.order_id == order.order_id:
            # Our own commit, whose acknowledgement was lost with the connection: go on.
            return await _go_on(tx, request, order, call_id=call_id)
        if claim.order_id is not None:
            return await _take_over(tx, resources, request, claim.order_id)
        if not await orders.insert(tx, order):
            return await _known_order(tx, resources, request, terms)
        await check_new_order(tx, resources.limits, order.account_id, terms, now=given.now)
        await idempotency.concern(tx, request, order.order_id)
        return await _intend(tx, resources, request, order, call_id=call_id, given=given)

    return await resources.database.run(step, name="create_order.begin")


async def _intend(
    tx: Transaction,
    resources: Resources,
    request: KeyedRequest,
    order: Order,
    *,
    call_id: UUID,
    given: settlement.Circumstances,
) -> _Begun:
    """Write the attempt and the call as intentions, under a lease of ours."""
    attempt = replace(
        note_sending(
            settlement.prepare_attempt(order, number=1, given=given),
            NextStep.SUBMIT,
            now=given.now,
        ),
        lease_owner=request.owner,
        lease_until=given.now + resources.provider_lease,
    )
    await attempts.insert(tx, [attempt])
    await begin_call(
        tx,
        account_id=order.account_id,
        call_id=call_id,
        order_id=order.order_id,
        attempt_id=attempt.attempt_id,
        endpoint="/v3/order",
        now=given.now,
    )
    return _to_submit(Case(order=order, attempts=(attempt,)), request, call_id=call_id)


async def _go_on(tx: Transaction, request: KeyedRequest, order: Order, *, call_id: UUID) -> _Begun:
    key = (order.account_id, order.order_id)
    case = (await cases.get_many(tx, [key]))[key]
    return _to_submit(case, request, call_id=call_id)


def _to_submit(case: Case, request: KeyedRequest, *, call_id: UUID) -> _Begun:
    order, attempt = case.order, case.attempts[0]
    lease = Lease(
        account_id=order.account_id,
        order_id=order.order_id,
        attempt_id=attempt.attempt_id,
        owner=request.owner,
    )
    planned = PlannedCall(lease=lease, call_id=call_id, step=NextStep.SUBMIT, case=case)
    return _Begun(planned=planned)


async def _conclude(
    resources: Resources, *, request: KeyedRequest, planned: PlannedCall, answer: Answer
) -> StoredAnswer:
    given = resources.circumstances(request.account_id)
    key = (request.account_id, planned.lease.order_id)

    async def step(tx: Transaction) -> StoredAnswer:
        case = (await cases.lock(tx, [key]))[key]
        decision = await decide_answer(tx, resources, case, planned, answer, given=given)
        await cases.save(tx, [decision], public_url=resources.policy.public_url)
        await end_call(tx, planned, answer, now=given.now)
        return await _finish(tx, resources, request, decision)

    stored = await resources.database.run(step, name="create_order.conclude")
    wake_others(resources, planned, answer)
    return stored


async def _finish(
    tx: Transaction, resources: Resources, request: KeyedRequest, decision: Decision
) -> StoredAnswer:
    """Store the answer that this request and its replays get."""
    case = decision.case
    body = render_order(case, public_url=resources.policy.public_url)
    status = _status_of(case)
    if status == REJECTED:
        reason = decision.steps[-1].reason if decision.steps else "Binance refused the order"
        body = {"code": "provider_rejected", "detail": reason, "order": body}
    await idempotency.finish(tx, request, status=status, answer=json.dumps(body))
    return StoredAnswer(status=status, body=body)


def _status_of(case: Case) -> int:
    """Say in HTTP's numbers what became of a create."""
    current = case.current
    if case.order.status is OrderStatus.CREATED:
        return ACCEPTED
    if case.order.status is OrderStatus.CANCELED and current is not None:
        return REJECTED if current.status is AttemptStatus.REJECTED else CREATED
    return CREATED


async def _answered_before(tx: Transaction, request: KeyedRequest, claim: Claim) -> _Begun:
    """Replay a stored answer with the links as they are now, or say why there is none."""
    status, text = answered_before(claim)
    if claim.order_id is None:
        raise AssertionError("a create that was answered is about an order")
    body = json.loads(text)
    key = (request.account_id, claim.order_id)
    case = (await cases.get_many(tx, [key]))[key]
    shown = body.get("order", body)
    shown |= render_links(case)
    return _Begun(answer=StoredAnswer(status=status, body=body, replayed=True))


async def _take_over(
    tx: Transaction, resources: Resources, request: KeyedRequest, order_id: UUID
) -> _Begun:
    """Answer for a holder that died: the order is there, and a worker goes on with its attempt."""
    key = (request.account_id, order_id)
    case = (await cases.lock(tx, [key]))[key]
    answer = await _finish(tx, resources, request, Decision.nothing(case))
    return _Begun(answer=answer)


async def _known_order(
    tx: Transaction, resources: Resources, request: KeyedRequest, terms: Terms
) -> _Begun:
    """Answer for an order that exists: the same terms are the same order, others a conflict."""
    order_id = await orders.find_id(
        tx, request.account_id, merchant_order_id=terms.merchant_order_id
    )
    if order_id is None:
        other_id = await orders.find_live_of_cart(tx, request.account_id, terms.cart_id or "")
        raise Conflict(
            "cart_has_live_order",
            f"cart {terms.cart_id} already has an order that can be paid; cancel that one first",
            field="cart_id",
            facts={"order_id": str(other_id) if other_id else None},
        )
    key = (request.account_id, order_id)
    case = (await cases.get_many(tx, [key]))[key]
    if case.order.terms != terms:
        raise Conflict(
            "order_exists",
            f"merchant_order_id {terms.merchant_order_id} stands for an order with other content",
            field="merchant_order_id",
            facts={"order_id": str(order_id)},
        )
    body = render_order(case, public_url=resources.policy.public_url)
    await idempotency.concern(tx, request, order_id)
    await idempotency.finish(tx, request, status=KNOWN, answer=json.dumps(body))
    return _Begun(answer=StoredAnswer(status=KNOWN, body=body))
