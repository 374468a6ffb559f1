"""The parent of postgres: it runs while anybody uses the server, and ends it after the last one.

A user is an open connection and nothing else, so the kernel reports every end, kill -9 included.
Users are told one line of JSON: `ready`, or `failed` with the reason. A user who leaves politely
half-closes its connection and hears end-of-file; the last one hears it when everything is gone.

Single-threaded, standard library only, started afresh (`__main__.py`): quick, and about 15 MB.
"""

import contextlib
import os
import selectors
import signal
import socket
import time
from functools import partial
from pathlib import Path

from checkstand.storage.embedded.binaries import Binaries
from checkstand.storage.embedded.cluster import (
    Ground,
    Postmaster,
    ensure_cluster,
    explain_end,
    launch,
)
from checkstand.storage.embedded.layout import (
    Layout,
    RunDirectory,
    limit_log,
    make_run_directory,
    remove_run_directory,
)
from checkstand.storage.embedded.process import server_account
from checkstand.storage.embedded.protocol import (
    Failed,
    Order,
    Ready,
    parse_order,
    render_answer,
)
from checkstand.storage.embedded.unavailable import EmbeddedUnavailable, unusable_path

LOG = 2  # our own standard error, opened by the process that started us

POLL_SECONDS = 0.005  # postgres says "ready" in a file, and is so within 0.1 s as a rule
IDLE_SECONDS = 60.0  # between two looks at the size of the log
TERMINATED_GRACE_SECONDS = 10.0  # whoever ends us may be ending our users too: let them go first

#: How postgres is asked to stop: seconds since the first request, and the signal.
STOP_STEPS = (
    (0.0, signal.SIGINT),  # fast: roll back, checkpoint, exit
    (20.0, signal.SIGQUIT),  # immediate: recovers at the next start
    (35.0, signal.SIGKILL),
)


def main(text: str) -> None:
    """Carry out an order; return when the last user is gone or nothing can be done for them."""
    order = parse_order(text)
    os.umask(0o077)
    os.chdir("/")  # hold no file system but the data directory's
    first = socket.socket(fileno=order.user)
    first.settimeout(0)
    for inherited in (order.lock, order.user):  # from here on only where it is named
        os.set_inheritable(inherited, False)  # noqa: FBT003 - it takes no keyword
    Supervisor(order, Layout(Path(order.data_dir)), first).run()


class Supervisor:
    """One server and its users."""

    def __init__(self, order: Order, layout: Layout, first: socket.socket) -> None:
        self._order = order
        self._layout = layout
        self._users: set[socket.socket] = set()
        self._untold: set[socket.socket] = set()  # users who wait for the server
        self._last: socket.socket | None = None  # who left last, and hears the end by our exit
        self._end_at: float | None = None  # on the monotonic clock, when somebody asked us to
        self._listener: socket.socket | None = None
        self._selector = selectors.DefaultSelector()
        self._admit(first)

    def run(self) -> None:
        """Serve until nobody is left; tell the users when there is nothing to be had."""
        try:
            self._watch_signals()
            run = make_run_directory(self._layout)
            self._listen(run.control)
            binaries = Binaries(Path(self._order.binaries))
            ground = Ground(self._layout, binaries, server_account(), LOG, self._order.lock)
            ensure_cluster(ground)
            self._handle_events(0)  # who left meanwhile
            while self._is_wanted():
                self._serve(ground, run)
        except EmbeddedUnavailable as problem:
            self._tell_failure(problem)
        except OSError as problem:  # the disk, most likely
            self._tell_failure(unusable_path(self._layout.root, problem))
        finally:
            self._close_door()
            remove_run_directory(self._layout)

    def _serve(self, ground: Ground, run: RunDirectory) -> None:
        """Run postgres once, until it is unwanted or has died; a crash while in use starts anew."""
        postmaster = launch(ground, run, self._order.settings)
        try:
            status, was_ready = self._watch(postmaster, run)
        except BaseException:  # we die of a mistake: not every system tells postgres
            os.kill(postmaster.pid, signal.SIGQUIT)
            raise
        postmaster.wait_for_children()
        if not was_ready and self._is_wanted():
            raise explain_end(ground, program="postgres", status=status, since=postmaster.log_start)

    def _watch(self, postmaster: Postmaster, run: RunDirectory) -> tuple[int, bool]:
        """Wait for its end; return its status and whether it was ever ready."""
        is_ready = False
        stop_began: float | None = None
        steps = list(STOP_STEPS)
        while True:
            is_calm = is_ready and self._end_at is None and stop_began is None
            self._handle_events(IDLE_SECONDS if is_calm else POLL_SECONDS)
            pid, status = os.waitpid(postmaster.pid, os.WNOHANG)
            if pid:
                return status, is_ready
            is_ready = is_ready or postmaster.is_ready()
            if stop_began is None and not self._is_wanted():
                self._close_door()  # who comes now waits for the end and starts anew
                stop_began = time.monotonic()
            if is_ready and stop_began is None:  # after the look at the door, which may admit
                self._tell_ready(run)
            if stop_began is not None and steps and time.monotonic() - stop_began >= steps[0][0]:
                os.kill(postmaster.pid, steps.pop(0)[1])
            with contextlib.suppress(OSError):  # a full disk: no reason to end the server as well
                limit_log(self._layout, LOG)

    def _is_wanted(self) -> bool:
        """Tell whether there are users, a last look at the door included."""
        if not self._users:
            self._accept()
        is_over = self._end_at is not None and time.monotonic() >= self._end_at
        return bool(self._users) and not is_over

    # Users.

    def _listen(self, control: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(control))
        self._listener.listen(128)
        self._listener.settimeout(0)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def _handle_events(self, timeout_seconds: float) -> None:
        for key, _ in self._selector.select(timeout_seconds):
            key.data()

    def _accept(self) -> None:
        while self._listener is not None:
            try:
                user, _ = self._listener.accept()
            except OSError:  # nobody left at the door
                return
            user.settimeout(0)
            self._admit(user)

    def _admit(self, user: socket.socket) -> None:
        self._users.add(user)
        self._untold.add(user)
        self._selector.register(user, selectors.EVENT_READ, partial(self._hear, user))

    def _hear(self, user: socket.socket) -> None:
        """Notice a user's end: it never says anything, so that is all there is to read."""
        try:
            if user.recv(64):
                return
        except BlockingIOError:
            return
        except OSError:  # an end as well
            pass
        self._selector.unregister(user)
        self._users.discard(user)
        self._untold.discard(user)
        if self._users:
            user.close()
        else:
            self._last = user

    def _tell_ready(self, run: RunDirectory) -> None:
        for user in self._untold:
            _tell(user, Ready(str(run.sockets), os.getpid()))
        self._untold.clear()

    def _tell_failure(self, problem: EmbeddedUnavailable) -> None:
        """Tell every user why there is no server, those included who have just come."""
        self._accept()
        for user in self._users:
            _tell(user, Failed(problem.sentence, problem.log_tail))

    def _close_door(self) -> None:
        if self._listener is not None:
            self._selector.unregister(self._listener)
            Path(self._listener.getsockname()).unlink(missing_ok=True)
            self._listener.close()
            self._listener = None

    # Signals.

    def _watch_signals(self) -> None:
        """Let SIGCHLD, SIGTERM and SIGINT wake the selector."""
        self._waker, wakened = socket.socketpair()
        self._waker.settimeout(0)
        wakened.settimeout(0)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        self._selector.register(wakened, selectors.EVENT_READ, partial(wakened.recv, 512))
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self._end_in(TERMINATED_GRACE_SECONDS))
        signal.signal(signal.SIGINT, lambda *_: self._end_in(0.0))

    def _end_in(self, seconds: float) -> None:
        self._end_at = time.monotonic() + seconds


def _tell(user: socket.socket, answer: Ready | Failed) -> None:
    with contextlib.suppress(OSError):  # it is gone, or has a full buffer and never reads
        user.send(render_answer(answer))
