"""The database door: the only place that knows asyncpg and opens a connection.

`Database.run(step)` gives a step its own transaction and commits it. A step may run again (a
serialisation failure, a deadlock, a lost connection), so it does nothing outside its
transaction, and what it writes must be safe to write twice. Every statement and every commit
passes an observer.
"""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import asyncpg
import msgspec

from checkstand.ambient import HostClock
from checkstand.errors import DatabaseBusy, DatabaseUnavailable, RowsHeld
from checkstand.observability import NOBODY, Observer

T = TypeVar("T")
Row = Any  # asyncpg.Record: a mapping and a sequence at once, untyped

#: How often a step is tried that met another transaction, before its failure is the caller's.
_TRIES_MAX: Final = 5
_RETRIED: Final = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
)
#: A statement, or the wait for a connection, took longer than a caller should wait.
_BUSY: Final = (
    asyncpg.QueryCanceledError,
    TimeoutError,
)
_BUSY_SENTENCE: Final = "somebody else is changing this just now; try again"
_LOST: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # asked between the server's last word and its hanging up
    asyncpg.OperatorInterventionError,  # it is shutting down, or starting
    asyncpg.InsufficientResourcesError,  # its disk is full, or its connections used up
    asyncpg.PostgresSystemError,
    OSError,
)
_BEGIN_SNAPSHOT: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_COMMITTED: Final = (
    "; SELECT set_config('synchronous_commit', 'on', true)"
    " WHERE current_setting('synchronous_commit') IN ('off', 'local')"
)
#: A server that stopped answering altogether is given up after this: longer than any statement
#: may take by the server's own limit, which it would keep if it could.
_SILENCE_SECONDS: Final = 20.0
#: Connections kept back for notices: one for their group, one for the lane beside it.
_RESERVED: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a caller of the door waits, and for what, before it is told to come again."""

    lock_ms: int = 3_000  # a row that somebody else holds
    statement_ms: int = 15_000  # one statement
    connection_seconds: float = 5.0  # a free connection
    tries_lost: int = 5  # runs of a step whose connection is lost, the first included
    has_reserve: bool = False  # it may use the connections that everybody else leaves free

    @property
    def silence_seconds(self) -> float | None:
        """Say after how long without an answer the server is given up; None: as usual."""
        allowed = self.statement_ms / 1000 + 5
        return allowed if allowed > _SILENCE_SECONDS else None


#: What most callers have. A stuck lock must not hold an answer for ever.
PATIENT: Final = Patience()


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


def render_rows(rows: Sequence[object]) -> str:
    """Write rows as JSON for `jsonb_to_recordset`, exact to the digit and the microsecond.

    For wide rows written often: an array for each column costs the driver five times as much.
    """
    return msgspec.json.encode(rows).decode()


class Transaction:
    """The caller's transaction, in which storage functions run their statements."""

    def __init__(
        self, connection: Any, observer: Observer, *, silence_seconds: float | None = None
    ) -> None:
        self._connection = connection
        self._observer = observer
        self._silence_seconds = silence_seconds  # None: as long as the connection has

    async def rows(self, sql: Statement, *values: Any) -> Sequence[Row]:
        """Run a statement and return its rows."""
        self._observer.before(sql.name)
        rows: Sequence[Row] = await self._connection.fetch(
            sql.text, *values, timeout=self._silence_seconds
        )
        self._observer.after(sql.name)
        return rows

    async def row(self, sql: Statement, *values: Any) -> Row | None:
        """Run a statement and return its first row, if any."""
        self._observer.before(sql.name)
        row = await self._connection.fetchrow(sql.text, *values, timeout=self._silence_seconds)
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
        silence = self._silence_seconds
        cursor = await self._connection.cursor(sql.text, *values, timeout=silence)
        while rows := await cursor.fetch(size, timeout=silence):
            yield rows
        self._observer.after(sql.name)

    async def copy(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Write many new rows of one table at once. Raises UniqueViolation."""
        self._observer.before(f"{table}.copy")
        await self._connection.copy_records_to_table(
            table, columns=columns, records=rows, timeout=self._silence_seconds
        )
        self._observer.after(f"{table}.copy")


Step = Callable[[Transaction], Awaitable[T]]


class Database:
    """A pool of connections to one PostgreSQL, as the application's role."""

    def __init__(
        self,
        pool: Any,
        observer: Observer,
        options: Mapping[str, Any],
        *,
        session_has_limits: bool,
        turns: int | None = None,
    ) -> None:
        self._pool = pool
        # Of callers without a reserve; None: as many as the pool has connections.
        self._turns = None if turns is None else asyncio.Semaphore(turns)
        self._observer = observer
        self._options = options  # with which connections are made
        self._session_has_limits = session_has_limits

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        observer: Observer = NOBODY,
        role: str | None = "checkstand_app",
        connections_max: int = 10,
        behind_pgbouncer: bool = False,
        silence_seconds: float = _SILENCE_SECONDS,
    ) -> Self:
        """Connect. Raises DatabaseUnavailable with a sentence for a person."""
        settings = {"application_name": "checkstand", "timezone": "UTC"}
        if role is not None:
            settings["role"] = role
        if not behind_pgbouncer:  # which lets no session keep settings
            settings |= {
                "lock_timeout": f"{PATIENT.lock_ms}ms",
                "statement_timeout": f"{PATIENT.statement_ms}ms",
            }
        options = {
            "server_settings": settings,
            "statement_cache_size": 0 if behind_pgbouncer else 500,
            "timeout": 10,
            "command_timeout": silence_seconds,
        }
        try:
            pool = await asyncpg.create_pool(
                url, min_size=1, max_size=connections_max, reset=_nothing_to_reset, **options
            )
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
            raise DatabaseUnavailable(
                "database_unavailable", f"cannot open the database: {error}"
            ) from error
        return cls(
            pool,
            observer,
            options,
            session_has_limits=not behind_pgbouncer,
            turns=max(1, connections_max - _RESERVED),
        )

    def move_to(self, url: str) -> None:
        """Make connections to another address from now on: a server that was started again."""
        self._pool.set_connect_args(url, **self._options)

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
        patience: Patience = PATIENT,
        snapshot: bool = False,
    ) -> T:
        """Run a step in a transaction of its own and commit it; again where that may help.

        With `snapshot` all its statements see the same moment. Raises DatabaseUnavailable when
        the database stays away, DatabaseBusy when connections stay taken, RowsHeld when rows do,
        and whatever the step raises.
        """
        return await self._persist(
            lambda: self._once(step, name=name, patience=patience, snapshot=snapshot),
            patience=patience,
        )

    async def read(self, step: Step[T], *, snapshot: bool = False) -> T:
        """Run a step that only reads: each statement on its own, or all on one snapshot."""
        return await self._persist(lambda: self._reading(step, snapshot=snapshot), patience=PATIENT)

    async def learn_time(self, clock: HostClock) -> None:
        """Bring a host's clock onto the database's, on which due times and leases are kept."""
        async with self._connection(PATIENT) as connection:
            await connection.fetchval("SELECT 1")  # the connection is warm before we measure
            asked_at = clock.host_now()
            theirs: datetime = await connection.fetchval("SELECT clock_timestamp()")
            clock.learn(asked_at=asked_at, answered_at=clock.host_now(), theirs=theirs)

    async def _once(self, step: Step[T], *, name: str, patience: Patience, snapshot: bool) -> T:
        begin, silence = self._begin(patience, snapshot=snapshot), patience.silence_seconds
        async with self._connection(patience) as connection:
            async with _transaction(connection, begin):
                result = await step(
                    Transaction(connection, self._observer, silence_seconds=silence)
                )
                self._observer.before(f"commit {name}")
            self._observer.after(f"commit {name}")
            return result

    @asynccontextmanager
    async def _connection(self, patience: Patience) -> AsyncIterator[Any]:
        """Take a free connection, or wait for one. Raises TimeoutError.

        Story: thirty requests wait for locked orders, and a notice that no connection is left for
        would be answered FAIL and sent again.
        """
        seconds = patience.connection_seconds
        turns = None if patience.has_reserve else self._turns
        async with AsyncExitStack() as stack:
            if turns is not None:
                async with asyncio.timeout(seconds):
                    await turns.acquire()
                stack.callback(turns.release)
            connection = await stack.enter_async_context(self._pool.acquire(timeout=seconds))
            try:
                yield connection
            except asyncio.CancelledError:
                await _roll_back(connection)  # a BEGIN or COMMIT may be unanswered, too
                raise

    def _begin(self, patience: Patience, *, snapshot: bool) -> str:
        """Write how a transaction begins: one round trip, and nothing left on the session.

        Whatever the server's defaults are, a commit is on its disk before it counts; a stronger
        setting (standbys too) is left as it is.
        """
        limits = ""
        if patience is not PATIENT or not self._session_has_limits:
            limits = (
                f"; SET LOCAL lock_timeout = {patience.lock_ms:d}"
                f"; SET LOCAL statement_timeout = {patience.statement_ms:d}"
            )
        level = "REPEATABLE READ" if snapshot else "READ COMMITTED"
        return f"BEGIN ISOLATION LEVEL {level}{_COMMITTED}{limits}"

    async def _reading(self, step: Step[T], *, snapshot: bool) -> T:
        async with self._connection(PATIENT) as connection:
            if not snapshot:
                return await step(Transaction(connection, self._observer))
            async with _transaction(connection, _BEGIN_SNAPSHOT):
                return await step(Transaction(connection, self._observer))

    async def _persist(self, attempt: Callable[[], Awaitable[T]], *, patience: Patience) -> T:
        for number in itertools.count(1):
            try:
                return await attempt()
            except _RETRIED:
                if number >= _TRIES_MAX:
                    raise
            except asyncpg.LockNotAvailableError as error:
                raise RowsHeld("database_busy", _BUSY_SENTENCE) from error
            except _BUSY as error:
                raise DatabaseBusy("database_busy", _BUSY_SENTENCE) from error
            except _LOST as error:
                if number >= patience.tries_lost:
                    raise DatabaseUnavailable(
                        "database_unavailable", "the database cannot be reached just now"
                    ) from error
            await asyncio.sleep(0.02 * 2**number)  # apart from each other, and soon again
        raise AssertionError("the last try returns or raises")


@asynccontextmanager
async def _transaction(connection: Any, begin: str) -> AsyncIterator[None]:
    """Commit what the block does, or undo it."""
    await connection.execute(begin)
    try:
        yield
    except TimeoutError:
        _hang_up(connection)  # it does not answer: nobody is there to roll back
        raise
    except BaseException:
        await _roll_back(connection)
        raise
    await connection.execute("COMMIT")


async def _roll_back(connection: Any) -> None:
    """Undo what was begun, if anything was. Where nobody answers the server does so by itself.

    Story: a worker is told to stop while the server is silent. If the silence took the place of
    the cancellation, it would go on.
    """
    try:
        if not connection.is_closed():
            await connection.execute("ROLLBACK")
    except (*_LOST, TimeoutError):
        _hang_up(connection)


def _hang_up(connection: Any) -> None:
    with suppress(asyncpg.InterfaceError):  # the driver has done so already
        connection.terminate()


async def _nothing_to_reset(_connection: Any) -> None:
    """Spare a round trip: every use ends its transaction, and none changes the session."""


#: A constraint of ours was violated: storage turns it into a domain word where it expects it.
UniqueViolation: Final = asyncpg.UniqueViolationError
