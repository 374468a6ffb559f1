import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkstand.binance.wire import (
    ANY_JSON,
    Amount,
    Id,
    Moment,
    amount_to_send,
    decoder,
    encode,
    milliseconds,
)


class Parcel(msgspec.Struct):
    amount: Amount | None = None
    id: Id | None = None
    at: Moment | None = None


read = decoder(Parcel).decode


@pytest.mark.parametrize(
    ("written", "digits"),
    [
        (b"12.50000000", "12.50000000"),
        (b'"12.50000000"', "12.50000000"),
        (b"0", "0"),
        (b"1", "1"),
        (b"0.00000001", "1E-8"),
        (b"1e-8", "1E-8"),
        (b"123456789012345678.12345678", "123456789012345678.12345678"),
        (b'"999999999999999999999999999999.99999999"', "999999999999999999999999999999.99999999"),
        (b"-0.5", "-0.5"),
    ],
)
def test_amounts_keep_their_digits_as_number_or_text(written: bytes, digits: str) -> None:
    amount = read(b'{"amount":%b}' % written).amount

    assert type(amount) is Decimal
    assert str(amount) == digits


@pytest.mark.parametrize(
    "written",
    [
        b'"NaN"',
        b'"Infinity"',
        b'""',
        b'" 1"',
        b'"1_0"',
        b'"0x1"',
        b"true",
        b"[]",
        b"{}",
        b"1e400",
        b'"1E+99999"',
        b"1e-400",
        b"9" * 5000,
        '"１"'.encode(),
    ],
)
def test_what_is_no_amount_is_a_value_error(written: bytes) -> None:
    with pytest.raises(ValueError):
        read(b'{"amount":%b}' % written)


plain_digits = st.from_regex(r"\A(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?\Z")


@settings(deadline=None)
@given(plain_digits, st.booleans())
def test_any_decimal_text_comes_in_with_the_same_digits(text: str, quoted: bool) -> None:
    written = f'"{text}"' if quoted else text

    amount = read(f'{{"amount":{written}}}'.encode()).amount

    assert f"{amount:f}" == text


@settings(deadline=None)
@given(st.decimals(min_value="0.00000001", max_value=10**15, places=8))
def test_any_amount_goes_out_as_a_number_with_the_same_digits(amount: Decimal) -> None:
    body = encode({"amount": amount_to_send(amount, "amount")})

    assert body == b'{"amount":%b}' % f"{amount:f}".encode()
    assert b"E" not in body
    assert read(body).amount == amount


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (Decimal("1E-8"), b"0.00000001"),
        (Decimal("1E+3"), b"1000"),
        (Decimal("12.50"), b"12.50"),
        ("25.17", b"25.17"),
        ("1e2", b"100"),
    ],
)
def test_amounts_go_out_in_fixed_notation(value: Decimal | str, written: bytes) -> None:
    assert encode({"amount": amount_to_send(value, "amount")}) == b'{"amount":%b}' % written


@pytest.mark.parametrize("value", [25.17, 1, True, None, b"1"])
def test_only_decimal_and_text_are_amounts(value: Any) -> None:
    with pytest.raises(TypeError, match="price must be a Decimal or text"):
        amount_to_send(value, "price")


@pytest.mark.parametrize(
    "value",
    [
        "0",
        "-1",
        "0.000000001",
        "1.000000000",
        "NaN",
        "Infinity",
        "",
        "1,5",
        " 1",
        "1_0",
        "1e99",
        Decimal("NaN"),
        Decimal("Infinity"),
        Decimal(0),
    ],
)
def test_wrong_amounts_are_value_errors_that_name_the_field(value: Any) -> None:
    with pytest.raises(ValueError, match="price"):
        amount_to_send(value, "price")


@pytest.mark.parametrize("content", [{"a": 1.5}, {"a": {"b": [0.1]}}, {"a": [{"b": float("nan")}]}])
def test_a_float_anywhere_in_a_request_is_a_type_error(content: Any) -> None:
    with pytest.raises(TypeError, match="float"):
        encode(content)


def test_text_goes_out_as_it_is() -> None:
    text = 'Café ☕ "quoted" \\ a, b: c/d \n'

    assert json.loads(encode({"t": text}))["t"] == text
    assert "Café ☕".encode() in encode({"t": text})


@pytest.mark.parametrize(
    "written", [b"29383937493038367292", b'"29383937493038367292"', b"270342174837100001"]
)
def test_ids_come_in_as_text_whatever_their_size(written: bytes) -> None:
    assert read(b'{"id":%b}' % written).id == written.decode().strip('"')


@pytest.mark.parametrize("written", [b"1.5", b"true", b"[]", b"1e30", b"{}"])
def test_what_is_no_id_is_a_value_error(written: bytes) -> None:
    with pytest.raises(ValueError):
        read(b'{"id":%b}' % written)


@pytest.mark.parametrize("written", [b"1767229200123", b'"1767229200123"'])
def test_times_come_in_aware_and_exact(written: bytes) -> None:
    at = read(b'{"at":%b}' % written).at

    assert at == datetime(2026, 1, 1, 1, 0, 0, 123000, UTC)
    assert type(at) is datetime


@pytest.mark.parametrize(
    "written", [b"-1", b"99999999999999999", b"9" * 30, b'"soon"', b"1.5", b"true", b'""']
)
def test_what_is_no_time_is_a_value_error(written: bytes) -> None:
    with pytest.raises(ValueError):
        read(b'{"at":%b}' % written)


def test_times_go_out_as_milliseconds_whatever_their_zone() -> None:
    at = datetime(2026, 1, 1, 6, 30, 0, 123999, timezone(timedelta(hours=5, minutes=30)))

    assert milliseconds(at, "at") == 1767229200123


def test_naive_times_are_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        milliseconds(datetime(2026, 1, 1), "at")  # noqa: DTZ001


def test_unmodelled_json_loses_nothing() -> None:
    written = b'{"a":[0.10000000000000000000001,29383937493038367292],"b":null}'

    assert ANY_JSON.decode(written) == {
        "a": [Decimal("0.10000000000000000000001"), 29383937493038367292],
        "b": None,
    }
