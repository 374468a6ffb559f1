"""Starts checkstand processes that have imported everything already: most of a start is imports.

Each is a process of its own, forked, with its own environment, and runs the command line's own
`main`. Whoever connects sends one line, `{"arguments": …, "environment": …, "log": …}`, and hears
`pid N`, what the process prints, and `ended CODE`.
"""

import ctypes
import json
import os
import signal
import socket
import sys
from typing import NoReturn

#: What `serve` and `worker` load when they run. No thread, no loop and no randomness begins by it.
_MODULES = ("checkstand.cli.commands", "checkstand.app", "checkstand.jobs.worker", "uvloop")


def serve(path: str) -> NoReturn:
    """Start a process for each connection, until killed."""
    die_with_parent()
    for module in _MODULES:
        __import__(module)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how the watchers end
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)
        print("ready", flush=True)
        while True:
            connection, _ = listener.accept()
            with connection:
                if os.fork() == 0:
                    listener.close()
                    _watch(connection)


def die_with_parent() -> None:
    """Let this process be killed when its parent is gone, where the system can do that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))  # PR_SET_PDEATHSIG


def _watch(connection: socket.socket) -> NoReturn:
    """Start the process, wait for its end and say how it ended."""
    code = 1
    try:
        die_with_parent()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        order = json.loads(connection.makefile().readline())
        pid = os.fork()
        if pid == 0:
            _become(order, connection)
        connection.sendall(f"pid {pid}\n".encode())
        _, status = os.waitpid(pid, 0)
        connection.sendall(f"ended {os.waitstatus_to_exitcode(status)}\n".encode())
        code = 0
    finally:
        os._exit(code)


def _become(order: dict[str, object], connection: socket.socket) -> NoReturn:
    """Be a checkstand process from here on."""
    code = 1
    try:
        die_with_parent()
        os.dup2(os.open(str(order["log"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), 2)
        os.dup2(connection.fileno(), 1)
        connection.detach()
        os.environ.clear()
        os.environ.update(dict(order["environment"]))  # type: ignore[call-overload]
        sys.argv = ["checkstand", *order["arguments"]]  # type: ignore[misc]
        from checkstand.cli import main

        main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
