from dataclasses import dataclass

import pytest

from checkstand.binance.signing import Credentials, sign, signed_headers

# Binance's documented example secret (its FAQ), not anybody's.
FAQ_SECRET = "uahr4nhailyq55yubuhuncnprfac73bcbz2qfafsevic1jruwunioxtoaozy122f"
OWN_SECRET = "sim-secret-0000000000000000000000000000000000000000000000000000"


def faq_body(currency: str) -> bytes:
    return (
        b'{"merchantId":"98765987","subMerchantId":"98765987","merchantTradeNo":"9825382937292",'
        b'"totalFee":25.17,"productDetail":"Greentea ice cream cone","currency":"%b",'
        b'"returnUrl":"","tradeType":"APP","productType":"Food","productName":"Ice Cream"}'
    ) % currency.encode()


@dataclass(frozen=True)
class Vector:
    body: bytes
    signature: str
    secret: str = OWN_SECRET
    timestamp: str = "1700000000000"
    nonce: str = "abcdefghijklmnopqrstuvwxyzABCDEF"


VECTORS = {
    "documented_with_busd": Vector(
        faq_body("BUSD"),
        "253B9241C7331C0F02A0F5417BDDD4CD88124D3E188C0BA0E3EF121D36844B7F"
        "4D1A69AD8A1C3C7FF34901115E35A2530B672CF7430902E9862D69867689FD9F",
        FAQ_SECRET,
        "1611232922428",
        "5RhaTrZPhknNv0kDSA2UQ67cPMVNS4sA",
    ),
    "as_the_page_now_prints_it_with_usdt": Vector(
        faq_body("USDT"),
        "C1F7A336D5E6A100DD31F41669895D99C24A3A4D4F96DB6389761CB2CDD37FA2"
        "F6D106A24DB048B4989005E85EADEA392CD866902736D3D276BDC44C49DD00FC",
        FAQ_SECRET,
        "1611232922428",
        "5RhaTrZPhknNv0kDSA2UQ67cPMVNS4sA",
    ),
    "empty": Vector(
        b"",
        "F11A70B7B092D09C203A44AFF5FDF8025569782C647E0681972D1EE7F01AAE46"
        "38DA0AFA682574E5228ACB00644CB4F1E09C16DC1A4AAA8443C4453AEE16651D",
    ),
    "empty_object": Vector(
        b"{}",
        "E8641AE76DBB3F893EF6DE93AF62C9785B74344962D698381F7041CB32BEB062"
        "CE515D879CEF42F941272A571BA9BBD66AC083BC1CF18A082A87D34C5B683625",
    ),
    "trade_number": Vector(
        b'{"merchantTradeNo":"T1000001"}',
        "4D991432DC0476352170AF3CD08BCCC0D0CABD987AD3ABE46E104915A2BC8BE9"
        "7D8D66DA277C813E0209E61B3C9751205F050CF8968CB0FEF1B8B6E323176665",
    ),
    "not_ascii": Vector(
        '{"description":"Café ☕"}'.encode(),
        "45106B852BEE666C16C47C2F1EA240F6F43E8FE6692809F1C361F57452DBE97C"
        "A71C52BDB4568C44AFE95E56DC856ECD5F35076CFE61EA967C26249759D678CC",
    ),
}


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS.keys())
def test_signature_is_the_one_of_the_known_answer(vector: Vector) -> None:
    signature = sign(
        vector.secret, timestamp=vector.timestamp, nonce=vector.nonce, body=vector.body
    )

    assert signature == vector.signature


def test_signed_headers_carry_what_was_signed() -> None:
    vector = VECTORS["trade_number"]

    headers = dict(
        signed_headers(
            Credentials("the-key", vector.secret),
            timestamp=vector.timestamp,
            nonce=vector.nonce,
            body=vector.body,
        )
    )

    assert headers == {
        "Content-Type": "application/json",
        "BinancePay-Timestamp": vector.timestamp,
        "BinancePay-Nonce": vector.nonce,
        "BinancePay-Certificate-SN": "the-key",
        "BinancePay-Signature": vector.signature,
    }


def test_credentials_do_not_show_in_their_repr() -> None:
    shown = repr(Credentials("abcd" + "e" * 60, OWN_SECRET))

    assert "abcd***" in shown
    assert "eeee" not in shown
    assert OWN_SECRET not in shown
