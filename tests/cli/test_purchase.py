"""A purchase through separate programs, at the most talkative log level: nothing secret is said.

The simulator, a gateway that serves only and a worker beside it are programs of their own; the
shop is this test.
"""

import asyncio
import json
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpcore2
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

TALKATIVE = {"CHECKSTAND_LOG_LEVEL": "debug", "CHECKSTAND_ALLOW_PRIVATE_WEBHOOKS": "1"}


@dataclass(slots=True)
class Shop:
    """Hears the gateway's webhooks."""

    url: str = ""
    heard: list[str] = field(default_factory=list)

    async def hear(self, request: Request) -> Response:
        """Take one event."""
        self.heard.append((await request.json())["type"])
        return Response(status_code=204)


@asynccontextmanager
async def running_shop() -> AsyncIterator[Shop]:
    """Serve the shop on a free port."""
    shop = Shop()
    app = Starlette(routes=[Route("/hook", shop.hear, methods=["POST"])])
    listening = socket.create_server(("127.0.0.1", 0))
    shop.url = f"http://127.0.0.1:{listening.getsockname()[1]}/hook"
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", ws="none", log_level="critical"))
    task = asyncio.ensure_future(server._serve([listening]))
    yield shop
    server.should_exit = True
    await task


@dataclass(frozen=True, slots=True)
class Caller:
    """Calls one server."""

    url: str
    key: str
    pool: httpcore2.AsyncConnectionPool

    async def __call__(self, method: str, path: str, body: Any = None, **more: str) -> Any:
        """Make a request; return the parsed answer, or its text."""
        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        headers |= {name.replace("_", "-"): value for name, value in more.items()}
        content = None if body is None else json.dumps(body).encode()
        target = path if path.startswith("http") else self.url + path
        answer = await self.pool.request(
            method, target, headers=list(headers.items()), content=content
        )
        is_json = answer.headers and b"json" in dict(answer.headers).get(b"content-type", b"")
        return json.loads(answer.content) if is_json else answer.content.decode()


async def test_worker_beside_a_serving_gateway_completes_a_purchase_and_tells_no_secret(
    on_postgres: Any, empty_database_url: str
) -> None:
    async with (
        running_shop() as shop,
        httpcore2.AsyncConnectionPool() as pool,
        on_postgres.serves("simulator", "--port", "0") as simulator,
    ):
        settings = TALKATIVE | {"BINANCE_PAY_BASE_URL": simulator.url}
        serve = ("serve", "--port", "0", "--no-worker")
        log = await log_of_a_bad_start(on_postgres, serve, settings, pool)
        async with on_postgres.serves(*serve, **settings) as gateway:
            settings |= {"CHECKSTAND_PUBLIC_URL": gateway.url}
            async with on_postgres.serves("worker", **settings) as worker:
                key = on_postgres.ends("keys", "create", "shop", **settings).out.split()[-1]
                call = Caller(gateway.url, key, pool)
                endpoint = await call("POST", "/api/webhook-endpoints", {"url": shop.url})
                order = await buy(call, simulator.url)
                for _ in range(400):
                    if shop.heard[-1:] == ["order.fulfilled"]:
                        break
                    await asyncio.sleep(0.05)
                notice_path = await _notice_path(empty_database_url)

    assert shop.heard == ["order.pending", "order.paid", "order.fulfilled"]
    log += [*gateway.log, *worker.log]
    environment = on_postgres.environment
    secrets = {
        "an API key": key,
        "the webhook secret": endpoint["secret"],
        "the checkout token": order["checkout_url"].rpartition("/")[2],
        "the deeplink": order["deeplink"],
        "the code": order["qr_content"],
        "the wallet's link": order["universal_url"],
        "the notices' address": notice_path,
        "the secret key": environment["CHECKSTAND_SECRET_KEY"],
        "the database": environment["CHECKSTAND_DATABASE_URL"],
    }
    for what, secret in secrets.items():
        assert len(secret) > 8
        assert not any(secret in line for line in log), what
    for line in log:  # whatever is logged is structured
        assert json.loads(line)["event"]


async def log_of_a_bad_start(
    program: Any, serve: tuple[str, ...], settings: dict[str, str], pool: Any
) -> list[str]:
    """Start a gateway while Binance is unwell, so that there is something to log."""
    fault = {"kind": "http_5xx_before_effect", "endpoint": "/certificates", "times": 9}
    simulator = Caller(settings["BINANCE_PAY_BASE_URL"], "none", pool)
    made = await simulator("POST", "/simulator/faults", fault)
    async with program.serves(*serve, **settings) as gateway:
        pass
    await simulator("DELETE", f"/simulator/faults/{made['number']}")
    assert any("certificates not fetched" in line for line in gateway.log)
    return list(gateway.log)


async def buy(call: Caller, simulator_url: str) -> dict[str, Any]:
    """Create, look at the page, pay at the wallet, make mistakes on the way, fulfil."""
    cart = {"merchant_order_id": "shop-1", "amount": "12.50", "currency": "USDT"}
    create = "/api/payments/binance/create"
    order = await call("POST", create, cart, idempotency_key="one")
    order_id = order["order_id"]
    await call("GET", order["checkout_url"])
    await call("GET", order["checkout_url"] + "/status")
    await call("POST", create, cart | {"amount": "1e9"}, idempotency_key="two")
    await call("POST", create, cart, authorization=f"Bearer {call.key}x", idempotency_key="three")
    await call("POST", order["checkout_url"] + "/renew")
    wallet = await call("GET", order["universal_url"])
    form = re.search(r'action="([^"]*/pay)"', wallet)
    assert form is not None, wallet
    parts = urlsplit(simulator_url)
    await call("POST", f"{parts.scheme}://{parts.netloc}{form.group(1)}")
    path = f"/api/payments/binance/orders/{order_id}"
    for _ in range(400):
        if (await call("GET", path))["status"] == "PAID":
            break
        await asyncio.sleep(0.05)
    assert (await call("POST", f"{path}/fulfill"))["status"] == "FULFILLED"
    return dict(order)


async def _notice_path(url: str) -> str:
    connection = await asyncpg.connect(url)
    try:
        return str(await connection.fetchval("SELECT notice_path FROM accounts"))
    finally:
        await connection.close()


def test_traceback_in_the_log_has_no_values_at_hand() -> None:
    program = """
import logging, structlog
from checkstand.observability import configure_logs
configure_logs(level="debug")
def fail(secret):
    token = "at" + "hand"
    raise ValueError("could not open /checkout/abcdefghTOKEN with csk_abcdefgh_SECRETSECRET")
try:
    fail("SECRET" + "ARGUMENT")
except ValueError as error:
    structlog.get_logger().error("ours", exc_info=error, detail={"api_secret": "NESTED"})
    logging.getLogger("uvicorn.error").error("theirs", exc_info=error)
    logging.getLogger("httpcore2.http11").debug("Authorization: HEADER")
    logging.getLogger("asyncio").warning("to postgresql://ada:HUSH@db/shop and whsec_SIGNING")
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )

    assert ended.stdout == ""
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert [line["event"] for line in lines[:2]] == ["ours", "theirs"]
    assert all(line["exception"][0]["frames"][-1]["name"] == "fail" for line in lines[:2])
    for secret in ("athand", "SECRET", "TOKEN", "NESTED", "HEADER", "HUSH", "SIGNING"):
        assert secret not in ended.stderr
