"""JSON as the API reads it: UTF-8, every name once, and numbers that JSON knows.

What two parsers could read differently (a price given twice, NaN, another encoding) is refused
before anything is made of it, with a sentence that says where.
"""

import json
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NoReturn

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from checkstand.web.problems import MalformedJson


class StrictRoute(APIRoute):
    """A route of the API whose body is read strictly."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Give the framework's handler a request that parses its body our way."""
        handle = super().get_route_handler()

        async def handle_strictly(request: Request) -> Response:
            return await handle(_StrictRequest(request.scope, request.receive))

        return handle_strictly


class _StrictRequest(Request):
    async def json(self) -> Any:
        return parse_json(await self.body())


def parse_json(raw: bytes) -> Any:
    """Read a body. Raises MalformedJson."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedJson(f"the body must be UTF-8 text: byte {error.start} is not") from error
    if text.startswith("\ufeff"):
        raise MalformedJson("the body begins with a byte order mark: send it without")
    try:
        return json.loads(text, object_pairs_hook=_take_each_once, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise MalformedJson(
            f"the body is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from error
    except RecursionError as error:
        raise MalformedJson("the body is nested too deeply") from error
    except ValueError as error:  # Python reads no number of more than 4,300 digits
        raise MalformedJson("a number in the body has too many digits") from error


def _take_each_once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise MalformedJson(f"the body names {twice[:64]!r} twice: give it once")
    return read


def _refuse_constant(word: str) -> NoReturn:
    raise MalformedJson(f"{word} is not JSON: send a number, or an amount as text")
