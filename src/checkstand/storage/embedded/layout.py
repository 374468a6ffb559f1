"""Where everything lies in a data directory, and what must be true of it first.

    server.lock    flocked by whoever runs the server, and by all its processes
    server.log     what supervisor and postgres say
    cluster/       PostgreSQL's own directory
    cluster.new/   a cluster being made; worthless after a crash
    run/           the sockets of the running server, or a link to them when the path is too long

Nothing outside the data directory is touched, but for that short directory under /tmp.
"""

import contextlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from checkstand.storage.embedded.unavailable import (
    OTHER_DIRECTORY,
    EmbeddedUnavailable,
    unusable_path,
    user_name,
)

#: sun_path is 108 bytes on Linux and 104 on macOS; some air for PostgreSQL's own check.
SOCKET_PATH_MAX = 100

#: PostgreSQL's list of socket directories and asyncpg's and libpq's of hosts split at commas and
#: more; a directory with other characters gets the short one instead.
_PLAIN_PATH = re.compile(r"[A-Za-z0-9._/-]+\Z")

PORT = 5432  # only a part of the socket's name; no TCP port is opened
LOG_BYTES_MAX = 1 << 20  # per file; one older file is kept
LOG_TAIL_BYTES = 2000


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one data directory."""

    root: Path

    @property
    def lock(self) -> Path:
        """Return the file whose flock says "somebody of ours is alive"."""
        return self.root / "server.lock"

    @property
    def log(self) -> Path:
        """Return the log of supervisor and server."""
        return self.root / "server.log"

    @property
    def cluster(self) -> Path:
        """Return PostgreSQL's own directory."""
        return self.root / "cluster"

    @property
    def unfinished(self) -> Path:
        """Return where a new cluster is made before it gets its name."""
        return self.root / "cluster.new"

    @property
    def run(self) -> Path:
        """Return the directory of the sockets, or the link to it."""
        return self.root / "run"


def prepare(data_dir: Path) -> Layout:
    """Make the data directory, or check that an existing one is ours and closed to others."""
    root = data_dir.absolute()
    try:
        with contextlib.suppress(FileExistsError):
            root.mkdir(mode=0o700, parents=True)
        layout = Layout(root.resolve())
        found = layout.root.stat()
        if not stat.S_ISDIR(found.st_mode):
            raise EmbeddedUnavailable(f"{root} is not a directory: {OTHER_DIRECTORY}.")
        refuse_foreign(layout.root, owner=found.st_uid, expected=os.geteuid())
        if found.st_mode & 0o077:
            _close_to_others(layout, mode=found.st_mode)
    except OSError as problem:
        raise unusable_path(root, problem) from problem
    return layout


def refuse_foreign(path: Path, *, owner: int, expected: int) -> None:
    """Raise when a directory belongs to somebody else than expected."""
    if owner != expected:
        raise EmbeddedUnavailable(
            f"{path} belongs to {user_name(owner)} and this would need it to be owned by "
            f"{user_name(expected)}: run as the user who made it, or {OTHER_DIRECTORY}."
        )


def _close_to_others(layout: Layout, *, mode: int) -> None:
    """Do as initdb does with a directory that is ours alone; leave every other one as it is."""
    is_shared = mode & (stat.S_ISVTX | 0o002)
    if is_shared or not (layout.lock.exists() or not any(layout.root.iterdir())):
        raise EmbeddedUnavailable(
            f"{layout.root} is open to other users and holds other things: "
            f"chmod 700 it if it is meant to be private, or {OTHER_DIRECTORY}."
        )
    layout.root.chmod(0o700)


def try_lock(layout: Layout) -> int | None:
    """Return the locked file when no process of this data directory's server lives, else None.

    The lock lives as long as any process holds this open file, so hand it on by inheritance.
    """
    import fcntl  # late: Windows has none

    try:
        lock = os.open(layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as problem:
        raise unusable_path(layout.lock, problem) from problem
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    except OSError as problem:  # a file system without locks
        os.close(lock)
        raise unusable_path(layout.lock, problem) from problem
    return lock


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The directory of the sockets, closed to others."""

    path: Path

    @property
    def control(self) -> Path:
        """Return the supervisor's socket."""
        return self.path / "supervisor"

    @property
    def sockets(self) -> Path:
        """Return PostgreSQL's directory, the only one its account may write to."""
        return self.path / "postgres"

    @property
    def server_socket(self) -> Path:
        """Return PostgreSQL's socket."""
        return self.sockets / f".s.PGSQL.{PORT}"


def make_run_directory(layout: Layout) -> RunDirectory:
    """Make the directory for the sockets, at a short place when need be. Only under the lock."""
    remove_run_directory(layout)
    here = RunDirectory(layout.run)
    if _fits(here):
        layout.run.mkdir(mode=0o700)
    else:
        import tempfile  # late, as it is rare

        # /tmp is the shortest there is; mkdtemp closes the new directory to others.
        here = RunDirectory(Path(tempfile.mkdtemp(prefix="checkstand-", dir="/tmp")))
        layout.run.symlink_to(here.path)
    here.sockets.mkdir(mode=0o700)
    return here


def find_run_directory(layout: Layout) -> RunDirectory | None:
    """Return where the running server has its sockets, if that directory can be trusted."""
    try:
        path = Path(layout.run.readlink()) if layout.run.is_symlink() else layout.run
        found = path.lstat()
    except OSError:
        return None
    # /tmp is everybody's: after a reboot the name may be somebody else's directory.
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    return RunDirectory(path) if is_ours and not found.st_mode & 0o077 else None


def remove_run_directory(layout: Layout) -> None:
    """Remove the sockets and their directory, also what a killed server left. Under the lock."""
    run = find_run_directory(layout)
    if run is not None:
        remove_tree(run.path)
    if layout.run.is_symlink():
        layout.run.unlink()


def remove_tree(path: Path) -> None:
    """Remove a directory with all it holds; it may be absent."""
    import shutil  # late: it brings the compressors, and a plain start needs none of it

    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)


def _fits(run: RunDirectory) -> bool:
    path = str(run.server_socket)
    return len(os.fsencode(path)) <= SOCKET_PATH_MAX and bool(_PLAIN_PATH.match(path))


def open_log(layout: Layout) -> int:
    """Open the log for appending; what exceeds its size moves to the one older file."""
    log = os.open(layout.log, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    limit_log(layout, log)
    return log


def limit_log(layout: Layout, log: int) -> None:
    """Keep the log within its size. Everybody who writes to it keeps the same open file."""
    size = os.fstat(log).st_size
    if size <= LOG_BYTES_MAX:
        return
    newest = os.pread(log, LOG_BYTES_MAX, size - LOG_BYTES_MAX)
    layout.log.with_suffix(".log.1").write_bytes(newest)
    os.truncate(log, 0)


def read_log_tail(log: int, *, since: int) -> str:
    """Return the last lines written after an offset."""
    size = os.fstat(log).st_size
    start = max(since, size - LOG_TAIL_BYTES)
    tail = os.pread(log, LOG_TAIL_BYTES, start).decode(errors="replace")
    if start > since:
        tail = tail.partition("\n")[2]
    return tail.strip()


def read_pid_file(cluster: Path) -> tuple[int | None, str]:
    """Return pid and status as postgres wrote them, of which either may not be there yet.

    The pid means nothing unless the server is known to run: a killed one leaves the file behind.
    """
    lines = read_text(cluster / "postmaster.pid").splitlines()
    pid = int(lines[0]) if lines and lines[0].isdigit() else None
    return pid, lines[7].strip() if len(lines) > 7 else ""


def read_text(path: Path) -> str:
    """Return what a small file holds, nothing when it is absent or no text."""
    try:
        return path.read_text()
    except (FileNotFoundError, UnicodeDecodeError):
        return ""
