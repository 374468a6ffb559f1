"""The environment as typed values. Read once, by the command line; everybody else is handed values.

Every variable may come from a file instead: `NAME_FILE` holds its path. A `CHECKSTAND_` name
that is not listed here is an error with a suggestion, because a misspelt setting is one that
silently does not hold.
"""

import difflib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from checkstand.errors import CheckstandError


class SettingsError(CheckstandError):
    """A setting is missing, misspelt or out of range; the message names it and the fix."""


#: Every setting with what it is for; `docs/settings.md` and the refusals come from here.
SETTINGS: Final[Mapping[str, str]] = {
    "CHECKSTAND_DATABASE_URL": "PostgreSQL to use; none: an embedded one in the data directory",
    "CHECKSTAND_DATABASE_OWNER_URL": "the same database as the role that may change its schema",
    "CHECKSTAND_BEHIND_PGBOUNCER": "1 when the database is reached through transaction pooling",
    "CHECKSTAND_DATA_DIR": "where the embedded database and a generated key live (./.checkstand)",
    "CHECKSTAND_HOST": "address to listen on (127.0.0.1)",
    "CHECKSTAND_PORT": "port to listen on (8080; 0 picks a free one)",
    "CHECKSTAND_PUBLIC_URL": "how shoppers and Binance reach the gateway (http://HOST:PORT)",
    "CHECKSTAND_SECRET_KEY": "encrypts stored secrets; several with commas, the newest first",
    "CHECKSTAND_SHOP_NAME": "what shoppers read at the checkout (Shop); read at the first start",
    "CHECKSTAND_CONFIRM_BY_QUERY": "payments to confirm: never, always or over a sum (never)",
    "CHECKSTAND_ALLOW_PRIVATE_WEBHOOKS": "1 lets webhooks go to private networks",
    "CHECKSTAND_DELIVERY_TIMEOUT": "seconds a webhook may take (15)",
    "CHECKSTAND_CALLS_PER_MINUTE": "calls to Binance a minute, per account and process (1200)",
    "CHECKSTAND_KEEP_NOTICES_DAYS": "days that raw notices are kept (90, at least 35)",
    "CHECKSTAND_KEEP_BUYERS_DAYS": "days that buyer_reference and client_ip are kept (180)",
    "CHECKSTAND_KEEP_KEYS_DAYS": "days that idempotency keys are kept (30, at least 30)",
    "CHECKSTAND_FULFILMENT_LEASE": "seconds until a paid order is offered to the shop again (900)",
    "CHECKSTAND_UNKNOWN_ALARM": "seconds until a person is told of an unknown outcome (900)",
    "CHECKSTAND_PAYING_ALARM": "seconds until a person is told of a payment without end (7200)",
    "CHECKSTAND_REPORT_DAYS": "days until no report file of a day means that it was quiet (3)",
    "CHECKSTAND_SETTLEMENT_DAYS": "the same of settlement files, which list refunds (3)",
    "CHECKSTAND_LOG_LEVEL": "debug, info, warning or error (info)",
    "CHECKSTAND_TEST": "1 unlocks what only crash tests may do",
    "CHECKSTAND_TEST_KILL_AT": "POINT:N ends the process at the n-th passing of a point",
    "CHECKSTAND_TEST_POINTS": "a directory whose files say which points to record or to end at",
    "CHECKSTAND_TEST_CHROMIUM": "the browser that the test suite drives",
    "BINANCE_PAY_API_KEY": "the API key of the merchant portal",
    "BINANCE_PAY_API_SECRET": "its secret",
    "BINANCE_PAY_BASE_URL": "where Binance Pay is (https://bpay.binanceapi.com)",
    "BINANCE_PAY_TIMEOUT": "seconds a call to Binance may take in all (10)",
}

_LOG_LEVELS: Final = ("debug", "info", "warning", "error")
_SECRET_KEY_LENGTH_MIN: Final = 32
#: A lease is held for as long as a call may take: more would stall an order after a crash.
_SECONDS_MAX: Final = 60
#: Whoever wants to wait longer than a week does not want to be told.
_PATIENCE_MAX: Final = 7 * 86_400
#: The one host that Binance documents; there is no sandbox (reference 1.1).
_LIVE_BASE_URL: Final = "https://bpay.binanceapi.com"
_AMOUNT: Final = re.compile(r"[0-9]{1,15}(\.[0-9]{1,8})?", re.ASCII)
_KILL_AT: Final = re.compile(r"(before|after) .+:[1-9][0-9]{0,8}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the environment says, checked."""

    database_url: str | None = field(default=None, repr=False)
    database_owner_url: str | None = field(default=None, repr=False)
    behind_pgbouncer: bool = False
    data_dir: Path = Path(".checkstand")
    host: str = "127.0.0.1"
    port: int = 8080
    public_url: str | None = None
    secret_keys: tuple[str, ...] = field(default=(), repr=False)
    shop_name: str = "Shop"
    confirm_above: Decimal | None = None  # None: a notice that binds is never confirmed
    allow_private_webhooks: bool = False
    delivery_timeout_seconds: float = 15.0
    calls_per_minute: int = 1200
    keep_notices_days: int = 90
    keep_buyers_days: int = 180
    keep_keys_days: int = 30
    fulfilment_lease_seconds: float = 900.0
    unknown_alarm_seconds: float = 900.0
    paying_alarm_seconds: float = 7200.0
    report_days: int = 3
    settlement_days: int = 3
    log_level: str = "info"
    kill_at: str | None = None
    points_dir: Path | None = None
    binance_api_key: str | None = field(default=None, repr=False)
    binance_api_secret: str | None = field(default=None, repr=False)
    binance_base_url: str = _LIVE_BASE_URL
    binance_timeout_seconds: float = 10.0


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Check the environment. Raises SettingsError."""
    _refuse_unknown(environment)
    values = {name: _read(environment, name) for name in SETTINGS}
    _refuse_half_a_pair(values)
    return Settings(
        database_url=values["CHECKSTAND_DATABASE_URL"],
        database_owner_url=values["CHECKSTAND_DATABASE_OWNER_URL"],
        behind_pgbouncer=_flag(values, "CHECKSTAND_BEHIND_PGBOUNCER"),
        data_dir=Path(values["CHECKSTAND_DATA_DIR"] or ".checkstand"),
        host=values["CHECKSTAND_HOST"] or "127.0.0.1",
        port=parse_port(values["CHECKSTAND_PORT"] or "8080", "CHECKSTAND_PORT"),
        public_url=_address(values, "CHECKSTAND_PUBLIC_URL", example="https://pay.example.com"),
        secret_keys=_secret_keys(values["CHECKSTAND_SECRET_KEY"]),
        shop_name=values["CHECKSTAND_SHOP_NAME"] or "Shop",
        confirm_above=_confirm_above(values["CHECKSTAND_CONFIRM_BY_QUERY"] or "never"),
        allow_private_webhooks=_flag(values, "CHECKSTAND_ALLOW_PRIVATE_WEBHOOKS"),
        delivery_timeout_seconds=_seconds(values, "CHECKSTAND_DELIVERY_TIMEOUT", default=15.0),
        calls_per_minute=_whole(
            values, "CHECKSTAND_CALLS_PER_MINUTE", default=1200, least=1, most=60_000
        ),
        # Money back in Binance's portal is found for 30 days: a notice is evidence for as long.
        keep_notices_days=_days(values, "CHECKSTAND_KEEP_NOTICES_DAYS", default=90, least=35),
        keep_buyers_days=_days(values, "CHECKSTAND_KEEP_BUYERS_DAYS", default=180, least=1),
        keep_keys_days=_days(values, "CHECKSTAND_KEEP_KEYS_DAYS", default=30, least=30),
        fulfilment_lease_seconds=_seconds(
            values, "CHECKSTAND_FULFILMENT_LEASE", default=900.0, most=_PATIENCE_MAX
        ),
        unknown_alarm_seconds=_seconds(
            values, "CHECKSTAND_UNKNOWN_ALARM", default=900.0, most=_PATIENCE_MAX
        ),
        paying_alarm_seconds=_seconds(
            values, "CHECKSTAND_PAYING_ALARM", default=7200.0, most=_PATIENCE_MAX
        ),
        report_days=_whole(values, "CHECKSTAND_REPORT_DAYS", default=3, least=1, most=60),
        settlement_days=_whole(values, "CHECKSTAND_SETTLEMENT_DAYS", default=3, least=1, most=60),
        log_level=_one_of(values, "CHECKSTAND_LOG_LEVEL", _LOG_LEVELS, default="info"),
        kill_at=_kill_at(values),
        points_dir=_points_dir(values),
        binance_api_key=values["BINANCE_PAY_API_KEY"],
        binance_api_secret=values["BINANCE_PAY_API_SECRET"],
        binance_base_url=_address(values, "BINANCE_PAY_BASE_URL", example=_LIVE_BASE_URL)
        or _LIVE_BASE_URL,
        binance_timeout_seconds=_seconds(values, "BINANCE_PAY_TIMEOUT", default=10.0),
    )


def parse_port(text: str, name: str) -> int:
    """Read a port. Raises SettingsError that names the setting or option."""
    if not (text.isascii() and text.isdigit() and len(text) <= 5) or int(text) > 65_535:
        raise SettingsError(
            "setting_invalid", f"{name} must be a port from 0 to 65535, not {text!r}", field=name
        )
    return int(text)


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    # Compared without what all of them begin with, or any two would look alike.
    tails = {_tail(name): name for name in SETTINGS}
    for name in sorted(environment):
        known = name.removesuffix("_FILE")
        if name.startswith("CHECKSTAND_") and known not in SETTINGS:
            close = difflib.get_close_matches(_tail(known), tails, n=1)
            hint = f"; did you mean {tails[close[0]]}?" if close else ""
            raise SettingsError("setting_unknown", f"there is no setting {name}{hint}", field=name)


def _tail(name: str) -> str:
    return name.removeprefix("CHECKSTAND_").removeprefix("BINANCE_PAY_")


def _read(environment: Mapping[str, str], name: str) -> str | None:
    value, file = environment.get(name), environment.get(f"{name}_FILE")
    if value and file:
        raise SettingsError("setting_twice", f"set {name} or {name}_FILE, not both", field=name)
    if file:
        name = f"{name}_FILE"
        try:
            value = Path(file).read_text("utf-8").strip()
        except (OSError, ValueError) as error:
            raise SettingsError(
                "setting_unreadable", f"{name} cannot be read: {error}", field=name
            ) from error
        if not value:
            raise SettingsError("setting_unreadable", f"{name} {file} is empty", field=name)
    # The value itself is not shown: it may be a secret.
    if value and any(unicodedata.category(sign) in {"Cc", "Cs"} for sign in value):
        raise SettingsError(
            "setting_invalid", f"{name} must be one line of plain UTF-8 text", field=name
        )
    return value or None


def _refuse_half_a_pair(values: Mapping[str, str | None]) -> None:
    key, secret = "BINANCE_PAY_API_KEY", "BINANCE_PAY_API_SECRET"
    for given, missing in ((key, secret), (secret, key)):
        if values[given] and not values[missing]:
            raise SettingsError(
                "setting_invalid", f"{given} is set, so {missing} is needed too", field=missing
            )


def _flag(values: Mapping[str, str | None], name: str) -> bool:
    return _one_of(values, name, ("0", "1"), default="0") == "1"


def _one_of(
    values: Mapping[str, str | None], name: str, allowed: tuple[str, ...], *, default: str
) -> str:
    value = values[name] or default
    if value not in allowed:
        raise SettingsError(
            "setting_invalid", f"{name} must be {' or '.join(allowed)}, not {value!r}", field=name
        )
    return value


def _address(values: Mapping[str, str | None], name: str, *, example: str) -> str | None:
    text = values[name]
    if text is None:
        return None
    try:
        parts = urlsplit(text)
        sound = parts.port != 0 and bool(parts.hostname)
    except ValueError:
        parts, sound = urlsplit(""), False
    plain = text.isascii() and not set(text) & set(' \\?#@"<>')
    if not sound or not plain or parts.scheme not in {"http", "https"}:
        raise SettingsError("setting_invalid", f"{name} must look like {example}", field=name)
    return text.rstrip("/")


def _secret_keys(text: str | None) -> tuple[str, ...]:
    keys = tuple(key.strip() for key in (text or "").split(",") if key.strip())
    for key in keys:
        if len(key) < _SECRET_KEY_LENGTH_MIN:
            raise SettingsError(
                "setting_invalid",
                f"CHECKSTAND_SECRET_KEY must have at least {_SECRET_KEY_LENGTH_MIN} random "
                "characters, such as `openssl rand -hex 32` prints",
                field="CHECKSTAND_SECRET_KEY",
            )
    return keys


def _seconds(
    values: Mapping[str, str | None], name: str, *, default: float, most: int = _SECONDS_MAX
) -> float:
    text = values[name]
    try:
        seconds = float(text) if text else default
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= most:
        raise SettingsError(
            "setting_invalid",
            f"{name} must be a number of seconds up to {most}, not {text!r}",
            field=name,
        )
    return seconds


def _days(values: Mapping[str, str | None], name: str, *, default: int, least: int) -> int:
    return _whole(values, name, default=default, least=least, most=36_500)


def _whole(
    values: Mapping[str, str | None], name: str, *, default: int, least: int, most: int
) -> int:
    text = values[name]
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):
        raise SettingsError(
            "setting_invalid",
            f"{name} must be a whole number from {least} to {most}, not {text!r}",
            field=name,
        )
    return int(text)


def _confirm_above(text: str) -> Decimal | None:
    """Read from which amount on a paid notice is confirmed: every amount is more than zero."""
    named = {"never": None, "always": Decimal(0)}
    if text in named:
        return named[text]
    if not _AMOUNT.fullmatch(text):
        raise SettingsError(
            "setting_invalid",
            "CHECKSTAND_CONFIRM_BY_QUERY must be never, always or an amount such as 100, "
            f"not {text!r}",
            field="CHECKSTAND_CONFIRM_BY_QUERY",
        )
    return Decimal(text)


def _kill_at(values: Mapping[str, str | None]) -> str | None:
    target = _for_crash_tests(values, "CHECKSTAND_TEST_KILL_AT")
    if target is not None and not _KILL_AT.fullmatch(target):
        raise SettingsError(
            "setting_invalid",
            "CHECKSTAND_TEST_KILL_AT must be like `after commit settle_notices:1`",
            field="CHECKSTAND_TEST_KILL_AT",
        )
    return target


def _points_dir(values: Mapping[str, str | None]) -> Path | None:
    directory = _for_crash_tests(values, "CHECKSTAND_TEST_POINTS")
    return None if directory is None else Path(directory)


def _for_crash_tests(values: Mapping[str, str | None], name: str) -> str | None:
    """Return the value of a setting that can end the process. Raises outside of crash tests."""
    if values[name] is not None and values["CHECKSTAND_TEST"] != "1":
        raise SettingsError(
            "setting_refused",
            f"{name} ends the process; it is for crash tests, which also set CHECKSTAND_TEST=1",
            field=name,
        )
    return values[name]
