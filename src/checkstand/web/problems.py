"""Errors as `application/problem+json`: the one table from what went wrong to HTTP.

Every problem names a stable code, a sentence that says what to do, and the field when there was
one. What reaches `unexpected` is a bug of ours: it is logged in full and told in one sentence.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog
from fastapi.exceptions import RequestValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from checkstand.errors import (
    CheckstandError,
    Conflict,
    DatabaseUnavailable,
    NotFound,
    OutcomeUnknown,
    ProviderRejected,
    ProviderUnavailable,
    Refused,
)

_log = structlog.get_logger()

MEDIA_TYPE: Final = "application/problem+json"
#: A body of many wrong fields is answered with the first of them, and with no more of each name.
_FAULTS_MAX: Final = 20
_NAME_CHARACTERS_MAX: Final = 64


class MalformedJson(HTTPException):
    """The body is no JSON object of ours; the detail says why."""

    # The framework passes on errors of its own kind alone while it reads a body.
    def __init__(self, detail: str) -> None:
        super().__init__(status_code=400, detail=detail)


_STATUS_OF_CODE: Final = {
    "idempotency_key_reused": 422,
    "idempotency_key_missing": 400,
    "idempotency_key_malformed": 400,
    "api_key_missing": 401,
    "api_key_unknown": 401,
    "scope_missing": 403,
    "approver_is_requester": 403,
    "notice_path_unknown": 404,
    "notice_not_genuine": 401,
    "notice_not_ours": 401,
    "order_not_cancellable": 409,
    "order_not_renewable": 409,
    "payment_under_way": 409,
    "order_not_refundable": 409,
    "refunded_elsewhere": 409,
    "refund_attempts_used_up": 409,
    "refund_is_last": 409,
    "day_not_over": 409,
    "day_before_first": 409,
    "report_too_large": 413,
}
_STATUS_OF_KIND: Final[Sequence[tuple[type[CheckstandError], int]]] = (
    (NotFound, 404),
    (Conflict, 409),
    (ProviderRejected, 422),
    (Refused, 422),
    (ProviderUnavailable, 503),
    (OutcomeUnknown, 202),
    (DatabaseUnavailable, 503),
)


def status_of(error: CheckstandError) -> int:
    """Say in HTTP's numbers what an error means."""
    special = _STATUS_OF_CODE.get(error.code)
    if special is not None:
        return special
    return next((status for kind, status in _STATUS_OF_KIND if isinstance(error, kind)), 500)


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    field: str | None = None,
    headers: Mapping[str, str] | None = None,
    **facts: Any,
) -> JSONResponse:
    """Write one problem."""
    body = {
        "type": "about:blank",
        "title": code.replace("_", " "),
        "status": status,
        "code": code,
        "detail": detail,
        "field": field,
        **facts,
    }
    return JSONResponse(body, status_code=status, headers=headers, media_type=MEDIA_TYPE)


def render_error(error: CheckstandError) -> JSONResponse:
    """Write one of our own errors as a problem."""
    status = status_of(error)
    headers = {}
    retry_after = error.facts.get("retry_after_seconds")
    if status == 503 or retry_after is not None:
        headers["retry-after"] = str(retry_after or 2)
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    facts = {name: value for name, value in error.facts.items() if name != "retry_after_seconds"}
    return problem(status, error.code, error.message, field=error.field, headers=headers, **facts)


def install(app: Starlette) -> None:
    """Let every error of the app leave as a problem."""

    async def ours(_request: Request, error: Exception) -> Response:
        assert isinstance(error, CheckstandError)  # noqa: S101  (registered for no other kind)
        if status_of(error) >= 500:
            _log.warning("request failed", code=error.code, detail=error.message)
        return render_error(error)

    async def invalid(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        return _render_invalid(error)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101
        if error.status_code == 405:
            error.headers = {**(error.headers or {}), "Allow": _methods_at(request)}
        return _render_http(error)

    async def unexpected(request: Request, error: Exception) -> Response:
        _log.error("unexpected error", route=_route_of(request), exc_info=error)
        return problem(500, "internal_error", "something went wrong here; it has been logged")

    app.add_exception_handler(CheckstandError, ours)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, unexpected)


def _methods_at(request: Request) -> str:
    """List what an address takes: the framework names the methods of its first route alone."""
    rooms = (getattr(r, "original_router", None) for r in request.app.routes)
    inner = (route for room in rooms if room is not None for route in room.routes)
    routes = (
        r for r in (*request.app.routes, *inner) if r.matches(request.scope)[0] is not Match.NONE
    )
    return ", ".join(
        sorted({method for r in routes for method in getattr(r, "methods", None) or ()})
    )


def _route_of(request: Request) -> str:
    """Name an address without what fills it: checkout tokens and notice paths are secrets."""
    path: str = request.scope["path"]
    for name, value in request.path_params.items():
        path = path.replace(str(value), f"{{{name}}}")
    return f"{request.method} {path}"


_CODES_OF_HTTP: Final = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
}


def _render_http(error: HTTPException) -> JSONResponse:
    """Say in our words what the framework refused."""
    headers = dict(error.headers or {})
    if isinstance(error, MalformedJson):
        return problem(400, "malformed_json", error.detail)
    detail = {
        404: "there is no such address here; /api/openapi.json lists those of the API",
        405: f"this address takes {headers.get('Allow', 'another method')}",
    }.get(error.status_code, str(error.detail))
    code = _CODES_OF_HTTP.get(error.status_code, "http_error")
    return problem(error.status_code, code, detail, headers=headers)


def _render_invalid(error: RequestValidationError) -> JSONResponse:
    """Name each field that was wrong and how to mend it; the first one is the headline."""
    items = error.errors()
    for item in items:
        if _is_about(item, "header", "missing") and item["loc"][1:] == ("Idempotency-Key",):
            return problem(
                400,
                "idempotency_key_missing",
                "send an Idempotency-Key header, one of your own for each new order",
                field="Idempotency-Key",
            )
        if item["loc"] == ("body",) and item["type"] in _NO_OBJECT:
            return problem(400, "malformed_json", "the body must be a JSON object")
    faults = [_fault(item) for item in items[:_FAULTS_MAX]]
    first = faults[0]
    return problem(
        422,
        "invalid_request",
        f"{first['field']}: {first['detail']}" if first["field"] else first["detail"],
        field=first["field"],
        errors=faults,
    )


#: How the framework says that a body is missing, or is no object.
_NO_OBJECT: Final = {"missing", "model_attributes_type", "model_type", "dict_type"}
#: Where the framework's words would puzzle somebody who writes JSON.
_WORDS: Final = {
    "extra_forbidden": "there is no such field; remove it or check its spelling",
    "missing": "this field is required",
    "string_type": "must be text, in quotes",
    "string_unicode": "must be valid Unicode text, without lone surrogates",
    "int_type": "must be a whole number, without quotes",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "bool_type": "must be true or false",
    "dict_type": "must be an object of texts",
    "list_type": "must be a list",
    "model_attributes_type": "must be an object",
    "model_type": "must be an object",
}


def _is_about(item: Mapping[str, Any], place: str, kind: str) -> bool:
    return bool(item["type"] == kind and item["loc"][0] == place)


def _fault(item: Mapping[str, Any]) -> dict[str, Any]:
    kind, context = item["type"], item.get("ctx", {})
    # The first part says body, query, path or header; a bad key of an object ends in "[key]".
    place = [str(part)[:_NAME_CHARACTERS_MAX] for part in item["loc"][1:] if part != "[key]"]
    field = ".".join(place) or context.get("field")
    detail = _WORDS.get(kind, str(item["msg"]).removeprefix("Value error, "))
    if field is None and kind == "string_unicode":
        detail = "the name of a field is no valid Unicode text"
    return {"field": field, "detail": detail}
