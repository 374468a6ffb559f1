"""Whatever body a clumsy or hostile shop sends to open an order, it learns what was wrong.

Nothing of it is written, and Binance hears nothing of it.
"""

import json
import uuid
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.asyncio(loop_scope="module")

CREATE: Final = "/api/payments/binance/create"
ENDPOINTS: Final = "/api/webhook-endpoints"
SOUND: Final = {
    "merchant_order_id": "shop-1",
    "amount": "12.50",
    "currency": "USDT",
    "description": "A tin of green tea",
}
ABSENT: Final = object()


def order(**changes: Any) -> bytes:
    """Write a sound order with some fields changed or left out."""
    fields = {"merchant_order_id": uuid.uuid4().hex}
    merged = SOUND | fields | changes
    return json.dumps({k: v for k, v in merged.items() if v is not ABSENT}).encode()


def raw(old: str, new: str, **changes: Any) -> bytes:
    """Write a sound order and replace a piece of its text: for JSON that json cannot write."""
    text = order(**changes).decode()
    assert old in text
    return text.replace(old, new).encode()


AMOUNTS: Final = {
    **{f"{text!r}": text for text in ("0", "0.00000000", "-1", "+1", "1e3", "1E3", "1.", ".5")},
    **{f"{text!r}": text for text in ("01", "1,5", "1 000", "1_000", " 1", "1\n", "", "NaN", "٣")},
    **{f"{text!r}": text for text in ("Infinity", "0x10", "1.123456789", "1" * 16, "１２")},
    "an integer": 12,
    "a float": 12.5,
    "a boolean": True,
    "a list": ["12.50"],
    "an object": {"value": "12.50"},
}

LINES: Final = [{"name": "tea", "unit_amount": "6.00", "quantity": 2}]

#: What is wrong, the changed fields, and the field that the answer names.
FIELDS: Final[dict[str, tuple[dict[str, Any], str | None]]] = {
    "unknown field": ({"ammount": "1"}, "ammount"),
    "unknown field with NUL": ({"a\0b": 1}, "a\0b"),
    "very long unknown field": ({"f" * 60_000: 1}, "f" * 64),
    "no id": ({"merchant_order_id": ABSENT}, "merchant_order_id"),
    "empty id": ({"merchant_order_id": ""}, "merchant_order_id"),
    "null id": ({"merchant_order_id": None}, "merchant_order_id"),
    "number as id": ({"merchant_order_id": 7}, "merchant_order_id"),
    "long id": ({"merchant_order_id": "a" * 129}, "merchant_order_id"),
    "id with NUL": ({"merchant_order_id": "a\0b"}, "merchant_order_id"),
    "id with a line break": ({"merchant_order_id": "a\n"}, "merchant_order_id"),
    "id with a C1 control": ({"merchant_order_id": "a\x85"}, "merchant_order_id"),
    "id with a line separator": ({"merchant_order_id": "a\u2028"}, "merchant_order_id"),
    "lower-case currency": ({"currency": "usdt"}, "currency"),
    "currency with a space": ({"currency": "US DT"}, "currency"),
    "full-width currency": ({"currency": "ＵＳＤＴ"}, "currency"),
    "long currency": ({"currency": "A" * 17}, "currency"),
    "number as currency": ({"currency": 1}, "currency"),
    "no currency": ({"currency": ABSENT}, "currency"),
    "no amount": ({"amount": ABSENT}, "amount"),
    "no price at all": ({"amount": ABSENT, "currency": ABSENT}, "amount"),
    "both prices": ({"fiat_amount": "10.00", "fiat_currency": "EUR"}, "fiat_amount"),
    "half a fiat price": (
        {"amount": ABSENT, "currency": ABSENT, "fiat_amount": "10.00"},
        "fiat_currency",
    ),
    "other half of a fiat price": (
        {"amount": ABSENT, "currency": ABSENT, "fiat_currency": "EUR"},
        "fiat_amount",
    ),
    "odd fiat currency": (
        {"amount": ABSENT, "currency": ABSENT, "fiat_amount": "1", "fiat_currency": "EURO"},
        "fiat_currency",
    ),
    "empty description": ({"description": ""}, "description"),
    "long description": ({"description": "a" * 257}, "description"),
    "description with an escape": ({"description": "\x1b[31mred"}, "description"),
    "goods that do not add up": ({"goods": LINES}, "goods"),
    "goods as an object": ({"goods": {"name": "tea"}}, "goods"),
    "too many goods": ({"goods": [{"name": "tea"}] * 101}, "goods"),
    "goods without a name": ({"goods": [{}]}, "goods.0.name"),
    "goods with an unknown field": ({"goods": [{"name": "tea", "x": 1}]}, "goods.0.x"),
    "no goods of a line": ({"goods": [{"name": "tea", "quantity": 0}]}, "goods.0.quantity"),
    "half a piece": ({"goods": [{"name": "tea", "quantity": 1.5}]}, "goods.0.quantity"),
    "true pieces": ({"goods": [{"name": "tea", "quantity": True}]}, "goods.0.quantity"),
    "float unit price": ({"goods": [{"name": "tea", "unit_amount": 6.0}]}, "goods.0.unit_amount"),
    "odd category": ({"goods": [{"name": "tea", "category": "food"}]}, "goods.0.category"),
    "odd goods type": ({"goods": [{"name": "tea", "goods_type": "03"}]}, "goods.0.goods_type"),
    "odd coins": ({"support_pay_currency": "usdt;bnb"}, "support_pay_currency"),
    "script as address": ({"return_url": "javascript:alert(1)"}, "return_url"),
    "data as address": ({"cancel_url": "data:text/html,x"}, "cancel_url"),
    "address with a password": ({"return_url": "https://a:b@shop.example/"}, "return_url"),
    "address with an empty user": ({"return_url": "https://@shop.example/"}, "return_url"),
    "address without a host": ({"return_url": "https:///thanks"}, "return_url"),
    "address without a scheme": ({"return_url": "//shop.example/"}, "return_url"),
    "address with an odd port": ({"return_url": "https://shop.example:99999/"}, "return_url"),
    "address with a broken host": ({"return_url": "https://[::1/"}, "return_url"),
    "address with a space": ({"return_url": "https://shop.example/a b"}, "return_url"),
    "address with a backslash": ({"return_url": "https://evil.example\\shop"}, "return_url"),
    "address with a quote": ({"return_url": 'https://shop.example/"><b>'}, "return_url"),
    "long address": ({"return_url": "https://shop.example/" + "a" * 512}, "return_url"),
    "metadata as a list": ({"metadata": ["a"]}, "metadata"),
    "null metadata": ({"metadata": None}, "metadata"),
    "too much metadata": ({"metadata": {f"k{i}": "v" for i in range(21)}}, "metadata"),
    "number in metadata": ({"metadata": {"a": 1}}, "metadata.a"),
    "long metadata key": ({"metadata": {"k" * 41: "v"}}, "metadata." + "k" * 41),
    "long metadata value": ({"metadata": {"k": "v" * 501}}, "metadata.k"),
    "control character in metadata": ({"metadata": {"k": "\x07"}}, "metadata.k"),
    "deep metadata": ({"metadata": {"k": {"k": {"k": {}}}}}, "metadata.k"),
    "too short a life": ({"expires_in": 59}, "expires_in"),
    "too long a life": ({"expires_in": 604_801}, "expires_in"),
    "life as a boolean": ({"expires_in": True}, "expires_in"),
    "life as a float": ({"expires_in": 60.0}, "expires_in"),
    "life as text": ({"expires_in": "60"}, "expires_in"),
    "huge life": ({"expires_in": 10**400}, "expires_in"),
    "null life": ({"expires_in": None}, "expires_in"),
    "empty cart": ({"cart_id": ""}, "cart_id"),
    "odd terminal": ({"terminal": "TELETYPE"}, "terminal"),
}


@pytest.mark.parametrize("amount", AMOUNTS.values(), ids=AMOUNTS)
@pytest.mark.parametrize("field", ["amount", "fiat_amount"])
async def test_amount_that_is_none_is_refused(
    door: Any, unchanged: None, amount: object, field: str
) -> None:
    fiat = {"amount": ABSENT, "currency": ABSENT, "fiat_currency": "EUR"}
    changes = {field: amount} if field == "amount" else {**fiat, field: amount}

    answer = await door.send("POST", CREATE, order(**changes))

    answer.must_refuse(422, "invalid_request", field)
    assert answer.json["errors"][0]["field"] == field


@pytest.mark.parametrize(("changes", "field"), FIELDS.values(), ids=FIELDS)
async def test_wrong_field_is_refused_by_its_name(
    door: Any, unchanged: None, changes: dict[str, Any], field: str | None
) -> None:
    answer = await door.send("POST", CREATE, order(**changes))

    answer.must_refuse(422, "invalid_request", field)


async def test_every_wrong_field_is_named_up_to_a_limit(door: Any, unchanged: None) -> None:
    few = await door.send("POST", CREATE, order(amount=1, currency="x", terminal=""))
    many = await door.send("POST", CREATE, order(**{f"f{i}": 1 for i in range(3_000)}))

    assert [fault["field"] for fault in few.json["errors"]] == ["amount", "currency", "terminal"]
    many.must_refuse(422, "invalid_request", "f0")
    assert len(many.json["errors"]) == 20


UNREADABLE: Final = {
    "nothing": b"",
    "null": b"null",
    "a list": b"[]",
    "a text": b'"order"',
    "a number": b"1",
    "half an object": order()[:-1],
    "something behind it": order() + b"}",
    "single quotes": b"{'merchant_order_id': 'a'}",
    "bytes that are not UTF-8": raw("green", "XX").replace(b"XX", b"\xff\xfe"),
    "an overlong UTF-8 form": raw("green", "XX").replace(b"XX", b"\xc0\x80"),
    "a surrogate in UTF-8": raw("green", "XX").replace(b"XX", b"\xed\xa0\x80"),
    "a byte order mark": b"\xef\xbb\xbf" + order(),
    "UTF-16": order().decode().encode("utf-16"),
    "a raw control character": raw("green", "\x01"),
    "NaN": raw('"12.50"', "NaN"),
    "Infinity": raw('"12.50"', "-Infinity"),
    "a price given twice": raw('"currency"', '"amount": "1.00", "currency"'),
    "metadata given twice": raw('"M": 777', '"a": "1", "a": "2"', metadata={"M": 777}),
    "deep lists": b"[" * 60_000,
    "deep objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "deep metadata": raw("777", "[" * 20_000 + "]" * 20_000, metadata={"k": 777}),
    "an integer of 5,000 digits": raw("777", "9" * 5_000, expires_in=777),
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("path", [CREATE, ENDPOINTS])
async def test_body_that_is_no_json_object_is_refused(
    door: Any, unchanged: None, body: bytes, path: str
) -> None:
    answer = await door.send("POST", path, body)

    answer.must_refuse(400, "malformed_json")


SURROGATES: Final = {
    "description": (raw("green", "\\ud800"), "description"),
    "merchant_order_id": (raw("QQ", "\\udfff", merchant_order_id="QQ"), "merchant_order_id"),
    "amount": (raw("12.50", "\\ud83d"), "amount"),
    "metadata value": (raw("QQ", "\\ud800", metadata={"k": "QQ"}), "metadata.k"),
    "name of a field": (raw("QQ", "\\ud800", QQ="1"), None),
}


@pytest.mark.parametrize(("body", "field"), SURROGATES.values(), ids=SURROGATES)
async def test_lone_surrogate_is_refused(
    door: Any, unchanged: None, body: bytes, field: str | None
) -> None:
    answer = await door.send("POST", CREATE, body)

    answer.must_refuse(422, "invalid_request", field)


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.from_regex(r"\A[0-9]{1,3}(\.[0-9]{1,9})?\Z")
    | st.sampled_from(["USDT", "EUR", "01", "WEB", "https://shop.example/"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8) | st.sampled_from(["name", "k"]), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELD_NAMES: Final = [
    *SOUND,
    *("fiat_amount", "fiat_currency", "goods", "metadata", "support_pay_currency"),
    *("return_url", "cancel_url", "expires_in", "cart_id", "terminal"),
]
BODIES = st.dictionaries(
    st.sampled_from(FIELD_NAMES) | st.text(max_size=5),
    JSON_VALUES,
    max_size=8,
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(fields=BODIES, sound=st.booleans(), cut=st.integers(0, 400), noise=st.binary(max_size=3))
async def test_no_body_whatever_makes_the_gateway_stumble(
    door: Any, fields: dict[str, Any], sound: bool, cut: int, noise: bytes
) -> None:
    text = json.dumps((SOUND if sound else {}) | fields)
    body = text.encode() if cut > len(text) else text[:cut].encode() + noise + text[cut:].encode()

    answer = await door.send("POST", CREATE, body)

    assert answer.status < 500, (answer.status, body)
    if answer.status >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json["detail"]
