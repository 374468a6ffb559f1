"""Connections of the asynchronous transport, on asyncio's own streams of bytes.

httpcore2 brings a network of its own over anyio; this one does the same with a fraction of the
CPU, because it does nothing that one deadline over the whole request makes unnecessary. It also
hears of a connection that the other side closed while it was kept, and of a write that failed, at
once: both are the difference between "never sent" and "no answer".
"""

import asyncio
import ssl
from collections.abc import Iterable
from typing import Any, Final

import httpcore2

#: Answers are a few thousand bytes; one that floods is held back at the socket.
HELD_BYTES_MAX: Final = 256 * 1024
#: RFC 8305's advice: how long IPv6 may keep IPv4 waiting.
HAPPY_EYEBALLS_SECONDS: Final = 0.25
_END_OF_HEAD: Final = b"\r\n\r\n"


class AsyncioNetwork(httpcore2.AsyncNetworkBackend):
    """Opens connections on the running event loop, asyncio's or uvloop's."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore2 asks for it
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect. Raises ConnectTimeout or ConnectError."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                _, wire = await loop.create_connection(
                    _Wire,
                    host,
                    port,
                    local_addr=(local_address, 0) if local_address else None,
                    **_racing(loop),
                )
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore2.ConnectError(str(error)) from error
        for option in socket_options or ():
            wire.transport.get_extra_info("socket").setsockopt(*option)
        return _Stream(wire)


def _racing(loop: asyncio.AbstractEventLoop) -> dict[str, Any]:
    """Let IPv4 overtake an IPv6 that goes nowhere; uvloop knows only one after the other."""
    is_able = isinstance(loop, asyncio.BaseEventLoop)
    return {"happy_eyeballs_delay": HAPPY_EYEBALLS_SECONDS} if is_able else {}


class _Wire(asyncio.Protocol):
    """What has come in, and who waits for more."""

    def __init__(self) -> None:
        self.held = bytearray()
        self.is_over = False  # nothing more will come
        self.failure: Exception | None = None
        self.waiter: asyncio.Future[None] | None = None
        self._is_held_back = False
        self.is_clogged = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self.held += data
        if len(self.held) > HELD_BYTES_MAX and not self._is_held_back:
            self._is_held_back = True
            self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self.is_over = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_over = True
        self.failure = exc
        self._wake()

    def pause_writing(self) -> None:
        self.is_clogged = True

    def resume_writing(self) -> None:
        self.is_clogged = False
        self._wake()

    def take(self, max_bytes: int) -> bytes:
        """Hand out what has come in, and let more come."""
        taken = bytes(self.held[:max_bytes])
        del self.held[:max_bytes]
        if self._is_held_back and len(self.held) <= HELD_BYTES_MAX:
            self._is_held_back = False
            self.transport.resume_reading()
        return taken

    async def filled(self) -> None:
        """Wait until something has come in, or nothing can any more."""
        while not (self.held or self.is_over):
            await self._change()

    async def drained(self) -> None:
        """Wait until more can be written, or nothing can any more."""
        while self.is_clogged and not self.is_over:
            await self._change()

    async def _change(self) -> None:
        self.waiter = asyncio.get_running_loop().create_future()
        try:
            await self.waiter
        finally:
            self.waiter = None

    def _wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class NothingWritten(httpcore2.NetworkError):
    """The connection was over before the first byte of this request.

    No WriteError: after one of those httpcore2 still looks for an answer.
    """


class _Stream(httpcore2.AsyncNetworkStream):
    def __init__(self, wire: _Wire) -> None:
        self._wire = wire
        self._head = b""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        wire = self._wire
        if not wire.held:
            async with asyncio.timeout(timeout):  # a TimeoutError is understood as it is
                await wire.filled()
        if wire.failure is not None and not wire.held:
            raise httpcore2.ReadError(str(wire.failure)) from wire.failure
        return wire.take(max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        if not self._head and buffer.endswith(_END_OF_HEAD):
            self._head = buffer  # every request here has a body: one record, one system call
            return
        wire, buffer, self._head = self._wire, self._head + buffer, b""
        if wire.transport.is_closing():
            raise NothingWritten("the connection was closed meanwhile")
        wire.transport.write(buffer)
        if wire.is_clogged:
            async with asyncio.timeout(timeout):
                await wire.drained()
        if wire.transport.is_closing():  # because of the write, as like as not
            raise httpcore2.WriteError(str(wire.failure or "the connection broke"))

    async def aclose(self) -> None:
        self._wire.transport.abort()  # nothing is left to be said; a close could wait for ever
        await asyncio.sleep(0)

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore2.AsyncNetworkStream:
        loop, wire = asyncio.get_running_loop(), _Wire()
        try:
            async with asyncio.timeout(timeout):
                transport = await loop.start_tls(
                    self._wire.transport, wire, ssl_context, server_hostname=server_hostname
                )
        except TimeoutError as error:
            await self.aclose()
            raise httpcore2.ConnectTimeout(str(error)) from error
        except OSError as error:  # an ssl.SSLError is one
            await self.aclose()
            raise httpcore2.ConnectError(str(error)) from error
        except BaseException:
            await self.aclose()
            raise
        wire.transport = transport
        return _Stream(wire)

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":  # asked of a kept connection: anything to read means its end
            wire = self._wire
            return bool(wire.held) or wire.is_over or wire.transport.is_closing()
        return self._wire.transport.get_extra_info(_NAMES.get(info, info))


_NAMES: Final = {"client_addr": "sockname", "server_addr": "peername"}
