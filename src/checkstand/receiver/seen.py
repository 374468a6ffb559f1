"""Two memories of handled events: one that forgets at restart, one in an SQLite file.

Both are safe between threads; the file also between processes of one machine. A shop on several
machines writes its own over the database it already has: `SeenEvents` is three methods.
"""

import contextlib
import os
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from checkstand.receiver.ambient import Clock, host_clock
from checkstand.receiver.events import Event
from checkstand.receiver.handling import Claim, Outcome


class MemorySeenEvents:
    """Remembers the last events of this process. For trying things out, and for tests."""

    def __init__(self, *, events_most: int = 100_000) -> None:
        self._events_most = events_most
        self._owners: dict[str, str] = {}  # being handled; a dead process takes its claims along
        self._handled: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def claim(self, event_id: str, *, owner: str) -> Claim:
        """Reserve an event for `owner`, unless it is handled or held."""
        with self._lock:
            if event_id in self._handled:
                return Claim.HANDLED
            holder = self._owners.setdefault(event_id, owner)
            return Claim.OURS if holder == owner else Claim.BUSY

    def record(self, event_id: str) -> None:
        """Note that the event has been handled; the oldest note makes room."""
        with self._lock:
            self._owners.pop(event_id, None)
            self._handled[event_id] = None
            while len(self._handled) > self._events_most:
                self._handled.popitem(last=False)

    def release(self, event_id: str, *, owner: str) -> None:
        """Give up a reservation, if it is still `owner`'s."""
        with self._lock:
            if self._owners.get(event_id) == owner:
                del self._owners[event_id]


class SqliteSeenEvents:
    """Remembers events in an SQLite file, for any number of threads and processes beside it.

    A claim is a lease: after `lease_seconds` a worker that neither finished nor failed is taken for
    dead and the next try gets the event. So the lease must be longer than the slowest handler; a
    slower one may be overtaken by a second run. The file may be the shop's own database: one table
    is added, nothing else is touched.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        lease_seconds: int = 60,  # four times the gateway's patience for one answer
        busy_seconds: float = 5.0,  # how long to wait for another writer of the file
        clock: Clock = host_clock,
    ) -> None:
        self._path = os.fspath(path)
        if self._path in {"", ":memory:"}:
            raise ValueError("give a file, or use MemorySeenEvents")
        self._lease = timedelta(seconds=lease_seconds)
        self._busy_seconds = busy_seconds
        self._clock = clock
        with self._writing() as connection:
            connection.execute(_TABLE)

    def claim(self, event_id: str, *, owner: str) -> Claim:
        """Reserve an event for `owner`, unless it is handled or held."""
        now = self._clock()
        try:
            with self._writing() as connection:
                claim = _look(connection, event_id, now=now)
                if claim is Claim.OURS:
                    connection.execute(_CLAIM, (event_id, owner, _seconds(now + self._lease)))
                return claim
        except _FileBusy:
            return Claim.BUSY

    def record(self, event_id: str) -> None:
        """Note for good that the event has been handled, whoever holds it now."""
        with self._writing() as connection:
            connection.execute(_RECORD, (event_id, _seconds(self._clock())))

    def release(self, event_id: str, *, owner: str) -> None:
        """Give up a reservation, if it is still `owner`'s."""
        with self._writing() as connection:
            connection.execute(_RELEASE, (event_id, owner))

    def handle_in_transaction(
        self, event: Event, handler: Callable[[Event, sqlite3.Connection], object]
    ) -> Outcome:
        """Run `handler` in the transaction that notes the event: both happen, or neither.

        What the handler writes through the connection it is given happens exactly once, whatever
        crashes and however often the event is told. It must not commit, and should be short: the
        file has one writer at a time, and duplicates wait for it (then they are "busy").
        """
        now = self._clock()
        try:
            with self._writing() as connection:
                claim = _look(connection, event.id, now=now)
                if claim is Claim.OURS:
                    handler(event, connection)
                    if not connection.in_transaction:
                        raise RuntimeError("the handler committed or rolled back: it must not")
                    connection.execute(_RECORD, (event.id, _seconds(now)))
        except _FileBusy:
            return Outcome.BUSY
        return _OUTCOMES[claim]

    def forget(self, *, before: datetime) -> int:
        """Drop notes of events handled before a moment; return how many.

        The gateway repeats by itself for some four days; a person may repeat an event later.
        """
        with self._writing() as connection:
            return connection.execute(_FORGET, (_seconds(before),)).rowcount

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        # IMMEDIATE: to read first and lock later is how two writers block each other for good.
        # A connection each time costs 0.1 ms and is right in every thread and after every fork.
        with contextlib.closing(
            sqlite3.connect(self._path, timeout=self._busy_seconds, isolation_level=None)
        ) as connection:
            _execute_patiently(connection, "BEGIN IMMEDIATE")
            try:
                yield connection
                _execute_patiently(connection, "COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise


class _FileBusy(sqlite3.OperationalError):
    """Another writer, or a reader in the way of a commit, outlasted `busy_seconds`."""


def _execute_patiently(connection: sqlite3.Connection, statement: str) -> None:
    try:
        connection.execute(statement)
    except sqlite3.OperationalError as error:
        # The low byte is the code's family; a handler's own errors never pass through here.
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            raise _FileBusy(*error.args) from error
        raise


def _look(connection: sqlite3.Connection, event_id: str, *, now: datetime) -> Claim:
    row = connection.execute(_FIND, (event_id,)).fetchone()
    if row is None:
        return Claim.OURS
    handled_at, lease_until = row
    if handled_at is not None:
        return Claim.HANDLED
    return Claim.BUSY if lease_until > _seconds(now) else Claim.OURS


def _seconds(moment: datetime) -> float:
    return moment.timestamp()


_OUTCOMES = {
    Claim.OURS: Outcome.HANDLED,
    Claim.HANDLED: Outcome.REPEATED,
    Claim.BUSY: Outcome.BUSY,
}

_TABLE = """
CREATE TABLE IF NOT EXISTS checkstand_seen_events (
    event_id    TEXT PRIMARY KEY,
    owner       TEXT,  -- who holds the claim; null once handled
    lease_until REAL,  -- seconds since 1970, as is handled_at
    handled_at  REAL
)
"""
_FIND = "SELECT handled_at, lease_until FROM checkstand_seen_events WHERE event_id = ?"
_CLAIM = """
INSERT INTO checkstand_seen_events (event_id, owner, lease_until) VALUES (?, ?, ?)
ON CONFLICT (event_id) DO UPDATE SET owner = excluded.owner, lease_until = excluded.lease_until
"""
_RECORD = """
INSERT INTO checkstand_seen_events (event_id, handled_at) VALUES (?, ?)
ON CONFLICT (event_id) DO UPDATE
    SET owner = NULL, lease_until = NULL, handled_at = excluded.handled_at
"""
_RELEASE = """
DELETE FROM checkstand_seen_events WHERE event_id = ? AND owner = ? AND handled_at IS NULL
"""
_FORGET = "DELETE FROM checkstand_seen_events WHERE handled_at < ?"
