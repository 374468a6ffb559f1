"""Errors as `application/problem+json`: the one table from what went wrong to HTTP.

Every problem names a stable code, a sentence that says what to do, and the field when there was
one. What reaches `unexpected` is a bug of ours: it is logged in full and told in one sentence.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

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

_STATUS_OF_CODE: Final = {
    "idempotency_key_reused": 422,
    "idempotency_key_missing": 400,
    "idempotency_key_malformed": 400,
    "api_key_missing": 401,
    "api_key_unknown": 401,
    "scope_missing": 403,
    "notice_path_unknown": 404,
    "notice_not_genuine": 401,
    "notice_not_ours": 401,
    "order_not_cancellable": 409,
    "order_not_renewable": 409,
    "payment_under_way": 409,
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


def install(app: FastAPI) -> None:
    """Let every error of the app leave as a problem."""

    async def ours(_request: Request, error: Exception) -> Response:
        assert isinstance(error, CheckstandError)  # noqa: S101  (registered for no other kind)
        if status_of(error) >= 500:
            _log.warning("request failed", code=error.code, detail=error.message)
        return render_error(error)

    async def invalid(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        return _render_invalid(error)

    async def http(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101
        code = _CODES_OF_HTTP.get(error.status_code, "http_error")
        return problem(
            error.status_code, code, str(error.detail), headers=dict(error.headers or {})
        )

    async def unexpected(request: Request, error: Exception) -> Response:
        _log.error("unexpected error", path=request.url.path, exc_info=error)
        return problem(500, "internal_error", "something went wrong here; it has been logged")

    app.add_exception_handler(CheckstandError, ours)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, unexpected)


_CODES_OF_HTTP: Final = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
}


def _render_invalid(error: RequestValidationError) -> JSONResponse:
    """Name each field that was wrong and how to mend it; the first one is the headline."""
    faults = [_fault(item) for item in error.errors()]
    first = faults[0]
    if first["field"] is None and "JSON" in first["detail"]:
        return problem(400, "malformed_json", first["detail"])
    return problem(
        422,
        "invalid_request",
        f"{first['field']}: {first['detail']}" if first["field"] else first["detail"],
        field=first["field"],
        errors=faults,
    )


def _fault(item: Mapping[str, Any]) -> dict[str, Any]:
    kind = item["type"]
    place = [str(part) for part in item["loc"] if part not in {"body", "query", "path", "header"}]
    if kind == "json_invalid":
        reason = item.get("ctx", {}).get("error", "")
        return {"field": None, "detail": f"the body is not valid JSON: {reason}"}
    if kind in {"model_attributes_type", "model_type", "dict_type"} and not place:
        return {"field": None, "detail": "the body must be a JSON object"}
    detail = {
        "extra_forbidden": "there is no such field; remove it or check its spelling",
        "missing": "this field is required",
        "string_type": 'must be text in quotes, such as "12.50"',
    }.get(kind, str(item["msg"]).removeprefix("Value error, "))
    return {"field": ".".join(place) or None, "detail": detail}
