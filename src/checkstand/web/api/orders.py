"""Orders over HTTP."""

from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse

from checkstand.domain.case import Case
from checkstand.domain.order import OrderStatus
from checkstand.domain.view import render_order, render_time
from checkstand.errors import NotFound
from checkstand.operations.cancel_order import cancel_order
from checkstand.operations.create_order import REJECTED, create_order
from checkstand.operations.fulfil_order import fulfil_order
from checkstand.operations.refresh_order import refresh_order
from checkstand.operations.renew_order import renew_order
from checkstand.operations.resources import Resources
from checkstand.queries.list_orders import find_order, find_order_by_merchant_id, list_orders
from checkstand.queries.timeline import TimelineEntry, list_timeline
from checkstand.web.api.access import CanReadOrders, CanWriteOrders, House, IdempotencyKey
from checkstand.web.api.models import NewOrder, OrderList, OrderView, Problem, Timeline
from checkstand.web.problems import problem

router = APIRouter(prefix="/api/payments/binance", tags=["orders"])

_PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"model": Problem, "description": words}
    for status, words in {
        400: "The request could not be read, or lacks its Idempotency-Key",
        401: "No or an unknown API key",
        403: "The key lacks the scope",
        404: "No such order",
        409: "It conflicts with what is there",
        422: "A field is wrong, or Binance refused the order",
    }.items()
}


@router.post(
    "/create",
    status_code=201,
    response_model=OrderView,
    responses={
        **_PROBLEMS,
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


@router.get("/orders", response_model=OrderList, responses=_PROBLEMS)
async def list_(
    resources: House,
    caller: CanReadOrders,
    status: OrderStatus | None = None,
    merchant_order_id: Annotated[str | None, Query(max_length=128)] = None,
    starting_after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> JSONResponse:
    """List orders, newest first; with `merchant_order_id` at most one is found."""
    if merchant_order_id is not None:
        case = await find_order_by_merchant_id(
            resources.database, caller.account_id, _storable(merchant_order_id)
        )
        found = [case] if case and status in {None, case.order.status} else []
        return _page(resources, found, has_more=False)
    page = await list_orders(
        resources.database,
        caller.account_id,
        status=status,
        starting_after=_order_id(starting_after) if starting_after else None,
        limit=limit,
        now=resources.clock.now(),
    )
    return _page(resources, page.cases, has_more=page.has_more)


@router.get("/orders/{order_id}", response_model=OrderView, responses=_PROBLEMS)
async def get(resources: House, caller: CanReadOrders, order_id: str) -> JSONResponse:
    """Read one order."""
    case = await find_order(resources.database, caller.account_id, _order_id(order_id))
    if case is None:
        raise _not_found(order_id)
    return _one(resources, case)


@router.get("/orders/{order_id}/timeline", response_model=Timeline, responses=_PROBLEMS)
async def timeline(resources: House, caller: CanReadOrders, order_id: str) -> JSONResponse:
    """Explain one order: everything that happened to it, in causal order."""
    entries = await list_timeline(resources.database, caller.account_id, _order_id(order_id))
    if not entries:
        raise _not_found(order_id)
    return JSONResponse({"data": [_entry(seq, entry) for seq, entry in enumerate(entries, 1)]})


@router.post("/orders/{order_id}/refresh", response_model=OrderView, responses=_PROBLEMS)
async def refresh(resources: House, caller: CanWriteOrders, order_id: str) -> JSONResponse:
    """Ask Binance about an order now."""
    case = await refresh_order(
        resources, account_id=caller.account_id, order_id=_order_id(order_id)
    )
    return _one(resources, case)


@router.post(
    "/orders/{order_id}/cancel", status_code=202, response_model=OrderView, responses=_PROBLEMS
)
async def cancel(resources: House, caller: CanWriteOrders, order_id: str) -> JSONResponse:
    """Cancel an unpaid order: it is CANCELED as soon as Binance can take no money for it."""
    case = await cancel_order(resources, account_id=caller.account_id, order_id=_order_id(order_id))
    status = 200 if case.order.status is OrderStatus.CANCELED else 202
    return _one(resources, case, status=status)


@router.post(
    "/orders/{order_id}/renew", status_code=202, response_model=OrderView, responses=_PROBLEMS
)
async def renew(resources: House, caller: CanWriteOrders, order_id: str) -> JSONResponse:
    """Get a fresh code: it appears once the old one cannot be paid any more."""
    case = await renew_order(resources, account_id=caller.account_id, order_id=_order_id(order_id))
    return _one(resources, case, status=202)


@router.post("/orders/{order_id}/fulfill", response_model=OrderView, responses=_PROBLEMS)
async def fulfill(resources: House, caller: CanWriteOrders, order_id: str) -> JSONResponse:
    """Acknowledge that a paid order was delivered. Said again it changes nothing."""
    case = await fulfil_order(resources, account_id=caller.account_id, order_id=_order_id(order_id))
    return _one(resources, case)


def _one(resources: Resources, case: Case, *, status: int = 200) -> JSONResponse:
    body = render_order(case, public_url=resources.policy.public_url)
    return JSONResponse(body, status_code=status)


def _page(resources: Resources, found: list[Case], *, has_more: bool) -> JSONResponse:
    data = [render_order(case, public_url=resources.policy.public_url) for case in found]
    return JSONResponse({"data": data, "has_more": has_more})


def _entry(seq: int, entry: TimelineEntry) -> dict[str, Any]:
    return {
        "at": render_time(entry.at),
        "seq": seq,
        "actor": entry.actor,
        "kind": entry.kind,
        "summary": entry.summary,
        "from": entry.status_before,
        "to": entry.status_after,
        "ref": entry.ref,
        "detail": entry.detail,
    }


def _order_id(text: str) -> UUID:
    """Read an order's id; anything that is none of ours is simply not found."""
    try:
        return UUID(text)
    except ValueError:
        raise _not_found(text) from None


def _storable(text: str) -> str:
    """Make text that no order can be called harmless: the database takes no NUL."""
    return text.replace("\x00", "\ufffd")


def _not_found(order_id: str) -> NotFound:
    return NotFound("order_not_found", f"there is no order {order_id[:64]!r}", field="order_id")
