"""Ports for programs that are started again at the same address.

A port that the system chose is anybody's once it is let go, and every connection takes one of the
same kind. These lie below those, as systems come, and each process has blocks of its own: it binds
the first port of a block for as long as it lives.
"""

import atexit
import socket
from collections.abc import Iterator
from threading import Lock
from typing import Final

#: Linux chooses from 32768 on and macOS from 49152.
_FIRST: Final = 20_000
_BEHIND: Final = 32_000
_BLOCK: Final = 50

_one_at_a_time = Lock()


def free_port() -> int:
    """Return a port that nobody else is given, in this process or another."""
    with _one_at_a_time:
        port = next(_numbers, None)
    if port is None:
        raise OSError(f"no port is free from {_FIRST} to {_BEHIND - 1}")
    return port


def _find_numbers() -> Iterator[int]:
    for block in range(_FIRST, _BEHIND, _BLOCK):
        sign = socket.socket()
        if not _binds(sign, block):
            sign.close()
            continue
        atexit.register(sign.close)
        yield from filter(_is_free, range(block + 1, block + _BLOCK))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As a server binds it: connections that have ended are in nobody's way.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return _binds(probe, port)


def _binds(taking: socket.socket, port: int) -> bool:
    try:
        taking.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


_numbers: Final = _find_numbers()
