"""The three doors, each behind a real server of its framework."""

import asyncio
import contextlib
import http.client
import importlib
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
import uvicorn
from starlette.applications import Starlette

from checkstand.binance import (
    ACKNOWLEDGE_FAIL,
    ACKNOWLEDGE_SUCCESS,
    AsyncBinancePay,
    BinancePay,
    Notification,
    UnreadableNotification,
)
from checkstand.binance.doors.django import notification_view as django_view
from checkstand.binance.doors.flask import notification_view as flask_view
from checkstand.binance.doors.outcomes import BODY_BYTES_MAX, Claim, fact_of
from checkstand.binance.doors.replays import AsyncMemoryReplays
from checkstand.binance.doors.replays_sync import MemoryReplays
from checkstand.binance.doors.starlette import notification_endpoint

PAID = {
    "bizType": "PAY",
    "data": json.dumps({"merchantTradeNo": "T1", "totalFee": 12.5, "currency": "USDT"}),
    "bizIdStr": "270342174837100001",
    "bizId": 270342174837100001,
    "bizStatus": "PAY_SUCCESS",
}
BODY = json.dumps(PAID).encode()
UNREADABLE = json.dumps({**PAID, "data": "{}"}).encode()


@dataclass
class Shop:
    """What stands behind a door."""

    handled: list[Notification] = field(default_factory=list)
    set_aside: list[UnreadableNotification] = field(default_factory=list)
    fails: int = 0
    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    may_end: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.may_end.set()

    def handle(self, notification: Notification) -> None:
        self.begun.release()
        self.may_end.wait(30)
        if self.fails:
            self.fails -= 1
            raise RuntimeError("the shop's database is away")
        self.handled.append(notification)

    async def handle_async(self, notification: Notification) -> None:
        await asyncio.to_thread(self.handle, notification)

    async def set_aside_async(self, error: UnreadableNotification) -> None:
        self.set_aside.append(error)


@dataclass
class Door:
    """A door of one framework, open on a port."""

    shop: Shop
    port: int

    def post(
        self, body: bytes, headers: dict[str, str], method: str = "POST"
    ) -> tuple[int, bytes, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                # One refused by his length may find the line closed before he has said all.
                connection.request(method, "/binance", body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers["content-type"] or ""


Opener = Callable[..., contextlib.AbstractContextManager[int]]


@contextlib.contextmanager
def starlette_door(shop: Shop, arguments: dict[str, Any], keeps_odd: bool) -> Iterator[int]:
    client = AsyncBinancePay(**arguments)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with client:
            yield

    app = Starlette(lifespan=lifespan)
    endpoint = notification_endpoint(
        client, shop.handle_async, on_unreadable=shop.set_aside_async if keeps_odd else None
    )
    app.add_route("/binance", endpoint, methods=["POST"])
    server = uvicorn.Server(uvicorn.Config(app, loop="asyncio", log_level="critical"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(30)


@contextlib.contextmanager
def django_door(shop: Shop, arguments: dict[str, Any], keeps_odd: bool) -> Iterator[int]:
    odd = shop.set_aside.append if keeps_odd else None
    with BinancePay(**arguments) as client:
        view = django_view(client, shop.handle, on_unreadable=odd)
        with served(django_application(view)) as port:
            yield port


@contextlib.contextmanager
def flask_door(shop: Shop, arguments: dict[str, Any], keeps_odd: bool) -> Iterator[int]:
    odd = shop.set_aside.append if keeps_odd else None
    with BinancePay(**arguments) as client:
        app = importlib.import_module("flask").Flask("shop")
        app.add_url_rule(
            "/binance",
            view_func=flask_view(client, shop.handle, on_unreadable=odd),
            methods=["POST"],
        )
        with served(app) as port:
            yield port


class Urls:
    """Django's address book; the process has one Django, so each test rewrites it."""

    urlpatterns: list[Any] = []  # noqa: RUF012 - Django asks for a list


def django_application(view: Any) -> Any:
    conf, core, urls = (
        importlib.import_module(f"django.{name}") for name in ("conf", "core.wsgi", "urls")
    )
    if not conf.settings.configured:
        conf.settings.configure(
            ROOT_URLCONF=Urls,
            ALLOWED_HOSTS=["127.0.0.1"],
            MIDDLEWARE=["django.middleware.csrf.CsrfViewMiddleware"],
            LOGGING_CONFIG=None,
        )
    Urls.urlpatterns = [urls.path("binance", view)]
    urls.clear_url_caches()
    return core.get_wsgi_application()


@contextlib.contextmanager
def served(application: Any) -> Iterator[int]:
    with make_server("127.0.0.1", 0, application, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join(30)


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


DOORS: dict[str, Opener] = {
    "starlette": starlette_door,
    "django": django_door,
    "flask": flask_door,
}


@pytest.fixture(params=list(DOORS.values()), ids=list(DOORS))
def open_door(request: pytest.FixtureRequest, server: Any) -> Iterator[Any]:
    arguments = {"api_key": "k" * 16, "api_secret": "s", "base_url": server.url, "max_retries": 0}
    with contextlib.ExitStack() as doors:

        def open_door(keeps_odd: bool = False) -> Door:
            shop = Shop()
            return Door(shop, doors.enter_context(request.param(shop, arguments, keeps_odd)))

        yield open_door


@pytest.fixture
def certified(server: Any, signer: Any) -> None:
    """Binance lists the signer's key, once."""
    server.succeed([{"certPublic": signer.public_key, "certSerial": signer.serial}])


def signed(signer: Any, body: bytes = BODY) -> dict[str, str]:
    return {"Content-Type": "application/json", **signer.sign(body, datetime.now(UTC))}


@pytest.mark.usefixtures("certified")
def test_a_notification_is_handled_once_and_acknowledged_exactly(
    open_door: Any, signer: Any
) -> None:
    door = open_door()

    answers = [door.post(BODY, signed(signer)) for _ in range(3)]

    assert answers == [(200, ACKNOWLEDGE_SUCCESS, "application/json")] * 3
    (handled,) = door.shop.handled
    assert (handled.raw, handled.data.merchant_trade_no) == (BODY, "T1")


@pytest.mark.usefixtures("certified")
@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", ""])
def test_the_body_is_taken_raw_whatever_its_type_says(
    open_door: Any, signer: Any, kind: str
) -> None:
    door = open_door()
    # Spaces, signs of a form and letters beyond ASCII: nobody may tidy them up.
    odd = {**PAID, "data": str(PAID["data"]).replace("T1", "T1&a=%20é+")}
    body = json.dumps(odd, ensure_ascii=False, indent=1).encode()

    status, content, _ = door.post(body, {**signed(signer, body), "Content-Type": kind})

    assert (status, content) == (200, ACKNOWLEDGE_SUCCESS)


@pytest.mark.usefixtures("certified")
def test_a_bad_signature_is_unauthorized_and_not_handled(open_door: Any, signer: Any) -> None:
    door = open_door()

    status, content, _ = door.post(BODY.replace(b"12.5", b"99.5"), signed(signer))

    assert (status, content) == (401, ACKNOWLEDGE_FAIL)
    assert door.shop.handled == []


def test_an_unsigned_body_is_unauthorized_and_asks_binance_nothing(
    open_door: Any, server: Any
) -> None:
    door = open_door()

    assert door.post(BODY, {})[0] == 401
    assert door.post(b"\xff\x00", {"BinancePay-Nonce": "n"})[0] == 401
    assert server.received == []


@pytest.mark.usefixtures("certified")
def test_an_unknown_certificate_is_told_to_come_again(
    open_door: Any, signer: Any, other_signer: Any
) -> None:
    door = open_door()

    status, content, _ = door.post(BODY, signed(other_signer))

    assert (status, content) == (200, ACKNOWLEDGE_FAIL)
    assert door.shop.handled == []


def test_without_keys_it_is_told_to_come_again(open_door: Any, server: Any, signer: Any) -> None:
    server.answer(b"down", status=503)
    door = open_door()

    status, content, kind = door.post(BODY, signed(signer))

    assert (status, content, kind) == (200, ACKNOWLEDGE_FAIL, "application/json")
    assert door.shop.handled == []


@pytest.mark.usefixtures("certified")
def test_a_failing_handler_is_a_server_error_and_is_tried_again(
    open_door: Any, signer: Any
) -> None:
    door = open_door()
    door.shop.fails = 1

    first, second, third = (door.post(BODY, signed(signer))[0] for _ in range(3))

    assert (first, second, third) == (500, 200, 200)
    assert len(door.shop.handled) == 1


@pytest.mark.usefixtures("certified")
@pytest.mark.parametrize(
    ("keeps_odd", "answer"), [(False, ACKNOWLEDGE_FAIL), (True, ACKNOWLEDGE_SUCCESS)]
)
def test_news_that_is_not_understood_is_acknowledged_only_if_somebody_keeps_it(
    open_door: Any, signer: Any, keeps_odd: bool, answer: bytes
) -> None:
    door = open_door(keeps_odd=keeps_odd)

    status, content, _ = door.post(UNREADABLE, signed(signer, UNREADABLE))

    assert (status, content) == (200, answer)
    assert [error.raw for error in door.shop.set_aside] == [UNREADABLE] * keeps_odd
    assert door.shop.handled == []


def test_a_body_without_end_is_refused(open_door: Any) -> None:
    door = open_door()

    assert door.post(b" " * (BODY_BYTES_MAX + 1), {})[0] == 413


def test_only_posts_are_taken(open_door: Any) -> None:
    assert open_door().post(b"", {}, method="GET")[0] == 405


@pytest.mark.usefixtures("certified")
def test_while_one_is_being_handled_its_repetition_is_told_to_come_again(
    server: Any, signer: Any
) -> None:
    # The other two are served here by one thread: they never see two at once.
    shop = Shop()
    shop.may_end.clear()
    arguments = {"api_key": "k" * 16, "api_secret": "s", "base_url": server.url}
    with starlette_door(shop, arguments, keeps_odd=False) as port:
        door = Door(shop, port)
        answers: list[Any] = []
        first = threading.Thread(target=lambda: answers.append(door.post(BODY, signed(signer))))
        first.start()
        assert shop.begun.acquire(timeout=30)

        meanwhile = door.post(BODY, signed(signer))
        shop.may_end.set()
        first.join(30)
        afterwards = door.post(BODY, signed(signer))

    assert meanwhile[:2] == (200, ACKNOWLEDGE_FAIL)
    assert answers[0][:2] == afterwards[:2] == (200, ACKNOWLEDGE_SUCCESS)
    assert len(shop.handled) == 1


def test_memory_of_facts_is_bounded_and_respects_owners() -> None:
    replays = MemoryReplays(facts_max=2)

    assert replays.claim("a", owner="me") is Claim.OURS
    assert replays.claim("a", owner="you") is Claim.BUSY
    replays.release("a", owner="you")
    assert replays.claim("a", owner="you") is Claim.BUSY
    replays.release("a", owner="me")
    assert replays.claim("a", owner="you") is Claim.OURS
    for fact in "abc":
        replays.record(fact)
    assert replays.claim("c", owner="me") is Claim.HANDLED
    assert replays.claim("a", owner="me") is Claim.OURS  # forgotten: the oldest of three


async def test_the_asynchronous_memory_is_alike() -> None:
    replays = AsyncMemoryReplays()

    assert await replays.claim("a", owner="me") is Claim.OURS
    assert await replays.claim("a", owner="you") is Claim.BUSY
    await replays.record("a")
    assert await replays.claim("a", owner="me") is Claim.HANDLED


def test_two_refunds_of_one_order_are_two_facts(signer: Any) -> None:
    from checkstand.binance import verify

    facts = set()
    for number in ("RF1", "RF2", "RF2"):
        info = {"refundRequestId": number, "prepayId": "1", "refundAmount": "5"}
        data = json.dumps({"merchantTradeNo": "T1", "refundInfo": info})
        refund = {**PAID, "bizType": "PAY_REFUND", "bizStatus": "REFUND_SUCCESS", "data": data}
        body = json.dumps(refund).encode()
        now = datetime.now(UTC)
        facts.add(fact_of(verify(body, signer.sign(body, now), signer.keys, now)))

    assert len(facts) == 2
