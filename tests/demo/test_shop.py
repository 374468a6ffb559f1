"""The sample shop against a small gateway that does only what the shop needs, over real HTTP."""

import asyncio
import contextlib
import json
import os
import re
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpcore2
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from checkstand.deliveries.signing import make_secret, sign
from checkstand.demo.shop import Shop, ShopOrder, running_shop

API_KEY = "test-key"


@dataclass
class FakeGateway:
    """Opens orders, hands out a webhook secret, takes acknowledgements; fails when told to."""

    secret: str = field(default_factory=lambda: make_secret(random_bytes=os.urandom(32)))
    url: str = ""
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)  # by idempotency key
    created: int = 0
    endpoints: list[str] = field(default_factory=list)
    fulfilled: list[str] = field(default_factory=list)  # order ids, one per acknowledgement
    failures: list[Response | None] = field(default_factory=list)  # answers to give first
    holds: asyncio.Event | None = None  # acknowledgements wait for it

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/api/payments/binance/create", self._create, methods=["POST"]),
                Route(
                    "/api/payments/binance/orders/{order_id}/fulfill",
                    self._fulfill,
                    methods=["POST"],
                ),
                Route("/api/webhook-endpoints", self._register, methods=["POST"]),
            ]
        )

    async def _create(self, request: Request) -> Response:
        if self.failures:
            return self._fail()
        body, key = await self._read(request), request.headers["idempotency-key"]
        if key not in self.orders:
            self.created += 1
            number = f"order-{self.created}"
            self.orders[key] = {
                **body,
                "order_id": number,
                "status": "PENDING_PAYMENT",
                "checkout_url": f"{self.url}/checkout/{number}",
            }
        return JSONResponse(self.orders[key], status_code=201)

    async def _fulfill(self, request: Request) -> Response:
        if self.failures:
            return self._fail()
        if self.holds is not None:
            await self.holds.wait()
        await self._read(request)
        self.fulfilled.append(request.path_params["order_id"])
        return JSONResponse({"order_id": request.path_params["order_id"], "status": "FULFILLED"})

    async def _register(self, request: Request) -> Response:
        self.endpoints.append((await self._read(request))["url"])
        answer = {"endpoint_id": "endpoint-1", "url": self.endpoints[-1], "secret": self.secret}
        return JSONResponse(answer, status_code=201)

    def _fail(self) -> Response:
        return self.failures.pop(0) or Response(b"<html>bad gateway</html>", status_code=502)

    async def _read(self, request: Request) -> dict[str, Any]:
        assert request.headers["authorization"] == f"Bearer {API_KEY}"
        body: dict[str, Any] = await request.json()
        return body

    def event(
        self, order: ShopOrder, type_: str, *, event_id: str, **changes: str
    ) -> dict[str, Any]:
        return {
            "id": event_id,
            "type": type_,
            "created_at": datetime.now(UTC).isoformat(),
            "account_id": "account-1",
            "order_version": 3,
            "data": {"order": {**self.orders[order.merchant_order_id], **changes}},
        }


class QuietServer(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


@pytest.fixture
async def gateway() -> AsyncIterator[FakeGateway]:
    fake = FakeGateway()
    listener = socket.create_server(("127.0.0.1", 0))
    fake.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = QuietServer(uvicorn.Config(fake.app(), lifespan="off", ws="none", log_config=None))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    yield fake
    server.should_exit = True
    await serving


@pytest.fixture
async def shop(gateway: FakeGateway) -> AsyncIterator[Shop]:
    async with running_shop(gateway_url=gateway.url, api_key=API_KEY) as shop:
        await shop.register_endpoint()
        yield shop


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str


async def call(method: str, url: str, *, body: bytes = b"", **headers: str) -> Answer:
    async with httpcore2.AsyncConnectionPool() as pool:
        given = [
            (name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()
        ]
        response = await pool.request(method, url, headers=given, content=body)
    read = {name.decode().lower(): value.decode() for name, value in response.headers}
    return Answer(response.status, read, response.content.decode())


async def tell(shop: Shop, gateway: FakeGateway, event: Mapping[str, Any]) -> Answer:
    body = json.dumps(event).encode()
    headers = sign(
        secrets=[gateway.secret], event_id=event["id"], sent_at=datetime.now(UTC), body=body
    )
    return await call("POST", f"{shop.url}/webhooks", body=body, **headers)


async def buy(shop: Shop) -> tuple[ShopOrder, Answer]:
    page = await call("GET", shop.url)
    found = re.search(r'name="cart" value="(\w+)"', page.text)
    assert found
    answer = await call("POST", f"{shop.url}/buy", body=f"cart={found[1]}".encode())
    return shop.orders[f"sample-{found[1]}"], answer


async def test_buying_opens_an_order_and_leads_to_its_checkout_page(
    shop: Shop, gateway: FakeGateway
) -> None:
    order, answer = await buy(shop)

    asked = gateway.orders[order.merchant_order_id]
    assert (answer.status, answer.headers["location"]) == (303, asked["checkout_url"])
    assert (asked["amount"], asked["currency"]) == ("12.50", "USDT")
    assert asked["return_url"] == f"{shop.url}/orders/{order.merchant_order_id}"
    assert (order.status, order.order_id) == ("waiting", "order-1")


async def test_a_paid_order_is_sent_and_acknowledged(shop: Shop, gateway: FakeGateway) -> None:
    order, _ = await buy(shop)

    answer = await tell(shop, gateway, gateway.event(order, "order.paid", event_id="paid"))

    assert (answer.status, answer.text) == (200, "handled")
    assert (order.status, order.fulfilments, order.events) == ("fulfilled", 1, ["order.paid"])
    assert gateway.fulfilled == ["order-1"]


async def test_the_shoppers_page_follows_the_order(shop: Shop, gateway: FakeGateway) -> None:
    order, _ = await buy(shop)
    url = f"{shop.url}/orders/{order.merchant_order_id}"

    before = await call("GET", url)
    await tell(shop, gateway, gateway.event(order, "order.paid", event_id="paid"))
    after = await call("GET", url)

    assert '<dd id="status" role="status">waiting</dd>' in before.text
    assert f'href="{gateway.url}/checkout/order-1"' in before.text
    assert before.headers["refresh"] == "2"
    assert '<dd id="status" role="status">fulfilled</dd>' in after.text
    assert '<dd id="fulfilments">1</dd>' in after.text
    assert "refresh" not in after.headers


async def test_two_clicks_on_buy_are_one_order(shop: Shop, gateway: FakeGateway) -> None:
    page = await call("GET", shop.url)
    found = re.search(r'name="cart" value="(\w+)"', page.text)
    assert found
    body = f"cart={found[1]}".encode()

    answers = await asyncio.gather(*(call("POST", f"{shop.url}/buy", body=body) for _ in range(5)))

    assert {answer.headers["location"] for answer in answers} == {f"{gateway.url}/checkout/order-1"}
    assert gateway.created == len(shop.orders) == 1


async def test_a_repeated_event_sends_nothing_again(shop: Shop, gateway: FakeGateway) -> None:
    order, _ = await buy(shop)
    event = gateway.event(order, "order.paid", event_id="paid")

    answers = [await tell(shop, gateway, event) for _ in range(3)]

    assert [answer.text for answer in answers] == ["handled", "repeated", "repeated"]
    assert (order.fulfilments, len(gateway.fulfilled)) == (1, 1)


async def test_duplicates_at_once_send_once_and_the_rest_come_back_later(
    shop: Shop, gateway: FakeGateway
) -> None:
    order, _ = await buy(shop)
    gateway.holds = asyncio.Event()
    event = gateway.event(order, "order.paid", event_id="paid")

    first = asyncio.create_task(tell(shop, gateway, event))
    async with asyncio.timeout(10):
        while not order.fulfilments:
            await asyncio.sleep(0.005)
    others = await asyncio.gather(*(tell(shop, gateway, event) for _ in range(5)))
    gateway.holds.set()

    assert {answer.status for answer in others} == {409}
    assert (await first).status == 200
    assert (order.fulfilments, len(gateway.fulfilled)) == (1, 1)


async def test_an_acknowledgement_that_fails_is_made_up_for_without_sending_twice(
    shop: Shop, gateway: FakeGateway
) -> None:
    order, _ = await buy(shop)
    event = gateway.event(order, "order.paid", event_id="paid")
    gateway.failures = [None, None, None]  # as many as one call's tries

    first = await tell(shop, gateway, event)
    assert (first.status, order.status, order.fulfilments) == (503, "paid", 1)
    second = await tell(shop, gateway, event)

    assert (second.status, order.status, order.fulfilments) == (200, "fulfilled", 1)
    assert gateway.fulfilled == ["order-1"]
    assert order.events == ["order.paid"]


async def test_an_acknowledgement_refused_for_good_does_not_hold_up_later_events(
    shop: Shop, gateway: FakeGateway
) -> None:
    order, _ = await buy(shop)
    gateway.failures = [JSONResponse({"detail": "the order is refunded"}, status_code=409)]

    answer = await tell(shop, gateway, gateway.event(order, "order.paid", event_id="paid"))

    assert (answer.status, order.status) == (422, "paid")
    assert "the order is refunded" in answer.text


async def test_an_event_that_overtakes_the_create_answer_finds_its_order(
    shop: Shop, gateway: FakeGateway
) -> None:
    order, _ = await buy(shop)
    order.order_id = None  # as it is until the answer arrives

    await tell(shop, gateway, gateway.event(order, "order.paid", event_id="paid"))

    assert shop.orders[order.merchant_order_id].order_id == "order-1"
    assert order.status == "fulfilled"


async def test_an_order_forgotten_over_a_restart_comes_back_with_its_event(
    shop: Shop, gateway: FakeGateway
) -> None:
    order, _ = await buy(shop)
    event = gateway.event(order, "order.paid", event_id="paid")
    shop.orders.clear()

    await tell(shop, gateway, event)

    assert shop.orders[order.merchant_order_id].status == "fulfilled"
    assert gateway.fulfilled == ["order-1"]


async def test_another_sellers_order_is_none_of_our_business(
    shop: Shop, gateway: FakeGateway
) -> None:
    order, _ = await buy(shop)
    event = gateway.event(order, "order.paid", event_id="paid", merchant_order_id="other-7")

    answer = await tell(shop, gateway, event)

    assert answer.status == 200
    assert (list(shop.orders), gateway.fulfilled) == ([order.merchant_order_id], [])


@pytest.mark.parametrize("changes", [{"amount": "1.25"}, {"currency": "DOGE"}])
async def test_another_price_than_ours_sends_nothing(
    shop: Shop, gateway: FakeGateway, changes: dict[str, str]
) -> None:
    order, _ = await buy(shop)

    answer = await tell(shop, gateway, gateway.event(order, "order.paid", event_id="p", **changes))

    assert answer.status == 422
    assert (order.status, order.fulfilments, gateway.fulfilled) == ("waiting", 0, [])


async def test_an_expired_order_is_closed_and_opens_again_for_late_money(
    shop: Shop, gateway: FakeGateway
) -> None:
    order, _ = await buy(shop)

    await tell(shop, gateway, gateway.event(order, "order.expired", event_id="expired"))
    assert order.status == "closed"
    await tell(shop, gateway, gateway.event(order, "order.paid", event_id="paid"))

    assert (order.status, order.events) == ("fulfilled", ["order.expired", "order.paid"])


async def test_a_forged_event_changes_nothing(shop: Shop, gateway: FakeGateway) -> None:
    order, _ = await buy(shop)
    forger = FakeGateway(url=gateway.url, orders=gateway.orders)

    answer = await tell(shop, forger, forger.event(order, "order.paid", event_id="paid"))
    bare = await call("POST", f"{shop.url}/webhooks", body=b"{}")

    assert (answer.status, bare.status) == (401, 400)
    assert (order.status, order.events) == ("waiting", [])


async def test_a_gateway_that_stumbles_is_asked_again_under_the_same_key(
    shop: Shop, gateway: FakeGateway
) -> None:
    busy = JSONResponse({"detail": "running"}, status_code=409, headers={"retry-after": "1"})
    gateway.failures = [None, busy]

    _, answer = await buy(shop)

    assert answer.status == 303
    assert gateway.created == 1


async def test_a_gateway_that_stays_away_is_explained_and_can_be_tried_again(
    shop: Shop, gateway: FakeGateway
) -> None:
    gateway.failures = [None, None, None]

    order, answer = await buy(shop)
    cart = order.merchant_order_id.removeprefix("sample-")
    again = await call("POST", f"{shop.url}/buy", body=f"cart={cart}".encode())

    assert answer.status == 502
    assert f'value="{cart}"' in answer.text
    assert again.status == 303


async def test_a_refusal_shows_the_gateways_reason_escaped(
    shop: Shop, gateway: FakeGateway
) -> None:
    gateway.failures = [JSONResponse({"detail": "<b>no</b> scope"}, status_code=403)]

    _, answer = await buy(shop)

    assert answer.status == 502
    assert "the gateway answered 403: &lt;b&gt;no&lt;/b&gt; scope" in answer.text


@pytest.mark.parametrize("body", [b"", b"cart=", b"cart=<script>", b"\xff", b"cart=" + b"x" * 300])
async def test_a_form_that_is_not_ours_orders_nothing(shop: Shop, body: bytes) -> None:
    answer = await call("POST", f"{shop.url}/buy", body=body)

    assert (answer.status, shop.orders) == (400, {})


async def test_a_body_over_the_limit_is_refused(shop: Shop) -> None:
    answer = await call("POST", f"{shop.url}/webhooks", body=b"x" * 300_000)

    assert answer.status == 413


@pytest.mark.parametrize("path", ["/", "/shop.css", "/favicon.ico", "/orders/none", "/nowhere"])
async def test_every_page_carries_the_strict_content_policy(
    shop: Shop, gateway: FakeGateway, path: str
) -> None:
    answer = await call("GET", f"{shop.url}{path}")

    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'self';")
    assert policy.endswith(f"form-action 'self' {gateway.url}")
    assert "<script" not in answer.text
    assert "style=" not in answer.text


async def test_without_a_secret_no_event_is_taken(gateway: FakeGateway) -> None:
    async with running_shop(gateway_url=gateway.url, api_key=API_KEY) as shop:
        answer = await call("POST", f"{shop.url}/webhooks", body=b"{}")

        assert answer.status == 503
        assert await shop.register_endpoint() == "endpoint-1"
        assert gateway.endpoints == [f"{shop.url}/webhooks"]


async def test_a_secret_from_an_earlier_run_is_enough(gateway: FakeGateway) -> None:
    async with running_shop(
        gateway_url=gateway.url, api_key=API_KEY, webhook_secret=gateway.secret
    ) as shop:
        order, _ = await buy(shop)

        await tell(shop, gateway, gateway.event(order, "order.paid", event_id="paid"))

        assert order.status == "fulfilled"


async def test_a_taken_port_is_an_error_and_a_stopped_shop_frees_its_port(
    gateway: FakeGateway,
) -> None:
    async with running_shop(gateway_url=gateway.url, api_key=API_KEY) as shop:
        port = int(shop.url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            await running_shop(gateway_url=gateway.url, api_key=API_KEY, port=port).__aenter__()

    async with running_shop(gateway_url=gateway.url, api_key=API_KEY, port=port) as again:
        assert (await call("GET", again.url)).status == 200
