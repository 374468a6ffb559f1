"""A database with one account in it, and orders to put there."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from checkstand.domain import settlement
from checkstand.domain.account import Account
from checkstand.domain.attempt import Attempt, AttemptStatus
from checkstand.domain.case import Case, Decision
from checkstand.domain.money import Money
from checkstand.domain.order import Order, Terms
from checkstand.domain.settlement import Circumstances
from checkstand.storage import accounts, attempts, cases, orders
from checkstand.storage.accounts import Credential
from checkstand.storage.database import Database, Transaction


@dataclass(frozen=True, slots=True)
class Store:
    """A database as the application sees it, with an account and its credential."""

    database: Database
    url: str
    account_id: UUID
    credential_id: UUID
    noon: datetime = datetime(2026, 11, 23, 12, tzinfo=UTC)

    async def run(self, call: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        """Call one storage function in a transaction of its own."""

        async def step(tx: Transaction) -> Any:
            return await call(tx, *args, **kwargs)

        return await self.database.run(step, name=call.__name__)

    def order(self, **changes: Any) -> Order:
        """An order for 12.50 USDT, opened at noon for a day."""
        order_id = uuid4()
        terms: dict[str, Any] = {
            "merchant_order_id": order_id.hex,
            "price": Money(Decimal("12.50"), "USDT"),
            "fiat_price": None,
            "description": "A tin of green tea",
        }
        terms |= {name: changes.pop(name) for name in set(changes) & set(Terms.__slots__)}
        fields: dict[str, Any] = {
            "account_id": self.account_id,
            "order_id": order_id,
            "terms": Terms(**terms),
            "checkout_token": uuid4().hex,
            "created_at": self.noon,
            "expires_at": self.noon + timedelta(hours=24),
        }
        return Order(**fields | changes)

    def attempt(self, order: Order, **changes: Any) -> Attempt:
        """An attempt of an order, due at noon."""
        number = changes.pop("number", 1)
        made = settlement.prepare_attempt(order, number=number, given=self.given())
        return replace(made, **changes)

    def given(self, *, after: float = 0) -> Circumstances:
        """Circumstances some seconds after noon."""
        return Circumstances(
            now=self.noon + timedelta(seconds=after),
            fresh_id=uuid4(),
            credential_id=self.credential_id,
        )

    async def write(self, order: Order, *order_attempts: Attempt) -> Case:
        """Write an order with attempts, and read it back."""

        async def step(tx: Transaction) -> None:
            assert await orders.insert(tx, order)
            await attempts.insert(tx, order_attempts)

        await self.database.run(step, name="write")
        return await self.read(order)

    async def open_case(self, **changes: Any) -> Case:
        """Write an order with one open attempt."""
        order = self.order(**changes)
        return await self.write(order, self.attempt(order, status=AttemptStatus.OPEN))

    async def read(self, order: Order) -> Case:
        """Read a case as it stands."""
        key = (order.account_id, order.order_id)
        found: dict[Any, Case] = await self.run(cases.get_many, [key])
        return found[key]

    async def save(self, *decisions: Decision) -> None:
        """Save decisions."""
        await self.run(cases.save, decisions, public_url="https://shop.example")

    async def sql(self, text: str, *values: Any) -> list[Any]:
        """Ask the database as its owner, past every door."""
        connection = await asyncpg.connect(self.url)
        try:
            return list(await connection.fetch(text, *values))
        finally:
            await connection.close()

    async def until_somebody_waits(self, *, count: int = 1) -> None:
        """Return as soon as so many statements wait for other transactions' locks."""
        question = (
            "SELECT 1 FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        for _ in range(500):
            if len(await self.sql(question)) >= count:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("nobody waits")


OpenDatabase = Callable[..., AbstractAsyncContextManager[Database]]


@pytest.fixture
def open_database(empty_database_url: str) -> OpenDatabase:
    """Open the worker's database, once more if need be."""

    @asynccontextmanager
    async def opened(**settings: Any) -> AsyncIterator[Database]:
        async with await Database.open(empty_database_url, **settings) as database:
            yield database

    return opened


@pytest.fixture
async def store(open_database: OpenDatabase, empty_database_url: str) -> AsyncIterator[Store]:
    """The worker's database with one account."""
    async with open_database() as database:
        made = Store(database, empty_database_url, uuid4(), uuid4())
        await add_account(made, made.account_id, made.credential_id)
        yield made


async def add_account(store: Store, account_id: UUID, credential_id: UUID) -> None:
    """Write an account with a credential."""
    account = Account(
        account_id=account_id,
        reference=account_id.hex[:8],
        name="Teahouse",
        notice_path=account_id.hex,
    )
    credential = Credential(
        account_id=account_id,
        credential_id=credential_id,
        api_key="key",
        secret_ciphertext=b"sealed",
        base_url="http://127.0.0.1",
        merchant_id=None,
        valid_from=store.noon,
        valid_until=None,
    )

    async def step(tx: Transaction) -> None:
        await accounts.insert(tx, account, created_at=store.noon)
        await accounts.insert_credential(tx, credential)

    await store.database.run(step, name="add_account")


@pytest.fixture
async def other_account(store: Store) -> UUID:
    """A second account beside the store's own."""
    account_id = uuid4()
    await add_account(store, account_id, uuid4())
    return account_id


class Gate:
    """Holds one transaction open until the test lets it go."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def pass_through(self) -> None:
        """Say that it is reached, and wait."""
        self.reached.set()
        async with asyncio.timeout(30):
            await self.opened.wait()


@pytest.fixture
def gate() -> Gate:
    """A gate for one transaction."""
    return Gate()
