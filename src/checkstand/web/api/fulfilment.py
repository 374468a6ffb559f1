"""Fulfilment over HTTP: what is owed, taking it in hand, and saying that it is done."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse

from checkstand.domain.view import render_order, render_time
from checkstand.operations.fulfil_order import claim_fulfilment, fulfil_order
from checkstand.queries.list_fulfilments import OwedOrder, list_fulfilments
from checkstand.web.api.access import CanReadOrders, CanWriteOrders, House, doer_of
from checkstand.web.api.keyed_route import KeyedRoute
from checkstand.web.api.models import (
    ClaimedView,
    Fulfilment,
    FulfilmentFilters,
    FulfilmentList,
    OrderView,
)
from checkstand.web.api.openapi import OF_A_BODY, problems
from checkstand.web.api.paths import parse_order_id

router = APIRouter(tags=["fulfilment"], route_class=KeyedRoute)

_ORDER = "/api/payments/binance/orders/{order_id}"


@router.post(
    f"{_ORDER}/fulfill",
    name="fulfill_order",
    summary="Acknowledge a paid order",
    response_model=OrderView,
    responses=problems(404, 409, *OF_A_BODY),
)
async def fulfill(
    resources: House, caller: CanWriteOrders, order_id: str, said: Fulfilment | None = None
) -> JSONResponse:
    """Acknowledge that a paid order was delivered. Said again it changes nothing."""
    case = await fulfil_order(
        resources,
        account_id=caller.account_id,
        order_id=parse_order_id(order_id),
        token=said.token if said else None,
        doer=doer_of(caller),
    )
    return JSONResponse(render_order(case, public_url=resources.policy.public_url))


@router.post(
    f"{_ORDER}/fulfilment/claim",
    name="claim_fulfilment",
    summary="Take a paid order in hand",
    response_model=ClaimedView,
    responses=problems(404, 409, *OF_A_BODY),
)
async def claim(
    resources: House, caller: CanWriteOrders, order_id: str, said: Fulfilment | None = None
) -> JSONResponse:
    """Take a paid order in hand, so that nobody else does; with your token, for longer."""
    claimed = await claim_fulfilment(
        resources,
        account_id=caller.account_id,
        order_id=parse_order_id(order_id),
        token=said.token if said else None,
        doer=doer_of(caller),
    )
    body = {
        "token": claimed.token,
        "lease_until": render_time(claimed.lease_until),
        "order": render_order(claimed.case, public_url=resources.policy.public_url),
    }
    return JSONResponse(body)


@router.get(
    "/api/fulfilments",
    name="list_fulfilments",
    summary="List what is unacknowledged",
    response_model=FulfilmentList,
    responses=problems(404),
)
async def list_(
    resources: House, caller: CanReadOrders, filters: Annotated[FulfilmentFilters, Query()]
) -> JSONResponse:
    """List paid orders that nobody has acknowledged, the longest waiting first."""
    after = filters.starting_after
    starting_after: UUID | None = (
        None if after is None else parse_order_id(after, field="starting_after")
    )
    now = resources.clock.now()
    owed, has_more = await list_fulfilments(
        resources.database,
        caller.account_id,
        starting_after=starting_after,
        limit=filters.limit,
    )

    def render(order: OwedOrder) -> dict[str, Any]:
        return {
            "order_id": str(order.order_id),
            "merchant_order_id": order.merchant_order_id,
            "paid_at": render_time(order.paid_at),
            "age_seconds": max(int((now - order.paid_at).total_seconds()), 0),
            "offers": order.offers,
            "lease_until": render_time(order.lease_until_after(now)),
            "offered_again_at": render_time(order.offered_again_at),
        }

    return JSONResponse({"data": [render(order) for order in owed], "has_more": has_more})
