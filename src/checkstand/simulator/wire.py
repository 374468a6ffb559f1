"""JSON in and out, and the answers' envelope.

Numbers come in as int or Decimal, never as float. What goes out is encoded by msgspec, with
amounts as raw number text (`amounts.as_number`).
"""

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from checkstand.simulator.rejections import Rejection

_JSON = "application/json;charset=UTF-8"
_HTML = "text/html;charset=UTF-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer before it is sent."""

    status: int
    body: bytes
    content_type: str = _JSON
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Repeated:
    """The result of a call that was made before, which the envelope says in words of its own."""

    data: object


@dataclass(frozen=True, slots=True)
class Bare:
    """A result that travels without the envelope."""

    data: object


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body` with exact numbers; raise `Rejection` if it is none."""
    try:
        # An absurd exponent is an ArithmeticError of Decimal, absurd nesting a RecursionError.
        parsed = json.loads(body, parse_float=Decimal, parse_constant=_no_constant)
    except (ValueError, ArithmeticError, RecursionError):
        raise Rejection("400008") from None
    if not isinstance(parsed, dict):
        raise Rejection("400008")
    return parsed


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def to_json(value: object) -> bytes:
    """Return compact JSON in UTF-8."""
    return msgspec.json.encode(value)


def success(data: object) -> Answer:
    """Wrap the result of a call; live replies carry no errorMessage on success."""
    if isinstance(data, Bare):
        return Answer(200, to_json(data.data))
    if isinstance(data, Repeated):
        envelope = {"status": "REPEAT_REQ_SUCCESS", "code": "000001", "data": data.data}
        return Answer(200, to_json(envelope))
    return Answer(200, to_json({"status": "SUCCESS", "code": "000000", "data": data}))


def failure(rejection: Rejection, *, status: int, uses_msg: bool) -> Answer:
    """Wrap a documented refusal."""
    body = {"status": "FAIL", "code": rejection.code, "errorMessage": rejection.message}
    if uses_msg:
        body = {"code": rejection.code, "msg": rejection.message}
    return Answer(status, to_json(body))


def system_abnormality(status: int) -> Answer:
    """Answer as the outer gateway does for a GET, a wrong content type or an empty body."""
    body = {
        "status": "ERROR",
        "type": "SYS",
        "code": "100001001",
        "errorData": "System abnormality",
    }
    return Answer(status, to_json(body))


def restricted_location() -> Answer:
    """Answer as to a caller in a restricted country; the number 0 is a trap for clients."""
    message = (
        "Service unavailable from a restricted location according to 'b. Eligibility' "
        "in the terms of use."
    )
    return Answer(200, to_json({"code": 0, "msg": message}))


def html_page(status: int, title: str, *headers: tuple[str, str]) -> Answer:
    """Answer with a page where a program expects JSON, as network edges do."""
    text = f"<!doctype html><html><head><title>{title}</title></head><body>{title}</body></html>"
    return Answer(status, text.encode(), _HTML, headers)


def request_blocked() -> Answer:
    """Answer as the network edge does for a path it does not know."""
    return html_page(403, "Request blocked")
