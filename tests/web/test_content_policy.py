"""The policy is on every answer, whatever made it."""

import asyncio
import socket
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from checkstand.web.content_policy import CONTENT_SECURITY_POLICY, HEADERS, ContentPolicy


async def own_policy(request: Request) -> Response:
    return PlainTextResponse("x", headers={"Content-Security-Policy": "default-src *"})


async def broken(request: Request) -> Response:
    raise RuntimeError("a bug")


@pytest.mark.asyncio(loop_scope="session")
async def test_policy_is_on_every_answer_even_those_of_errors(ask_http: Any) -> None:
    routes = [Route("/own", own_policy), Route("/broken", broken), Mount("/empty", routes=[])]
    app = ContentPolicy(Starlette(routes=routes))
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="critical", ws="none"))
    task = asyncio.ensure_future(server._serve([listening]))
    base = f"http://127.0.0.1:{listening.getsockname()[1]}"

    asked = {
        200: await ask_http(f"{base}/own"),
        404: await ask_http(f"{base}/empty/nothing"),
        405: await ask_http(f"{base}/own", method="POST"),
        500: await ask_http(f"{base}/broken"),
    }
    server.should_exit = True
    await task

    for status, answer in asked.items():
        assert answer.status == status
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS


def test_policy_starts_from_nothing_and_allows_only_ourselves() -> None:
    directives = dict(part.split(" ", 1) for part in CONTENT_SECURITY_POLICY.split("; "))

    assert directives.pop("default-src") == "'none'"
    assert set(directives.values()) == {"'self'", "'none'"}
    assert {"base-uri", "frame-ancestors", "form-action"} <= set(directives)


@pytest.mark.asyncio(loop_scope="session")
async def test_other_protocols_pass_untouched() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, receive, send))

    scope, receive, send = {"type": "lifespan"}, object(), object()
    await ContentPolicy(app)(scope, receive, send)  # type: ignore[arg-type]  # never called

    assert seen == [(scope, receive, send)]
