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

router = APIRouter(prefix="/api/webhook-endpoints", tags=["webhook endpoints"])


@router.post("", status_code=201, response_model=NewEndpointView)
async def add(resources: House, caller: CanWriteEndpoints, endpoint: NewEndpoint) -> JSONResponse:
    """Register an address; its signing secret is in this answer and nowhere else."""
    added, secret = await add_endpoint(
        resources,
        account_id=caller.account_id,
        url=endpoint.url,
        fulfil_on_delivery=endpoint.fulfil_on_delivery,
    )
    return JSONResponse(_render(added) | {"secret": secret}, status_code=201)


@router.get("", response_model=EndpointList)
async def list_(resources: House, caller: CanWriteEndpoints) -> JSONResponse:
    """List the addresses that are told things."""
    found = await list_endpoints(resources, account_id=caller.account_id)
    return JSONResponse({"data": [_render(endpoint) for endpoint in found]})


@router.delete("/{endpoint_id}", status_code=204)
async def remove(resources: House, caller: CanWriteEndpoints, endpoint_id: str) -> Response:
    """Stop telling an address."""
    try:
        parsed = UUID(endpoint_id)
    except ValueError:
        raise NotFound("endpoint_not_found", "there is no such endpoint") from None
    await remove_endpoint(resources, account_id=caller.account_id, endpoint_id=parsed)
    return Response(status_code=204)


def _render(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "endpoint_id": str(endpoint.endpoint_id),
        "url": endpoint.url,
        "fulfil_on_delivery": endpoint.fulfil_on_delivery,
        "created_at": render_time(endpoint.created_at),
    }
