"""A browser for every page test, and a checkout whose truth the test sets by hand."""

import asyncio
import dataclasses
import os
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpcore2
import pytest
import pytest_asyncio
import uvicorn
from playwright.async_api import Browser, async_playwright
from starlette.applications import Starlette
from starlette.routing import Mount

from checkstand.web.checkout.page import checkout_routes
from checkstand.web.checkout.qr import draw_qr
from checkstand.web.checkout.view import CheckoutState, CheckoutStatus, CheckoutView
from checkstand.web.checkout.wording import ENGLISH, Wording
from checkstand.web.content_policy import ContentPolicy

NOW = datetime(2026, 11, 23, 20, 5, tzinfo=UTC)
LINK = "https://app.binance.test/payment/secpay?linkToken=0123456789abcdef0123456789abcdef"
CODE = "https://app.binance.test/qr/dplk0123456789abcdef0123456789abcdef"


def _chromium() -> str:
    found = os.environ.get("CHECKSTAND_TEST_CHROMIUM") or next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if not found:
        raise RuntimeError("no Chromium: install one or name it in CHECKSTAND_TEST_CHROMIUM")
    return found


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One system Chromium for the run. Tests that use it run in the session's loop."""
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(
            executable_path=_chromium(),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield chromium
        await chromium.close()


class SettableClock:
    """Says what it was told."""

    def __init__(self) -> None:
        self.moment = NOW

    def now(self) -> datetime:
        return self.moment


class FakeCheckouts:
    """One order behind one token, in whatever state the test puts it."""

    token = "tok-0123456789abcdefghijklmnopqrstuv"

    def __init__(self) -> None:
        self.acts: list[str] = []
        self.answer = True  # to check, renew and cancel
        self.away = False  # pretend that the database is
        self.view = CheckoutView(
            merchant_name="Blue Kettle Coffee",
            reference="kettle-1042",
            order_id="01993f7e-5b0a-7cc1-b7a4-0f6f5e1d2c3b",
            description="Two bags of Yirgacheffe",
            state=CheckoutState.READY,
            version=2,
            amount=Decimal("12.50000000"),
            currency="USDT",
            qr_svg=draw_qr(CODE),
            universal_url=LINK,
            deeplink="bnc://app.binance.test/payment/secpay?tempToken=0123456789",
            binance_checkout_url="https://pay.binance.test/en/checkout/0123456789abcdef",
            now=NOW,
            code_expires_at=NOW + timedelta(minutes=58, seconds=30),
            order_expires_at=NOW + timedelta(hours=24),
            can_renew=True,
            can_cancel=True,
            return_url="https://shop.example/thanks",
            cancel_url="https://shop.example/basket",
        )

    def become(self, state: CheckoutState | None = None, **changes: Any) -> None:
        """Move the order; like the real one, every move has its own version."""
        state = state or self.view.state
        if state is not CheckoutState.READY:
            gone = {"qr_svg", "universal_url", "deeplink", "binance_checkout_url"}
            changes = {**dict.fromkeys((*gone, "code_expires_at")), **changes}
        if state is CheckoutState.PAID:
            changes.setdefault("paid_at", NOW)
        changes.setdefault("version", self.view.version + 1)
        self.view = dataclasses.replace(self.view, state=state, **changes)

    async def find(self, token: str) -> CheckoutView | None:
        self._be_there()
        return self.view if token == self.token else None

    async def status(self, token: str) -> CheckoutStatus | None:
        self._be_there()
        if token != self.token:
            return None
        view = self.view
        return CheckoutStatus(
            state=view.state,
            version=view.version,
            code_expires_at=view.code_expires_at,
            now=view.now,
        )

    async def check(self, token: str) -> bool:
        return self._act("check", token)

    async def cancel(self, token: str) -> bool:
        return self._act("cancel", token)

    async def renew(self, token: str) -> bool:
        return self._act("renew", token)

    def _act(self, name: str, token: str) -> bool:
        assert token == self.token
        self.acts.append(name)
        return self.answer

    def _be_there(self) -> None:
        if self.away:
            raise ConnectionError("the database is away")


@pytest.fixture
def fake_checkouts() -> FakeCheckouts:
    """Build a checkout that is ready to be paid."""
    return FakeCheckouts()


@pytest.fixture
def checkout_clock() -> SettableClock:
    """Build the clock of the checkout's limiter."""
    return SettableClock()


@pytest_asyncio.fixture(loop_scope="session")
async def serve_checkout(
    fake_checkouts: FakeCheckouts, checkout_clock: SettableClock
) -> AsyncIterator[Callable[..., Awaitable[str]]]:
    """Give a function that serves the fake on a free port, in a wording, and says where."""
    servers: list[tuple[uvicorn.Server, asyncio.Task[None]]] = []

    async def serve(wording: Wording = ENGLISH, *, under: str = "") -> str:
        routes = checkout_routes(
            fake_checkouts, form_key=os.urandom(32), clock=checkout_clock, wording=wording
        )
        server = uvicorn.Server(
            uvicorn.Config(
                ContentPolicy(Starlette(routes=[Mount(under, routes=routes)])),
                lifespan="off",
                log_level="critical",
                ws="none",
                timeout_graceful_shutdown=1,
            )
        )
        listening = socket.create_server(("127.0.0.1", 0))  # from here on nobody is refused
        task = asyncio.ensure_future(server._serve([listening]))
        servers.append((server, task))
        port = listening.getsockname()[1]
        return f"http://127.0.0.1:{port}"

    yield serve
    for server, task in servers:
        server.should_exit = True
        await task


@pytest_asyncio.fixture(loop_scope="session")
async def checkout_url(
    fake_checkouts: FakeCheckouts, serve_checkout: Callable[..., Awaitable[str]]
) -> str:
    """Serve the fake in English; return the address of its page."""
    return f"{await serve_checkout()}/checkout/{fake_checkouts.token}"


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came back over HTTP."""

    status: int
    headers: dict[str, str]
    text: str


@pytest_asyncio.fixture(loop_scope="session")
async def ask_http() -> AsyncIterator[Callable[..., Awaitable[Answer]]]:
    """Give a function that makes one plain HTTP request, following nothing."""
    async with httpcore2.AsyncConnectionPool() as pool:

        async def ask(
            url: str, *, method: str = "GET", headers: dict[str, str] | None = None, body: str = ""
        ) -> Answer:
            sent = {"host": url.split("/")[2], **(headers or {})}
            if body:
                sent |= {
                    "content-type": "application/x-www-form-urlencoded",
                    "content-length": str(len(body)),
                }
            reply = await pool.request(
                method, url, headers=list(sent.items()), content=body.encode() or None
            )
            named = {name.decode().lower(): value.decode() for name, value in reply.headers}
            return Answer(reply.status, named, reply.content.decode())

        yield ask
