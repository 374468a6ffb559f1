"""Requests of `checkstand simulator` to a simulator that runs, and what is printed of them."""

import sys
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from cyclopts import Parameter

DEFAULT_URL: Final = "http://127.0.0.1:8081"


def _check_url(_: Any, url: str) -> None:
    """Refuse what no request could go to; an argument's validator raises ValueError."""
    try:
        parts = urlsplit(url)
        sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise ValueError(f"Takes an address such as {DEFAULT_URL}")


Url = Annotated[str, Parameter(help="Where the simulator runs.", validator=_check_url)]
DONE: Final = 0
FAILED: Final = 1
WRONG_USAGE: Final = 2


def post(url: str, path: str, /, **options: Any) -> int:
    """Post the options that were given; return the exit code."""
    given = {name: value for name, value in options.items() if value is not None}
    return call(url, "POST", path, given)


def call(
    url: str,
    method: str,
    path: str,
    options: dict[str, Any] | bytes | None = None,
    *,
    file: Path | None = None,
) -> int:
    """Make one request and print the answer as it is, but readable, or write it to a file.

    Returns the exit code.
    """
    import msgspec

    from checkstand.simulator import remote

    try:
        content = remote.ask(url, method, path, options)
    except remote.Unanswered as error:
        return _complain(f"{error}: start one with `checkstand simulator`", FAILED)
    except remote.Refused as error:
        return _complain(str(error), WRONG_USAGE if error.is_wrong_usage else FAILED)
    if file is None:
        print(msgspec.json.format(bytes(content), indent=2).decode())
    else:
        file.touch(mode=0o600)
        file.write_bytes(content)
    return DONE


def _complain(message: str, code: int) -> int:
    print(f"checkstand: {message}", file=sys.stderr)
    return code
