"""The door for Binance's notices: raw bytes in, the documented acknowledgement out.

Only what could not be committed is answered FAIL, so that Binance sends it again; what is not
genuine is answered 401 and leaves no trace in the database.
"""

from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from checkstand.binance import ACKNOWLEDGE_FAIL, ACKNOWLEDGE_SUCCESS
from checkstand.errors import DatabaseUnavailable, ProviderUnavailable
from checkstand.operations.receive_notice import NoticeDesk
from checkstand.web.problems import install

PREFIX: Final = "/api/payments/binance/webhook"


def build_notice_door(desk: NoticeDesk) -> ASGIApp:
    """Put the door together as an app of its own: the API's framework costs more than all of it."""
    app = Starlette(routes=notice_routes(desk))
    install(app)
    return app


def notice_routes(desk: NoticeDesk) -> list[BaseRoute]:
    """Build the routes: the account's own address, and the shared one of the portal's setting."""

    async def take(request: Request) -> Response:
        raw = await request.body()
        try:
            await desk.receive(
                notice_path=request.path_params.get("notice_path"),
                headers=request.headers,
                raw=raw,
            )
        except (ProviderUnavailable, DatabaseUnavailable):
            return _acknowledge(ACKNOWLEDGE_FAIL)
        return _acknowledge(ACKNOWLEDGE_SUCCESS)

    return [
        Route(PREFIX, take, methods=["POST"]),
        Route(f"{PREFIX}/{{notice_path}}", take, methods=["POST"]),
    ]


def _acknowledge(body: bytes) -> Response:
    return Response(body, media_type="application/json")
