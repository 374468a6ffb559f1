"""Webhook endpoints over HTTP."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from checkstand.domain.endpoint import Endpoint
from checkstand.domain.view import render_time
from checkstand.errors import NotFound
from checkstand.operations.manage_endpoints import (
    add_endpoint,
    list_endpoints,
    remove_endpoint,
)
from checkstand.web.api.access import CanWriteEndpoints, House
from checkstand.web.api.models import EndpointList, NewEndpoint, NewEndpointView
from checkstand.web.api.openapi import OF_A_BODY, problems
from checkstand.web.api.strict_json import StrictRoute

router = APIRouter(
    prefix="/api/webhook-endpoints", tags=["webhook endpoints"], route_class=StrictRoute
)


@router.post(
    "",
    name="add_endpoint",
    summary="Register an address",
    status_code=201,
    response_model=NewEndpointView,
    responses=problems(409, *OF_A_BODY),
)
async def add(resources: House, caller: CanWriteEndpoints, endpoint: NewEndpoint) -> JSONResponse:
    """Register an address; its signing secret is in this answer and nowhere else."""
    added, secret = await add_endpoint(
        resources,
        account_id=caller.account_id,
        url=endpoint.url,
        fulfil_on_delivery=endpoint.fulfil_on_delivery,
    )
    return JSONResponse(_render(added) | {"secret": secret}, status_code=201)


@router.get(
    "",
    name="list_endpoints",
    summary="List addresses",
    response_model=EndpointList,
    responses=problems(),
)
async def list_(resources: House, caller: CanWriteEndpoints) -> JSONResponse:
    """List the addresses that are told things."""
    found = await list_endpoints(resources, account_id=caller.account_id)
    return JSONResponse({"data": [_render(endpoint) for endpoint in found]})


@router.delete(
    "/{endpoint_id}",
    name="remove_endpoint",
    summary="Forget an address",
    status_code=204,
    response_class=Response,
    responses=problems(404),
)
async def remove(resources: House, caller: CanWriteEndpoints, endpoint_id: str) -> Response:
    """Stop telling an address."""
    try:
        parsed = UUID(endpoint_id)
    except ValueError:
        raise NotFound(
            "endpoint_not_found", f"there is no endpoint {endpoint_id[:64]!r}", field="endpoint_id"
        ) from None
    await remove_endpoint(resources, account_id=caller.account_id, endpoint_id=parsed)
    return Response(status_code=204)


def _render(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "endpoint_id": str(endpoint.endpoint_id),
        "url": endpoint.url,
        "fulfil_on_delivery": endpoint.fulfil_on_delivery,
        "created_at": render_time(endpoint.created_at),
    }
