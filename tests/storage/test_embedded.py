"""The life of the embedded server: started, shared, killed in every way, started again.

Users are real processes. What is alive is read from /proc by the working directory, which every
process of a cluster shares, and not from anything the code under test says.
"""

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from checkstand.storage.embedded import EmbeddedPostgres, EmbeddedUnavailable
from checkstand.storage.embedded.process import become, server_account

#: Shorter than the minute after which a supervisor that missed something looks again.
DEADLINE_SECONDS = 45.0

USER = """
import json, signal, sys
from pathlib import Path
# Whoever runs the suite in the background may have had interrupts ignored from the start.
signal.signal(signal.SIGINT, signal.default_int_handler)
from checkstand.storage.embedded import EmbeddedPostgres
data_dir, settings, database = sys.argv[1:]
with EmbeddedPostgres.start(Path(data_dir), settings=json.loads(settings)) as server:
    if database:
        server.ensure_database(database)
    facts = [server.postgres_pid, server.supervisor_pid, server.url(database="postgres")]
    print(json.dumps(facts), flush=True)
    sys.stdin.read()
"""

# A postgres that nobody supervises: with the directory's lock, as after the death of a supervisor
# that the system did not report, or without, as when a person starts it.
UNSUPERVISED = """
import os, signal, sys
from pathlib import Path
from checkstand.storage.embedded import binaries, layout, process
place = layout.prepare(Path(sys.argv[1]))
run = layout.make_run_directory(place)
account = process.server_account()
if account:
    os.chown(run.sockets, account.uid, account.gid)
lock = layout.try_lock(place)
argv = [str(binaries.find_binaries().path("postgres")), "-D", str(place.cluster)]
for setting in ("listen_addresses=", f"unix_socket_directories={run.sockets}"):
    argv += ["-c", setting]
inherit = (lock,) if sys.argv[2] == "locked" else ()
print(process.spawn(process.Program(
    argv=tuple(argv), account=account, output=layout.open_log(place), inherit=inherit,
    death_signal=signal.SIGCONT,
)))
"""


class User:
    """A process that uses the server until it is told to leave, or is killed."""

    def __init__(self, data_dir: Path, settings: dict[str, str], database: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", USER, str(data_dir), json.dumps(settings), database],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        self._facts: list[Any] | None = None

    @property
    def facts(self) -> tuple[int, int, str]:
        """Pid of postgres, pid of the supervisor, address; waits until the server is ready."""
        assert self.process.stdout is not None
        if self._facts is None:
            self._facts = json.loads(self.process.stdout.readline())
        return self._facts[0], self._facts[1], self._facts[2]

    def leave(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(DEADLINE_SECONDS)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        self.process.send_signal(number)
        self.process.wait(DEADLINE_SECONDS)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def processes_of(data_dir: Path) -> list[int]:
    """Return every living process that serves a data directory, supervisors included."""
    clusters = {data_dir / "cluster", data_dir / "cluster.new"}
    programs = ("/initdb", "/postgres", "/embedded/__main__.py")
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            is_program = any(word.endswith(programs) for word in words)
            names_us = any(str(data_dir) in word for word in words)
            if (is_program and names_us) or (entry / "cwd").readlink() in clusters:
                found.append(int(entry.name))
    return found


def is_alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


async def value_of(url: str, query: str) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with a cluster, made once: initdb is most of a first start."""
    data_dir = tmp_path_factory.mktemp("made") / "data"
    EmbeddedPostgres.start(data_dir).close()
    return data_dir


@pytest.fixture
def data_dir(made: Path) -> Iterator[Path]:
    yield made
    until(lambda: not processes_of(made))


@pytest.fixture
def fresh_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "data"
    until(lambda: not processes_of(tmp_path / "data"))


@pytest.fixture
def user() -> Iterator[Callable[..., User]]:
    everybody: list[User] = []

    def start(
        data_dir: Path, *, settings: dict[str, str] | None = None, database: str = ""
    ) -> User:
        everybody.append(User(data_dir, settings or {}, database))
        return everybody[-1]

    yield start
    for one in everybody:
        one.end()


# Starting.


async def test_first_start_makes_a_private_checked_cluster(fresh_dir: Path) -> None:
    with EmbeddedPostgres.start(fresh_dir) as server:
        server.ensure_database("checkstand")
        connection = await asyncpg.connect(server.url(database="checkstand"))
        facts = await connection.fetchrow(
            """SELECT current_setting('data_checksums') AS checksums,
                      current_setting('fsync') AS fsync,
                      current_setting('listen_addresses') AS tcp,
                      current_setting('unix_socket_permissions') AS socket_mode,
                      current_setting('server_version_num')::int / 10000 AS major,
                      pg_encoding_to_char(encoding) AS encoding, datlocprovider::text AS provider,
                      datlocale AS locale
                 FROM pg_database WHERE datname = current_database()"""
        )
        await connection.close()
        socket_path = next((fresh_dir / "run" / "postgres").glob(".s.PGSQL.*[0-9]"))
        closed = [fresh_dir, fresh_dir / "cluster", fresh_dir / "run", socket_path.parent]

        assert [stat.S_IMODE(path.stat().st_mode) for path in closed] == [0o700] * 4
        assert stat.S_IMODE(socket_path.stat().st_mode) == 0o700

    assert dict(facts) == {
        "checksums": "on",
        "fsync": "on",
        "tcp": "",
        "socket_mode": "0700",
        "major": 18,
        "encoding": "UTF8",
        "provider": "b",
        "locale": "C.UTF-8",
    }
    assert not (fresh_dir / "run").exists()


async def test_settings_reach_the_server(data_dir: Path) -> None:
    with EmbeddedPostgres.start(data_dir, settings={"max_connections": "17"}) as server:
        assert await value_of(server.url(database="postgres"), "SHOW max_connections") == "17"


@pytest.mark.parametrize("name", ["listen_addresses", "PORT", "unix_socket_directories", "a b", ""])
def test_settings_the_server_rests_on_are_not_for_callers(data_dir: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"setting|value"):
        EmbeddedPostgres.start(data_dir, settings={name: "1"})


async def test_a_long_path_gets_its_sockets_at_a_short_private_one(tmp_path: Path) -> None:
    long_dir = tmp_path / ("x" * 100) / "data"

    with EmbeddedPostgres.start(long_dir) as server, EmbeddedPostgres.start(long_dir) as other:
        short = (long_dir / "run").readlink()
        assert short.parent == Path("/tmp")
        assert stat.S_IMODE(short.stat().st_mode) == 0o700
        assert other.postgres_pid == server.postgres_pid
        assert await value_of(other.url(database="postgres"), "SELECT 1") == 1

    assert not short.exists()
    until(lambda: not processes_of(long_dir))


def test_a_short_place_left_by_a_kill_is_removed_by_the_next_start(
    tmp_path: Path, user: Callable[..., User]
) -> None:
    long_dir = tmp_path / ("x" * 100) / "data"
    killed = user(long_dir)
    _, supervisor, _ = killed.facts
    left = (long_dir / "run").readlink()
    os.kill(supervisor, signal.SIGKILL)
    killed.kill()
    until(lambda: not processes_of(long_dir))
    assert left.exists()

    with EmbeddedPostgres.start(long_dir):
        assert (long_dir / "run").readlink() != left

    assert not left.exists()


async def test_a_path_with_signs_that_addresses_split_at_works(tmp_path: Path) -> None:
    odd_dir = tmp_path / "Ann's shop, 50% @ home é"

    with EmbeddedPostgres.start(odd_dir) as server:
        server.ensure_database("checkstand")
        assert await value_of(server.url(), "SELECT 1") == 1

    until(lambda: not processes_of(odd_dir))


def test_databases_are_created_once_by_many_at_a_time(
    data_dir: Path, user: Callable[..., User]
) -> None:
    name = 'shop\'s "db"; -- %'

    everybody = [user(data_dir, database=name) for _ in range(4)]

    assert len({one.facts[0] for one in everybody}) == 1
    assert [one.leave() for one in everybody] == [0] * 4


def test_programs_are_found_by_name(data_dir: Path) -> None:
    with EmbeddedPostgres.start(data_dir) as server:
        dump = subprocess.run(
            [server.bin("pg_dump"), "--schema-only", server.url(database="postgres")],
            capture_output=True,
            text=True,
            check=True,
        )
        for wrong in ("nonesuch", "../bin/psql", ""):
            with pytest.raises(ValueError, match="no program"):
                server.bin(wrong)

    assert "PostgreSQL database dump complete" in dump.stdout


def test_the_log_is_bounded(data_dir: Path) -> None:
    log = data_dir / "server.log"
    with log.open("ab") as grown:
        grown.write(b"an old line\n" * 300_000)

    EmbeddedPostgres.start(data_dir).close()

    assert b"ready to accept connections" in log.read_bytes()
    assert log.stat().st_size < 1 << 20
    assert (data_dir / "server.log.1").stat().st_size == 1 << 20


def test_what_configures_postgresql_for_the_caller_does_not_reach_the_server(
    data_dir: Path, user: Callable[..., User], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PGDATA", "PGPORT", "PGOPTIONS", "PGUSER", "PGHOST", "PYTHONHOME"):
        monkeypatch.setenv(name, "/nonexistent")

    with EmbeddedPostgres.start(data_dir) as server:
        server.ensure_database("checkstand")


# Sharing.


async def test_killing_one_of_two_users_does_not_disturb_the_other(
    data_dir: Path, user: Callable[..., User]
) -> None:
    doomed = user(data_dir)
    postgres, _, _ = doomed.facts

    with EmbeddedPostgres.start(data_dir) as server:
        assert server.postgres_pid == postgres
        connection = await asyncpg.connect(server.url(database="postgres"))
        async with connection.transaction():
            before = await connection.fetchval("SELECT pg_current_xact_id()::text")
            doomed.kill()
            # Another round trip of the supervisor, by when it has dealt with the death.
            EmbeddedPostgres.start(data_dir).close()
            after = await connection.fetchval("SELECT pg_current_xact_id()::text")
        await connection.close()

        assert before == after
        assert server.postgres_pid == postgres
        assert server.is_running()


def test_leaving_returns_at_once_for_one_and_after_the_end_for_the_last(data_dir: Path) -> None:
    first = EmbeddedPostgres.start(data_dir)
    second = EmbeddedPostgres.start(data_dir)
    postgres = first.postgres_pid

    first.close()
    assert is_alive(postgres)
    second.close()
    assert not is_alive(postgres)
    second.close()


def test_nothing_is_left_after_the_last_user_is_killed(
    data_dir: Path, user: Callable[..., User]
) -> None:
    users = [user(data_dir), user(data_dir)]
    pids = {one.facts[:2] for one in users}
    assert len(pids) == 1
    assert len(processes_of(data_dir)) > 2

    for one in users:
        one.kill()

    until(lambda: not processes_of(data_dir))


def test_a_user_killed_during_the_first_start_leaves_nothing_and_the_next_succeeds(
    fresh_dir: Path, user: Callable[..., User]
) -> None:
    doomed = user(fresh_dir)
    until((fresh_dir / "cluster.new" / "PG_VERSION").exists)

    doomed.kill()
    until(lambda: not processes_of(fresh_dir))

    EmbeddedPostgres.start(fresh_dir).close()


def test_a_supervisor_killed_during_initdb_leaves_nothing_that_counts(
    fresh_dir: Path, user: Callable[..., User]
) -> None:
    waiting = user(fresh_dir)
    until((fresh_dir / "cluster.new" / "PG_VERSION").exists)
    supervisor = next(
        pid
        for pid in processes_of(fresh_dir)
        if b"__main__.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )

    os.kill(supervisor, signal.SIGKILL)

    # The user whose supervisor it was starts another one by itself.
    assert waiting.facts[1] != supervisor
    assert waiting.leave() == 0
    assert not (fresh_dir / "cluster.new").exists()


def test_starts_at_the_same_instant_lead_to_one_server(
    fresh_dir: Path, user: Callable[..., User]
) -> None:
    everybody = [user(fresh_dir) for _ in range(5)]

    assert len({one.facts for one in everybody}) == 1
    assert [one.leave() for one in everybody] == [0] * 5


def test_a_start_while_the_old_server_shuts_down_waits_and_starts_anew(
    data_dir: Path, user: Callable[..., User]
) -> None:
    last = user(data_dir)
    old, _, _ = last.facts
    os.kill(old, signal.SIGSTOP)  # a shutdown as slow as one could wish
    last.kill()
    until(lambda: not (data_dir / "run" / "supervisor").exists())

    with pytest.raises(EmbeddedUnavailable, match=r"not ready within 0\.3 seconds"):
        EmbeddedPostgres.start(data_dir, timeout_seconds=0.3)
    waiting = user(data_dir)
    os.kill(old, signal.SIGCONT)

    assert waiting.facts[0] != old
    assert not is_alive(old)
    assert waiting.leave() == 0


def test_coming_and_going_at_the_same_time_never_fails(data_dir: Path) -> None:
    def use(_: int) -> bool:
        with EmbeddedPostgres.start(data_dir, timeout_seconds=DEADLINE_SECONDS) as server:
            return server.is_running()

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(use, range(48)))


def test_the_terminals_interrupt_reaches_users_only(
    data_dir: Path, user: Callable[..., User]
) -> None:
    interrupted = user(data_dir)
    _, supervisor, _ = interrupted.facts

    with EmbeddedPostgres.start(data_dir) as server:
        assert os.getsid(supervisor) not in {os.getsid(0), os.getsid(interrupted.process.pid)}
        os.killpg(interrupted.process.pid, signal.SIGINT)
        assert interrupted.process.wait(DEADLINE_SECONDS) != 0
        assert server.is_running()


# Death of the others.


async def test_killing_the_supervisor_ends_postgres_and_loses_nothing(data_dir: Path) -> None:
    with EmbeddedPostgres.start(data_dir) as server:
        url = server.url(database="postgres")
        await value_of(url, "CREATE TABLE kept AS SELECT 42 AS answer")

        os.kill(server.supervisor_pid, signal.SIGKILL)

        until(lambda: not processes_of(data_dir))
        assert not server.is_running()

    with EmbeddedPostgres.start(data_dir) as server:
        url = server.url(database="postgres")
        assert await value_of(url, "SELECT answer FROM kept") == 42
        await value_of(url, "DROP TABLE kept")


def test_no_second_postgres_starts_while_one_outlives_its_supervisor(
    data_dir: Path, user: Callable[..., User]
) -> None:
    doomed = user(data_dir)
    postgres, supervisor, _ = doomed.facts
    os.kill(postgres, signal.SIGSTOP)  # it cannot act on the death it is told of
    os.kill(supervisor, signal.SIGKILL)
    doomed.kill()

    with pytest.raises(EmbeddedUnavailable, match=r"not ready within 0\.3 seconds"):
        EmbeddedPostgres.start(data_dir, timeout_seconds=0.3)
    assert is_alive(postgres)
    os.kill(postgres, signal.SIGCONT)

    with EmbeddedPostgres.start(data_dir) as server:
        assert server.postgres_pid != postgres
        assert not is_alive(postgres)


def test_a_postgres_without_supervisor_is_stopped_before_the_next_starts(data_dir: Path) -> None:
    orphan = _run_unsupervised(data_dir, "locked")

    with EmbeddedPostgres.start(data_dir) as server:
        assert server.postgres_pid != orphan
        assert not is_alive(orphan)


def test_a_postgres_started_by_hand_is_left_alone(data_dir: Path) -> None:
    by_hand = _run_unsupervised(data_dir, "unlocked")
    try:
        with pytest.raises(EmbeddedUnavailable, match=rf"by hand \(process {by_hand}\)"):
            EmbeddedPostgres.start(data_dir)

        assert is_alive(by_hand)
    finally:
        os.kill(by_hand, signal.SIGINT)


async def test_a_killed_postgres_is_started_again_for_its_users(data_dir: Path) -> None:
    with EmbeddedPostgres.start(data_dir) as server:
        url = server.url(database="postgres")
        await value_of(url, "CREATE TABLE kept AS SELECT 42 AS answer")
        killed = server.postgres_pid

        os.kill(killed, signal.SIGKILL)
        until(lambda: not is_alive(killed))

        with EmbeddedPostgres.start(data_dir) as other:
            assert other.supervisor_pid == server.supervisor_pid
            assert other.postgres_pid != killed
            assert await value_of(other.url(database="postgres"), "SELECT answer FROM kept") == 42
        await value_of(url, "DROP TABLE kept")


def test_a_stale_pid_file_that_names_a_live_stranger_is_ignored(
    data_dir: Path, user: Callable[..., User]
) -> None:
    stale = _kill_everything(user(data_dir), data_dir)
    with _stranger() as stranger:
        file = data_dir / "cluster" / "postmaster.pid"
        lines = file.read_text().splitlines()
        assert lines[0] == str(stale)
        file.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")

        with EmbeddedPostgres.start(data_dir) as server:
            assert server.postgres_pid not in {stranger.pid, stale}

        # A signal it caught would have been said before the answer to our line.
        answer = stranger.communicate("well?\n", timeout=DEADLINE_SECONDS)[0]
    assert answer == "well?\n"


def test_a_supervisor_asked_to_end_does_so_and_its_users_see_it(data_dir: Path) -> None:
    with EmbeddedPostgres.start(data_dir) as server:
        os.kill(server.supervisor_pid, signal.SIGINT)

        until(lambda: not server.is_running())


def test_a_terminated_supervisor_lets_its_users_finish(
    data_dir: Path, user: Callable[..., User]
) -> None:
    with EmbeddedPostgres.start(data_dir) as server:
        os.kill(server.supervisor_pid, signal.SIGTERM)
        server.ensure_database("checkstand")

        assert server.is_running()


def _run_unsupervised(data_dir: Path, how: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", UNSUPERVISED, str(data_dir), how],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    pid = int(done.stdout)
    file = data_dir / "cluster" / "postmaster.pid"
    until(lambda: file.exists() and file.read_text().rstrip().endswith("ready"))
    return pid


def _kill_everything(one: User, data_dir: Path) -> int:
    """Kill user, supervisor and postgres so that postgres cannot tidy up; return its pid."""
    postgres, supervisor, _ = one.facts
    os.kill(supervisor, signal.SIGSTOP)
    os.kill(postgres, signal.SIGKILL)
    os.kill(supervisor, signal.SIGKILL)
    one.kill()
    until(lambda: not processes_of(data_dir))
    return postgres


@contextlib.contextmanager
def _stranger() -> Iterator[subprocess.Popen[str]]:
    """A process that says every signal it can catch, and repeats the line it is given."""
    program = """
import signal, sys
for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
    signal.signal(number, lambda number, _: print("signal", number, flush=True))
print("here", flush=True)
print(sys.stdin.readline(), end="")
"""
    # Under the account of postgres, which takes a pid it may not signal for a stale one by itself.
    account = server_account()
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=partial(become, account) if account else None,  # noqa: PLW1509 - system calls
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        try:
            yield process
        finally:
            process.kill()
