"""The environment is read once and strictly: a setting that does not hold is an error by name."""

from dataclasses import fields
from decimal import Decimal
from pathlib import Path

import pytest

from checkstand.settings import SETTINGS, Settings, SettingsError, parse_port, read_settings

KEY = "k" * 32


def test_empty_environment_gives_the_documented_defaults() -> None:
    settings = read_settings({})

    assert settings == Settings()
    assert (settings.host, settings.port, settings.data_dir) == (
        "127.0.0.1",
        8080,
        Path(".checkstand"),
    )
    assert settings.binance_base_url == "https://bpay.binanceapi.com"
    assert settings.secret_keys == ()
    assert not settings.allow_private_webhooks


def test_every_setting_is_read() -> None:
    settings = read_settings(
        {
            "CHECKSTAND_DATABASE_URL": "postgresql://app@db/shop",
            "CHECKSTAND_DATABASE_OWNER_URL": "postgresql://owner@db/shop",
            "CHECKSTAND_BEHIND_PGBOUNCER": "1",
            "CHECKSTAND_DATA_DIR": "/var/lib/checkstand",
            "CHECKSTAND_HOST": "::1",
            "CHECKSTAND_PORT": "0",
            "CHECKSTAND_PUBLIC_URL": "https://pay.example.com/",
            "CHECKSTAND_SECRET_KEY": f"{KEY}, {KEY}2",
            "CHECKSTAND_SHOP_NAME": "Teehaus am Fluß 🍵",
            "CHECKSTAND_CONFIRM_BY_QUERY": "100",
            "CHECKSTAND_ALLOW_PRIVATE_WEBHOOKS": "1",
            "CHECKSTAND_DELIVERY_TIMEOUT": "2.5",
            "CHECKSTAND_CALLS_PER_MINUTE": "60",
            "CHECKSTAND_KEEP_NOTICES_DAYS": "365",
            "CHECKSTAND_KEEP_BUYERS_DAYS": "7",
            "CHECKSTAND_KEEP_KEYS_DAYS": "60",
            "CHECKSTAND_FULFILMENT_LEASE": "60",
            "CHECKSTAND_UNKNOWN_ALARM": "600",
            "CHECKSTAND_PAYING_ALARM": "86400",
            "CHECKSTAND_REPORT_DAYS": "5",
            "CHECKSTAND_SETTLEMENT_DAYS": "10",
            "CHECKSTAND_LOG_LEVEL": "debug",
            "CHECKSTAND_TEST": "1",
            "CHECKSTAND_TEST_KILL_AT": "after commit settle_notices:1",
            "CHECKSTAND_TEST_POINTS": "/tmp/points",
            "BINANCE_PAY_API_KEY": "key",
            "BINANCE_PAY_API_SECRET": "secret",
            "BINANCE_PAY_BASE_URL": "http://127.0.0.1:8081",
            "BINANCE_PAY_TIMEOUT": "60",
        }
    )

    defaults = Settings()
    for field in fields(settings):  # none is forgotten on the way
        assert getattr(settings, field.name) != getattr(defaults, field.name), field.name
    assert settings.secret_keys == (KEY, f"{KEY}2")
    assert settings.public_url == "https://pay.example.com"
    assert settings.delivery_timeout_seconds == 2.5


@pytest.mark.parametrize(
    ("text", "limit"),
    [("never", None), ("always", Decimal(0)), ("100", Decimal(100)), ("0.5", Decimal("0.5"))],
)
def test_confirming_is_read_as_the_sum_above_which_it_is_done(
    text: str, limit: Decimal | None
) -> None:
    assert read_settings({"CHECKSTAND_CONFIRM_BY_QUERY": text}).confirm_above == limit


def test_secrets_do_not_show_in_the_representation() -> None:
    shown = repr(
        read_settings(
            {
                "CHECKSTAND_SECRET_KEY": KEY,
                "CHECKSTAND_DATABASE_URL": "postgresql://ada:hush@db/shop",
                "CHECKSTAND_DATABASE_OWNER_URL": "postgresql://eve:hush@db/shop",
                "BINANCE_PAY_API_KEY": "hush",
                "BINANCE_PAY_API_SECRET": "hush",
            }
        )
    )

    assert "hush" not in shown
    assert KEY not in shown


WRONG = {
    "unknown": ({"CHECKSTAND_COLOUR": "red"}, "setting_unknown", "CHECKSTAND_COLOUR"),
    "unknown file": ({"CHECKSTAND_COLOUR_FILE": "/x"}, "setting_unknown", "CHECKSTAND_COLOUR_FILE"),
    "word as port": ({"CHECKSTAND_PORT": "http"}, "setting_invalid", "CHECKSTAND_PORT"),
    "negative port": ({"CHECKSTAND_PORT": "-1"}, "setting_invalid", "CHECKSTAND_PORT"),
    "large port": ({"CHECKSTAND_PORT": "65536"}, "setting_invalid", "CHECKSTAND_PORT"),
    "endless port": ({"CHECKSTAND_PORT": "9" * 5_000}, "setting_invalid", "CHECKSTAND_PORT"),
    "superscript port": ({"CHECKSTAND_PORT": "8²"}, "setting_invalid", "CHECKSTAND_PORT"),
    "Arabic port": ({"CHECKSTAND_PORT": "٨٠"}, "setting_invalid", "CHECKSTAND_PORT"),
    "half a flag": (
        {"CHECKSTAND_ALLOW_PRIVATE_WEBHOOKS": "yes"},
        "setting_invalid",
        "CHECKSTAND_ALLOW_PRIVATE_WEBHOOKS",
    ),
    "loud logs": ({"CHECKSTAND_LOG_LEVEL": "LOUD"}, "setting_invalid", "CHECKSTAND_LOG_LEVEL"),
    "short key": ({"CHECKSTAND_SECRET_KEY": "hush"}, "setting_invalid", "CHECKSTAND_SECRET_KEY"),
    "short old key": (
        {"CHECKSTAND_SECRET_KEY": f"{KEY},hush"},
        "setting_invalid",
        "CHECKSTAND_SECRET_KEY",
    ),
    "kill outside of tests": (
        {"CHECKSTAND_TEST_KILL_AT": "after x:1"},
        "setting_refused",
        "CHECKSTAND_TEST_KILL_AT",
    ),
    "directed points outside of tests": (
        {"CHECKSTAND_TEST_POINTS": "/tmp/points"},
        "setting_refused",
        "CHECKSTAND_TEST_POINTS",
    ),
    "kill at no count": (
        {"CHECKSTAND_TEST": "1", "CHECKSTAND_TEST_KILL_AT": "after x"},
        "setting_invalid",
        "CHECKSTAND_TEST_KILL_AT",
    ),
    "kill at no moment": (
        {"CHECKSTAND_TEST": "1", "CHECKSTAND_TEST_KILL_AT": "during x:1"},
        "setting_invalid",
        "CHECKSTAND_TEST_KILL_AT",
    ),
    "kill at zero": (
        {"CHECKSTAND_TEST": "1", "CHECKSTAND_TEST_KILL_AT": "after x:0"},
        "setting_invalid",
        "CHECKSTAND_TEST_KILL_AT",
    ),
    "key without secret": (
        {"BINANCE_PAY_API_KEY": "hush"},
        "setting_invalid",
        "BINANCE_PAY_API_SECRET",
    ),
    "secret without key": (
        {"BINANCE_PAY_API_SECRET": "hush"},
        "setting_invalid",
        "BINANCE_PAY_API_KEY",
    ),
    "confirming in words": (
        {"CHECKSTAND_CONFIRM_BY_QUERY": "sometimes"},
        "setting_invalid",
        "CHECKSTAND_CONFIRM_BY_QUERY",
    ),
    "confirming above a negative sum": (
        {"CHECKSTAND_CONFIRM_BY_QUERY": "-1"},
        "setting_invalid",
        "CHECKSTAND_CONFIRM_BY_QUERY",
    ),
    "line break": (
        {"BINANCE_PAY_API_KEY": "hush\nx", "BINANCE_PAY_API_SECRET": "hush"},
        "setting_invalid",
        "BINANCE_PAY_API_KEY",
    ),
    "bytes that are no UTF-8": (
        {"CHECKSTAND_SHOP_NAME": "\udcff"},
        "setting_invalid",
        "CHECKSTAND_SHOP_NAME",
    ),
}


@pytest.mark.parametrize(("environment", "code", "name"), WRONG.values(), ids=WRONG)
def test_wrong_setting_is_named(environment: dict[str, str], code: str, name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings(environment)

    assert (caught.value.code, caught.value.field) == (code, name)
    assert name in caught.value.message
    assert "hush" not in caught.value.message


@pytest.mark.parametrize(
    "name", ["CHECKSTAND_DELIVERY_TIMEOUT", "BINANCE_PAY_TIMEOUT"], ids=["delivery", "binance"]
)
@pytest.mark.parametrize("text", ["0", "-1", "61", "nan", "inf", "1e9", "ten", "1,5", " "])
def test_timeout_is_a_number_of_seconds(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} must be a number of seconds"):
        read_settings({name: text})


@pytest.mark.parametrize("name", ["CHECKSTAND_PUBLIC_URL", "BINANCE_PAY_BASE_URL"])
@pytest.mark.parametrize(
    "text",
    [
        "pay.example.com",
        "ftp://pay.example.com",
        "https://",
        "https:///pay",
        "https://[",
        "https://pay.example.com:99999",
        "https://pay.example.com:0",
        "https://pay.example.com:http",
        "https://ada:hush@pay.example.com",
        "https://pay.example.com/?x=1",
        "https://pay.example.com/#x",
        "https://pay.example.com/a b",
        "https://zahlen.exämple.com",
        "javascript:alert(1)",
    ],
)
def test_address_must_be_one(name: str, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({name: text})

    assert caught.value.message.startswith(f"{name} must look like https://")
    assert "hush" not in caught.value.message


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("CHECKSTAND_DATABSE_URL", "CHECKSTAND_DATABASE_URL"),
        ("CHECKSTAND_PROT", "CHECKSTAND_PORT"),
        ("CHECKSTAND_SECRET_KEYS", "CHECKSTAND_SECRET_KEY"),
        ("CHECKSTAND_SECRETKEY_FILE", "CHECKSTAND_SECRET_KEY"),
        ("CHECKSTAND_API_SECRET", "BINANCE_PAY_API_SECRET"),
        ("CHECKSTAND_BINANCE_PAY_BASE_URL", "BINANCE_PAY_BASE_URL"),
    ],
)
def test_misspelt_setting_is_put_right(wrong: str, right: str) -> None:
    with pytest.raises(SettingsError, match=f"there is no setting {wrong}; did you mean {right}"):
        read_settings({wrong: "x"})


def test_nothing_near_is_suggested_for_nothing_near() -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({"CHECKSTAND_ZZZZZZ": "x"})

    assert caught.value.message == "there is no setting CHECKSTAND_ZZZZZZ"


def test_empty_setting_is_as_good_as_none() -> None:
    assert read_settings(dict.fromkeys(SETTINGS, "")) == Settings()


@pytest.mark.parametrize("name", SETTINGS)
def test_any_setting_may_come_from_a_file(name: str, tmp_path: Path) -> None:
    values = {
        "CHECKSTAND_PORT": "9",
        "CHECKSTAND_PUBLIC_URL": "https://pay.example.com",
        "CHECKSTAND_SECRET_KEY": KEY,
        "CHECKSTAND_KEEP_NOTICES_DAYS": "35",
        "CHECKSTAND_KEEP_KEYS_DAYS": "31",
        "CHECKSTAND_LOG_LEVEL": "error",
        "CHECKSTAND_TEST_KILL_AT": "before x:1",
        "BINANCE_PAY_BASE_URL": "https://pay.example.com",
    }
    company = {
        "CHECKSTAND_TEST_KILL_AT": {"CHECKSTAND_TEST": "1"},
        "CHECKSTAND_TEST_POINTS": {"CHECKSTAND_TEST": "1"},
        "BINANCE_PAY_API_KEY": {"BINANCE_PAY_API_SECRET": "x"},
        "BINANCE_PAY_API_SECRET": {"BINANCE_PAY_API_KEY": "x"},
    }.get(name, {})
    value = values.get(name, "1")
    file = tmp_path / "mounted"
    file.write_text(f"{value}\n")

    assert read_settings(company | {f"{name}_FILE": str(file)}) == read_settings(
        company | {name: value}
    )
    with pytest.raises(SettingsError, match=f"set {name} or {name}_FILE, not both"):
        read_settings(company | {name: value, f"{name}_FILE": str(file)})


def test_file_that_gives_nothing_is_an_error(tmp_path: Path) -> None:
    empty, binary = tmp_path / "empty", tmp_path / "binary"
    empty.write_text("\n")
    binary.write_bytes(b"\xff\xfe")
    lines = tmp_path / "lines"
    lines.write_text("one\ntwo")

    for path, code in (
        (tmp_path / "none", "setting_unreadable"),
        (tmp_path, "setting_unreadable"),
        (empty, "setting_unreadable"),
        (binary, "setting_unreadable"),
        (lines, "setting_invalid"),
    ):
        with pytest.raises(SettingsError) as caught:
            read_settings({"CHECKSTAND_SECRET_KEY_FILE": str(path)})
        assert (caught.value.code, caught.value.field) == (code, "CHECKSTAND_SECRET_KEY_FILE")


def test_port_of_an_option_is_named_after_it() -> None:
    assert parse_port("0", "--port") == 0
    with pytest.raises(SettingsError, match="--port must be a port from 0 to 65535, not 'x'"):
        parse_port("x", "--port")
