"""HTTP as a program speaks it that expects the other side to die at any moment."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpcore2

#: What a dead, dying or starting server leads to.
UNREACHABLE = (
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.TimeoutException,
    OSError,
)
_TIMEOUT = {"connect": 5, "read": 15, "write": 5, "pool": 30}


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, read."""

    status: int
    content: bytes = field(repr=False)

    @property
    def json(self) -> Any:
        """Return the body, parsed."""
        return json.loads(self.content)


class Caller:
    """Makes requests of one server, with headers that go with each."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        self.url = url
        self.headers = {"content-type": "application/json", **(headers or {})}
        self._pool = httpcore2.AsyncConnectionPool(max_connections=64)

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Make one request. Raises one of UNREACHABLE when no answer came."""
        answer = await self._pool.request(
            method,
            self.url + path,
            headers=list({**self.headers, **(headers or {})}.items()),
            content=json.dumps(body).encode() if body is not None else content,
            extensions={"timeout": _TIMEOUT},
        )
        return Answer(answer.status, answer.content)

    async def close(self) -> None:
        """Drop the connections."""
        await self._pool.aclose()
