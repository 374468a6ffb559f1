"""The door out: three methods, and the one question it must answer about a failure.

A transport sends one request once. It never follows redirects, never retries, never signs. When
no answer comes it says whether a whole request can have reached Binance. The implementations over
httpcore2 are in `http_transport.py`, which is loaded with the first client.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec


class Request(msgspec.Struct, frozen=True):
    """One attempt, ready to send."""

    url: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    timeout_seconds: float  # for all of it: connecting, sending and the last byte of the answer

    def __repr__(self) -> str:
        return f"Request({self.url!r})"  # headers and body may hold what no log should


class Answer(msgspec.Struct, frozen=True):
    """What came back, whole. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class TransportFailure(Exception):
    """No answer came. Raised as one of the two below."""

    def __init__(self, message: str, *, timed_out: bool = False) -> None:
        super().__init__(message)
        self.timed_out = timed_out


class NeverSent(TransportFailure):
    """Binance cannot have had a whole request: nothing happened."""


class NoAnswer(TransportFailure):
    """The request left, or may have: anything may have happened."""


class AsyncTransport(Protocol):
    """For asyncio programs."""

    async def send(self, request: Request) -> Answer:
        """Send once and return the answer. Raises NeverSent or NoAnswer."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait between two attempts."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...


class Transport(Protocol):
    """For threads."""

    def send(self, request: Request) -> Answer:
        """Send once and return the answer. Raises NeverSent or NoAnswer."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait between two attempts."""
        ...

    def close(self) -> None:
        """Close every connection."""
        ...
