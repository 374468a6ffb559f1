"""A running simulator, a merchant that signs by itself, and a place to receive webhooks.

The merchant's signing is written out here once more, from the protocol's text: a test that
borrowed the simulator's would agree with any mistake in it.
"""

import asyncio
import contextlib
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import httpcore2
import pytest

from checkstand.simulator.records import Merchant
from checkstand.simulator.server import Simulator, running_simulator
from checkstand.simulator.signing import SigningKey, make_signing_key

_ACKNOWLEDGED = (200, b'{"returnCode":"SUCCESS","returnMessage":null}')


@dataclass(frozen=True)
class Reply:
    """What came back from the API."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content, parse_float=Decimal)

    @property
    def code(self) -> str:
        return str(self.json["code"])

    @property
    def data(self) -> Any:
        assert self.json["status"] == "SUCCESS", self.json
        return self.json["data"]


class Shop:
    """A merchant's program: signs and sends."""

    def __init__(
        self,
        simulator: Simulator,
        pool: httpcore2.AsyncConnectionPool,
        *,
        api_key: str = "simulator",
        api_secret: str = "simulator",
    ) -> None:
        self.simulator = simulator
        self.pool = pool
        self.api_key = api_key
        self.api_secret = api_secret

    async def call(
        self,
        path: str,
        body: object = None,
        *,
        method: str = "POST",
        raw: bytes | None = None,
        skew_ms: int = 0,
        headers: dict[str, str | None] | None = None,
    ) -> Reply:
        """Send a signed request; `headers` replace the true ones, or drop them if None."""
        content = json.dumps({} if body is None else body).encode() if raw is None else raw
        timestamp = str(self.simulator.clock.now_ms() + skew_ms)
        nonce = "N0nce" + "x" * 27
        payload = timestamp.encode() + b"\n" + nonce.encode() + b"\n" + content + b"\n"
        signature = hmac.new(self.api_secret.encode(), payload, hashlib.sha512).hexdigest()
        sent: dict[str, str | None] = {
            "content-type": "application/json",
            "BinancePay-Timestamp": timestamp,
            "BinancePay-Nonce": nonce,
            "BinancePay-Certificate-SN": self.api_key,
            "BinancePay-Signature": signature.upper(),
            **(headers or {}),
        }
        return await self.send(
            method,
            f"/binancepay/openapi{path}",
            content,
            {name: value for name, value in sent.items() if value is not None},
        )

    async def send(
        self,
        method: str,
        path: str,
        content: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """Send anything."""
        url = path if path.startswith("http") else self.simulator.base_url + path
        sent: list[tuple[bytes | str, bytes | str]] = [
            (name, value.encode("latin-1")) for name, value in (headers or {}).items()
        ]
        response = await self.pool.request(method, url, headers=sent, content=content)
        received = {k.decode().lower(): v.decode() for k, v in response.headers}
        return Reply(response.status, received, response.content)

    async def control(self, method: str, path: str, body: object = None) -> Reply:
        """Ask the control API."""
        content = b"" if body is None else json.dumps(body).encode()
        return await self.send(method, f"/simulator{path}", content)

    async def create(self, trade_no: str = "T1", **changes: Any) -> Any:
        """Open an order and return the answer's data."""
        return (await self.call("/v3/order", order_body(trade_no, **changes))).data

    async def query(self, trade_no: str = "T1") -> Any:
        """Ask how an order stands."""
        return (await self.call("/v2/order/query", {"merchantTradeNo": trade_no})).data


def order_body(trade_no: str = "T1", **changes: Any) -> dict[str, Any]:
    good = {
        "goodsType": "01",
        "goodsCategory": "D000",
        "referenceGoodsId": "sku-77",
        "goodsName": "Green tea",
    }
    body = {
        "env": {"terminalType": "WEB"},
        "merchantTradeNo": trade_no,
        "orderAmount": 12.5,
        "currency": "USDT",
        "description": "Order A0001",
        "goodsDetails": [good],
    }
    return {key: value for key, value in {**body, **changes}.items() if value is not ...}


@dataclass
class Received:
    """One webhook as it came over the wire."""

    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body, parse_float=Decimal)

    @property
    def data(self) -> Any:
        return json.loads(self.json["data"], parse_float=Decimal)


@dataclass
class Inbox:
    """A merchant's webhook address; answers are taken from the list, then acknowledges."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    # None hangs up instead of answering, "silence" keeps the line open and says nothing.
    answers: list[tuple[int, bytes] | str | None] = field(default_factory=list)
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:-2]
                headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in head)}
                body = await reader.readexactly(int(headers["content-length"]))
                self.received.append(Received(headers, body))
                answer = self.answers.pop(0) if self.answers else _ACKNOWLEDGED
                if answer == "silence":
                    await reader.read()  # ends when the other side has had enough
                if not isinstance(answer, tuple):
                    return
                writer.write(
                    b"HTTP/1.1 %d x\r\ncontent-length: %d\r\n\r\n%b"
                    % (answer[0], len(answer[1]), answer[1])
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@pytest.fixture(scope="session")
def signing_key() -> SigningKey:
    return make_signing_key()


@pytest.fixture
async def inbox() -> AsyncIterator[Inbox]:
    inbox = Inbox()
    server = await asyncio.start_server(inbox.serve, "127.0.0.1", 0)
    inbox.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    yield inbox
    server.close()


@pytest.fixture
async def pool() -> AsyncIterator[httpcore2.AsyncConnectionPool]:
    async with httpcore2.AsyncConnectionPool(max_connections=40) as pool:
        yield pool


@pytest.fixture
async def start(
    signing_key: SigningKey, pool: httpcore2.AsyncConnectionPool
) -> AsyncIterator[Callable[..., Any]]:
    """Start a simulator with options and return its default merchant's program."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(**options: Any) -> Shop:
            options.setdefault("signing_key", signing_key)
            simulator = await stack.enter_async_context(running_simulator(**options))
            return Shop(simulator, pool)

        yield start


@pytest.fixture
async def shop(start: Callable[..., Any], inbox: Inbox) -> Shop:
    """The program of a merchant whose notices go to the inbox, on a clock that stands still."""
    merchant = Merchant(
        api_key="simulator",
        api_secret="simulator",
        merchant_id="900000001",
        webhook_url=inbox.url,
    )
    shop: Shop = await start(merchants=(merchant,))
    shop.simulator.clock.freeze()
    return shop


@pytest.fixture
def body() -> Callable[..., dict[str, Any]]:
    """Make the fields of a v3 create; `...` leaves one out."""
    return order_body
