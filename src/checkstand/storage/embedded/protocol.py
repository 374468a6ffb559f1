"""What the starting process and its supervisor say to each other, as JSON texts.

The order travels on the supervisor's command line. Each user then hears one line over its
connection, `Ready` or `Failed`, and says nothing itself.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Order:
    """What the supervisor is to do."""

    data_dir: str
    binaries: str
    settings: Mapping[str, str]
    lock: int  # the locked file, inherited
    user: int  # the starting process's own connection, inherited


@dataclass(frozen=True, slots=True)
class Ready:
    """The server accepts connections."""

    sockets: str
    supervisor_pid: int


@dataclass(frozen=True, slots=True)
class Failed:
    """There will be no server."""

    sentence: str
    log_tail: str


def render_order(order: Order) -> str:
    """Return the order as one argument."""
    return json.dumps(asdict(order))


def parse_order(text: str) -> Order:
    """Return the order in an argument."""
    return Order(**json.loads(text))


def render_answer(answer: Ready | Failed) -> bytes:
    """Return an answer as one line."""
    told: dict[str, Any] = {type(answer).__name__: asdict(answer)}
    return json.dumps(told).encode() + b"\n"


def parse_answer(line: bytes) -> Ready | Failed:
    """Return the answer in a line."""
    told = json.loads(line)
    return Ready(**told["Ready"]) if "Ready" in told else Failed(**told["Failed"])
