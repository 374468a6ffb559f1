"""Whatever a stranger sends, or Binance signs: an answer of ours, never an accident."""

import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from checkstand.binance import (
    Notification,
    SignatureVerificationError,
    UnreadableNotification,
    verify,
)

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
NAMES = ("Certificate-SN", "Nonce", "Timestamp", "Signature")

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
field_names = st.sampled_from(
    [
        "merchantTradeNo",
        "currency",
        "totalFee",
        "commission",
        "transactTime",
        "refundInfo",
        "paymentInfo",
        "paymentInstructions",
        "downloadId",
        "status",
        "openUserId",
    ]
)
field_values = json_values | st.sampled_from(["1e999999", "NaN", "-0", "0.1", 10**30, 1e308, "{}"])
data = st.dictionaries(field_names, field_values)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "bizType": st.sampled_from(["PAY", "PAY_REFUND", "BALANCE", "NEW"]) | json_values,
        "bizId": st.integers() | json_values,
        "bizIdStr": st.text() | json_values,
        "bizStatus": st.sampled_from(["PAY_SUCCESS", "PAY_CLOSED"]) | json_values,
        "data": data.map(json.dumps) | data | st.text() | json_values,
    },
).map(lambda body: json.dumps(body).encode())
headers = st.dictionaries(
    st.sampled_from([f"BinancePay-{name}" for name in NAMES]) | st.text(),
    st.text() | st.from_regex(r"\A[0-9]{13}\Z") | st.just("S"),
)


@settings(max_examples=300, deadline=None)
@given(st.binary() | bodies, headers, st.binary() | st.text())
def test_anything_unsigned_is_refused(
    signer: Any, raw: bytes, headers: dict[str, str], signature: Any
) -> None:
    given = {"BinancePay-Certificate-SN": "S", "BinancePay-Signature": str(signature), **headers}

    try:
        verify(raw, given, {"S": signer.public_key}, NOW, past_seconds=None)
    except SignatureVerificationError:
        return
    raise AssertionError("an unsigned notification was believed")


@settings(max_examples=300, deadline=None)
@given(st.binary() | bodies)
def test_anything_signed_is_understood_or_said_not_to_be(signer: Any, raw: bytes) -> None:
    outcome: Notification | UnreadableNotification
    try:
        outcome = verify(raw, signer.sign(raw, NOW), signer.keys, NOW)
    except UnreadableNotification as error:
        outcome = error

    assert outcome.raw == raw
    assert outcome.biz_id or isinstance(outcome, UnreadableNotification)
