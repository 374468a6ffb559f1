"""The user's side: a server as a value to hold, ask for addresses, and close.

The open connection to the supervisor is what keeps the server alive; it is closed on exec, so child
programs do not hold it.
"""

import os
import re
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self
from urllib.parse import quote

from checkstand.storage.embedded.binaries import Binaries, find_binaries
from checkstand.storage.embedded.cluster import RESERVED, SUPERUSER
from checkstand.storage.embedded.joining import join_or_launch
from checkstand.storage.embedded.layout import PORT, Layout, prepare, read_pid_file
from checkstand.storage.embedded.process import clean_environment
from checkstand.storage.embedded.protocol import Ready
from checkstand.storage.embedded.unavailable import EmbeddedUnavailable

#: Recovery after a crash replays up to 1 GB of log (max_wal_size) before it lets anybody in.
START_TIMEOUT_SECONDS = 120.0

#: A little more than the supervisor's last means to stop postgres takes.
_STOP_TIMEOUT_SECONDS = 45.0

_SETTING_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*\Z")

# Two processes may both find the database missing; the lock lets one at a time look.
_ENSURE_DATABASE = """\
SELECT pg_advisory_lock(hashtext('checkstand: create database')) \\g /dev/null
SELECT format('CREATE DATABASE %I', :'name')
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \\gexec
"""


class EmbeddedPostgres:
    """One user of the server of a data directory; the server lives as long as it has any."""

    def __init__(
        self, connection: socket.socket, *, layout: Layout, binaries: Binaries, ready: Ready
    ) -> None:
        self._connection = connection
        self._layout = layout
        self._binaries = binaries
        self._ready = ready

    @classmethod
    def start(
        cls,
        data_dir: Path,
        *,
        settings: Mapping[str, str] = MappingProxyType({}),
        timeout_seconds: float = START_TIMEOUT_SECONDS,
    ) -> Self:
        """Return when the server of `data_dir` accepts connections; make and start it if need be.

        `settings` are PostgreSQL's own and count when this call is the one that starts the server.
        Blocks. Raises EmbeddedUnavailable with a sentence to show, ValueError for a setting that
        is not the caller's to choose.
        """
        _check_settings(settings)
        binaries = find_binaries()
        layout = prepare(Path(data_dir))
        connection, ready = join_or_launch(
            layout, binaries, settings=settings, timeout_seconds=timeout_seconds
        )
        return cls(connection, layout=layout, binaries=binaries, ready=ready)

    def close(self) -> None:
        """Leave. Return at once while others use the server, and when it has stopped otherwise."""
        if self._connection.fileno() == -1:
            return
        with self._connection:
            try:
                self._connection.shutdown(socket.SHUT_WR)
                self._connection.settimeout(_STOP_TIMEOUT_SECONDS)
                while self._connection.recv(1024):
                    pass
            except OSError:  # the supervisor was killed, or stopped in its tracks
                return

    def url(self, *, database: str = "checkstand", user: str = SUPERUSER) -> str:
        """Return the address for asyncpg and libpq, over the unix socket."""
        host = quote(self._ready.sockets, safe="/")
        return (
            f"postgresql:///{quote(database, safe='')}"
            f"?host={host}&port={PORT}&user={quote(user, safe='')}"
        )

    def ensure_database(self, name: str) -> None:
        """Create a database unless it exists. May run anywhere at the same time, and again."""
        options = ("--no-psqlrc", "--quiet", "--tuples-only", "--set=ON_ERROR_STOP=1")
        done = subprocess.run(  # noqa: S603 - our own program and file names, no shell
            [
                str(self.bin("psql")),
                *options,
                f"--set=name={name}",
                f"--dbname={self.url(database='postgres')}",
            ],
            input=_ENSURE_DATABASE,
            env=clean_environment(os.environ),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise EmbeddedUnavailable(
                f"The database {name!r} could not be created: {done.stderr.strip()}"
            )

    def bin(self, name: str) -> Path:
        """Return the path of one of PostgreSQL's programs; a ValueError when there is no such."""
        return self._binaries.path(name)

    def is_running(self) -> bool:
        """Tell whether the supervisor still lives: without it there is no server, start anew."""
        try:
            # It says nothing more while it lives: this is its end, or a last word on why.
            self._connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    @property
    def postgres_pid(self) -> int:
        """Return the pid of postgres, which changes when the supervisor had to start it again."""
        pid, _ = read_pid_file(self._layout.cluster)
        if pid is None:
            raise EmbeddedUnavailable(f"No PostgreSQL is running in {self._layout.root}.")
        return pid

    @property
    def supervisor_pid(self) -> int:
        """Return the pid of the process that keeps postgres."""
        return self._ready.supervisor_pid

    @property
    def log_path(self) -> Path:
        """Return the server's log file."""
        return self._layout.log

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _check_settings(settings: Mapping[str, str]) -> None:
    for name in settings:
        if not _SETTING_NAME.match(name):
            raise ValueError(f"{name!r} is no name of a PostgreSQL setting")
        if name.lower() in RESERVED:
            raise ValueError(f"the embedded PostgreSQL needs its own value of {name}")
