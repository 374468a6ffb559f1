"""Join the server of a data directory, or start it: the way to an open connection.

Joining is connecting to the supervisor's socket. Whoever finds nobody there and gets the
directory's lock starts a supervisor, and hands it that lock together with its own first connection,
so there is no moment in which the lock is free and nobody counts as a user.
"""

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from checkstand.storage.embedded.binaries import Binaries
from checkstand.storage.embedded.layout import (
    Layout,
    find_run_directory,
    open_log,
    read_log_tail,
    read_pid_file,
    try_lock,
)
from checkstand.storage.embedded.process import clean_environment
from checkstand.storage.embedded.protocol import Failed, Order, Ready, parse_answer, render_order
from checkstand.storage.embedded.unavailable import EmbeddedUnavailable, unusable_path

_RETRY_SECONDS = 0.02  # while another process starts or stops the server
_LAUNCHES_MAX = 3  # a supervisor may be killed while it starts; it will not be every time

_DARWIN_SOL_LOCAL, _DARWIN_LOCAL_PEERPID = 0, 2  # sys/un.h


def join_or_launch(
    layout: Layout, binaries: Binaries, *, settings: Mapping[str, str], timeout_seconds: float
) -> tuple[socket.socket, Ready]:
    """Return an open connection to a supervisor whose server is ready.

    Waits while another process starts or stops the server. Raises EmbeddedUnavailable.
    """
    began = time.monotonic()
    deadline = began + timeout_seconds
    launches = 0
    # Fast, and if that hangs immediate, by when a living supervisor has done so by itself.
    orphan_steps = [(0.0, signal.SIGINT), (25.0, signal.SIGQUIT)]
    while time.monotonic() < deadline:
        connection = _connect(layout)
        if connection is None and (lock := try_lock(layout)) is not None:
            launches += 1
            if launches > _LAUNCHES_MAX:
                os.close(lock)
                raise _unexplained(layout, "The supervisor of the embedded PostgreSQL ends at once")
            connection = _launch(layout, binaries, settings, lock)
        if connection is not None:
            ready = _await_answer(connection, deadline)
            if ready is not None:
                return connection, ready
        elif (
            orphan_steps
            and time.monotonic() - began >= orphan_steps[0][0]
            and _end_orphan(layout, orphan_steps[0][1])
        ):
            orphan_steps.pop(0)
        time.sleep(_RETRY_SECONDS)
    raise _unexplained(
        layout, f"The embedded PostgreSQL was not ready within {timeout_seconds:g} seconds"
    )


def _connect(layout: Layout) -> socket.socket | None:
    run = find_run_directory(layout)
    if run is None:
        return None
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(1.0)  # Linux then refuses at once when too many wait at the door
        connection.connect(str(run.control))
    except OSError:
        connection.close()
        return None
    return connection


def _launch(
    layout: Layout, binaries: Binaries, settings: Mapping[str, str], lock: int
) -> socket.socket:
    """Start a supervisor that inherits the lock; return our connection to it."""
    ours, theirs = socket.socketpair()
    order = Order(
        data_dir=str(layout.root),
        binaries=str(binaries.directory),
        settings=dict(settings),
        lock=lock,
        user=theirs.fileno(),
    )
    options = ["-I", "-S", "-X", "utf8", *(["-B"] if sys.dont_write_bytecode else [])]
    entry = Path(__file__).with_name("__main__.py")
    try:
        log = open_log(layout)
        try:
            # It leaves its own child behind and returns, so that we have none to wait for.
            subprocess.run(  # noqa: S603 - this very Python and a file of ours, no shell
                [sys.executable, *options, str(entry), render_order(order)],
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(lock, order.user),
                env=clean_environment(os.environ),
                start_new_session=True,  # the terminal's Ctrl-C is not meant for it
            )
        finally:
            os.close(log)
    except OSError as problem:
        ours.close()
        raise unusable_path(layout.log, problem) from problem
    except subprocess.CalledProcessError as problem:
        ours.close()
        raise _unexplained(layout, f"{sys.executable} did not start") from problem
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
        os.close(lock)
    return ours


def _await_answer(connection: socket.socket, deadline: float) -> Ready | None:
    """Return the supervisor's word, or None when it ended without one; raise when it failed."""
    line = b""
    try:
        while not line.endswith(b"\n"):
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            received = connection.recv(65536)
            if not received:
                break
            line += received
    except (TimeoutError, ConnectionError):
        line = b""
    except BaseException:
        connection.close()
        raise
    answer = parse_answer(line) if line.endswith(b"\n") else None
    if isinstance(answer, Ready):
        connection.settimeout(None)
        return answer
    connection.close()
    if isinstance(answer, Failed):
        raise EmbeddedUnavailable(answer.sentence, log_tail=answer.log_tail)
    return None


def _end_orphan(layout: Layout, number: signal.Signals) -> bool:
    """Ask a postgres whose supervisor was killed to stop; return whether there was one.

    One that is being stopped by a living supervisor looks the same, and is asked again.

    Linux does this by itself when the supervisor dies. The pid is right for certain: the kernel
    names the process that listens on our directory's socket, and the file agrees.
    """
    run = find_run_directory(layout)
    if run is None:
        return False
    with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
        probe.settimeout(1.0)
        probe.connect(str(run.server_socket))
        pid, _ = read_pid_file(layout.cluster)
        if pid is not None and pid == _listener_pid(probe):
            os.kill(pid, number)
            return True
    return False


def _listener_pid(connection: socket.socket) -> int:
    if sys.platform == "darwin":
        return connection.getsockopt(_DARWIN_SOL_LOCAL, _DARWIN_LOCAL_PEERPID)
    credentials = connection.getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
    )
    pid: int = struct.unpack("3i", credentials)[0]
    return pid


def _unexplained(layout: Layout, what: str) -> EmbeddedUnavailable:
    try:
        log = os.open(layout.log, os.O_RDONLY)
    except OSError:
        return EmbeddedUnavailable(f"{what}.")
    try:
        tail = read_log_tail(log, since=0)
    finally:
        os.close(log)
    return EmbeddedUnavailable(f"{what}; its log is {layout.log}.", log_tail=tail)
