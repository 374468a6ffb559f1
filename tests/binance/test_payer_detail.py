import base64

import pytest

from checkstand.binance import decrypt_payer_detail

SECRET = "sim-secret-0000000000000000000000000000000000000000000000000000"
SEALED = "AAECAwQFBgcICQoLKG4lkiVFHYZKG+g1Uje/G9ye6PxOdpC2ioUMK4rS2kQjkKQt87yQO3+IGWzCS79eB9Nbxok="


def test_payer_detail_opens_with_the_secret_of_its_order() -> None:
    opened = decrypt_payer_detail(SEALED, api_secret=SECRET)

    assert opened == '{"firstName":"Ada","lastName":"Test"}'


@pytest.mark.parametrize(
    "sealed", ["", "AAAA", "no base64!", base64.b64encode(bytes(64)).decode(), SEALED[:-4] + "AAA="]
)
def test_payer_detail_that_does_not_open_is_a_value_error(sealed: str) -> None:
    with pytest.raises(ValueError, match=r"payer_detail|base64|padding"):
        decrypt_payer_detail(sealed, api_secret=SECRET)
