"""Asks the control API of a simulator that runs in another process."""

import json
from typing import Any

import httpcore2
import msgspec


class Unanswered(Exception):
    """Nothing that is a simulator answered; the message says where."""


class Refused(Exception):
    """The simulator said no; the message is its own."""

    def __init__(self, message: str, *, is_wrong_usage: bool) -> None:
        self.is_wrong_usage = is_wrong_usage
        super().__init__(message)


def ask(
    url: str, method: str, path: str, options: dict[str, Any] | bytes | None = None
) -> msgspec.Raw:
    """Return the answer as JSON text; Decimals among the options travel as text.

    Raises `Unanswered` or `Refused`.
    """
    body = options if isinstance(options, bytes) else b""
    if isinstance(options, dict):
        body = msgspec.json.encode(options)
    try:
        answer = httpcore2.request(method, f"{url.rstrip('/')}/simulator{path}", content=body)
    except (httpcore2.NetworkError, httpcore2.UnsupportedProtocol, OSError) as error:
        raise Unanswered(f"no simulator answers at {url} ({error})") from error
    try:
        content = msgspec.json.decode(answer.content, type=msgspec.Raw)
        if answer.status != 200:
            message = json.loads(answer.content)["error"]
            raise Refused(message, is_wrong_usage=answer.status == 400)
    except (msgspec.DecodeError, KeyError, TypeError):
        raise Unanswered(
            f"what answers at {url} is no simulator: HTTP status {answer.status}"
        ) from None
    return content
