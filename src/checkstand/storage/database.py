"""The database door: the only place that knows asyncpg and opens a connection.

`Database.run(step)` gives a step its own transaction and commits it. A step may run again (a
serialisation failure, a deadlock, a lost connection), so it does nothing outside its
transaction, and what it writes must be safe to write twice. Every statement and every commit
passes an observer.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import asyncpg

from checkstand.ambient import HostClock
from checkstand.errors import DatabaseBusy, DatabaseUnavailable
from checkstand.observability import NOBODY, Observer

T = TypeVar("T")
Row = Any  # asyncpg.Record: a mapping and a sequence at once, untyped

#: How often one step is tried before its failure is the caller's.
_TRIES_MAX: Final = 5
_RETRIED: Final = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
)
#: Somebody holds the row, or every connection, for longer than a caller should wait.
_BUSY: Final = (
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    TimeoutError,
)
_LOST: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,  # it is shutting down, or starting
    asyncpg.InsufficientResourcesError,  # its disk is full, or its connections used up
    asyncpg.PostgresSystemError,
    OSError,
)
#: How long a caller waits for a free connection.
_ACQUIRE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement with the name by which observers, metrics and tests know it."""

    name: str
    text: str


#: Every statement of the house by name, so that a test can read all the SQL there is.
STATEMENTS: dict[str, Statement] = {}


def statement(name: str, text: str) -> Statement:
    """Name a statement. Names are unique: they end in `.verb` under their table's family."""
    if name in STATEMENTS:
        raise ValueError(f"two statements are called {name}")
    STATEMENTS[name] = Statement(name, re.sub(r"\s+", " ", text).strip())
    return STATEMENTS[name]


class Transaction:
    """The caller's transaction, in which storage functions run their statements."""

    def __init__(self, connection: Any, observer: Observer) -> None:
        self._connection = connection
        self._observer = observer

    async def rows(self, sql: Statement, *values: Any) -> Sequence[Row]:
        """Run a statement and return its rows."""
        self._observer.before(sql.name)
        rows: Sequence[Row] = await self._connection.fetch(sql.text, *values)
        self._observer.after(sql.name)
        return rows

    async def row(self, sql: Statement, *values: Any) -> Row | None:
        """Run a statement and return its first row, if any."""
        self._observer.before(sql.name)
        row = await self._connection.fetchrow(sql.text, *values)
        self._observer.after(sql.name)
        return row

    async def run(self, sql: Statement, *values: Any) -> None:
        """Run a statement for its effect."""
        await self.rows(sql, *values)

    async def parts(self, sql: Statement, *values: Any, size: int) -> AsyncIterator[Sequence[Row]]:
        """Run a statement and yield its rows a few at a time, however many there are.

        Other statements may be run in between; the rows are those of the moment it began.
        """
        self._observer.before(sql.name)
        cursor = await self._connection.cursor(sql.text, *values)
        while rows := await cursor.fetch(size):
            yield rows
        self._observer.after(sql.name)

    async def copy(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Write many new rows of one table at once. Raises UniqueViolation."""
        self._observer.before(f"{table}.copy")
        await self._connection.copy_records_to_table(table, columns=columns, records=rows)
        self._observer.after(f"{table}.copy")


Step = Callable[[Transaction], Awaitable[T]]


class Database:
    """A pool of connections to one PostgreSQL, as the application's role."""

    def __init__(self, pool: Any, observer: Observer) -> None:
        self._pool = pool
        self._observer = observer

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        observer: Observer = NOBODY,
        role: str | None = "checkstand_app",
        connections_max: int = 10,
        behind_pgbouncer: bool = False,
    ) -> Self:
        """Connect. Raises DatabaseUnavailable with a sentence for a person."""
        settings = {"application_name": "checkstand", "timezone": "UTC"}
        if role is not None:
            settings["role"] = role
        if not behind_pgbouncer:
            # A stuck lock must not hold a payment's answer: give up, say so, be asked again.
            settings |= {"lock_timeout": "3s", "statement_timeout": "15s"}
        try:
            pool = await asyncpg.create_pool(
                url,
                min_size=1,
                max_size=connections_max,
                server_settings=settings,
                reset=_nothing_to_reset,
                statement_cache_size=0 if behind_pgbouncer else 500,
                timeout=10,
            )
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
            raise DatabaseUnavailable(
                "database_unavailable", f"cannot open the database: {error}"
            ) from error
        return cls(pool, observer)

    async def close(self) -> None:
        """Give every connection back to the server."""
        await self._pool.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def run(
        self,
        step: Step[T],
        *,
        name: str,
        lock_wait_ms: int | None = None,
        patience_seconds: int | None = None,
        snapshot: bool = False,
    ) -> T:
        """Run a step in a transaction of its own and commit it; again where that may help.

        Raises DatabaseUnavailable when the database stays away, DatabaseBusy when rows or
        connections stay taken, and whatever the step raises. `lock_wait_ms` shortens how long
        it waits for a row that somebody else holds; `patience_seconds` lets one statement take
        longer than a caller would wait; with `snapshot` all statements see the same moment.
        """
        limits = []
        if lock_wait_ms is not None:
            limits.append(f"SET LOCAL lock_timeout = {lock_wait_ms:d}")
        if patience_seconds is not None:
            limits.append(f"SET LOCAL statement_timeout = {patience_seconds * 1000:d}")
        return await self._persist(
            lambda: self._once(step, name=name, limits=limits, snapshot=snapshot)
        )

    async def read(self, step: Step[T], *, snapshot: bool = False) -> T:
        """Run a step that only reads: each statement on its own, or all on one snapshot."""
        return await self._persist(lambda: self._reading(step, snapshot=snapshot))

    async def learn_time(self, clock: HostClock) -> None:
        """Bring a host's clock onto the database's, on which due times and leases are kept."""
        async with self._pool.acquire() as connection:
            await connection.fetchval("SELECT 1")  # the connection is warm before we measure
            asked_at = clock.host_now()
            theirs: datetime = await connection.fetchval("SELECT clock_timestamp()")
            clock.learn(asked_at=asked_at, answered_at=clock.host_now(), theirs=theirs)

    async def _once(self, step: Step[T], *, name: str, limits: Sequence[str], snapshot: bool) -> T:
        async with self._pool.acquire(timeout=_ACQUIRE_SECONDS) as connection:
            isolation = "repeatable_read" if snapshot else None
            transaction = connection.transaction(isolation=isolation)
            await transaction.start()
            try:
                for limit in limits:
                    await connection.execute(limit)
                result = await step(Transaction(connection, self._observer))
                self._observer.before(f"commit {name}")
            except BaseException:
                # On a lost connection there is nothing left to roll back.
                if not connection.is_closed():
                    await transaction.rollback()
                raise
            await transaction.commit()
            self._observer.after(f"commit {name}")
            return result

    async def _reading(self, step: Step[T], *, snapshot: bool) -> T:
        async with self._pool.acquire(timeout=_ACQUIRE_SECONDS) as connection:
            if not snapshot:
                return await step(Transaction(connection, self._observer))
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                return await step(Transaction(connection, self._observer))

    async def _persist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        for number in range(1, _TRIES_MAX + 1):
            try:
                return await attempt()
            except _RETRIED:
                if number == _TRIES_MAX:
                    raise
            except _BUSY as error:
                raise DatabaseBusy(
                    "database_busy", "somebody else is changing this just now; try again"
                ) from error
            except _LOST as error:
                if number == _TRIES_MAX:
                    raise DatabaseUnavailable(
                        "database_unavailable", "the database cannot be reached just now"
                    ) from error
            await asyncio.sleep(0.02 * 2**number)  # apart from each other, and soon again
        raise AssertionError("the last try returns or raises")


async def _nothing_to_reset(_connection: Any) -> None:
    """Spare a round trip: every use ends its transaction, and none changes the session."""


#: A constraint of ours was violated: storage turns it into a domain word where it expects it.
UniqueViolation: Final = asyncpg.UniqueViolationError
