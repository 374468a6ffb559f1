"""The door for Binance's notices: raw bytes in, the documented acknowledgement out.

Only what could not be committed is answered FAIL, so that Binance sends it again; what is not
genuine is answered 401 and leaves no trace in the database.
"""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from checkstand.binance import ACKNOWLEDGE_FAIL, ACKNOWLEDGE_SUCCESS
from checkstand.errors import DatabaseUnavailable, ProviderUnavailable
from checkstand.operations.receive_notice import NoticeDesk

_PREFIX = "/api/payments/binance/webhook"


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
        Route(_PREFIX, take, methods=["POST"]),
        Route(f"{_PREFIX}/{{notice_path}}", take, methods=["POST"]),
    ]


def _acknowledge(body: bytes) -> Response:
    return Response(body, media_type="application/json")
