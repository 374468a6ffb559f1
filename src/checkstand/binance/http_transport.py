"""The two transports over httpcore2: kept-alive connections, TLS always verified, nothing else.

No redirects, no cookies, no proxies from the environment. Whether a request can have reached
Binance is not guessed from the kind of failure: httpcore2 asks for the body only once it has dealt
with the headers, and without its whole body a request is none. So "was the body asked for?" is the
answer, for a refused connection, a failed handshake, a full pool and a kept-alive connection that
the other side had closed alike. (The asynchronous network holds the headers back to write both at
once; where it could not write at all it says so.)
"""

import asyncio
import functools
import ssl
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, Final

import httpcore2

from checkstand.binance.asyncio_network import AsyncioNetwork, NothingWritten
from checkstand.binance.transport import Answer, NeverSent, NoAnswer, Request, TransportFailure

#: A host that does not pick up within this is down; what is left of the time is for a retry.
CONNECT_SECONDS: Final = 5.0
#: Shorter than the idle time after which usual load balancers hang up, so we rarely race it.
KEEPALIVE_SECONDS: Final = 30.0
CONNECTIONS_MAX: Final = 100
#: No documented answer comes near this; a hostile one shall not fill the memory.
ANSWER_BYTES_MAX: Final = 8 * 1024 * 1024


class _TooLarge(Exception):
    pass


_FAILURES: Final = (
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.TimeoutException,
    OSError,  # what a TLS layer lets through; includes TimeoutError
    _TooLarge,
)


class AsyncHttpTransport:
    """For asyncio. One event loop per transport: its connections belong to that loop."""

    def __init__(self, *, ssl_context: ssl.SSLContext | None = None) -> None:
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=_verifying(ssl_context),
            max_connections=CONNECTIONS_MAX,
            keepalive_expiry=KEEPALIVE_SECONDS,
            network_backend=AsyncioNetwork(),
        )
        self._loop: asyncio.AbstractEventLoop | None = None

    async def send(self, request: Request) -> Answer:
        """Send once and return the answer. Raises NeverSent or NoAnswer."""
        self._stay_on_one_loop()
        body = _AsyncBody(request.body)
        try:
            async with asyncio.timeout(request.timeout_seconds):
                response = await self._pool.handle_async_request(
                    _outgoing(request, body, {"connect": CONNECT_SECONDS})
                )
                try:
                    content = await _read_async(response)
                finally:
                    await response.aclose()
        except _FAILURES as failure:
            raise _classified(failure, handed_over=body.handed_over) from failure
        return _answer(response, content)

    async def sleep(self, seconds: float) -> None:
        """Wait between two attempts."""
        await asyncio.sleep(seconds)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()

    def _stay_on_one_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise RuntimeError(
                "this client belongs to another event loop: make one client per loop,"
                " or use BinancePay, which any number of threads may share"
            )


class HttpTransport:
    """For threads; any number of them may share it."""

    def __init__(self, *, ssl_context: ssl.SSLContext | None = None) -> None:
        self._pool = httpcore2.ConnectionPool(
            ssl_context=_verifying(ssl_context),
            max_connections=CONNECTIONS_MAX,
            keepalive_expiry=KEEPALIVE_SECONDS,
            network_backend=_DeadlineBackend(),
        )

    def send(self, request: Request) -> Answer:
        """Send once and return the answer. Raises NeverSent or NoAnswer."""
        body = _Body(request.body)
        deadline = time.monotonic() + request.timeout_seconds
        timeouts = dict.fromkeys(("connect", "read", "write"), deadline)  # see _DeadlineBackend
        timeouts["pool"] = request.timeout_seconds
        try:
            response = self._pool.handle_request(_outgoing(request, body, timeouts))
            try:
                content = _read(response)
            finally:
                response.close()
        except _FAILURES as failure:
            raise _classified(failure, handed_over=body.handed_over) from failure
        return _answer(response, content)

    def sleep(self, seconds: float) -> None:
        """Wait between two attempts."""
        time.sleep(seconds)

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()


class _AsyncBody:
    """The request's body, which knows whether it was asked for."""

    def __init__(self, content: bytes) -> None:
        self.handed_over = False
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.handed_over = True
        yield self._content


class _Body:
    """The same for threads."""

    def __init__(self, content: bytes) -> None:
        self.handed_over = False
        self._content = content

    def __iter__(self) -> Iterator[bytes]:
        self.handed_over = True
        yield self._content


def _classified(failure: Exception, *, handed_over: bool) -> TransportFailure:
    timed_out = isinstance(failure, httpcore2.TimeoutException | TimeoutError)
    what = "timed out" if timed_out else (str(failure) or type(failure).__name__)
    if handed_over and not isinstance(failure, NothingWritten):
        return NoAnswer(f"no answer: {what}", timed_out=timed_out)
    return NeverSent(f"not sent: {what}", timed_out=timed_out)


def _outgoing(
    request: Request, body: _AsyncBody | _Body, timeouts: dict[str, float]
) -> httpcore2.Request:
    url, host = _parsed(request.url)
    return httpcore2.Request(
        "POST",
        url,
        headers=[
            ("Host", host),
            *request.headers,
            ("Content-Length", str(len(request.body))),
            ("Accept", "application/json"),
        ],
        content=body,
        extensions={"timeout": timeouts},
    )


@functools.lru_cache(maxsize=256)  # a base address times some forty paths
def _parsed(url: str) -> tuple[httpcore2.URL, bytes]:
    parsed = httpcore2.URL(url)
    host = b"[%b]" % parsed.host if b":" in parsed.host else parsed.host
    return parsed, host if parsed.port is None else b"%b:%d" % (host, parsed.port)


def _answer(response: httpcore2.Response, content: bytes) -> Answer:
    headers = {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers
    }
    return Answer(response.status, headers, content)


async def _read_async(response: httpcore2.Response) -> bytes:
    content = bytearray()
    async for part in response.aiter_stream():
        _keep(content, part)
    return bytes(content)


def _read(response: httpcore2.Response) -> bytes:
    content = bytearray()
    for part in response.iter_stream():
        _keep(content, part)
    return bytes(content)


def _keep(content: bytearray, part: bytes) -> None:
    content += part
    if len(content) > ANSWER_BYTES_MAX:
        raise _TooLarge(f"the answer is larger than {ANSWER_BYTES_MAX} bytes")


def _verifying(ssl_context: ssl.SSLContext | None) -> ssl.SSLContext:
    """Take a caller's certificates but not a switched-off check; build the default once."""
    if ssl_context is None:
        return httpcore2.default_ssl_context()
    if ssl_context.verify_mode is not ssl.CERT_REQUIRED or not ssl_context.check_hostname:
        raise ValueError("ssl_context must verify certificates and host names")
    return ssl_context


class _DeadlineBackend(httpcore2.SyncBackend):
    """Opens streams whose timeouts are moments on the monotonic clock, not durations.

    httpcore2 gives every single read the whole timeout, so an answer that drips could keep a
    thread for hours; asyncio has `timeout()` for this.
    """

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        stream = super().connect_tcp(
            host, port, min(CONNECT_SECONDS, _left(timeout)), local_address, socket_options
        )
        return _DeadlineStream(stream)


class _DeadlineStream(httpcore2.NetworkStream):
    def __init__(self, stream: httpcore2.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        seconds = min(CONNECT_SECONDS, _left(timeout))
        return _DeadlineStream(self._stream.start_tls(ssl_context, server_hostname, seconds))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(deadline: float | None) -> float:
    """Return the seconds until then; never zero, which a socket takes for "do not wait"."""
    return CONNECT_SECONDS if deadline is None else max(deadline - time.monotonic(), 0.001)
