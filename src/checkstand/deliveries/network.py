"""The network under the sender: connects only to an address that was checked a moment before.

A name is resolved once per connection, and the very address that passed is dialled: a name server
that answers differently the second time finds nobody asking. TLS and the `Host` header keep the
name. It also notices, before a byte is written, that a kept connection has been closed.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import httpcore2

from checkstand.deliveries.targets import why_refused

#: Seconds for one address of a name, so that a dead one leaves time for the next.
CONNECT_SECONDS_EACH = 4.0


class Resolver(Protocol):
    """Asks the name servers."""

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of `host` in order of preference; OSError if there is none."""
        ...


class AddressRefused(Exception):
    """The name leads to no address that a delivery may go to."""


class NameUnknown(Exception):
    """The name servers know no address for the name."""


class ConnectionStale(Exception):
    """A kept connection was closed by the other side. Nothing was written to it."""


async def resolve(host: str, port: int) -> Sequence[str]:
    """Ask the system's name servers."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class GuardedNetwork(httpcore2.AsyncNetworkBackend):
    """Connects to public addresses only, or to the merchant's own network where that is allowed."""

    def __init__(
        self,
        *,
        allow_private: bool,
        resolver: Resolver = resolve,
        network: httpcore2.AsyncNetworkBackend | None = None,
    ) -> None:
        self._allow_private = allow_private
        self._resolve = resolver
        self._network = network or httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the base class's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first checked address that answers.

        Raises `NameUnknown`, `AddressRefused`, or the last address's `ConnectError`.
        """
        failure: Exception = NameUnknown(f"no address is known for {host}")
        for address in await self._checked_addresses(host, port):
            try:
                stream = await self._network.connect_tcp(
                    address,
                    port,
                    timeout=min(timeout or CONNECT_SECONDS_EACH, CONNECT_SECONDS_EACH),
                    local_address=local_address,
                    socket_options=socket_options,
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error  # nothing was sent, so the next address may be tried
            else:
                return WatchedStream(stream)
        raise failure

    async def _checked_addresses(self, host: str, port: int) -> list[str]:
        found = await self._addresses(host, port)
        verdicts = [
            (text, why_refused(ipaddress.ip_address(text), allow_private=self._allow_private))
            for text in dict.fromkeys(found)
        ]
        good = [text for text, word in verdicts if word is None]
        if verdicts and not good:
            text, word = verdicts[0]
            raise AddressRefused(f"{host} leads to {text}, which is {word}")
        return good

    async def _addresses(self, host: str, port: int) -> Sequence[str]:
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            pass
        try:
            return await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise NameUnknown(f"no address is known for {host}") from error


class WatchedStream(httpcore2.AsyncNetworkStream):
    """A connection that refuses to begin a request after the other side has hung up.

    The pool looks before it lends a connection out, but the end may arrive between that look and
    the first byte. Raised here, before anything is written, the request may go over a fresh
    connection without being sent twice.
    """

    def __init__(self, stream: httpcore2.AsyncNetworkStream) -> None:
        self._stream = stream
        self._has_answered = False  # so the next write begins another request

    async def read(
        self,
        max_bytes: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the base class's signature
    ) -> bytes:
        """Read up to `max_bytes`."""
        self._has_answered = True
        return await self._stream.read(max_bytes, timeout)

    async def write(
        self,
        buffer: bytes,
        timeout: float | None = None,  # noqa: ASYNC109 - the base class's signature
    ) -> None:
        """Write all of `buffer`; raises `ConnectionStale` if a new request would be lost."""
        # Nobody speaks between an answer and the next request: readable means closed.
        if self._has_answered and self._stream.get_extra_info("is_readable"):
            raise ConnectionStale
        self._has_answered = False
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the base class's signature
    ) -> httpcore2.AsyncNetworkStream:
        """Go on encrypted, checking the certificate against the name that was asked for."""
        return WatchedStream(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        """Return what is known about the connection."""
        return self._stream.get_extra_info(info)
