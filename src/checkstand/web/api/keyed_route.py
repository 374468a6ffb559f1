"""A route that takes an Idempotency-Key where one is sent: the same request is answered as before.

The key belongs to an account, so it is claimed where the caller is known (`access.Needs`), and the
answer is kept here once there is one. Refusals are not kept: nothing happened, and what refused may
be mended.
"""

import hashlib
import json
from collections.abc import Callable, Coroutine
from typing import Any, Final
from uuid import UUID

import structlog
from starlette.requests import Request
from starlette.responses import Response

from checkstand.operations.keep_answer import ClaimedKey, claim_key, keep_answer, let_go_of_key
from checkstand.operations.resources import Resources
from checkstand.web.api.openapi import problems
from checkstand.web.api.strict_json import StrictRoute

_log = structlog.get_logger()

HEADER: Final = "Idempotency-Key"
KEY_PATTERN: Final = "^[!-~]{1,255}$"
KEY_WORDS: Final = (
    "Your own id of this request: 1 to 255 visible ASCII characters. "
    "The same key gets the same answer for 30 days."
)
_PARAMETER: Final = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": KEY_WORDS,
    "schema": {"type": "string", "pattern": KEY_PATTERN},
}


class AnsweredBefore(Exception):
    """The key has an answer, which is given again."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__()
        self.response = Response(
            text,
            status_code=status,
            media_type="application/json",
            headers={"idempotency-replayed": "true"},
        )


class KeyedRoute(StrictRoute):
    """A route whose POST keeps its answer under the request's key, if it has one."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        if "POST" in (options.get("methods") or ()):
            options["responses"] = {**problems(400, 409), **(options.get("responses") or {})}
        super().__init__(path, endpoint, **options)
        needed = (field.alias for d in self.dependant.dependencies for field in d.header_params)
        if "POST" in (self.methods or ()) and HEADER not in needed:
            self.openapi_extra = {**(self.openapi_extra or {}), "parameters": [_PARAMETER]}

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Keep what the framework's handler answers, where a key was claimed on the way."""
        handle = super().get_route_handler()

        async def handle_once(request: Request) -> Response:
            try:
                response = await handle(request)
            except AnsweredBefore as known:
                return known.response
            except Exception:
                await _conclude(request, None)
                raise
            await _conclude(request, response)
            return response

        return handle_once


async def claim_for(request: Request, resources: Resources, *, account_id: UUID, key: str) -> None:
    """Claim a key for a request that is about to be handled. Raises AnsweredBefore."""
    raw = await request.body()
    try:
        body = json.dumps(json.loads(raw), sort_keys=True).encode() if raw else b""
    except ValueError:
        body = raw  # it will be refused, and the key let go
    about = f"{request.url.path}\n".encode()
    claimed = await claim_key(
        resources,
        account_id=account_id,
        route=request.scope["route"].name,
        key=key,
        request_hash=hashlib.sha256(about + body).digest(),
    )
    if claimed.status is not None and claimed.answer is not None:
        raise AnsweredBefore(claimed.status, claimed.answer)
    request.state.claimed_key = (resources, claimed)


async def _conclude(request: Request, response: Response | None) -> None:
    """Keep a success, else let the key go. What fails here costs a repeat, never the answer."""
    found: tuple[Resources, ClaimedKey] | None = getattr(request.state, "claimed_key", None)
    if found is None:
        return
    resources, claimed = found
    try:
        if response is not None and response.status_code < 300:
            text = bytes(response.body).decode()
            await keep_answer(resources, claimed=claimed, status=response.status_code, answer=text)
        else:
            await let_go_of_key(resources, claimed=claimed)
    except Exception:  # noqa: BLE001  (it is done, and no failure takes that back)
        _log.exception("an answer was not kept")
