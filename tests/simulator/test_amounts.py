"""Any decimal that goes in comes out with the same digits, in every place it appears."""

import json
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from checkstand.simulator import amounts
from checkstand.simulator.amounts import AMOUNT_MAX
from checkstand.simulator.rejections import Rejection

DECIMAL_TEXTS = st.from_regex(r"(0|[1-9][0-9]{0,14})(\.[0-9]{1,8})?", fullmatch=True).filter(
    lambda text: text.isascii() and Decimal(text) > 0
)
EIGHT_PLACES = Decimal("0.00000001")


@given(text=DECIMAL_TEXTS, as_number=st.booleans())
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_amount_keeps_its_digits_from_request_to_answers_and_webhook(
    shop: Any, body: Callable[..., dict[str, Any]], text: str, as_number: bool
) -> None:
    trade_no = f"T{len(shop.simulator.control.orders)}"
    fields = json.dumps(body(trade_no, orderAmount="AMOUNT"))
    raw = fields.replace('"AMOUNT"', text if as_number else f'"{text}"').encode()

    created = (await shop.call("/v3/order", raw=raw)).data
    shop.simulator.control.pay(trade_no, commission="0")
    queried = await shop.query(trade_no)

    eight = format(Decimal(text).quantize(EIGHT_PLACES), "f")
    webhook = shop.simulator.control.notices[-1].body.decode()
    assert created["totalFee"] == text
    assert queried["orderAmount"] == eight
    assert f'\\"totalFee\\":{eight},' in webhook


@given(text=st.text(max_size=20))
@settings(max_examples=300)
def test_text_that_is_no_plain_number_is_never_an_amount(text: str) -> None:
    assume(not (text.isascii() and text.replace(".", "", 1).isdigit()))

    with pytest.raises(Rejection, match="400100"):
        amounts.read_amount(text, name="orderAmount", accepts_text=True)


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (Decimal("1E-8"), "0.00000001"),
        (Decimal("1E+3"), "1000"),
        (AMOUNT_MAX, "999999999999999.99999999"),
        (7, "7"),
    ],
)
def test_unusual_notations_come_out_in_fixed_notation(sent: object, text: str) -> None:
    amount = amounts.read_amount(sent, name="orderAmount", accepts_text=True)

    assert amounts.as_sent(amount) == text


def test_webhook_numbers_have_eight_decimals_and_zero_is_bare() -> None:
    assert bytes(amounts.as_number(Decimal("12.5"))) == b"12.50000000"
    assert bytes(amounts.as_number(Decimal("0.00000001"))) == b"0.00000001"
    assert bytes(amounts.as_number(Decimal(0))) == b"0"


async def test_largest_amount_survives_the_whole_way(start: Callable[..., Awaitable[Any]]) -> None:
    shop = await start()

    created = await shop.create("T1", orderAmount="999999999999999.99999999")
    shop.simulator.control.pay("T1")

    assert created["totalFee"] == "999999999999999.99999999"
    assert (await shop.query("T1"))["orderAmount"] == "999999999999999.99999999"
