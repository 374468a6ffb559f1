"""The memories of events on their own: leases, crashes, other processes, a bounded size."""

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from checkstand.receiver import (
    Claim,
    Event,
    MemorySeenEvents,
    Outcome,
    SqliteSeenEvents,
    handle_once,
)

#: Runs in another process: `handler` gets the event and may be told to die in the middle.
OTHER_PROCESS = """
import dataclasses, os, signal, sqlite3, sys
from datetime import UTC, datetime
from checkstand.receiver import Event, SqliteSeenEvents, handle_once

path, how, dies, count = sys.argv[1], sys.argv[2], sys.argv[3] == "dies", int(sys.argv[4])
event = Event("event-1", "order.paid", datetime.now(UTC), "account-1", 1, {}, {}, b"")
seen = SqliteSeenEvents(path, busy_seconds=60)

def ship(event, connection):
    connection.execute("CREATE TABLE IF NOT EXISTS shipped (event_id TEXT)")
    connection.execute("INSERT INTO shipped VALUES (?)", (event.id,))
    if dies:
        os.kill(os.getpid(), signal.SIGKILL)

def die(event):
    os.kill(os.getpid(), signal.SIGKILL)

for n in range(count):
    one = dataclasses.replace(event, id=f"event-{n + 1}")
    if how == "transaction":
        seen.handle_in_transaction(one, ship)
    else:
        handle_once(one, die, seen=seen)
"""


def start(path: Path, how: str, *, dies: bool, count: int = 1) -> subprocess.Popen[bytes]:
    arguments = [str(path), how, "dies" if dies else "lives", str(count)]
    return subprocess.Popen([sys.executable, "-c", OTHER_PROCESS, *arguments])


def ship(event: Event, connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE IF NOT EXISTS shipped (event_id TEXT)")
    connection.execute("INSERT INTO shipped VALUES (?)", (event.id,))


def shipped(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT event_id FROM shipped")]


class SettableClock:
    def __init__(self) -> None:
        self.at = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.at


def test_an_event_survives_a_restart(event: Event, path: Path) -> None:
    handle_once(event, lambda _: None, seen=SqliteSeenEvents(path))

    assert SqliteSeenEvents(path).claim(event.id, owner="b") is Claim.HANDLED


def test_a_killed_workers_event_is_free_again_when_its_lease_ends(event: Event, path: Path) -> None:
    clock = SettableClock()
    assert start(path, "once", dies=True).wait() == -signal.SIGKILL
    seen = SqliteSeenEvents(path, clock=clock)
    handled: list[str] = []

    during = handle_once(event, lambda one: handled.append(one.id), seen=seen)
    clock.at += timedelta(seconds=61)
    after = handle_once(event, lambda one: handled.append(one.id), seen=seen)

    assert (during, after) == (Outcome.BUSY, Outcome.HANDLED)
    assert handled == [event.id]


def test_a_worker_that_outlived_its_lease_cannot_release_anothers_claim(path: Path) -> None:
    clock = SettableClock()
    seen = SqliteSeenEvents(path, clock=clock)
    assert seen.claim("event-1", owner="slow") is Claim.OURS
    clock.at += timedelta(seconds=61)
    assert seen.claim("event-1", owner="next") is Claim.OURS

    seen.release("event-1", owner="slow")

    assert seen.claim("event-1", owner="third") is Claim.BUSY


def test_a_worker_that_outlived_its_lease_still_records_what_it_did(path: Path) -> None:
    clock = SettableClock()
    seen = SqliteSeenEvents(path, clock=clock)
    seen.claim("event-1", owner="slow")
    clock.at += timedelta(seconds=61)
    seen.claim("event-1", owner="next")

    seen.record("event-1")
    seen.release("event-1", owner="next")  # the second run failed; the first one's word stands

    assert seen.claim("event-1", owner="third") is Claim.HANDLED


def test_an_effect_in_the_same_transaction_happens_exactly_once(event: Event, path: Path) -> None:
    seen = SqliteSeenEvents(path)

    outcomes = [seen.handle_in_transaction(event, ship) for _ in range(3)]

    assert outcomes == [Outcome.HANDLED, Outcome.REPEATED, Outcome.REPEATED]
    assert shipped(path) == [event.id]


def test_a_kill_in_the_middle_of_the_transaction_leaves_nothing_behind(
    event: Event, path: Path
) -> None:
    assert start(path, "transaction", dies=True).wait() == -signal.SIGKILL

    assert SqliteSeenEvents(path).handle_in_transaction(event, ship) is Outcome.HANDLED
    assert shipped(path) == [event.id]


def test_processes_that_race_for_the_same_events_ship_each_once(path: Path) -> None:
    racers = [start(path, "transaction", dies=False, count=25) for _ in range(4)]

    assert [racer.wait() for racer in racers] == [0, 0, 0, 0]
    assert sorted(shipped(path)) == sorted(f"event-{n + 1}" for n in range(25))


def test_a_failed_handler_takes_its_effect_back(event: Event, path: Path) -> None:
    seen = SqliteSeenEvents(path)

    def ship_and_fail(event: Event, connection: sqlite3.Connection) -> None:
        ship(event, connection)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        seen.handle_in_transaction(event, ship_and_fail)

    assert seen.handle_in_transaction(event, ship) is Outcome.HANDLED
    assert shipped(path) == [event.id]


def test_a_handler_that_commits_by_itself_is_told_off(event: Event, path: Path) -> None:
    seen = SqliteSeenEvents(path)

    def commit(event: Event, connection: sqlite3.Connection) -> None:
        connection.execute("COMMIT")

    with pytest.raises(RuntimeError, match="must not"):
        seen.handle_in_transaction(event, commit)

    assert seen.claim(event.id, owner="b") is Claim.OURS


def test_a_handlers_own_trouble_with_sqlite_is_not_taken_for_ours(event: Event, path: Path) -> None:
    def stumble(event: Event, connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO nowhere VALUES (1)")

    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        SqliteSeenEvents(path).handle_in_transaction(event, stumble)


def test_an_event_claimed_one_way_is_busy_the_other_way(event: Event, path: Path) -> None:
    seen = SqliteSeenEvents(path)
    seen.claim(event.id, owner="a")

    assert seen.handle_in_transaction(event, ship) is Outcome.BUSY


def test_while_another_writer_holds_the_file_we_are_busy_and_not_broken(
    event: Event, path: Path
) -> None:
    seen = SqliteSeenEvents(path, busy_seconds=0.01)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        assert handle_once(event, lambda _: None, seen=seen) is Outcome.BUSY
        assert seen.handle_in_transaction(event, ship) is Outcome.BUSY
        other.execute("ROLLBACK")

    assert handle_once(event, lambda _: None, seen=seen) is Outcome.HANDLED


def test_old_notes_can_be_dropped_and_claims_stay(path: Path) -> None:
    clock = SettableClock()
    seen = SqliteSeenEvents(path, clock=clock)
    seen.record("old")
    clock.at += timedelta(days=30)
    seen.record("new")
    seen.claim("running", owner="a")

    assert seen.forget(before=clock.at - timedelta(days=7)) == 1

    claims = [seen.claim(event_id, owner="b") for event_id in ("old", "new", "running")]
    assert claims == [Claim.OURS, Claim.HANDLED, Claim.BUSY]


@pytest.mark.parametrize("path", ["", ":memory:"])
def test_a_file_that_is_none_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="MemorySeenEvents"):
        SqliteSeenEvents(path)


def test_the_memory_keeps_the_latest_events_only() -> None:
    seen = MemorySeenEvents(events_most=2)

    for event_id in ("first", "second", "third"):
        seen.record(event_id)

    assert seen.claim("first", owner="a") is Claim.OURS
    assert seen.claim("second", owner="a") is Claim.HANDLED
    assert seen.claim("third", owner="a") is Claim.HANDLED


def test_the_kit_needs_nothing_but_the_standard_library() -> None:
    report = (
        "import sys; before = set(sys.modules); import checkstand.receiver;"
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", report], check=True, capture_output=True, text=True
    ).stdout.split()

    assert set(loaded) - set(sys.stdlib_module_names) == {"checkstand"}
    ours = "import sys, checkstand.receiver; print(*[n for n in sys.modules if 'checkstand' in n])"
    names = subprocess.run(
        [sys.executable, "-c", ours], check=True, capture_output=True, text=True
    ).stdout.split()
    assert all(name.startswith("checkstand.receiver") for name in names if name != "checkstand")
