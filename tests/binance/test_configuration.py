from pathlib import Path
from typing import Any

import pytest

from checkstand.binance import AsyncBinancePay, BinancePay, ConfigurationError
from checkstand.binance.configuration import DEFAULT_BASE_URL, Configuration, configure

BOTH = {"BINANCE_PAY_API_KEY": "the-key", "BINANCE_PAY_API_SECRET": "the-secret"}


def configured(environ: dict[str, str], **given: Any) -> Configuration:
    nothing = dict.fromkeys(("api_key", "api_secret", "base_url", "timeout_seconds", "max_retries"))
    return configure(**{**nothing, **given}, environ=environ)


def test_environment_fills_in_what_is_not_given() -> None:
    found = configured(
        {
            **BOTH,
            "BINANCE_PAY_BASE_URL": "http://127.0.0.1:8081/",
            "BINANCE_PAY_TIMEOUT": "2.5",
            "BINANCE_PAY_MAX_RETRIES": "0",
        }
    )

    assert found.credentials.api_key == "the-key"
    assert found.credentials.api_secret == "the-secret"
    assert found.base_url == "http://127.0.0.1:8081"
    assert (found.timeout_seconds, found.max_retries) == (2.5, 0)


def test_arguments_win_over_the_environment() -> None:
    found = configured(
        {**BOTH, "BINANCE_PAY_TIMEOUT": "nonsense"},
        api_key="other",
        timeout_seconds=3,
        max_retries=0,
    )

    assert (found.credentials.api_key, found.timeout_seconds) == ("other", 3)


def test_without_an_address_it_is_the_documented_host() -> None:
    assert configured(BOTH).base_url == DEFAULT_BASE_URL == "https://bpay.binanceapi.com"


def test_secrets_can_be_mounted_as_files(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from-a-file\n")

    found = configured(
        {"BINANCE_PAY_API_KEY": "k", "BINANCE_PAY_API_SECRET_FILE": str(tmp_path / "secret")}
    )

    assert found.credentials.api_secret == "from-a-file"


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({}, "set BINANCE_PAY_API_KEY"),
        ({"BINANCE_PAY_API_KEY": "k"}, "set BINANCE_PAY_API_SECRET"),
        ({"BINANCE_PAY_API_KEY": "k", "BINANCE_PAY_SECRET_KEY": "s"}, "BINANCE_PAY_SECRET_KEY is"),
        ({"BINANCEPAY_API_KEY": "k"}, "BINANCEPAY_API_KEY is set"),
        ({**BOTH, "BINANCE_PAY_API_KEY_FILE": "x"}, "not both"),
        ({"BINANCE_PAY_API_KEY_FILE": "/nowhere/at/all"}, "cannot be read"),
        ({**BOTH, "BINANCE_PAY_API_SECRET": "********abcd"}, "masked"),
        ({**BOTH, "BINANCE_PAY_API_KEY": "a\nb"}, "API key"),
        ({**BOTH, "BINANCE_PAY_TIMEOUT": "soon"}, "BINANCE_PAY_TIMEOUT"),
        ({**BOTH, "BINANCE_PAY_TIMEOUT": "0"}, "more than 0"),
        ({**BOTH, "BINANCE_PAY_TIMEOUT": "nan"}, "more than 0"),
        ({**BOTH, "BINANCE_PAY_MAX_RETRIES": "2.5"}, "BINANCE_PAY_MAX_RETRIES"),
        ({**BOTH, "BINANCE_PAY_MAX_RETRIES": "-1"}, "retries"),
    ],
)
def test_what_cannot_work_is_said_at_once(environ: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        configured(environ)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "bpay.binanceapi.com",
        "ftp://x",
        "https://",
        "http://:80",
        "https://u:p@x",
        "https://x/?a",
        "https://x y",
        "https://é.example",
        "https://x:port",
        "https://x:99999",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="base address"):
        configured(BOTH, base_url=url)


def test_no_error_shows_a_secret() -> None:
    with pytest.raises(ConfigurationError) as caught:
        configured({**BOTH, "BINANCE_PAY_API_SECRET": "hush hush"})

    assert "hush" not in str(caught.value)


async def test_clients_do_not_show_their_secrets() -> None:
    given: Any = {"api_key": "abcdefghijklmnop", "api_secret": "hush-hush-hush-hush"}
    async with AsyncBinancePay(**given) as one:
        with BinancePay(**given) as other:
            for client in (one, other):
                assert "abcd***" in repr(client)
                assert "hush" not in repr(client)
                assert "efgh" not in repr(client)
