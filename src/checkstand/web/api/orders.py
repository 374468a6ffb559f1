"""Orders over HTTP."""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse

from checkstand.domain.account import ApiKey
from checkstand.domain.case import Case
from checkstand.domain.order import OrderStatus
from checkstand.domain.view import render_order
from checkstand.operations.cancel_order import cancel_order
from checkstand.operations.create_order import REJECTED, create_order
from checkstand.operations.refresh_order import refresh_order
from checkstand.operations.renew_order import renew_order_once
from checkstand.operations.resources import Resources
from checkstand.queries.list_orders import find_order, find_order_by_merchant_id, list_orders
from checkstand.queries.timeline import list_timeline, render_timeline
from checkstand.web.api.access import CanReadOrders, CanWriteOrders, House, IdempotencyKey, doer_of
from checkstand.web.api.keyed_route import KeyedRoute
from checkstand.web.api.models import (
    NewOrder,
    OrderFilters,
    OrderList,
    OrderView,
    Renewal,
    Timeline,
)
from checkstand.web.api.openapi import OF_A_BODY, problems
from checkstand.web.api.paths import order_not_found, parse_order_id
from checkstand.web.problems import problem

router = APIRouter(prefix="/api/payments/binance", tags=["orders"], route_class=KeyedRoute)


@router.post(
    "/create",
    name="create_order",
    summary="Open an order",
    status_code=201,
    response_model=OrderView,
    responses={
        **problems(409, *OF_A_BODY),
        200: {"model": OrderView, "description": "The order exists, with the same content"},
        202: {"model": OrderView, "description": "Binance has not answered; the page waits"},
    },
)
async def create(
    resources: House, caller: CanWriteOrders, key: IdempotencyKey, order: NewOrder
) -> JSONResponse:
    """Open an order and get its checkout page."""
    stored = await create_order(
        resources,
        account_id=caller.account_id,
        terms=order.to_terms(),
        key=key,
        request_hash=order.fingerprint(),
    )
    headers = {"idempotency-replayed": "true"} if stored.replayed else {}
    if stored.status == REJECTED:
        body = dict(stored.body)
        return problem(REJECTED, body["code"], body["detail"], headers=headers, order=body["order"])
    return JSONResponse(stored.body, status_code=stored.status, headers=headers)


@router.get(
    "/orders",
    name="list_orders",
    summary="List orders",
    response_model=OrderList,
    responses=problems(404),
)
async def list_(
    resources: House, caller: CanReadOrders, filters: Annotated[OrderFilters, Query()]
) -> JSONResponse:
    """List orders, newest first; with `merchant_order_id` at most one is found."""
    if filters.merchant_order_id is not None:
        case = await find_order_by_merchant_id(
            resources.database, caller.account_id, _storable(filters.merchant_order_id)
        )
        found = [case] if case and filters.status in {None, case.order.status} else []
        return _page(resources, found, has_more=False)
    page = await list_orders(
        resources.database,
        caller.account_id,
        status=filters.status,
        starting_after=await _last_seen(resources, caller, filters.starting_after),
        limit=filters.limit,
        now=resources.clock.now(),
    )
    return _page(resources, page.cases, has_more=page.has_more)


@router.get(
    "/orders/{order_id}",
    name="get_order",
    summary="Read an order",
    response_model=OrderView,
    responses=problems(404),
)
async def get(resources: House, caller: CanReadOrders, order_id: str) -> JSONResponse:
    """Read one order."""
    case = await find_order(resources.database, caller.account_id, parse_order_id(order_id))
    if case is None:
        raise order_not_found(order_id)
    return _one(resources, case)


@router.get(
    "/orders/{order_id}/timeline",
    name="get_timeline",
    summary="Explain an order",
    response_model=Timeline,
    responses=problems(404),
)
async def timeline(resources: House, caller: CanReadOrders, order_id: str) -> JSONResponse:
    """Explain one order: everything that happened to it, in causal order."""
    entries = await list_timeline(resources.database, caller.account_id, parse_order_id(order_id))
    if not entries:
        raise order_not_found(order_id)
    return JSONResponse({"data": render_timeline(entries)})


@router.post(
    "/orders/{order_id}/refresh",
    name="refresh_order",
    summary="Ask Binance about an order",
    response_model=OrderView,
    responses=problems(404),
)
async def refresh(resources: House, caller: CanWriteOrders, order_id: str) -> JSONResponse:
    """Ask Binance about an order now."""
    case = await refresh_order(
        resources, account_id=caller.account_id, order_id=parse_order_id(order_id)
    )
    return _one(resources, case)


@router.post(
    "/orders/{order_id}/cancel",
    name="cancel_order",
    summary="Cancel an order",
    status_code=202,
    response_model=OrderView,
    responses={
        **problems(404, 409),
        200: {"model": OrderView, "description": "The order is CANCELED already"},
    },
)
async def cancel(resources: House, caller: CanWriteOrders, order_id: str) -> JSONResponse:
    """Cancel an unpaid order: it is CANCELED as soon as Binance can take no money for it."""
    case = await cancel_order(
        resources,
        account_id=caller.account_id,
        order_id=parse_order_id(order_id),
        doer=doer_of(caller),
    )
    status = 200 if case.order.status is OrderStatus.CANCELED else 202
    return _one(resources, case, status=status)


@router.post(
    "/orders/{order_id}/renew",
    name="renew_order",
    summary="Get a fresh code",
    status_code=202,
    response_model=OrderView,
    responses=problems(404, 409, *OF_A_BODY),
)
async def renew(
    resources: House,
    caller: CanWriteOrders,
    order_id: str,
    key: IdempotencyKey,
    wanted: Renewal | None = None,
) -> JSONResponse:
    """Get a fresh code: it appears once the old one cannot be paid any more.

    An EXPIRED order that nobody paid comes back to life so.
    """
    parsed, wanted = parse_order_id(order_id), wanted or Renewal()
    answer = await renew_order_once(
        resources,
        account_id=caller.account_id,
        order_id=parsed,
        key=key,
        request_hash=wanted.fingerprint(about=str(parsed)),
        expires_in=None if wanted.expires_in is None else timedelta(seconds=wanted.expires_in),
        doer=doer_of(caller),
    )
    headers = {"idempotency-replayed": "true"} if answer.replayed else {}
    return JSONResponse(dict(answer.body), status_code=answer.status, headers=headers)


def _one(resources: Resources, case: Case, *, status: int = 200) -> JSONResponse:
    body = render_order(case, public_url=resources.policy.public_url)
    return JSONResponse(body, status_code=status)


def _page(resources: Resources, found: list[Case], *, has_more: bool) -> JSONResponse:
    data = [render_order(case, public_url=resources.policy.public_url) for case in found]
    return JSONResponse({"data": data, "has_more": has_more})


async def _last_seen(resources: Resources, caller: ApiKey, text: str | None) -> UUID | None:
    """Read where a page starts. A wrong place is said to be one: it is not the end of the list."""
    if text is None:
        return None
    order_id = parse_order_id(text, field="starting_after")
    if await find_order(resources.database, caller.account_id, order_id) is None:
        raise order_not_found(text, field="starting_after")
    return order_id


def _storable(text: str) -> str:
    """Make text that no order can be called harmless: the database takes no NUL."""
    return text.replace("\x00", "\ufffd")
