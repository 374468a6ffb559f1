"""The database door: a step runs again where that may help, and says so where it cannot."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import asyncpg
import pytest

from checkstand.errors import DatabaseBusy, DatabaseUnavailable, RowsHeld
from checkstand.storage.database import (
    STATEMENTS,
    Database,
    Patience,
    Statement,
    Transaction,
    statement,
)

_ME = Statement("me", "SELECT pg_backend_pid() AS pid")
_SET_NAME = Statement("set_name", "UPDATE accounts SET name = $2 WHERE account_id = $1")
_NAME = Statement("name", "SELECT name FROM accounts WHERE account_id = $1")


class Heard:
    """An observer that writes down what it hears, and fails where it is told to."""

    def __init__(self) -> None:
        self.points: list[str] = []
        self.fails_before: dict[str, BaseException] = {}

    def before(self, point: str) -> None:
        self.points.append(f"before {point}")
        if error := self.fails_before.pop(point, None):
            raise error

    def after(self, point: str) -> None:
        self.points.append(f"after {point}")


async def _name(store: Any) -> str:
    row = await store.run(Transaction.row, _NAME, store.account_id)
    return str(row["name"])


async def test_observers_hear_statements_and_commits_in_order(
    store: Any, open_database: Any
) -> None:
    heard = Heard()
    async with open_database(observer=heard) as database:

        async def step(tx: Transaction) -> None:
            await tx.run(_SET_NAME, store.account_id, "Renamed")
            await tx.row(_NAME, store.account_id)

        await database.run(step, name="rename")
        await database.read(lambda tx: tx.row(_ME))

    assert heard.points == [
        "before set_name",
        "after set_name",
        "before name",
        "after name",
        "before commit rename",
        "after commit rename",
        "before me",
        "after me",
    ]


@pytest.mark.parametrize("point", ["set_name", "commit rename"])
async def test_observer_that_raises_stops_the_step_and_nothing_is_kept(
    store: Any, open_database: Any, point: str
) -> None:
    heard = Heard()
    heard.fails_before[point] = RuntimeError("stop here")
    async with open_database(observer=heard) as database:
        with pytest.raises(RuntimeError, match="stop here"):
            await database.run(
                lambda tx: tx.run(_SET_NAME, store.account_id, "Renamed"), name="rename"
            )

    assert await _name(store) == "Teahouse"


async def test_step_that_raises_leaves_nothing_and_the_connection_well(store: Any) -> None:
    async def step(tx: Transaction) -> None:
        await tx.run(_SET_NAME, store.account_id, "Renamed")
        raise LookupError("no")

    for _ in range(15):  # more often than there are connections
        with pytest.raises(LookupError):
            await store.database.run(step, name="fail")

    assert await _name(store) == "Teahouse"


async def test_lost_connection_runs_the_step_again_and_writes_once(store: Any) -> None:
    pids: list[int] = []

    async def step(tx: Transaction) -> None:
        row = await tx.row(_ME)
        assert row is not None
        pids.append(row["pid"])
        await tx.run(_SET_NAME, store.account_id, f"Try {len(pids)}")
        if len(pids) == 1:
            await _terminate(store, row["pid"])
        await tx.row(_NAME, store.account_id)

    await store.database.run(step, name="rename")

    assert len(pids) == 2
    assert pids[0] != pids[1]
    assert await _name(store) == "Try 2"


async def test_connection_that_died_in_the_pool_is_replaced(store: Any) -> None:
    row = await store.run(Transaction.row, _ME)
    await _terminate(store, row["pid"])

    assert await _name(store) == "Teahouse"


async def _terminate(store: Any, pid: int) -> None:
    await store.sql("SELECT pg_terminate_backend($1)", pid)
    for _ in range(500):
        if not await store.sql("SELECT 1 FROM pg_stat_activity WHERE pid = $1", pid):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the backend is still there")


@pytest.mark.parametrize(
    "error", [asyncpg.SerializationError("40001"), asyncpg.DeadlockDetectedError("40P01")]
)
async def test_step_that_met_another_runs_again(
    store: Any, open_database: Any, error: BaseException
) -> None:
    heard = Heard()
    heard.fails_before["set_name"] = error
    async with open_database(observer=heard) as database:
        await database.run(lambda tx: tx.run(_SET_NAME, store.account_id, "Renamed"), name="rename")

    assert heard.points.count("before set_name") == 2
    assert await _name(store) == "Renamed"


async def test_real_deadlock_ends_with_both_done(store: Any, other_account: Any) -> None:
    crossed = asyncio.Barrier(2)
    tries: list[str] = []

    async def rename(first: Any, second: Any, name: str) -> None:
        async def step(tx: Transaction) -> None:
            tries.append(name)
            await tx.run(_SET_NAME, first, name)
            if tries.count(name) == 1:
                await crossed.wait()
            await tx.run(_SET_NAME, second, name)

        await store.database.run(step, name="rename")

    async with asyncio.timeout(30):
        await asyncio.gather(
            rename(store.account_id, other_account, "one"),
            rename(other_account, store.account_id, "two"),
        )

    assert len(tries) == 3  # PostgreSQL gave up one of them, and that one ran again


async def test_step_that_meets_another_every_time_is_the_caller_s_in_the_end(
    store: Any,
) -> None:
    tries = []

    async def step(tx: Transaction) -> None:
        tries.append(1)
        raise asyncpg.SerializationError("could not serialize")

    with pytest.raises(asyncpg.SerializationError):
        await store.database.run(step, name="never")

    assert len(tries) == 5


async def test_server_that_falls_silent_is_given_up_and_asked_anew(open_database: Any) -> None:
    stopped: list[int] = []
    async with open_database(silence_seconds=2) as database:

        async def step(tx: Transaction) -> int:
            row = await tx.row(_ME)
            assert row is not None
            if not stopped:
                stopped.append(row["pid"])
                os.kill(row["pid"], signal.SIGSTOP)
            await tx.row(_ME)
            return int(row["pid"])

        try:
            async with asyncio.timeout(30) as limit:
                with pytest.raises(DatabaseBusy):
                    await database.run(step, name="silent")
                assert await database.run(step, name="anew") not in stopped
            assert not limit.expired()  # which a step that is cut short may swallow
        finally:
            for pid in stopped:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("where", ["step", "begin", "commit", "snapshot", "read"])
async def test_who_is_cancelled_before_a_silent_server_is_cancelled(
    open_database: Any, where: str
) -> None:
    silent = asyncio.get_running_loop().create_future()
    # As in a gateway the driver waits for the server longer than the pool does for the driver.
    soon = Patience(connection_seconds=0.5)
    async with open_database(silence_seconds=2) as database:

        async def step(tx: Transaction) -> None:
            row = await tx.row(_ME)
            assert row is not None
            os.kill(row["pid"], signal.SIGSTOP)
            silent.set_result(row["pid"])
            if where != "commit":
                await tx.row(_ME)

        async def nothing(_: Transaction) -> None: ...

        if where == "begin":
            row = await database.read(lambda tx: tx.row(_ME))  # the one connection that there is
            os.kill(row["pid"], signal.SIGSTOP)
            silent.set_result(row["pid"])
            running = asyncio.create_task(database.run(nothing, name="silent", patience=soon))
        elif where in {"snapshot", "read"}:
            running = asyncio.create_task(database.read(step, snapshot=where == "snapshot"))
        else:
            running = asyncio.create_task(database.run(step, name="silent", patience=soon))
        pid = await silent
        await asyncio.sleep(0.1)  # it asks, and is not answered
        try:
            running.cancel()
            async with asyncio.timeout(30):
                with pytest.raises(asyncio.CancelledError):
                    await running
        finally:
            os.kill(pid, signal.SIGCONT)


async def test_server_that_stays_away_is_said_to_be_unavailable(
    store: Any, open_database: Any
) -> None:
    async with open_database() as database:
        await database.run(lambda tx: tx.row(_ME), name="warm")

        async def step(tx: Transaction) -> None:
            row = await tx.row(_ME)
            assert row is not None
            await _terminate(store, row["pid"])
            await tx.row(_ME)

        with pytest.raises(DatabaseUnavailable, match="cannot be reached"):
            await database.run(step, name="never")


async def test_server_that_says_goodbye_before_it_hangs_up_is_a_lost_connection(
    empty_database_url: str,
) -> None:
    """Between the two the driver takes a statement and says that it has an error of its own."""
    goodbye = b"SFATAL\0VFATAL\0C57P02\0Mterminating connection because of crash\0\0"
    async with (
        _relay(empty_database_url) as (url, inject),
        await Database.open(url, connections_max=1) as database,
    ):
        before = await database.read(lambda tx: tx.row(_ME))

        hang_up = inject(b"E" + (len(goodbye) + 4).to_bytes(4, "big") + goodbye)
        await asyncio.sleep(0.05)  # it is heard, while nothing is asked
        asyncio.get_running_loop().call_later(0.05, hang_up)
        after = await database.run(lambda tx: tx.row(_ME), name="again")

    assert before is not None
    assert after is not None
    assert after["pid"] != before["pid"]


@asynccontextmanager
async def _relay(url: str) -> AsyncIterator[tuple[str, Callable[[bytes], Callable[[], None]]]]:
    """Stand between driver and server; `inject` says something in the server's place."""
    parts = urlsplit(url)
    options = parse_qs(parts.query)
    path = f"{options['host'][0]}/.s.PGSQL.{options['port'][0]}"
    drivers: list[asyncio.StreamWriter] = []
    passing: set[asyncio.Task[None]] = set()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_unix_connection(path)
        drivers.append(writer)
        passing.add(asyncio.create_task(forward(reader, there[1])))
        passing.add(asyncio.create_task(forward(there[0], writer)))

    def inject(message: bytes) -> Callable[[], None]:
        writer = drivers[-1]
        writer.write(message)
        return writer.close

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield f"postgresql://postgres@127.0.0.1:{port}{parts.path}", inject
    server.close()
    for task in passing:
        task.cancel()
    await asyncio.gather(*passing, return_exceptions=True)
    for driver in drivers:
        driver.close()


@pytest.mark.parametrize(
    "url", ["postgresql://127.0.0.1:1/none", "nonsense", "postgresql:///x?host=/nowhere"]
)
async def test_database_that_is_not_there_cannot_be_opened(url: str) -> None:
    with pytest.raises(DatabaseUnavailable, match="cannot open the database"):
        await Database.open(url)


@pytest.mark.parametrize(
    "value", ["a \ud800 lone surrogate", b"not text", 7], ids=["surrogate", "bytes", "number"]
)
async def test_value_that_cannot_be_written_is_not_a_database_that_is_away(
    store: Any, value: object
) -> None:
    """A notice with such a text would be answered "send it again" for ever, with all its group."""
    tries = []

    async def step(tx: Transaction) -> None:
        tries.append(1)
        await tx.run(_SET_NAME, store.account_id, value)

    with pytest.raises(asyncpg.DataError):
        await store.database.run(step, name="odd")

    assert len(tries) == 1


async def test_row_that_somebody_holds_is_a_busy_database_not_a_lost_one(
    store: Any, gate: Any
) -> None:
    async def hold(tx: Transaction) -> None:
        await tx.run(_SET_NAME, store.account_id, "Held")
        await gate.pass_through()

    holding = asyncio.create_task(store.database.run(hold, name="hold"))
    await gate.reached.wait()
    tries = []

    async def step(tx: Transaction) -> None:
        tries.append(1)
        await tx.run(_SET_NAME, store.account_id, "Mine")

    with pytest.raises(RowsHeld):
        await store.database.run(step, name="wait", patience=Patience(lock_ms=50))
    gate.opened.set()
    await holding

    assert await _name(store) == "Held"
    await store.database.run(step, name="wait", patience=Patience(lock_ms=50))
    assert await _name(store) == "Mine"


async def test_constraint_that_says_no_is_said_at_once(store: Any) -> None:
    tries = []

    async def step(tx: Transaction) -> None:
        tries.append(1)
        await tx.run(_SET_NAME, store.account_id, None)

    with pytest.raises(asyncpg.NotNullViolationError):
        await store.database.run(step, name="odd")

    assert len(tries) == 1


_SETTINGS = Statement(
    "settings",
    """
    SELECT current_setting('synchronous_commit') AS synchronous,
           current_setting('lock_timeout') AS locks, current_setting('statement_timeout') AS all,
           current_setting('transaction_isolation') AS isolation
    """,
)


@pytest.mark.parametrize("behind_pgbouncer", [False, True])
async def test_transaction_has_its_limits_and_leaves_none_behind(
    open_database: Any, behind_pgbouncer: bool
) -> None:
    async with open_database(behind_pgbouncer=behind_pgbouncer, connections_max=1) as database:

        async def told(tx: Transaction) -> tuple[str, ...]:
            return tuple((await tx.row(_SETTINGS) or {}).values())

        hasty = Patience(lock_ms=200, statement_ms=2_000)
        assert await database.run(told, name="usual") == ("on", "3s", "15s", "read committed")
        assert await database.run(told, name="hasty", patience=hasty) == (
            *("on", "200ms", "2s", "read committed"),
        )
        left = await database.read(told)
        assert left[1:3] == (("0", "0") if behind_pgbouncer else ("3s", "15s"))


@pytest.mark.parametrize(
    ("default", "meant"), [("off", "on"), ("local", "on"), ("remote_apply", "remote_apply")]
)
async def test_commit_is_on_the_disk_whatever_the_server_s_default_is(
    store: Any, open_database: Any, default: str, meant: str
) -> None:
    await store.sql(f"ALTER DATABASE {await _database(store)} SET synchronous_commit = {default}")
    try:
        async with open_database() as database:
            row = await database.run(lambda tx: tx.row(_SETTINGS), name="settings")
            assert row["synchronous"] == meant
    finally:
        await store.sql(f"ALTER DATABASE {await _database(store)} RESET synchronous_commit")


async def _database(store: Any) -> str:
    (row,) = await store.sql("SELECT quote_ident(current_database()) AS name")
    return str(row["name"])


async def test_door_works_behind_pgbouncer_s_rules(open_database: Any) -> None:
    """No statement is prepared by name and no setting is left on the connection."""
    async with open_database(behind_pgbouncer=True, connections_max=1) as database:
        for _ in range(3):
            assert await database.run(lambda tx: tx.row(_ME), name="me")

            async def prepared(tx: Transaction) -> Any:
                return await tx.row(
                    Statement("left", "SELECT count(*) AS n FROM pg_prepared_statements")
                )

            row = await database.run(prepared, name="left")
            assert row["n"] <= 1  # this question itself


def test_two_statements_cannot_have_one_name() -> None:
    name = f"tests.{uuid4().hex}"
    statement(name, "SELECT 1")
    try:
        with pytest.raises(ValueError, match=name):
            statement(name, "SELECT 2")
    finally:
        del STATEMENTS[name]


async def test_two_connections_are_left_to_whoever_has_a_reserve(open_database: Any) -> None:
    async with open_database(connections_max=4) as database:
        done, begun = asyncio.Event(), asyncio.Semaphore(0)

        async def hold(tx: Transaction) -> None:
            await tx.row(_ME)
            begun.release()
            await done.wait()

        patient, hasty = Patience(connection_seconds=60), Patience(connection_seconds=0.2)
        holders = [
            asyncio.create_task(database.run(hold, name="hold", patience=patient))
            for _ in range(12)
        ]
        for _ in range(2):
            await begun.acquire()
        try:
            with pytest.raises(DatabaseBusy):
                await database.run(lambda tx: tx.row(_ME), name="general", patience=hasty)
            reserved = Patience(connection_seconds=10, has_reserve=True)
            for _ in range(3):
                assert await database.run(lambda tx: tx.row(_ME), name="notice", patience=reserved)
        finally:
            done.set()
        await asyncio.gather(*holders)  # and everybody has his turn
        assert await database.run(lambda tx: tx.row(_ME), name="general")
