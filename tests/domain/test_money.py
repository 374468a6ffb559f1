"""Money is exact from text to text, and everything that is not plain decimal text is refused."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkstand.domain.money import (
    Money,
    MoneyError,
    parse_amount,
    parse_crypto,
    parse_fiat,
    render_amount,
)

_WHOLE = st.one_of(st.just("0"), st.from_regex(r"[1-9][0-9]{0,14}", fullmatch=True))
_DECIMALS = st.one_of(st.just(""), st.from_regex(r"\.[0-9]{1,8}", fullmatch=True))
_AMOUNTS = st.builds(str.__add__, _WHOLE, _DECIMALS).filter(lambda text: Decimal(text) > 0)


@given(_AMOUNTS)
def test_accepted_text_comes_back_digit_for_digit(text: str) -> None:
    assert render_amount(parse_amount(text)) == text


@given(st.text())
def test_any_other_text_is_refused_or_comes_back_as_it_was(text: str) -> None:
    try:
        amount = parse_amount(text)
    except MoneyError:
        return
    assert render_amount(amount) == text


@pytest.mark.parametrize(
    "text",
    ["1", "12.50", "0.00000001", "999999999999999.99999999", "100", "0.10", "1000000.0"],
)
def test_plain_amounts_are_read(text: str) -> None:
    assert parse_amount(text) == Decimal(text)


@pytest.mark.parametrize(
    "value",
    [
        12.5,
        12,
        True,
        None,
        Decimal("12.50"),
        b"12.50",
        "",
        "0",
        "0.00000000",
        "-1",
        "+1",
        "-0.5",
        "1e3",
        "1E-3",
        "1.",
        ".5",
        "01",
        "00.5",
        "1,5",
        "1_000",
        " 1",
        "1 ",
        "1\n",
        "NaN",
        "Infinity",
        "0x10",
        "١٢",  # digits, but not ours
        "１２",
        "1.123456789",  # nine decimals
        "1234567890123456",  # sixteen digits before the point
    ],
)
def test_anything_but_a_positive_plain_amount_is_refused(value: object) -> None:
    with pytest.raises(MoneyError):
        parse_amount(value)


@pytest.mark.parametrize("number", [Decimal("1E+3"), Decimal("1E-8"), Decimal("0E-8")])
def test_amounts_are_written_without_an_exponent(number: Decimal) -> None:
    text = render_amount(number)

    assert "E" not in text
    assert Decimal(text) == number


@pytest.mark.parametrize("code", ["USDT", "BTC", "1INCH", "USD1"])
def test_crypto_codes_are_an_open_set(code: str) -> None:
    assert parse_crypto(code) == code


@pytest.mark.parametrize("code", ["usdt", "", "U", "USDT ", "USDT\n", "U" * 17, "ÜSD", 7, None])
def test_what_is_no_asset_code_is_refused(code: object) -> None:
    with pytest.raises(MoneyError):
        parse_crypto(code)


def test_fiat_codes_are_three_letters() -> None:
    assert parse_fiat("EUR") == "EUR"


@pytest.mark.parametrize("code", ["eur", "EU", "EURO", "EU1", "EUR\n", 978, None])
def test_what_is_no_fiat_code_is_refused(code: object) -> None:
    with pytest.raises(MoneyError):
        parse_fiat(code)


@pytest.mark.parametrize("amount", [12.5, 12, "12.50"])
def test_money_made_from_anything_but_decimal_raises(amount: object) -> None:
    with pytest.raises(TypeError):
        Money(amount, "USDT")  # type: ignore[arg-type]


def test_equal_amounts_are_equal_whatever_digits_they_are_written_with() -> None:
    assert Money(Decimal("12.50"), "USDT") == Money(Decimal("12.50000000"), "USDT")
    assert Money(Decimal("12.50"), "USDT") != Money(Decimal("12.50"), "USDC")
    assert str(Money(Decimal("12.50"), "USDT")) == "12.50 USDT"
