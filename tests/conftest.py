"""What every test may ask for: a real PostgreSQL, a simulator, and a gateway on top of both.

One cluster serves the whole run; each worker has a database of its own, emptied before every
test. The simulator's clock is the gateway's, so moving it moves everything.
"""

import asyncio
import json
import secrets
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpcore2
import pytest

from checkstand import app
from checkstand.observability import configure_logs
from checkstand.operations.manage_keys import create_key
from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID
from checkstand.operations.resources import Resources
from checkstand.queries.verify_ledger import verify_ledger
from checkstand.settings import Settings
from checkstand.simulator.server import (
    DEFAULT_API_KEY,
    DEFAULT_API_SECRET,
    Simulator,
    running_simulator,
)
from checkstand.storage.embedded import EmbeddedPostgres
from checkstand.storage.migrate import migrate

_HOUR = timedelta(hours=1)


#: Files that take a minute or more go first, so that no worker is left alone with one at the end.
_LONG = ("test_seeds.py", "test_smoke.py", "test_kill.py", "test_refunds.py", "test_benchmarks.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files in front, in this order, and leave the rest as it is."""
    places = {name: place for place, name in enumerate(_LONG)}
    items.sort(key=lambda item: places.get(item.path.name, len(_LONG)))


@pytest.fixture(scope="session", autouse=True)
def _plain_logs() -> None:
    """Log as in production: structlog's own tracebacks with locals take a second to draw each."""
    configure_logs(level="debug")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[EmbeddedPostgres]:
    """The run's one PostgreSQL; whichever worker comes first starts it."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    settings = {"fsync": "off", "max_connections": "300"}
    with EmbeddedPostgres.start(shared / "postgres", settings=settings) as server:
        yield server


@pytest.fixture(scope="session")
def database_url(cluster: EmbeddedPostgres, worker_id: str) -> str:
    """This worker's database at the newest schema."""
    name = f"tests_{worker_id}"
    cluster.ensure_database(name)
    url = cluster.url(database=name)
    asyncio.run(_migrate(url))
    return url


async def _migrate(url: str) -> None:
    await migrate(url)


@pytest.fixture
async def empty_database_url(database_url: str) -> str:
    """This worker's database with no rows in it."""
    connection = await asyncpg.connect(database_url)
    try:
        tables = await connection.fetch(
            "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
            " WHERE relkind = 'r' AND nspname = 'public' AND relname <> 'schema_migrations'"
        )
        # Foreign keys would ask for an order among the tables; the replica role asks for none.
        deletes = "".join(f"DELETE FROM {row['relname']};" for row in tables)
        await connection.execute(f"SET session_replication_role = replica; {deletes}")
    finally:
        await connection.close()
    return database_url


@pytest.fixture
async def simulator(request: pytest.FixtureRequest) -> AsyncIterator[Simulator]:
    """A Binance Pay to be wrong against, on a clock that tests may move.

    A test that reads the reference otherwise gives its settings: `indirect=True`.
    """
    async with running_simulator(settings=getattr(request, "param", None)) as running:
        yield running


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP answer, read."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.content)


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway and a caller with a key of its own."""

    url: str
    resources: Resources
    api_key: str
    pool: httpcore2.AsyncConnectionPool
    simulator: Simulator

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        authorized: bool = True,
    ) -> Response:
        """Make one request; `body` goes as JSON, `content` as it is."""
        sent = {"content-type": "application/json", **(headers or {})}
        if authorized:
            sent.setdefault("authorization", f"Bearer {self.api_key}")
        if path.endswith("/renew"):
            sent.setdefault("idempotency-key", uuid.uuid4().hex)
        if body is not None:
            content = json.dumps(body).encode()
        target = path if path.startswith("http") else self.url + path
        answer = await self.pool.request(
            method, target, headers=list(sent.items()), content=content
        )
        answered = {k.decode().lower(): v.decode() for k, v in answer.headers}
        return Response(answer.status, answered, answer.content)

    async def create(self, *, key: str | None = None, **fields: Any) -> Response:
        """Open an order for 12.50 USDT, or for what the fields say."""
        order = {
            "merchant_order_id": f"shop-{uuid.uuid4().hex[:12]}",
            "amount": "12.50",
            "currency": "USDT",
            "description": "A tin of green tea",
        } | fields
        order = {name: value for name, value in order.items() if value is not None}
        headers = {"idempotency-key": key or uuid.uuid4().hex}
        return await self.request(
            "POST", "/api/payments/binance/create", body=order, headers=headers
        )

    async def order(self, order_id: str) -> dict[str, Any]:
        """Read an order."""
        answer = await self.request("GET", f"/api/payments/binance/orders/{order_id}")
        assert answer.status == 200, answer.content
        return dict(answer.json)

    async def timeline(self, order_id: str) -> list[dict[str, Any]]:
        """Read an order's timeline."""
        answer = await self.request("GET", f"/api/payments/binance/orders/{order_id}/timeline")
        return list(answer.json["data"])

    async def until(
        self, order_id: str, wanted: Callable[[dict[str, Any]], bool] | str
    ) -> dict[str, Any]:
        """Read an order until it is as wanted; fail with its timeline when it does not come."""
        is_so = (lambda order: order["status"] == wanted) if isinstance(wanted, str) else wanted
        order: dict[str, Any] = {}
        for _ in range(400):
            order = await self.order(order_id)
            if is_so(order):
                return order
            await asyncio.sleep(0.025)
        lines = "\n".join(entry["summary"] for entry in await self.timeline(order_id))
        raise AssertionError(f"still {order['status']} {order['anomalies']}:\n{lines}")

    def trade_numbers(self) -> list[str]:
        """The numbers of every order the simulator knows, oldest first."""
        return [order.merchant_trade_no for order in self.simulator.control.orders]

    async def events(self) -> list[dict[str, Any]]:
        """Every event the shop is told, oldest first."""
        answer = await self.request("GET", "/api/events?limit=100")
        return [entry["event"] for entry in reversed(answer.json["data"])]


RunGateway = Callable[..., AbstractAsyncContextManager[Gateway]]


@pytest.fixture
def gateway_settings(empty_database_url: str, simulator: Simulator, tmp_path: Path) -> Settings:
    """Settings of a gateway on this worker's database and simulator."""
    return Settings(
        database_url=empty_database_url,
        data_dir=tmp_path / "data",
        port=0,
        secret_keys=(secrets.token_hex(32),),
        shop_name="Teahouse",
        allow_private_webhooks=True,
        binance_api_key=DEFAULT_API_KEY,
        binance_api_secret=DEFAULT_API_SECRET,
        binance_base_url=simulator.base_url,
        binance_timeout_seconds=3,
    )


@pytest.fixture
def run_gateway(gateway_settings: Settings, simulator: Simulator) -> RunGateway:
    """Run a gateway, several if need be, on one database and simulator.

    Whatever a test did, at its end the books must hold what the facts say.
    """

    @asynccontextmanager
    async def run(
        *, with_worker: bool = True, books_hold: bool = True, **changes: Any
    ) -> AsyncIterator[Gateway]:
        settings = replace(gateway_settings, **changes)
        async with (
            app.running_gateway(settings, with_worker=with_worker, clock=simulator.clock) as (
                url,
                resources,
            ),
            httpcore2.AsyncConnectionPool(max_connections=64) as pool,
        ):
            api_key = await create_key(
                resources.database,
                account_id=DEFAULT_ACCOUNT_ID,
                reference=resources.accounts.get(DEFAULT_ACCOUNT_ID).reference,
                name=f"test {uuid.uuid4().hex[:8]}",
                scopes=None,
                clock=resources.clock,
                ids=resources.ids,
                random=resources.random,
            )
            yield Gateway(url, resources, api_key, pool, simulator)
            if books_hold:
                await _verify_books(resources)

    return run


async def _verify_books(resources: Resources) -> None:
    """Hold the books against the facts. Whether they are sealed by now is the worker's affair."""
    verdict = await verify_ledger(resources.database, now=datetime.min.replace(tzinfo=UTC) + _HOUR)
    assert verdict.flaws == []


@pytest.fixture
async def gateway(run_gateway: RunGateway) -> AsyncIterator[Gateway]:
    """One gateway with its worker."""
    async with run_gateway() as running:
        yield running
