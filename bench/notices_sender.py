"""Sends prepared HTTP requests as fast as they are answered, over connections that are kept.

    python bench/notices_sender.py CONNECTIONS HOST:PORT... < REQUESTS

Each request comes behind its length, four bytes. Prints the seconds from the first byte sent to
the last answer, and how many were not answered with SUCCESS (or with what was sent).
"""
# ruff: noqa: T201

import asyncio
import struct
import sys
import time
from collections.abc import Iterator

import uvloop

SUCCESS = b'"returnCode":"SUCCESS"'


class Sender(asyncio.Protocol):
    """One connection: sends the next request when the last one is answered."""

    def __init__(self, requests: Iterator[bytes], tally: dict[str, int]) -> None:
        self._requests = requests
        self._tally = tally
        self._buffer = b""
        self._sent = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; `go` starts."""
        self._transport = transport

    def go(self) -> None:
        """Send the next request, if there is one left."""
        self._sent = next(self._requests, b"")
        if self._sent:
            self._transport.write(self._sent)  # type: ignore[attr-defined]
        else:
            self._transport.close()
            self.done.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Wait for a whole answer."""
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        if len(body) < length:
            return
        if SUCCESS not in body and not self._sent.endswith(body):
            self._tally["failed"] += 1
        self._buffer = b""
        self.go()

    def connection_lost(self, _error: Exception | None) -> None:
        """Stop waiting."""
        if not self.done.done():
            self.done.set_exception(ConnectionError("the server hung up"))


async def send(addresses: list[str], connections: int, requests: list[bytes]) -> None:
    """Connect, send everything, and say how it went."""
    loop, left, tally = asyncio.get_running_loop(), iter(requests), {"failed": 0}
    senders = []
    for number in range(connections):
        host, _, port = addresses[number % len(addresses)].rpartition(":")
        _, sender = await loop.create_connection(lambda: Sender(left, tally), host, int(port))
        senders.append(sender)
    began = time.perf_counter()
    for sender in senders:
        sender.go()
    await asyncio.gather(*(sender.done for sender in senders))
    print(time.perf_counter() - began, tally["failed"])


def read(raw: bytes) -> Iterator[bytes]:
    """Take the input apart."""
    at = 0
    while at < len(raw):
        (length,) = struct.unpack_from(">I", raw, at)
        yield raw[at + 4 : at + 4 + length]
        at += 4 + length


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        prepared = list(read(sys.stdin.buffer.read()))
        runner.run(send(sys.argv[2:], int(sys.argv[1]), prepared))
