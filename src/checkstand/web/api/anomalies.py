"""Anomalies over HTTP: what is odd about an order, and a person's word about it."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse

from checkstand.domain.case import Case
from checkstand.domain.view import render_anomaly, render_order
from checkstand.operations.resolve_anomaly import resolve_anomaly
from checkstand.queries.list_anomalies import list_anomalies
from checkstand.queries.list_orders import find_order
from checkstand.web.api.access import CanReadOrders, CanWriteOrders, House, doer_of
from checkstand.web.api.keyed_route import KeyedRoute
from checkstand.web.api.models import (
    AnomalyFilters,
    AnomalyList,
    AnomalyPage,
    NewResolution,
    ResolvedView,
)
from checkstand.web.api.openapi import OF_A_BODY, problems
from checkstand.web.api.paths import order_not_found, parse_anomaly_id, parse_order_id

router = APIRouter(prefix="/api/payments/binance", tags=["anomalies"], route_class=KeyedRoute)


@router.get(
    "/anomalies",
    name="list_account_anomalies",
    summary="List what is odd across all orders",
    response_model=AnomalyPage,
    responses=problems(404),
)
async def list_all(
    resources: House, caller: CanReadOrders, filters: Annotated[AnomalyFilters, Query()]
) -> JSONResponse:
    """List what waits for somebody, newest first; with `resolved=true` what was settled."""
    after = filters.starting_after
    found, has_more = await list_anomalies(
        resources.database,
        caller.account_id,
        is_resolved=filters.resolved,
        starting_after=None if after is None else parse_anomaly_id(after, field="starting_after"),
        limit=filters.limit,
    )
    return JSONResponse({"data": [render_anomaly(a) for a in found], "has_more": has_more})


@router.get(
    "/orders/{order_id}/anomalies",
    name="list_anomalies",
    summary="List what is odd about an order",
    response_model=AnomalyList,
    responses=problems(404),
)
async def list_(resources: House, caller: CanReadOrders, order_id: str) -> JSONResponse:
    """List an order's anomalies, open and resolved, oldest first."""
    case = await find_order(resources.database, caller.account_id, parse_order_id(order_id))
    if case is None:
        raise order_not_found(order_id)
    return JSONResponse({"data": [render_anomaly(anomaly) for anomaly in case.anomalies]})


@router.post(
    "/orders/{order_id}/anomalies/{anomaly_id}/resolve",
    name="resolve_anomaly",
    summary="Settle an anomaly",
    response_model=ResolvedView,
    responses=problems(404, 409, *OF_A_BODY),
)
async def resolve(
    resources: House,
    caller: CanWriteOrders,
    order_id: str,
    anomaly_id: str,
    wanted: NewResolution,
) -> JSONResponse:
    """Settle an anomaly with a reason; said again in the same words it changes nothing."""
    parsed = parse_anomaly_id(anomaly_id)
    case = await resolve_anomaly(
        resources,
        account_id=caller.account_id,
        order_id=parse_order_id(order_id),
        anomaly_id=parsed,
        resolution=wanted.resolution,
        reason=wanted.reason,
        amount=wanted.amount,
        returned_at=wanted.returned_at,
        fee_returned=wanted.fee_returned,
        doer=doer_of(caller),
    )
    return JSONResponse(_resolved(case, parsed, public_url=resources.policy.public_url))


def _resolved(case: Case, anomaly_id: UUID, *, public_url: str) -> dict[str, object]:
    anomaly = next(a for a in case.anomalies if a.anomaly_id == anomaly_id)
    return {
        "anomaly": render_anomaly(anomaly),
        "order": render_order(case, public_url=public_url),
    }
