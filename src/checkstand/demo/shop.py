"""A small shop that sells one thing through the gateway: what any merchant's server has to do.

It opens an order under an idempotency key, hears the gateway's signed webhooks through the
receiver kit, sends the goods once and acknowledges it. Its books live in memory only: an order
that it forgot over a restart comes back with its event, but what was sent is forgotten for good.
"""

import asyncio
import contextlib
import json
import re
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import parse_qs, quote, urlsplit

import httpcore2
import jinja2
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)
from starlette.routing import Route

from checkstand.ambient import Random, SystemRandom
from checkstand.receiver import (
    Event,
    EventRefused,
    MemorySeenEvents,
    Receiver,
    handle_once_async,
)

PRODUCT: Final = "A tin of green tea"
AMOUNT: Final = "12.50"
CURRENCY: Final = "USDT"

BODY_BYTES_MOST = 256 * 1024  # many times the largest event
TRIES_MOST = 3  # of one call to the gateway, while a shopper waits
PAUSE_SECONDS = 0.3  # between them

_TEMPLATES = Path(__file__).with_name("templates")
_CART = re.compile(r"[A-Za-z0-9]{20}")
_ID_PREFIX = "sample-"  # tells our orders from others of the same merchant account

Status = Literal["waiting", "paid", "fulfilled", "closed"]


@dataclass(slots=True)
class ShopOrder:
    """One order as the shop sees it."""

    merchant_order_id: str
    amount: str = AMOUNT
    currency: str = CURRENCY
    status: Status = "waiting"  # closed: cancelled or expired, and no money came
    fulfilments: int = 0  # how often the goods were sent: never more than once
    events: list[str] = field(default_factory=list)  # types of the events handled
    order_id: str | None = None  # the gateway's; None until it has answered
    checkout_url: str | None = None


class Shop:
    """The shop's web app and its books. `running_shop` serves it."""

    def __init__(
        self,
        *,
        gateway_url: str,
        api_key: str,
        webhook_secret: str | None = None,
        port: int,
        host: str = "127.0.0.1",
        checkout_origin: str | None = None,
        random: Random | None = None,
    ) -> None:
        self.url = f"http://{host}:{port}"
        self.orders: dict[str, ShopOrder] = {}
        self._gateway = Gateway(url=gateway_url, api_key=api_key)
        self._receiver = Receiver(webhook_secret) if webhook_secret else None
        self._seen = MemorySeenEvents()
        self._random = random or SystemRandom()
        self._pages = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True
        )
        self._policy = _content_policy(checkout_origin or gateway_url)
        self.app = Starlette(
            routes=[
                Route("/", self._show_product),
                Route("/buy", self._buy, methods=["POST"]),
                Route("/orders/{merchant_order_id}", self._show_order),
                Route("/webhooks", self._hear, methods=["POST"]),
                Route("/shop.css", self._style),
                Route("/favicon.ico", self._no_icon),
            ],
            middleware=[Middleware(BaseHTTPMiddleware, dispatch=self._guard)],
        )

    async def register_endpoint(self) -> str:
        """Ask the gateway to tell us its events; returns the endpoint's id."""
        answer = await self._gateway.register_endpoint(f"{self.url}/webhooks")
        self._receiver = Receiver(answer["secret"])
        return str(answer["endpoint_id"])

    async def aclose(self) -> None:
        """Close the connections to the gateway."""
        await self._gateway.aclose()

    # What shoppers see

    async def _show_product(self, _request: Request) -> Response:
        # The cart's number goes through the form, so that two clicks on "Buy" are one order.
        return self._page(
            "product.html",
            product=PRODUCT,
            amount=AMOUNT,
            currency=CURRENCY,
            cart=self._random.token(20),
        )

    async def _buy(self, request: Request) -> Response:
        form = parse_qs((await _read_body(request)).decode("utf-8", errors="replace"))
        cart = form.get("cart", [""])[0]
        if not _CART.fullmatch(cart):
            return self._page("sorry.html", status=400, why="This form is not one of ours.")
        # Written down before the gateway is asked: its webhook may be faster than its answer.
        order = self._order(f"{_ID_PREFIX}{cart}")
        try:
            opened = await self._gateway.create_order(
                order, return_url=f"{self.url}/orders/{order.merchant_order_id}"
            )
        except GatewayFailed as error:
            return self._page("sorry.html", status=502, why=str(error), cart=cart)
        order.order_id = opened["order_id"]
        order.checkout_url = opened["checkout_url"]
        return RedirectResponse(opened["checkout_url"], status_code=303)

    async def _show_order(self, request: Request) -> Response:
        order = self.orders.get(request.path_params["merchant_order_id"])
        if order is None:
            return self._page("sorry.html", status=404, why="There is no such order.")
        page = self._page("order.html", order=order)
        if order.status in {"waiting", "paid"}:
            page.headers["refresh"] = "2"  # seconds; pages without script look again by themselves
        return page

    async def _style(self, _request: Request) -> Response:
        return FileResponse(_TEMPLATES / "shop.css", media_type="text/css")

    async def _no_icon(self, _request: Request) -> Response:
        return Response(status_code=204)  # browsers ask, and would report a 404 as an error

    # What the gateway tells

    async def _hear(self, request: Request) -> Response:
        if self._receiver is None:
            return PlainTextResponse("no webhook secret is known yet", status_code=503)
        raw = await _read_body(request)
        try:
            event = self._receiver.open(raw, request.headers)
            outcome = await handle_once_async(event, self._handle, seen=self._seen)
        except EventRefused as error:
            return PlainTextResponse(str(error), status_code=error.http_status)
        except GatewayFailed as error:
            # 503 asks for another try soon; 422 lets the order's later events pass meanwhile.
            return PlainTextResponse(str(error), status_code=422 if error.is_final else 503)
        return PlainTextResponse(outcome.value, status_code=outcome.http_status)

    async def _handle(self, event: Event) -> None:
        merchant_order_id = str(event.order.get("merchant_order_id", ""))
        if not merchant_order_id.startswith(_ID_PREFIX):
            return  # somebody else's order in the same merchant account
        order = self._order(merchant_order_id)
        if event.type == "order.paid":
            await self._fulfil(order, event)
        elif event.type in {"order.canceled", "order.expired"} and order.status == "waiting":
            order.status = "closed"
        order.events.append(event.type)

    async def _fulfil(self, order: ShopOrder, event: Event) -> None:
        _check_price(order, event)
        order.order_id = str(event.order["order_id"])
        if order.fulfilments == 0:  # a repeated handling acknowledges again and sends nothing
            order.status = "paid"
            order.fulfilments += 1
        await self._gateway.acknowledge_fulfilment(order.order_id)
        order.status = "fulfilled"

    def _order(self, merchant_order_id: str) -> ShopOrder:
        return self.orders.setdefault(merchant_order_id, ShopOrder(merchant_order_id))

    # What every answer has

    def _page(self, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        return HTMLResponse(self._pages.get_template(template).render(values), status_code=status)

    async def _guard(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers["content-security-policy"] = self._policy
        response.headers["x-content-type-options"] = "nosniff"
        response.headers["referrer-policy"] = "no-referrer"
        return response


@contextlib.asynccontextmanager
async def running_shop(
    *,
    gateway_url: str,
    api_key: str,
    webhook_secret: str | None = None,
    port: int = 0,
    host: str = "127.0.0.1",
    checkout_origin: str | None = None,
    random: Random | None = None,
) -> AsyncIterator[Shop]:
    """Serve the shop inside this event loop until the block ends; port 0 picks a free one.

    Raises OSError if the port is taken. It installs no signal handlers: stopping is the caller's.
    `checkout_origin` is where checkout pages live, if that is not the gateway's own address.
    """
    listener = socket.create_server((host, port))
    shop = Shop(
        gateway_url=gateway_url,
        api_key=api_key,
        webhook_secret=webhook_secret,
        port=listener.getsockname()[1],
        host=host,
        checkout_origin=checkout_origin,
        random=random,
    )
    server = _Server(
        uvicorn.Config(
            shop.app, lifespan="off", ws="none", log_config=None, timeout_graceful_shutdown=2
        )
    )
    # The listener queues whoever comes before the server is up: nobody has to wait for that.
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="sample shop")
    try:
        yield shop
    finally:
        server.should_exit = True
        await serving
        await shop.aclose()


class _Server(uvicorn.Server):
    """Serves without taking over the process's signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MOST:
            raise HTTPException(413)
    return bytes(body)


def _check_price(order: ShopOrder, event: Event) -> None:
    """Send nothing for another price than ours, whatever the reason."""
    paid = Decimal(str(event.order["amount"])), event.order["currency"]
    if paid != (Decimal(order.amount), order.currency):
        raise GatewayFailed(f"paid {paid[0]} {paid[1]}, which is not our price", is_final=True)


def _content_policy(checkout: str) -> str:
    parts = urlsplit(checkout)
    # The form's answer leads to the checkout page, and browsers hold that to form-action too.
    return (
        "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
        f"form-action 'self' {parts.scheme}://{parts.netloc}"
    )


class GatewayFailed(Exception):
    """The gateway gave no usable answer, or refused."""

    def __init__(self, message: str, *, is_final: bool) -> None:
        super().__init__(message)
        self.is_final = is_final  # whether asking again is pointless


class Gateway:
    """The three calls a shop makes to the gateway's API."""

    def __init__(self, *, url: str, api_key: str) -> None:
        self._url = url.rstrip("/")
        self._headers = {"authorization": f"Bearer {api_key}", "content-type": "application/json"}
        # No connection is kept: a shop this small has no use for a closed one.
        self._pool = httpcore2.AsyncConnectionPool(max_keepalive_connections=0)

    async def create_order(self, order: ShopOrder, *, return_url: str) -> Mapping[str, Any]:
        """Open the order; the same `merchant_order_id` always leads to the same one."""
        return await self._post(
            "/api/payments/binance/create",
            key=order.merchant_order_id,
            body={
                "merchant_order_id": order.merchant_order_id,
                "amount": order.amount,
                "currency": order.currency,
                "description": PRODUCT,
                "return_url": return_url,
            },
        )

    async def acknowledge_fulfilment(self, order_id: str) -> None:
        """Tell the gateway that the goods are on their way."""
        path = f"/api/payments/binance/orders/{quote(order_id, safe='')}/fulfill"
        await self._post(path, key=f"fulfill-{order_id}", body={})

    async def register_endpoint(self, url: str) -> Mapping[str, Any]:
        """Ask for webhooks at `url`; the answer holds the secret, this once."""
        return await self._post("/api/webhook-endpoints", key=None, body={"url": url})

    async def aclose(self) -> None:
        """Close the connections."""
        await self._pool.aclose()

    async def _post(
        self, path: str, *, key: str | None, body: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        headers = self._headers | ({"idempotency-key": key} if key else {})
        # Only a key makes the same call twice one call.
        tries_left = TRIES_MOST if key else 1
        while True:
            tries_left -= 1
            try:
                return await self._post_once(path, headers, json.dumps(body).encode())
            except GatewayFailed as error:
                if error.is_final or not tries_left:
                    raise
            await asyncio.sleep(PAUSE_SECONDS)

    async def _post_once(
        self, path: str, headers: Mapping[str, str], body: bytes
    ) -> Mapping[str, Any]:
        try:
            response = await self._pool.request(
                "POST",
                self._url + path,
                headers=[(name.encode(), value.encode()) for name, value in headers.items()],
                content=body,
                extensions={"timeout": {"connect": 5.0, "read": 20.0, "write": 5.0}},
            )
            content = json.loads(response.content)
        except (*_NETWORK_ERRORS, ValueError) as error:
            raise GatewayFailed("the gateway gave no readable answer", is_final=False) from error
        if response.status < 300 and isinstance(content, dict):
            return content
        raise _refusal(response, content)


def _refusal(response: httpcore2.Response, problem: Any) -> GatewayFailed:
    detail = problem.get("detail") if isinstance(problem, dict) else None
    # "Still running" and "busy" come with a time to ask again; other refusals stay refusals.
    may_change = response.status >= 500 or any(
        name.lower() == b"retry-after" for name, _ in response.headers
    )
    message = f"the gateway answered {response.status}: {detail or 'no reason given'}"
    return GatewayFailed(message, is_final=not may_change)


_NETWORK_ERRORS = (
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.TimeoutException,
    OSError,
)
