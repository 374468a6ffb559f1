"""kill -9 at the points where it hurts most: real processes, a real database, the same story.

Whatever point the gateway dies at, after a restart the order reaches its true state, the shop
hears one order.paid (under one id, however often it is repeated) and nothing is paid twice.
"""

import asyncio
import json
import os
import secrets
import signal
import socket
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpcore2
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from checkstand.receiver import Receiver
from checkstand.simulator.server import DEFAULT_API_KEY, DEFAULT_API_SECRET, Simulator
from crash.ports import free_port

#: Every point on the way from the create to the goods at which something was just begun or done.
POINTS = [
    "after commit create_order.begin",
    "before binance /v3/order",
    "after binance /v3/order",
    "before commit create_order.conclude",
    "after commit create_order.conclude",
    "before commit settle_notices",
    "after commit settle_notices",
    "before delivery",
    "after delivery",
    "before commit deliver_event.record",
    "after commit deliver_event.record",
    "before commit fulfil_order",
    "after commit fulfil_order",
]


@dataclass(slots=True)
class ProcessUnderTest:
    """A gateway as its own process, which may be killed and started again on its port."""

    port: int
    environment: dict[str, str]
    process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self, *, kill_at: str | None = None) -> None:
        extra = {"CHECKSTAND_TEST": "1", "CHECKSTAND_TEST_KILL_AT": kill_at} if kill_at else {}
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "checkstand",
            "serve",
            "--port",
            str(self.port),
            env=self.environment | extra,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        assert line.startswith(b"ready "), line

    @property
    def is_dead(self) -> bool:
        return self.process is None or self.process.returncode is not None

    async def stop(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()
            await self.process.wait()


@dataclass(slots=True)
class RecordingShop:
    """Hears events, verifies them, and acknowledges fulfilment as any shop would."""

    url: str = ""
    receiver: Receiver | None = None
    heard: list[tuple[str, str]] = field(default_factory=list)  # id, type
    on_paid: Any = None

    async def take(self, request: Request) -> Response:
        if self.receiver is None:
            return Response(status_code=503)
        event = self.receiver.open(await request.body(), request.headers)
        self.heard.append((event.id, event.type))
        if event.type == "order.paid":
            try:
                answer = await self.on_paid(event.order["order_id"])
            except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException):
                return Response(status_code=503)  # the gateway died under the acknowledgement
            if answer.status != 200:
                return Response(status_code=503)
        return Response(status_code=204)


@asynccontextmanager
async def _recording_shop() -> AsyncIterator[RecordingShop]:
    shop = RecordingShop()
    app = Starlette(routes=[Route("/webhooks", shop.take, methods=["POST"])])
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server._serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    shop.url = f"http://127.0.0.1:{listener.getsockname()[1]}/webhooks"
    yield shop
    server.should_exit = True
    await serving


@pytest.fixture
async def under_test(
    empty_database_url: str, simulator: Simulator
) -> AsyncIterator[ProcessUnderTest]:
    """A gateway process, not yet started, on this worker's database and simulator."""
    environment = {
        "PATH": os.environ["PATH"],
        "CHECKSTAND_DATABASE_URL": empty_database_url,
        "CHECKSTAND_SECRET_KEY": secrets.token_hex(32),
        "CHECKSTAND_ALLOW_PRIVATE_WEBHOOKS": "1",
        "BINANCE_PAY_API_KEY": DEFAULT_API_KEY,
        "BINANCE_PAY_API_SECRET": DEFAULT_API_SECRET,
        "BINANCE_PAY_BASE_URL": simulator.base_url,
        # A lease lives a little longer than the call it covers, and a successor waits for it.
        "BINANCE_PAY_TIMEOUT": "1",
        "CHECKSTAND_DELIVERY_TIMEOUT": "1",
    }
    process = ProcessUnderTest(port=free_port(), environment=environment)
    yield process
    await process.stop()


async def _make_key(environment: dict[str, str]) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "checkstand",
        "keys",
        "create",
        "shop",
        env=environment,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode().strip().splitlines()[-1]


class Caller:
    """Calls the gateway again and again until it answers, as a careful shop does."""

    def __init__(self, gateway: ProcessUnderTest, api_key: str) -> None:
        self.gateway = gateway
        self.headers = {
            "authorization": f"Bearer {api_key}",
            "content-type": "application/json",
        }

    async def request(self, method: str, path: str, **options: Any) -> Any:
        headers = self.headers | options.pop("headers", {})
        body = json.dumps(options["body"]).encode() if "body" in options else None
        async with httpcore2.AsyncConnectionPool() as pool:
            return await pool.request(
                method,
                self.gateway.url + path,
                headers=list(headers.items()),
                content=body,
                extensions={"timeout": {"connect": 5, "read": 10, "write": 5, "pool": 5}},
            )

    async def create(self) -> dict[str, Any]:
        """Open an order under one key; start a dead gateway again and repeat."""
        key = {"idempotency-key": uuid.uuid4().hex}
        order = {
            "merchant_order_id": "cart-1",
            "amount": "12.50",
            "currency": "USDT",
            "description": "Tea",
        }
        for _ in range(300):
            try:
                answer = await self.request(
                    "POST", "/api/payments/binance/create", body=order, headers=key
                )
            except (httpcore2.NetworkError, httpcore2.ProtocolError):
                await self.restart_if_dead()
                continue
            if answer.status in {200, 201, 202}:
                return dict(json.loads(answer.content))
            assert answer.status == 409, answer.content
            await asyncio.sleep(0.1)
        raise AssertionError("the create was never answered")

    async def order(self, order_id: str) -> dict[str, Any]:
        for _ in range(100):
            await self.restart_if_dead()
            try:
                answer = await self.request("GET", f"/api/payments/binance/orders/{order_id}")
            except (httpcore2.NetworkError, httpcore2.ProtocolError):
                await asyncio.sleep(0.05)
                continue
            return dict(json.loads(answer.content))
        raise AssertionError("the gateway does not come back")

    async def restart_if_dead(self) -> None:
        if self.gateway.process is not None:
            # The kernel may refuse connections a moment before the child is reaped.
            await asyncio.sleep(0.02)
        if self.gateway.is_dead:
            await self.gateway.start()


@pytest.mark.parametrize("point", POINTS)
async def test_order_reaches_the_goods_once_whatever_point_the_gateway_dies_at(
    under_test: ProcessUnderTest, simulator: Simulator, point: str
) -> None:
    async with _recording_shop() as shop:
        api_key = await _make_key(under_test.environment)
        await under_test.start()
        caller = Caller(under_test, api_key)
        registered = await caller.request("POST", "/api/webhook-endpoints", body={"url": shop.url})
        shop.receiver = Receiver(json.loads(registered.content)["secret"])
        shop.on_paid = lambda order_id: caller.request(
            "POST", f"/api/payments/binance/orders/{order_id}/fulfill"
        )
        await under_test.stop()
        await under_test.start(kill_at=f"{point}:1")
        victim = under_test.process
        assert victim is not None

        created = await caller.create()
        order = await _until(caller, created["order_id"], lambda o: o["universal_url"])
        payable = [o for o in simulator.control.orders if str(o.status) == "INITIAL"]
        assert [o.links.qr_content for o in payable] == [order["qr_content"]]
        simulator.control.pay(payable[0].merchant_trade_no)
        fulfilled = await _until(caller, created["order_id"], lambda o: o["status"] == "FULFILLED")

        assert await victim.wait() == -signal.SIGKILL
        assert fulfilled["anomalies"] == []
        assert fulfilled["paid_amount"] == "12.50"
        paid_ids = {id_ for id_, type_ in shop.heard if type_ == "order.paid"}
        assert len(paid_ids) == 1
        assert [str(o.status) for o in simulator.control.orders].count("PAID") == 1
        answer = await caller.request("GET", "/api/payments/binance/orders")
        assert len(json.loads(answer.content)["data"]) == 1


async def _until(caller: Caller, order_id: str, is_so: Any) -> dict[str, Any]:
    order: dict[str, Any] = {}
    for _ in range(600):
        order = await caller.order(order_id)
        if is_so(order):
            return order
        await asyncio.sleep(0.05)
    timeline = await caller.request("GET", f"/api/payments/binance/orders/{order_id}/timeline")
    lines = [entry["summary"] for entry in json.loads(timeline.content)["data"]]
    raise AssertionError("\n".join([str(order), *lines]))
