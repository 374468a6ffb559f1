"""Events over HTTP: what the shop was told, and telling it again."""

import json
from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse, Response

from checkstand.domain.view import render_time
from checkstand.errors import NotFound
from checkstand.operations.redeliver_event import redeliver_event
from checkstand.queries.list_events import ToldEvent, list_events, read_feed
from checkstand.web.api.access import CanReadEvents, CanWriteEvents, House, doer_of
from checkstand.web.api.keyed_route import KeyedRoute
from checkstand.web.api.models import EventFilters, EventList
from checkstand.web.api.openapi import problems

router = APIRouter(prefix="/api/events", tags=["events"], route_class=KeyedRoute)


@router.get(
    "",
    name="list_events",
    summary="List events",
    response_model=EventList,
    responses=problems(404),
)
async def list_(
    resources: House, caller: CanReadEvents, filters: Annotated[EventFilters, Query()]
) -> JSONResponse:
    """List events, newest first, or those behind a position of the feed in its order.

    Whoever keeps the last `position` he has seen, and asks for what is behind it, misses none.
    """
    if filters.after_position is not None:
        told, has_more = await read_feed(
            resources.database,
            caller.account_id,
            after=filters.after_position,
            limit=filters.limit,
        )
        return _page(told, has_more=has_more)
    after = filters.starting_after
    told, has_more = await list_events(
        resources.database,
        caller.account_id,
        starting_after=None if after is None else _event_id(after, field="starting_after"),
        limit=filters.limit,
    )
    return _page(told, has_more=has_more)


@router.post(
    "/{event_id}/redeliver",
    name="redeliver_event",
    summary="Tell an event again",
    status_code=202,
    response_class=Response,
    responses=problems(404),
)
async def redeliver(resources: House, caller: CanWriteEvents, event_id: str) -> Response:
    """Deliver an event again to every endpoint it was owed to, under the same id."""
    await redeliver_event(
        resources,
        account_id=caller.account_id,
        event_id=_event_id(event_id),
        doer=doer_of(caller),
    )
    return Response(status_code=202)


def _event_id(text: str, *, field: str = "event_id") -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NotFound("event_not_found", "there is no such event", field=field) from None


def _page(told: Sequence[ToldEvent], *, has_more: bool) -> JSONResponse:
    return JSONResponse({"data": [_render(event) for event in told], "has_more": has_more})


def _render(told: ToldEvent) -> dict[str, Any]:
    return {
        "position": told.position,
        "event": json.loads(told.body),
        "deliveries": [
            {
                "endpoint_id": str(delivery.endpoint_id),
                "status": delivery.status,
                "tries": delivery.tries,
                "due_at": render_time(delivery.due_at),
            }
            for delivery in told.deliveries
        ],
    }
