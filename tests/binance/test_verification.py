import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from checkstand.binance import (
    ACKNOWLEDGE_FAIL,
    ACKNOWLEDGE_SUCCESS,
    BadSignature,
    MissingHeader,
    PayNotice,
    SignatureVerificationError,
    TimestampOutOfTolerance,
    UnknownCertificate,
    UnreadableNotification,
    load_key,
    verify,
    verify_signature,
)

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PAID = (
    rb'{"bizType":"PAY","data":"{\"merchantTradeNo\":\"T1\",\"totalFee\":0.88000000,'
    rb'\"currency\":\"USDT\",\"commission\":0}","bizIdStr":"270342174837100001",'
    rb'"bizId":270342174837100001,"bizStatus":"PAY_SUCCESS"}'
)

# The documented sample, made with a key of 1024 bits.
SAMPLE_KEY = """-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCVAMXVTMIuttHcP1kvSk9V39S7
BqDbY+LC9JfwMzyoubo3fdsqBf4EmB1PfBUigcOL5YBqMKGEE6xmVw6SXCTH4JwX
dqJ4IRiXf76YMt6PB0dMzu/qCmhaGFGkqT6vJM0hHyEbtS/P3FR9ZU+eaOvynLWb
FvXTzIoctZM1IvDrCwIDAQAB
-----END PUBLIC KEY-----
"""
SAMPLE_BODY = (
    rb'{"bizType":"PAY","data":"{\"merchantTradeNo\":\"9825382937292\",\"totalFee\":0.88000000,'
    rb"\"transactTime\":1619508939664,\"currency\":\"EUR\",\"commission\":0,"
    rb"\"openUserId\":\"1211HS10K81f4273ac031\",\"productType\":\"Food\","
    rb"\"productName\":\"Ice Cream\",\"tradeType\":\"WEB\","
    rb'\"transactionId\":\"M_R_282737362839373\"}","bizId":29383937493038367292,'
    rb'"bizStatus":"PAY_SUCCESS"}'
)
SAMPLE_HEADERS = {
    "BinancePay-Certificate-SN": "sample",
    "BinancePay-Nonce": "5RhaTrZPhknNv0kDSA2UQ67cPMVNS4sA",
    "BinancePay-Timestamp": "1611232922428",
    "BinancePay-Signature": (
        "VtniwOFAi4oBKFnvHhY6UZ+wPARf7+yWVbE61Hc7JVdRgqKJ40Yk9k5Gb2Y0S0VLUYOOOhUNUsD7R8GDEr6WH84s"
        "AEf8bXa1xYMiyjgeGleTg1MxRJCtrHcxMeMCEXPWmKTeLhn6O+cdvDGq4ZpcTTiQnEvk5xHPcxFrBT637zg="
    ),
}


def test_documented_sample_verifies_and_keeps_all_its_digits() -> None:
    assert len(SAMPLE_BODY) == 374

    notification = verify(
        SAMPLE_BODY, SAMPLE_HEADERS, {"sample": SAMPLE_KEY}, NOW, past_seconds=None
    )

    assert notification.biz_id == "29383937493038367292"
    assert notification.signed_at == datetime(2021, 1, 21, 12, 42, 2, 428000, UTC)
    assert isinstance(notification.data, PayNotice)
    assert str(notification.data.total_fee) == "0.88000000"
    assert notification.data.commission == Decimal(0)
    assert notification.data.transacted_at == datetime(2021, 4, 27, 7, 35, 39, 664000, UTC)
    assert notification.data.transaction_id == "M_R_282737362839373"
    assert notification.raw == SAMPLE_BODY


@pytest.mark.parametrize("rename", [str.lower, str.upper, str.title, str.swapcase])
def test_header_names_are_found_in_any_case(signer: Any, rename: Any) -> None:
    headers = {rename(name): value for name, value in signer.sign(PAID, NOW).items()}

    assert verify(PAID, headers, signer.keys, NOW).biz_status == "PAY_SUCCESS"


def test_signature_with_line_breaks_verifies(signer: Any) -> None:
    headers = signer.sign(PAID, NOW)
    headers["BinancePay-Signature"] += "\r\n"

    assert verify(PAID, headers, signer.keys, NOW).serial == signer.serial


@pytest.mark.parametrize(
    "altered",
    [
        PAID + b"\n",
        PAID.replace(b"0.88000000", b"0.88"),
        PAID.replace(b"0.88000000", b"9.88000000"),
        json.dumps(json.loads(PAID)).encode(),
        b"",
    ],
    ids=["line_feed", "fewer_zeros", "other_amount", "parsed_and_written_again", "empty"],
)
def test_altered_bytes_are_a_bad_signature(signer: Any, altered: bytes) -> None:
    headers = signer.sign(PAID, NOW)

    with pytest.raises(BadSignature):
        verify(altered, headers, signer.keys, NOW)


@pytest.mark.parametrize("header", ["BinancePay-Nonce", "BinancePay-Timestamp"])
def test_altered_header_is_a_bad_signature(signer: Any, header: str) -> None:
    headers = signer.sign(PAID, NOW)
    headers[header] = "1" + headers[header][1:-1] + "7"

    with pytest.raises(BadSignature):
        verify(PAID, headers, signer.keys, NOW)


def test_key_is_chosen_by_serial_not_by_position(signer: Any, other_signer: Any) -> None:
    both = {**other_signer.keys, **signer.keys}
    headers = signer.sign(PAID, NOW)

    assert verify(PAID, headers, both, NOW).serial == signer.serial
    with pytest.raises(BadSignature):
        verify(PAID, {**headers, "BinancePay-Certificate-SN": "OTHER"}, both, NOW)


def test_unknown_serial_is_told_apart(signer: Any) -> None:
    with pytest.raises(UnknownCertificate) as caught:
        verify(PAID, signer.sign(PAID, NOW), {}, NOW)

    assert caught.value.serial == signer.serial


@pytest.mark.parametrize("key", ["", "nonsense", "-----BEGIN PUBLIC KEY-----\n-----"])
def test_unreadable_key_counts_as_unknown(signer: Any, key: str) -> None:
    with pytest.raises(UnknownCertificate):
        verify(PAID, signer.sign(PAID, NOW), {signer.serial: key}, NOW)


def test_key_of_another_kind_counts_as_unknown(signer: Any) -> None:
    pem = (
        ec.generate_private_key(ec.SECP256R1())
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )

    with pytest.raises(UnknownCertificate):
        verify(PAID, signer.sign(PAID, NOW), {signer.serial: pem}, NOW)


def test_keys_are_taken_as_people_store_them(signer: Any) -> None:
    pem = signer.public_key
    bare = "".join(line for line in pem.splitlines() if "-----" not in line)
    headers = signer.sign(PAID, NOW)

    for stored in (pem, pem.strip(), pem.replace("\n", "\\n"), bare, load_key(pem)):
        assert verify(PAID, headers, {signer.serial: stored}, NOW).biz_type == "PAY"


def test_key_text_is_loaded_once(signer: Any) -> None:
    assert load_key(signer.public_key) is load_key(signer.public_key)


@pytest.mark.parametrize(
    "header",
    [
        "BinancePay-Certificate-SN",
        "BinancePay-Nonce",
        "BinancePay-Timestamp",
        "BinancePay-Signature",
    ],
)
@pytest.mark.parametrize("value", [None, "", "a\nb", "é", "\x00", "a b"])
def test_absent_or_malformed_header_is_named(signer: Any, header: str, value: str | None) -> None:
    headers = signer.sign(PAID, NOW)
    del headers[header]
    if value is not None:
        headers[header] = value

    with pytest.raises(MissingHeader) as caught:
        verify(PAID, headers, signer.keys, NOW)

    assert caught.value.header == header


def test_signed_parts_cannot_be_cut_differently(signer: Any) -> None:
    # Moving the first line of the body into the nonce leaves the signed bytes the same.
    raw = b'{\n"bizType":"PAY"}'
    headers = signer.sign(raw, NOW)
    headers["BinancePay-Nonce"] += "\n{"

    with pytest.raises(MissingHeader):
        verify(b'"bizType":"PAY"}', headers, signer.keys, NOW)


def test_window_is_open_up_to_its_edges(signer: Any) -> None:
    headers = signer.sign(PAID, NOW)

    for seconds in (-300, 0, 300):
        verify(PAID, headers, signer.keys, NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize("seconds", [-300.001, 300.001])
def test_outside_the_window_it_is_refused_but_known_to_be_genuine(
    signer: Any, seconds: float
) -> None:
    with pytest.raises(TimestampOutOfTolerance) as caught:
        verify(PAID, signer.sign(PAID, NOW), signer.keys, NOW + timedelta(seconds=seconds))

    assert caught.value.signed_at == NOW


def test_each_side_of_the_window_can_be_left_open(signer: Any) -> None:
    headers = signer.sign(PAID, NOW)
    year = timedelta(days=365)

    verify(PAID, headers, signer.keys, NOW + year, past_seconds=None)
    verify(PAID, headers, signer.keys, NOW - year, future_seconds=None)
    with pytest.raises(TimestampOutOfTolerance):
        verify(PAID, headers, signer.keys, NOW - year, past_seconds=None)
    with pytest.raises(TimestampOutOfTolerance):
        verify(PAID, headers, signer.keys, NOW + year, future_seconds=None)


def test_forged_and_late_is_a_bad_signature_not_a_late_one(signer: Any, other_signer: Any) -> None:
    headers = {**other_signer.sign(PAID, NOW), "BinancePay-Certificate-SN": signer.serial}

    with pytest.raises(BadSignature):
        verify(PAID, headers, signer.keys, NOW + timedelta(days=1))


def test_signed_but_not_understood_is_separate_from_unsigned(signer: Any) -> None:
    raw = b'{"bizType":"PAY","bizIdStr":"7","bizStatus":"PAY_SUCCESS","data":"not JSON"}'
    headers = signer.sign(raw, NOW)

    signed = verify_signature(raw, headers, signer.keys, NOW)
    with pytest.raises(UnreadableNotification) as caught:
        verify(raw, headers, signer.keys, NOW)

    assert (signed.raw, signed.serial, signed.signed_at) == (raw, signer.serial, NOW)
    assert not isinstance(caught.value, SignatureVerificationError)


@pytest.mark.parametrize("parsed", [{"bizType": "PAY"}, "text", None, bytearray(b"{}")])
def test_anything_but_bytes_is_a_type_error_that_says_why(signer: Any, parsed: Any) -> None:
    with pytest.raises(TypeError, match="raw bytes"):
        verify(parsed, signer.sign(PAID, NOW), signer.keys, NOW)


def test_acknowledgements_are_what_binance_documents() -> None:
    assert json.loads(ACKNOWLEDGE_SUCCESS) == {"returnCode": "SUCCESS", "returnMessage": None}
    assert json.loads(ACKNOWLEDGE_FAIL) == {"returnCode": "FAIL", "returnMessage": None}
