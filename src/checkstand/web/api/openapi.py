"""The API's own description: which problems a route may answer, and in which media type.

The framework writes the rest from the routes and models; it would document problems as plain
JSON, which no client that trusts the document could then recognise.
"""

from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI
from fastapi.routing import APIRoute

from checkstand.web.api.models import Problem
from checkstand.web.problems import MEDIA_TYPE

_WORDS: Final = {
    400: "The body could not be read, or the Idempotency-Key is missing or malformed",
    401: "No API key, or an unknown one",
    403: "The key lacks the scope",
    404: "There is no such thing, or it is not yours",
    409: "It conflicts with what is there",
    413: "The body is too large",
    415: "The body is not application/json",
    422: "A field is wrong, or Binance refused the order",
    503: "The database or Binance is away; try again after Retry-After",
}

Responses = dict[int | str, dict[str, Any]]


def problems(*more: int) -> Responses:
    """Document the problems of a route: those of every route, and `more` of its own."""
    statuses = sorted({401, 403, 422, 503, *more})
    return {status: {"model": Problem, "description": _WORDS[status]} for status in statuses}


#: What a route that reads a JSON body may answer besides.
OF_A_BODY: Final = (400, 413, 415)


def operation_id(route: APIRoute) -> str:
    """Name an operation after its route: the name of the function in generated clients."""
    return route.name


class DescribedApp(FastAPI):
    """The framework's app, whose document gives problems their own media type."""

    def openapi(self) -> dict[str, Any]:
        """Return the document; made once."""
        if self.openapi_schema is None:
            for path in super().openapi()["paths"].values():
                for operation in path.values():
                    _name_media_type(operation["responses"])
        document: dict[str, Any] = super().openapi()
        return document


def _name_media_type(responses: Mapping[str, Any]) -> None:
    for status, response in responses.items():
        content = response.get("content", {})
        if int(status) >= 400 and "application/json" in content:
            content[MEDIA_TYPE] = content.pop("application/json")
