"""What a client is told, or finds in `BINANCE_PAY_*` where it is told nothing.

Each variable has a `..._FILE` twin for mounted secrets. Other libraries' spellings are refused
with a hint, never guessed at.
"""

import os
import re
from collections.abc import Mapping
from typing import Final

import msgspec

from checkstand.binance.errors import ConfigurationError
from checkstand.binance.signing import Credentials

#: The only host Binance documents. There is no sandbox.
DEFAULT_BASE_URL: Final = "https://bpay.binanceapi.com"
#: Over all attempts of a call. A create normally answers well under a second.
DEFAULT_TIMEOUT_SECONDS: Final = 10.0
DEFAULT_MAX_RETRIES: Final = 2

_ADDRESS: Final = re.compile(
    r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:(?P<port>[0-9]{1,5}))?(/[A-Za-z0-9._~/-]*)?"
)
_MISSPELT: Final = {
    "BINANCE_PAY_SECRET": "BINANCE_PAY_API_SECRET",
    "BINANCE_PAY_SECRET_KEY": "BINANCE_PAY_API_SECRET",
    "BINANCE_PAY_CERTIFICATE_SN": "BINANCE_PAY_API_KEY",
    "BINANCEPAY_API_KEY": "BINANCE_PAY_API_KEY",
}


class Configuration(msgspec.Struct, frozen=True):
    """Checked values."""

    credentials: Credentials
    base_url: str
    timeout_seconds: float
    max_retries: int


def configure(
    *,
    api_key: str | None,
    api_secret: str | None,
    base_url: str | None,
    timeout_seconds: float | None,
    max_retries: int | None,
    environ: Mapping[str, str] | None = None,
) -> Configuration:
    """Take what is given, fill in from the environment, check. Raises ConfigurationError."""
    environ = os.environ if environ is None else environ
    key = api_key if api_key is not None else _required("BINANCE_PAY_API_KEY", environ)
    secret = api_secret if api_secret is not None else _required("BINANCE_PAY_API_SECRET", environ)
    if base_url is None:
        base_url = _find("BINANCE_PAY_BASE_URL", environ) or DEFAULT_BASE_URL
    if timeout_seconds is None:
        timeout_seconds = _number("BINANCE_PAY_TIMEOUT", environ, DEFAULT_TIMEOUT_SECONDS)
    if max_retries is None:
        max_retries = _whole("BINANCE_PAY_MAX_RETRIES", environ, DEFAULT_MAX_RETRIES)
    if not 0 < timeout_seconds < 86_400:
        raise ConfigurationError("the timeout must be a number of seconds, more than 0")
    if not 0 <= max_retries <= 100:
        raise ConfigurationError("the retries must be a whole number from 0 to 100")
    credentials = Credentials(_token(key, "API key"), _token(secret, "API secret"))
    return Configuration(credentials, check_address(base_url), timeout_seconds, max_retries)


def _required(name: str, environ: Mapping[str, str]) -> str:
    value = _find(name, environ)
    if value:
        return value
    meant = [old for old, new in _MISSPELT.items() if new == name and environ.get(old)]
    hint = f" ({meant[0]} is set; this library calls it {name})" if meant else ""
    raise ConfigurationError(f"give the client its key and secret, or set {name}{hint}")


def _find(name: str, environ: Mapping[str, str]) -> str | None:
    value, file = environ.get(name), environ.get(f"{name}_FILE")
    if value and file:
        raise ConfigurationError(f"set either {name} or {name}_FILE, not both")
    if not file:
        return value
    from pathlib import Path  # 6 ms that only mounted secrets need

    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{name}_FILE cannot be read: {error}") from error


def _number(name: str, environ: Mapping[str, str], default: float) -> float:
    text = _find(name, environ)
    try:
        return float(text) if text else default
    except ValueError:
        raise ConfigurationError(f"{name} must be a number of seconds, not {text!r}") from None


def _whole(name: str, environ: Mapping[str, str], default: int) -> int:
    text = _find(name, environ)
    try:
        return int(text) if text else default
    except ValueError:
        raise ConfigurationError(f"{name} must be a whole number, not {text!r}") from None


def _token(text: str, what: str) -> str:
    """Refuse what cannot travel in a header; a masked secret copied from the portal is one."""
    if not text or not text.isascii() or not text.isprintable() or " " in text or "*" in text:
        raise ConfigurationError(f"the {what} is empty, masked or has characters it cannot have")
    return text


def check_address(url: str) -> str:
    """Return a base address as requests need it. Raises ConfigurationError."""
    fits = _ADDRESS.fullmatch(url)
    if fits is None or int(fits["port"] or 0) > 65_535:
        raise ConfigurationError(f"the base address must look like {DEFAULT_BASE_URL}, not {url!r}")
    return url.rstrip("/")
