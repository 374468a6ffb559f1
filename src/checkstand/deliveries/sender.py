"""The third door: sends one delivery to the merchant's server and brings back what it answered.

It follows no redirect, believes no more of the answer than its status, and repeats nothing that may
have arrived: tries belong to `schedule`. Any status is an answer; only no answer is a failure.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import httpcore2

from checkstand.ambient import elapsed_seconds
from checkstand.deliveries import network as networks
from checkstand.deliveries.targets import Target, check_url, parse_url
from checkstand.errors import CheckstandError, Refused
from checkstand.observability import NOBODY, Observer

__all__ = ["POINT", "DeliveryAnswer", "DeliveryFailed", "DeliverySender", "Sender", "check_url"]

#: The point that observers hear of: before a delivery leaves, and after it was answered.
POINT: Final = "delivery"

EXCERPT_BYTES = 4096  # enough to see what the shop complained about
EXCERPT_SECONDS = 2.0  # the status is the answer; its text is not worth more waiting
# Well below the 2 s after which the most impatient usual server (gunicorn) hangs up: reuse pays
# while deliveries follow closely, and afterwards a fresh connection cannot be a closed one.
KEEP_ALIVE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class DeliveryAnswer:
    """What the merchant's server answered to one try."""

    status: int  # the HTTP status; 3xx is an answer like any other, and a failed one
    body_excerpt: str  # the first 4 kB, made safe to store and show
    elapsed_seconds: float  # from the start of the try to the status line
    retry_after: str | None = None  # the header as sent; `schedule` reads it

    @property
    def is_delivered(self) -> bool:
        """Whether the shop has taken the event: any 2xx."""
        return 200 <= self.status < 300


class DeliveryFailed(CheckstandError):
    """No answer came. `was_sent` is False only if certainly nothing of it reached the shop."""

    def __init__(self, reason: str, *, was_sent: bool, code: str = "delivery_failed") -> None:
        super().__init__(code, reason, facts={"was_sent": was_sent})
        self.reason = reason  # a sentence for the timeline
        self.was_sent = was_sent


class Sender(Protocol):
    """The door as operations see it."""

    async def send(self, *, url: str, headers: Mapping[str, str], body: bytes) -> DeliveryAnswer:
        """POST `body` once and return the answer. Raises `DeliveryFailed` when none came."""
        ...


class DeliverySender:
    """Sends deliveries over kept connections; share one per process and close it at the end.

    Opens as many connections as there are sends at once: how many, the caller decides.
    """

    def __init__(
        self,
        *,
        allow_private: bool,
        observer: Observer = NOBODY,
        timeout_seconds: float = 15.0,
        resolver: networks.Resolver | None = None,
        ssl_context: ssl.SSLContext | None = None,
        network: httpcore2.AsyncNetworkBackend | None = None,
    ) -> None:
        self._allow_private = allow_private
        self._observer = observer
        self._timeout_seconds = timeout_seconds
        self._pool = httpcore2.AsyncConnectionPool(
            # Made once: left to itself the pool would read all root certificates per connection.
            ssl_context=ssl_context or httpcore2.default_ssl_context(),
            max_connections=None,
            max_keepalive_connections=20,
            keepalive_expiry=KEEP_ALIVE_SECONDS,
            network_backend=networks.GuardedNetwork(
                allow_private=allow_private,
                resolver=resolver or networks.resolve,
                network=network,
            ),
        )

    async def send(self, *, url: str, headers: Mapping[str, str], body: bytes) -> DeliveryAnswer:
        """POST `body` once and return the answer, whatever its status.

        Raises `DeliveryFailed` if none came within `timeout_seconds`, counted over everything from
        the name server to the status line.
        """
        target = _parse(url, allow_private=self._allow_private)
        started = elapsed_seconds()
        self._observer.before(POINT)

        response = await self._ask(target, headers, body)
        took = elapsed_seconds() - started
        answer = DeliveryAnswer(
            status=response.status,
            body_excerpt=await _read_excerpt(response),
            elapsed_seconds=took,
            retry_after=_header(response, b"retry-after"),
        )

        self._observer.after(POINT)
        return answer

    async def aclose(self) -> None:
        """Close all connections. A send still under way fails."""
        await self._pool.aclose()

    async def _ask(
        self, target: Target, headers: Mapping[str, str], body: bytes
    ) -> httpcore2.Response:
        was_sent = False

        async def note_sending(name: str, _info: Mapping[str, Any]) -> None:
            nonlocal was_sent
            was_sent = was_sent or name == "http11.send_request_headers.started"

        request = _request(target, headers, body, trace=note_sending)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                while True:
                    try:
                        return await self._pool.handle_async_request(request)
                    except networks.ConnectionStale:
                        # Nothing was written, and the connection is gone from the pool: this
                        # goes round at most once per kept connection.
                        was_sent = False
        except Exception as error:
            raise _failure(error, was_sent=was_sent, seconds=self._timeout_seconds) from error


def _parse(url: str, *, allow_private: bool) -> Target:
    try:
        return parse_url(url, allow_private=allow_private)
    except Refused as error:
        raise DeliveryFailed(error.message, was_sent=False, code="url_refused") from error


def _request(
    target: Target, headers: Mapping[str, str], body: bytes, *, trace: Any
) -> httpcore2.Request:
    ours = {
        "Host": target.host_header,
        "User-Agent": "Checkstand",
        "Accept-Encoding": "identity",  # the excerpt is to be read as it comes
        "Content-Length": str(len(body)),
    }
    given = {name: value for name, value in headers.items() if name.title() not in ours}
    return httpcore2.Request(
        "POST",
        httpcore2.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path),
        headers=[(k.encode("ascii"), v.encode("ascii")) for k, v in (ours | given).items()],
        content=body,
        extensions={"trace": trace},
    )


async def _read_excerpt(response: httpcore2.Response) -> str:
    kept = bytearray()
    try:
        # Whatever happens to the text, the status has been heard.
        with contextlib.suppress(*_WIRE_ERRORS):
            async with (
                asyncio.timeout(EXCERPT_SECONDS),
                contextlib.aclosing(response.aiter_stream()) as chunks,
            ):
                async for chunk in chunks:
                    kept += chunk
                    if len(kept) >= EXCERPT_BYTES:
                        break
    finally:
        await response.aclose()  # unread rest: the connection is closed, not kept
    return _storable(kept[:EXCERPT_BYTES].decode("utf-8", errors="replace"))


def _storable(text: str) -> str:
    # PostgreSQL takes no NUL in text, and control characters would garble a log or a terminal.
    text = text.replace("\r\n", "\n")
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def _header(response: httpcore2.Response, name: bytes) -> str | None:
    for key, value in response.headers:
        if key.lower() == name:
            return value.decode("latin-1")[:100]
    return None


def _failure(error: Exception, *, was_sent: bool, seconds: float) -> DeliveryFailed:
    """Put into a sentence what went wrong; errors that are ours to mend go on as they are."""
    match error:
        case networks.AddressRefused():
            return DeliveryFailed(str(error), was_sent=False, code="address_refused")
        case networks.NameUnknown():
            return DeliveryFailed(str(error), was_sent=False, code="name_unknown")
        case TimeoutError() | httpcore2.TimeoutException():
            what = "no answer" if was_sent else "no connection"
            return DeliveryFailed(f"{what} within {seconds:g} s", was_sent=was_sent, code="timeout")
        case httpcore2.ConnectError():
            return DeliveryFailed(
                f"could not connect: {error}".rstrip(": "), was_sent=False, code="no_connection"
            )
        case httpcore2.LocalProtocolError():  # a header we may not send; refused before sending
            return DeliveryFailed(f"cannot be sent: {error}", was_sent=False, code="unsendable")
        # An OSError here is TLS's own: a server that wants a client's certificate says so late.
        case httpcore2.NetworkError() | httpcore2.ProtocolError() | OSError():
            return DeliveryFailed(
                f"the connection broke off: {error}".rstrip(": "),
                was_sent=was_sent,
                code="broken_off",
            )
    raise error


_WIRE_ERRORS = (
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.TimeoutException,
    OSError,  # asyncio's TimeoutError and TLS's errors
)
