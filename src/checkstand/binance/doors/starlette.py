"""The door for Starlette, and so for FastAPI.

app.add_route("/binance", notification_endpoint(client, handle), methods=["POST"])
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from checkstand.binance.client import AsyncBinancePay
from checkstand.binance.doors.outcomes import BODY_BYTES_MAX, TOO_LARGE, Reply
from checkstand.binance.doors.receiving import AsyncReceiver
from checkstand.binance.doors.replays import AsyncReplayStore
from checkstand.binance.errors import UnreadableNotification
from checkstand.binance.notifications import Notification

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


def notification_endpoint(
    client: AsyncBinancePay,
    handle: Callable[[Notification], Awaitable[object]],
    *,
    replays: AsyncReplayStore | None = None,
    on_unreadable: Callable[[UnreadableNotification], Awaitable[object]] | None = None,
    past_seconds: float | None = None,
    future_seconds: float | None = 300,
) -> "Callable[[Request], Awaitable[Response]]":
    """Make the endpoint that Binance's notifications are sent to. See `AsyncReceiver`."""
    from starlette.requests import ClientDisconnect
    from starlette.responses import Response

    receiver = AsyncReceiver(
        client,
        handle,
        replays=replays,
        on_unreadable=on_unreadable,
        past_seconds=past_seconds,
        future_seconds=future_seconds,
    )

    def answer(reply: Reply) -> Response:
        return Response(reply.body, status_code=reply.status, media_type="application/json")

    async def binance_pay_notification(request: "Request") -> Response:
        raw = bytearray()
        try:
            async for part in request.stream():
                raw += part
                if len(raw) > BODY_BYTES_MAX:
                    return answer(TOO_LARGE)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        return answer(await receiver.receive(bytes(raw), request.headers))

    return binance_pay_notification
