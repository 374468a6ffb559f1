"""Fetch a file from an address that Binance handed out: no redirects, no more than so much."""

import asyncio
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

import httpcore2

_BYTES_MAX: Final = 512 * 1024 * 1024
_SECONDS_MAX: Final = 300.0
_FAILURES: Final = (
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.TimeoutException,
    OSError,
    ValueError,
)


class Fetch(Protocol):
    """The way to a file at an address."""

    async def __call__(self, url: str, into: Path, *, may_be_plain: bool) -> str | None:
        """Write what is there into a file; return why that did not work, if it did not."""
        ...


async def download(url: str, into: Path, *, may_be_plain: bool) -> str | None:
    """Write what is at an address into a file; return why that did not work, if it did not."""
    scheme = urlsplit(url).scheme
    if scheme != "https" and not (may_be_plain and scheme == "http"):
        return "its address is not https"
    try:
        async with (
            asyncio.timeout(_SECONDS_MAX),
            httpcore2.AsyncConnectionPool(max_connections=1) as pool,
            pool.stream("GET", url) as response,
        ):
            if response.status != 200:
                return f"its address answers {response.status}"
            return await _write(response, into)
    except _FAILURES as error:
        # Not the error's own words: they may hold the address, which is a secret.
        return f"the connection failed ({type(error).__name__})"


async def _write(response: httpcore2.Response, into: Path) -> str | None:
    size = 0
    with into.open("wb") as file:
        async for piece in response.aiter_stream():
            size += len(piece)
            if size > _BYTES_MAX:
                return "it is too large"
            file.write(piece)
    return None
