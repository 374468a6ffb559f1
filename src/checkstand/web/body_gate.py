"""What a request's body may be: of bounded size everywhere, and JSON where the API reads it.

Pure ASGI and in front of everything, so that nothing behind it can be made to hold a large body.
"""

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from checkstand.web.problems import problem

#: The largest body any route has a use for: a notice is some 2 kB, a create at most 20.
BODY_BYTES_MAX: Final = 64 * 1024

_JSON_PREFIX: Final = "/api/"
#: Binance's notices are truth and never refused for a header.
_UNCHECKED_PREFIX: Final = "/api/payments/binance/webhook"
#: Report files are large; their route reads them as they come, into a file, up to a limit.
_STREAMED: Final = ("POST", "/api/reconciliation/reports")


class BodyGate:
    """Reads the whole body before the app does, and refuses what is too large or not JSON."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] in {"GET", "HEAD", "OPTIONS"}:
            await self._app(scope, receive, send)
            return
        if (scope["method"], scope["path"]) == _STREAMED:
            await self._app(scope, receive, send)
            return
        headers = dict(
            reversed(list(scope["headers"]))
        )  # the first of a name counts, as in the app
        try:
            body = await _read(headers, receive)
        except _ClientLeft:
            return  # half a body is none, and nobody is there to be told
        except _TooLarge:
            answer = problem(
                413, "body_too_large", f"the body may have at most {BODY_BYTES_MAX} bytes"
            )
            await answer(scope, receive, send)
            return
        if body and _wants_json(scope["path"]) and not _is_json(headers):
            answer = problem(
                415,
                "unsupported_media_type",
                "send content-type: application/json",
                field="Content-Type",
            )
            await answer(scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)


class _TooLarge(Exception):
    """The body is larger than any route has a use for."""


class _ClientLeft(Exception):
    """The connection ended before the body did."""


async def _read(headers: dict[bytes, bytes], receive: Receive) -> bytes:
    """Collect the body. Raises _TooLarge as soon as that is known, or _ClientLeft."""
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length[:12]) > BODY_BYTES_MAX:
        raise _TooLarge
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _ClientLeft
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > BODY_BYTES_MAX:
            raise _TooLarge
        if not message.get("more_body", False):
            return b"".join(chunks)


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _wants_json(path: str) -> bool:
    return path.startswith(_JSON_PREFIX) and not path.startswith(_UNCHECKED_PREFIX)


def _is_json(headers: dict[bytes, bytes]) -> bool:
    kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
    return kind == b"application/json"
