"""The two signatures of the protocol: HMAC-SHA512 inwards, RSA-SHA256 outwards.

Both cover `timestamp LF nonce LF body LF` over the raw bytes. One RSA key signs for every
merchant, as at the real service; a rotation adds a key, and the newest signs.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)


def signed_payload(*, timestamp: str, nonce: str, body: bytes) -> bytes:
    """Return the bytes that either signature covers."""
    return b"%b\n%b\n%b\n" % (timestamp.encode(), nonce.encode(), body)


def request_signature(*, secret: str, timestamp: str, nonce: str, body: bytes) -> str:
    """Return the signature a request must carry: uppercase hex, 128 characters."""
    payload = signed_payload(timestamp=timestamp, nonce=nonce, body=body)
    return hmac.new(secret.encode(), payload, hashlib.sha512).hexdigest().upper()


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One RSA key with what the certificates endpoint says of it."""

    private: rsa.RSAPrivateKey = field(repr=False)
    public_pem: str
    serial: str

    @property
    def private_pem(self) -> str:
        """Return the private half, unencrypted."""
        pem = self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return pem.decode()

    def sign(self, *, timestamp: str, nonce: str, body: bytes) -> str:
        """Return the Base64 signature of a webhook."""
        payload = signed_payload(timestamp=timestamp, nonce=nonce, body=body)
        signature = self.private.sign(payload, padding.PKCS1v15(), hashes.SHA256())
        return base64.b64encode(signature).decode()


def make_signing_key() -> SigningKey:
    """Make a fresh RSA-2048 key; takes a tenth of a second or so."""
    return _signing_key(rsa.generate_private_key(public_exponent=65537, key_size=2048))


def load_signing_key(private_pem: str) -> SigningKey:
    """Return the key that was written as PEM; raise ValueError if it is no RSA key."""
    private = load_pem_private_key(private_pem.encode(), password=None)
    if not isinstance(private, rsa.RSAPrivateKey):
        raise ValueError("webhooks are signed with RSA keys")  # noqa: TRY004 - it is text's fault
    return _signing_key(private)


def _signing_key(private: rsa.RSAPrivateKey) -> SigningKey:
    pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    public_pem = pem.decode().rstrip("\n")
    return SigningKey(private, public_pem, certificate_serial(public_pem))


def certificate_serial(public_pem: str) -> str:
    """Return the serial of a public key: MD5 of its PEM text, as one known fixture shows it."""
    digest = hashlib.md5(public_pem.rstrip("\n").encode(), usedforsecurity=False)
    return digest.hexdigest().upper()


@dataclass(frozen=True, slots=True)
class SignedNotice:
    """A webhook as it would come over the wire."""

    body: bytes
    headers: dict[str, str]


def sign_notice(key: SigningKey, body: bytes, *, timestamp: str, nonce: str) -> SignedNotice:
    """Return a body with the headers a webhook has."""
    return SignedNotice(
        body,
        {
            "content-type": "application/json;charset=utf-8",
            "BinancePay-Certificate-SN": key.serial,
            "BinancePay-Nonce": nonce,
            "BinancePay-Timestamp": timestamp,
            "BinancePay-Signature": key.sign(timestamp=timestamp, nonce=nonce, body=body),
        },
    )


class KeyRing:
    """The keys in use: all are listed, the newest signs."""

    def __init__(self, first: SigningKey | None = None) -> None:
        self._keys = [first or make_signing_key()]

    @property
    def current(self) -> SigningKey:
        """Return the key that signs."""
        return self._keys[-1]

    @property
    def listed(self) -> tuple[SigningKey, ...]:
        """Return what the certificates endpoint lists, the newest last."""
        return tuple(self._keys)

    def restore(self, keys: Sequence[SigningKey]) -> None:
        """Use these keys, at least one, and no others; the last one signs."""
        self._keys = list(keys)

    def rotate(self, *, keeps_old: bool = True) -> SigningKey:
        """Sign with a new key from now on; the old ones stay listed if `keeps_old`."""
        key = make_signing_key()
        self._keys = [*self._keys, key] if keeps_old else [key]
        return key
