"""A gateway for the tests of the API: run once for each module, on a database of its own.

It has no worker, so nothing changes but by what the tests send.
"""

import json
import secrets
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpcore2
import pytest
import pytest_asyncio

from checkstand import app
from checkstand.operations.manage_keys import create_key
from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID
from checkstand.operations.resources import Resources
from checkstand.settings import Settings
from checkstand.simulator.server import (
    DEFAULT_API_KEY,
    DEFAULT_API_SECRET,
    Simulator,
    running_simulator,
)
from checkstand.storage.embedded import EmbeddedPostgres
from checkstand.storage.migrate import migrate


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.content)

    def must_refuse(self, status: int, code: str, field: str | None = None) -> None:
        """Check that this is a problem that names its field."""
        media_type = self.headers["content-type"]
        assert (self.status, media_type) == (status, "application/problem+json"), self.content
        problem = self.json
        assert (problem["status"], problem["code"], problem["field"]) == (status, code, field)
        assert problem["type"] == "about:blank"
        assert problem["title"]
        assert len(problem["detail"]) > 10
        assert len(self.content) < 8_000


@dataclass(frozen=True, slots=True)
class Door:
    """A gateway, a key to it, and a look behind it."""

    url: str
    resources: Resources
    simulator: Simulator
    api_key: str
    pool: httpcore2.AsyncConnectionPool
    database: Any  # asyncpg's connection, untyped

    async def send(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        *,
        key: str | None = None,
        **headers: str,
    ) -> Answer:
        """Send bytes as they are; headers are written with underscores, "" leaves one out."""
        sent = {
            "content-type": "application/json",
            "authorization": f"Bearer {key or self.api_key}",
            "idempotency-key": uuid.uuid4().hex,
        }
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        pairs = [(name.encode(), value.encode()) for name, value in sent.items() if value]
        answer = await self.pool.request(method, self.url + path, headers=pairs, content=content)
        named = {name.decode().lower(): value.decode() for name, value in answer.headers}
        return Answer(answer.status, named, answer.content)

    async def counts(self) -> dict[str, int]:
        """Count the rows of every table."""
        tables = await self.database.fetch(
            "SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
            " WHERE relkind = 'r' AND nspname = 'public'"
        )
        return {
            row["relname"]: await self.database.fetchval(f"SELECT count(*) FROM {row['relname']}")
            for row in tables
        }

    async def make_key(self, *scopes: str, account_id: uuid.UUID = DEFAULT_ACCOUNT_ID) -> str:
        """Make an API key with some scopes, or with all."""
        house = self.resources
        return await create_key(
            house.database,
            account_id=account_id,
            reference=house.accounts.get(account_id).reference,
            name=uuid.uuid4().hex,
            scopes=list(scopes) or None,
            clock=house.clock,
            ids=house.ids,
            random=house.random,
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def door(
    cluster: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Door]:
    """Run a gateway and a simulator, and look behind them."""
    name = f"api_{uuid.uuid4().hex}"
    cluster.ensure_database(name)
    url = cluster.url(database=name)
    await migrate(url)
    async with running_simulator() as simulator, httpcore2.AsyncConnectionPool() as pool:
        house = Settings(
            database_url=url,
            data_dir=tmp_path_factory.mktemp("data"),
            port=0,
            secret_keys=(secrets.token_hex(32),),
            binance_api_key=DEFAULT_API_KEY,
            binance_api_secret=DEFAULT_API_SECRET,
            binance_base_url=simulator.base_url,
        )
        running = app.running_gateway(house, with_worker=False, clock=simulator.clock)
        async with running as (address, resources):
            database = await asyncpg.connect(url)
            made = Door(address, resources, simulator, "", pool, database)
            yield Door(address, resources, simulator, await made.make_key(), pool, database)
            await database.close()


@pytest_asyncio.fixture(loop_scope="module")
async def unchanged(door: Door) -> AsyncIterator[None]:
    """Fail the test if it wrote a row or reached Binance."""
    before, reached = await door.counts(), len(door.simulator.control.orders)
    yield
    assert await door.counts() == before
    assert len(door.simulator.control.orders) == reached
