"""Make a cluster and launch postgres on it, always under the data directory's lock.

The lock proves that no process of an earlier server lives, so a `postmaster.pid` that is still
there is stale whatever process its number means by now; that process is never signalled.
"""

import contextlib
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from checkstand.storage.embedded.binaries import MAJOR, Binaries
from checkstand.storage.embedded.layout import (
    PORT,
    Layout,
    RunDirectory,
    read_log_tail,
    read_pid_file,
    read_text,
    refuse_foreign,
    remove_tree,
)
from checkstand.storage.embedded.process import (
    Account,
    Program,
    explain_not_started,
    spawn,
)
from checkstand.storage.embedded.unavailable import (
    ELSEWHERE,
    OTHER_DIRECTORY,
    EmbeddedUnavailable,
    disk_full,
)

SUPERUSER = "postgres"

_DISK_FULL = 256 * 1024  # bytes; PostgreSQL needs some 40 MB for a new cluster

_INITDB_OPTIONS = (
    f"--username={SUPERUSER}",
    "--auth-local=trust",  # whoever reaches the socket is the owner of its directory
    "--auth-host=reject",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--data-checksums",
    "--no-instructions",
    "--no-clean",  # we remove it ourselves, after a look at how full the disk is
)

#: What a caller may change, and what the rest of this room relies on.
_DEFAULTS = {
    "cluster_name": "checkstand",
    "log_line_prefix": "%m [%p] ",
    "log_checkpoints": "off",
    "fsync": "on",
}
_FIXED = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "logging_collector": "off",
    "log_destination": "stderr",
}
RESERVED = frozenset({*_FIXED, "unix_socket_directories", "data_directory", "external_pid_file"})


@dataclass(frozen=True, slots=True)
class Ground:
    """What a server is made of."""

    layout: Layout
    binaries: Binaries
    account: Account | None  # None: ourselves
    log: int
    lock: int  # inherited by every program we start


@dataclass(frozen=True, slots=True)
class Postmaster:
    """A running postgres."""

    pid: int
    life: int  # reads end-of-file when it and all its children are gone
    cluster: Path
    log_start: int

    def is_ready(self) -> bool:
        """Tell whether it accepts connections."""
        pid, status = read_pid_file(self.cluster)
        return pid == self.pid and status == "ready"

    def wait_for_children(self) -> None:
        """Return when nothing of it is left; they go by themselves when their parent is gone."""
        with contextlib.suppress(OSError):
            os.read(self.life, 1)
        os.close(self.life)


def ensure_cluster(ground: Ground) -> None:
    """Make the cluster when there is none yet; raise when the one there is cannot be used."""
    cluster = ground.layout.cluster
    if not cluster.exists():
        _make_cluster(ground)
        return
    expected = ground.account.uid if ground.account else os.geteuid()
    refuse_foreign(cluster, owner=cluster.stat().st_uid, expected=expected)
    version = read_text(cluster / "PG_VERSION").strip()
    if version != str(MAJOR):
        raise EmbeddedUnavailable(
            f"{cluster} was made by PostgreSQL {version or 'of unknown version'} and this is "
            f"PostgreSQL {MAJOR}: dump it with the old one and restore it into a new directory, "
            f"or {ELSEWHERE}."
        )


def launch(ground: Ground, run: RunDirectory, settings: Mapping[str, str]) -> Postmaster:
    """Start postgres on the cluster; it is not ready yet."""
    cluster = ground.layout.cluster
    _clear_leftovers(cluster, run)
    if ground.account is not None:
        os.chown(run.sockets, ground.account.uid, ground.account.gid)
    settings = {
        **_DEFAULTS,
        **settings,
        **_FIXED,
        "unix_socket_directories": str(run.sockets),
    }
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    log_start = os.fstat(ground.log).st_size
    life, held = os.pipe()
    pid = spawn(
        Program(
            argv=(str(ground.binaries.path("postgres")), "-D", str(cluster), *options),
            account=ground.account,
            output=ground.log,
            inherit=(ground.lock, held),
            # "Immediate", which recovers at the next start: "fast" hangs for ever when it comes
            # amid the recovery from a crashed session (seen at 18.4), and nobody is left to insist.
            death_signal=signal.SIGQUIT,
        )
    )
    os.close(held)
    return Postmaster(pid, life, cluster, log_start)


def explain_end(ground: Ground, *, program: str, status: int, since: int) -> EmbeddedUnavailable:
    """Return why a program that should have worked ended, with the tail of the log."""
    code = os.waitstatus_to_exitcode(status)
    tail = read_log_tail(ground.log, since=since)
    if known := explain_not_started(code, tail):
        return known
    if _is_disk_full(ground.layout.root, tail):
        return EmbeddedUnavailable(disk_full(ground.layout.root), log_tail=tail)
    how = f"exit code {code}" if code >= 0 else f"signal {-code}"
    return EmbeddedUnavailable(
        f"{program} ended with {how}; its log is {ground.layout.log}: "
        f"mend the cause, {OTHER_DIRECTORY}, or {ELSEWHERE}.",
        log_tail=tail,
    )


def _is_disk_full(path: Path, log_tail: str) -> bool:
    """Tell by the log, or by the disk itself: a full one has no room for the log either."""
    said = ("No space left on device", "Disk quota exceeded", "Check free disk space")
    disk = os.statvfs(path)
    return any(words in log_tail for words in said) or disk.f_bavail * disk.f_frsize < _DISK_FULL


def _make_cluster(ground: Ground) -> None:
    """Run initdb beside the final name, which the cluster gets when it is complete and synced."""
    _refuse_nameless(ground)
    new = ground.layout.unfinished
    remove_tree(new)
    new.mkdir(mode=0o700)
    if ground.account is not None:
        os.chown(new, ground.account.uid, ground.account.gid)
    since = os.fstat(ground.log).st_size
    pid = spawn(
        Program(
            argv=(str(ground.binaries.path("initdb")), f"--pgdata={new}", *_INITDB_OPTIONS),
            account=ground.account,
            output=ground.log,
            inherit=(ground.lock,),
            death_signal=signal.SIGKILL,  # what it made so far is worthless
        )
    )
    _, status = os.waitpid(pid, 0)
    if status != 0:
        problem = explain_end(ground, program="initdb", status=status, since=since)
        remove_tree(new)
        raise problem
    new.rename(ground.layout.cluster)
    _sync_directory(ground.layout.root)


def _refuse_nameless(ground: Ground) -> None:
    """Raise when our uid has no name: initdb insists on one, and says so less helpfully."""
    if ground.account is not None:
        return
    import pwd  # late: Windows has none, and must be able to import this room

    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        raise EmbeddedUnavailable(
            f"PostgreSQL needs a name for uid {os.geteuid()} and this system has none: "
            f"add it to /etc/passwd, run as another user, or {ELSEWHERE}."
        ) from None


def _clear_leftovers(cluster: Path, run: RunDirectory) -> None:
    """Remove what a killed server left behind, unless somebody runs one by hand."""
    pid, _ = read_pid_file(cluster)
    with contextlib.suppress(OSError):  # not Linux, or no such process
        if pid is not None and Path(f"/proc/{pid}/cwd").samefile(cluster):
            raise EmbeddedUnavailable(
                f"A PostgreSQL that was started by hand (process {pid}) runs on {cluster}: stop it."
            )
    (cluster / "postmaster.pid").unlink(missing_ok=True)
    for left in run.sockets.iterdir():
        left.unlink()


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
