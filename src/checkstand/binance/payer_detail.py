"""Opens the payer's details, which Binance encrypts for approved merchants."""

import binascii
import hashlib


def decrypt_payer_detail(payer_detail: str, *, api_secret: str) -> str:
    """Return the JSON text inside `payer_detail`.

    `api_secret` is the one that created the order, so keep retired secrets as long as their
    orders. Raises ValueError where it does not fit.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    sealed = binascii.a2b_base64(payer_detail)
    if len(sealed) < 12 + 16:  # IV and tag; the tag's length is not documented, 128 bits assumed
        raise ValueError("payer_detail is too short")
    key = hashlib.sha256(api_secret.encode()).digest()
    try:
        return AESGCM(key).decrypt(sealed[:12], sealed[12:], None).decode()
    except InvalidTag as error:
        raise ValueError("payer_detail does not open with this secret") from error
