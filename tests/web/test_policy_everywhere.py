"""Every address of the gateway, whatever it answers, answers under the content policy.

The addresses are read from the app itself, so a new route is covered without a word here.
"""

import asyncio
import contextlib
import dataclasses
import io
import json
import logging
import re
import socket
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, Final

import pytest
import structlog
import uvicorn
from starlette.routing import BaseRoute

from checkstand.observability import configure_logs
from checkstand.operations.receive_notice import NoticeDesk
from checkstand.simulator.notices import order_data
from checkstand.web.content_policy import HEADERS
from checkstand.web.gateway import build_app, build_gateway
from checkstand.web.notices import notice_routes

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
PRIVATE: Final = "csk_abcdefgh_this-must-stay-inside"
#: What gives away the inside of a program.
INSIDE: Final = re.compile(
    r"Traceback|File \"|line \d+, in|RuntimeError|asyncpg|site-packages|csk_\w{8}_"
)


@pytest.fixture
async def gateway(run_gateway: Any) -> AsyncIterator[Any]:
    """A gateway without a worker."""
    async with run_gateway(with_worker=False) as running:
        yield running


def list_paths(routes: Iterable[BaseRoute]) -> Iterator[str]:
    """List the addresses of an app, those of included routers too."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from list_paths(inner.routes)
        else:
            yield str(route.path)  # type: ignore[attr-defined]  # every kind of ours has one


async def fill(gateway: Any, path: str) -> str:
    """Put an existing thing's name into an address."""
    if "{" not in path:
        return path
    created = await gateway.create()
    _, _, token = created.json["checkout_url"].rpartition("/")
    events = await gateway.request("GET", "/api/events")
    endpoint = await gateway.request(
        "POST", "/api/webhook-endpoints", body={"url": f"https://shop.example/{token}"}
    )
    order_id = created.json["order_id"]
    names = {
        "order_id": order_id,
        "event_id": events.json["data"][0]["event"]["id"],
        "endpoint_id": endpoint.json["endpoint_id"],
        "anomaly_id": created.json["order_id"],
        "notice_path": gateway.resources.accounts.list_all()[0].notice_path,
        "token": token,
        "name": "checkout.css",
        "day": "2026-01-15",
        "discrepancy_id": order_id,
        "file_id": order_id,
        "refund_id": order_id,
    }
    return path.format_map(names)


def must_be_safe(answer: Any, what: object) -> None:
    """Check the head of an answer and that its body tells nothing of the inside."""
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS, what
    assert "set-cookie" not in answer.headers, what
    assert "server" not in answer.headers, what
    assert not INSIDE.search(answer.content.decode()), (what, answer.content)


async def test_every_route_answers_every_method_under_the_policy(gateway: Any) -> None:
    routes = build_app(gateway.resources).routes + notice_routes(NoticeDesk(gateway.resources))
    paths = sorted(set(list_paths(routes)))
    statuses = set()
    assert len(paths) > 15

    for path in paths:
        address = await fill(gateway, path)
        for method in METHODS:
            for authorized in (False, True):
                answer = await gateway.request(
                    method, address, content=b"{}", authorized=authorized
                )
                must_be_safe(answer, (method, path))
                statuses.add(answer.status)

    assert {200, 202, 204, 400, 401, 403, 404, 405, 422} <= statuses
    assert max(statuses) < 500


async def test_refusals_before_any_route_are_under_the_policy(gateway: Any) -> None:
    create = "/api/payments/binance/create"
    refused = {
        404: await gateway.request("GET", "/no/such/address"),
        405: await gateway.request("PATCH", create),
        413: await gateway.request("POST", create, content=b"x" * 70_000),
        415: await gateway.request(
            "POST", create, content=b"{}", headers={"content-type": "text/plain"}
        ),
        422: await gateway.request("POST", create, body={}, headers={"idempotency-key": "k"}),
        307: await gateway.request("GET", "/healthz/"),
    }

    for status, answer in refused.items():
        assert answer.status == status
        must_be_safe(answer, status)


async def test_files_of_the_page_are_served_under_the_policy(gateway: Any) -> None:
    created = await gateway.create()
    page = await gateway.request("GET", created.json["checkout_url"])
    files = set(re.findall(r'(?:href|src)="(/checkout/static/[^"]+)"', page.content.decode()))
    assert len(files) >= 2

    for path in [*files, "/checkout/static/none.css", "/checkout/static/..%2Fpage.py"]:
        answer = await gateway.request("GET", path)
        assert answer.status == (200 if path in files else 404)
        must_be_safe(answer, path)


class BrokenDatabase:
    """A database door with a bug behind it."""

    async def run(self, *_: Any, **__: Any) -> None:
        raise RuntimeError(f"a bug, with {PRIVATE} in its words")

    read = run


@contextlib.asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    """Serve an app on a free port."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, lifespan="off", ws="none", log_config=None, server_header=False)
    server = uvicorn.Server(config)
    task = asyncio.ensure_future(server._serve([listening]))
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


@pytest.fixture
def logs() -> Iterator[io.StringIO]:
    """Log as `checkstand serve` does, into a text."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with contextlib.redirect_stderr(io.StringIO()) as log:
        configure_logs(level="debug")
    yield log
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level


async def test_bug_of_ours_is_a_problem_that_tells_nothing_of_the_inside(
    gateway: Any, logs: io.StringIO
) -> None:
    created = await gateway.create()
    notice = gateway.simulator.control.sign(
        data=order_data(gateway.simulator.control.orders[0]),
        biz_id=gateway.simulator.control.orders[0].prepay_id,
    )
    checkout = "/checkout/" + created.json["checkout_url"].rpartition("/")[2]
    order = f"/api/payments/binance/orders/{created.json['order_id']}"
    own_path = gateway.resources.notice_url(gateway.resources.accounts.list_all()[0].account_id)
    broken: Any = BrokenDatabase()
    resources = dataclasses.replace(gateway.resources, database=broken)

    async with serving(build_gateway(resources, desk=NoticeDesk(resources))) as url:
        for path in (order, f"{order}/timeline", "/api/events", checkout, f"{checkout}/status"):
            answer = await gateway.request("GET", url + path)
            assert answer.status == 500, path
            must_be_safe(answer, path)
            assert answer.headers["content-type"] == "application/problem+json"
            problem = answer.json
            assert (problem["status"], problem["code"]) == (500, "internal_error")
        ready = await gateway.request("GET", f"{url}/readyz")
        must_be_safe(ready, "readyz")
        told = await gateway.request(
            "POST",
            url + own_path.removeprefix(gateway.url),
            content=notice.body,
            headers=notice.headers,
            authorized=False,
        )
        must_be_safe(told, "notice")

    assert json.loads(told.content)["returnCode"] == "FAIL"  # so Binance tells it again
    log = logs.getvalue()
    token, notice_path = checkout.rpartition("/")[2], own_path.rpartition("/")[2]
    for secret in (PRIVATE, token, notice_path, gateway.api_key):
        assert secret not in log
    lines = [json.loads(line) for line in log.splitlines()]
    ours = [line for line in lines if line["event"] == "unexpected error"]
    assert {line["route"] for line in ours} >= {
        "GET /checkout/{token}",
        "GET /api/payments/binance/orders/{order_id}/timeline",
    }
    assert all(line["exception"][0]["frames"] for line in ours)
