"""The documented and known vectors against the simulator's own signing, alone."""

import base64

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from checkstand.simulator.signing import (
    KeyRing,
    SigningKey,
    certificate_serial,
    request_signature,
    signed_payload,
)

DOCUMENTED_TIMESTAMP = "1611232922428"
DOCUMENTED_NONCE = "5RhaTrZPhknNv0kDSA2UQ67cPMVNS4sA"
DOCUMENTED_SECRET = "uahr4nhailyq55yubuhuncnprfac73bcbz2qfafsevic1jruwunioxtoaozy122f"
DOCUMENTED_BODY = (
    '{"merchantId":"98765987","subMerchantId":"98765987","merchantTradeNo":"9825382937292",'
    '"totalFee":25.17,"productDetail":"Greentea ice cream cone","currency":"BUSD","returnUrl":"",'
    '"tradeType":"APP","productType":"Food","productName":"Ice Cream"}'
)
OWN_SECRET = "sim-secret-0000000000000000000000000000000000000000000000000000"

WEBHOOK_KEY = b"""-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCVAMXVTMIuttHcP1kvSk9V39S7
BqDbY+LC9JfwMzyoubo3fdsqBf4EmB1PfBUigcOL5YBqMKGEE6xmVw6SXCTH4JwX
dqJ4IRiXf76YMt6PB0dMzu/qCmhaGFGkqT6vJM0hHyEbtS/P3FR9ZU+eaOvynLWb
FvXTzIoctZM1IvDrCwIDAQAB
-----END PUBLIC KEY-----
"""
WEBHOOK_BODY = (
    rb'{"bizType":"PAY","data":"{\"merchantTradeNo\":\"9825382937292\",\"totalFee\":0.88000000,'
    rb"\"transactTime\":1619508939664,\"currency\":\"EUR\",\"commission\":0,"
    rb"\"openUserId\":\"1211HS10K81f4273ac031\",\"productType\":\"Food\","
    rb"\"productName\":\"Ice Cream\",\"tradeType\":\"WEB\","
    rb'\"transactionId\":\"M_R_282737362839373\"}","bizId":29383937493038367292,'
    rb'"bizStatus":"PAY_SUCCESS"}'
)
WEBHOOK_SIGNATURE = (
    "VtniwOFAi4oBKFnvHhY6UZ+wPARf7+yWVbE61Hc7JVdRgqKJ40Yk9k5Gb2Y0S0VLUYOOOhUNUsD7R8GDEr6WH84s"
    "AEf8bXa1xYMiyjgeGleTg1MxRJCtrHcxMeMCEXPWmKTeLhn6O+cdvDGq4ZpcTTiQnEvk5xHPcxFrBT637zg="
)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(
            DOCUMENTED_BODY,
            "253B9241C7331C0F02A0F5417BDDD4CD88124D3E188C0BA0E3EF121D36844B7F"
            "4D1A69AD8A1C3C7FF34901115E35A2530B672CF7430902E9862D69867689FD9F",
            id="as-signed",
        ),
        pytest.param(
            DOCUMENTED_BODY.replace("BUSD", "USDT"),
            "C1F7A336D5E6A100DD31F41669895D99C24A3A4D4F96DB6389761CB2CDD37FA2"
            "F6D106A24DB048B4989005E85EADEA392CD866902736D3D276BDC44C49DD00FC",
            id="as-printed-now",
        ),
    ],
)
def test_request_signature_equals_the_documented_sample(body: str, expected: str) -> None:
    signature = request_signature(
        secret=DOCUMENTED_SECRET,
        timestamp=DOCUMENTED_TIMESTAMP,
        nonce=DOCUMENTED_NONCE,
        body=body.encode(),
    )

    assert signature == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            "",
            (
                "F11A70B7B092D09C203A44AFF5FDF8025569782C647E0681972D1EE7F01AAE4638DA0AFA682574E5228ACB00644CB4F1E09C16DC1A4AAA8443C4453AEE16651D"
            ),
        ),
        (
            "{}",
            (
                "E8641AE76DBB3F893EF6DE93AF62C9785B74344962D698381F7041CB32BEB062CE515D879CEF42F941272A571BA9BBD66AC083BC1CF18A082A87D34C5B683625"
            ),
        ),
        (
            '{"merchantTradeNo":"T1000001"}',
            (
                "4D991432DC0476352170AF3CD08BCCC0D0CABD987AD3ABE46E104915A2BC8BE97D8D66DA277C813E0209E61B3C9751205F050CF8968CB0FEF1B8B6E323176665"
            ),
        ),
        (
            '{"description":"Café ☕"}',
            (
                "45106B852BEE666C16C47C2F1EA240F6F43E8FE6692809F1C361F57452DBE97CA71C52BDB4568C44AFE95E56DC856ECD5F35076CFE61EA967C26249759D678CC"
            ),
        ),
    ],
)
def test_request_signature_equals_the_known_vectors(body: str, expected: str) -> None:
    signature = request_signature(
        secret=OWN_SECRET,
        timestamp="1700000000000",
        nonce="abcdefghijklmnopqrstuvwxyzABCDEF",
        body=body.encode(),
    )

    assert signature == expected


def test_webhook_payload_is_what_the_documented_sample_signs() -> None:
    key = load_pem_public_key(WEBHOOK_KEY)
    assert isinstance(key, rsa.RSAPublicKey)
    payload = signed_payload(
        timestamp=DOCUMENTED_TIMESTAMP, nonce=DOCUMENTED_NONCE, body=WEBHOOK_BODY
    )
    signature = base64.b64decode(WEBHOOK_SIGNATURE)

    key.verify(signature, payload, padding.PKCS1v15(), hashes.SHA256())

    with pytest.raises(InvalidSignature):
        key.verify(signature, payload[:-1], padding.PKCS1v15(), hashes.SHA256())


def test_webhook_signature_verifies_under_the_listed_key(signing_key: SigningKey) -> None:
    signature = signing_key.sign(timestamp="1700000000000", nonce="n" * 32, body=b"{}")

    key = load_pem_public_key(signing_key.public_pem.encode())
    assert isinstance(key, rsa.RSAPublicKey)
    assert key.key_size == 2048
    payload = b"1700000000000\n" + b"n" * 32 + b"\n{}\n"
    key.verify(base64.b64decode(signature), payload, padding.PKCS1v15(), hashes.SHA256())


def test_serial_is_the_uppercase_md5_of_the_pem_without_its_last_newline() -> None:
    pem = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"

    assert certificate_serial(pem) == certificate_serial(pem + "\n")
    assert certificate_serial(pem) == "9CDDB2AFFC732CA6D15E24E1F5AEF27C"


def test_rotation_signs_with_the_new_key_and_still_lists_the_old(signing_key: SigningKey) -> None:
    keys = KeyRing(signing_key)

    fresh = keys.rotate()

    assert keys.current is fresh
    assert keys.listed == (signing_key, fresh)
    assert fresh.serial != signing_key.serial


def test_keys_and_secrets_stay_out_of_representations(signing_key: SigningKey) -> None:
    assert "private" not in repr(signing_key)
