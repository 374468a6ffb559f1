"""Refunds over HTTP."""

from uuid import UUID

from fastapi import APIRouter
from starlette.responses import JSONResponse

from checkstand.domain.account import ApiKey
from checkstand.domain.view import render_refund
from checkstand.errors import NotFound
from checkstand.operations.decide_refund import Verdict, decide_refund
from checkstand.operations.request_refund import RefundWish, request_refund
from checkstand.operations.resources import Resources
from checkstand.queries.list_orders import find_order
from checkstand.web.api.access import (
    CanApproveRefunds,
    CanReadOrders,
    CanRefund,
    House,
    IdempotencyKey,
    doer_of,
)
from checkstand.web.api.keyed_route import KeyedRoute
from checkstand.web.api.models import NewRefund, RefundList, RefundView
from checkstand.web.api.openapi import OF_A_BODY, problems
from checkstand.web.api.paths import order_not_found, parse_order_id

router = APIRouter(prefix="/api/payments/binance/orders", tags=["refunds"], route_class=KeyedRoute)


@router.post(
    "/{order_id}/refunds",
    name="create_refund",
    summary="Return money",
    status_code=202,
    response_model=RefundView,
    responses={
        **problems(404, 409, *OF_A_BODY),
        200: {"model": RefundView, "description": "The refund exists, with the same content"},
    },
)
async def create(
    resources: House, caller: CanRefund, order_id: str, key: IdempotencyKey, refund: NewRefund
) -> JSONResponse:
    """Return part of a payment, or all of it. Its end is told by an event."""
    parsed = parse_order_id(order_id)
    answer = await request_refund(
        resources,
        account_id=caller.account_id,
        wish=RefundWish(
            order_id=parsed,
            merchant_refund_id=refund.merchant_refund_id,
            amount=refund.amount,
            payment_id=refund.payment_id,
            reason=refund.reason,
            is_forced=refund.force,
            requester=_identity(caller),
        ),
        key=key,
        request_hash=refund.fingerprint(about=str(parsed)),
    )
    headers = {"idempotency-replayed": "true"} if answer.replayed else {}
    return JSONResponse(dict(answer.body), status_code=answer.status, headers=headers)


@router.get(
    "/{order_id}/refunds",
    name="list_refunds",
    summary="List an order's refunds",
    response_model=RefundList,
    responses=problems(404),
)
async def list_(resources: House, caller: CanReadOrders, order_id: str) -> JSONResponse:
    """List the refunds of an order, oldest first."""
    case = await find_order(resources.database, caller.account_id, parse_order_id(order_id))
    if case is None:
        raise order_not_found(order_id)
    return JSONResponse({"data": [render_refund(refund) for refund in case.refunds]})


@router.post(
    "/{order_id}/refunds/{refund_id}/approve",
    name="approve_refund",
    summary="Approve a refund above the limits",
    response_model=RefundView,
    responses=problems(404, 409),
)
async def approve(
    resources: House, caller: CanApproveRefunds, order_id: str, refund_id: str
) -> JSONResponse:
    """Let a refund go that waits for a second approver. Another key than the one that asked."""
    return await _decide(resources, caller, order_id, refund_id, Verdict.APPROVE)


@router.post(
    "/{order_id}/refunds/{refund_id}/deny",
    name="deny_refund",
    summary="Deny a refund above the limits",
    response_model=RefundView,
    responses=problems(404, 409),
)
async def deny(
    resources: House, caller: CanApproveRefunds, order_id: str, refund_id: str
) -> JSONResponse:
    """End a refund that waits for a second approver: nothing goes back.

    One that may have been sent already cannot be denied before Binance says that it has none.
    """
    return await _decide(resources, caller, order_id, refund_id, Verdict.DENY)


async def _decide(
    resources: Resources, caller: ApiKey, order_id: str, refund_id: str, verdict: Verdict
) -> JSONResponse:
    refund = await decide_refund(
        resources,
        account_id=caller.account_id,
        order_id=parse_order_id(order_id),
        refund_id=_refund_id(refund_id),
        verdict=verdict,
        by=_identity(caller),
        doer=doer_of(caller),
    )
    return JSONResponse(render_refund(refund))


def _identity(caller: ApiKey) -> str:
    return f"key:{caller.key_id}"


def _refund_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NotFound(
            "refund_not_found", f"there is no refund {text[:64]!r}", field="refund_id"
        ) from None
