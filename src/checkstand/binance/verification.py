"""Proves that Binance signed these bytes, and reads them only then.

Pure: the caller brings raw bytes, headers, keys and the time. A proof says that Binance said this
to someone, not that it was said to you: a PAY names no merchant. Whether it settles one of your
orders needs the prepay id that Binance gave in the answer to your own create.
"""

import binascii
import functools
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeAlias

from checkstand.binance.errors import (
    BadSignature,
    MissingHeader,
    TimestampOutOfTolerance,
    UnknownCertificate,
)
from checkstand.binance.notifications import Notification, SignedBytes, parse_notification
from checkstand.binance.wire import moment

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.hashes import SHA256

#: A PEM text, or a key that `load_key` made of one.
Key: TypeAlias = "str | RSAPublicKey"

#: What Binance takes for "got it": HTTP 200 and these bytes.
ACKNOWLEDGE_SUCCESS: Final = b'{"returnCode":"SUCCESS","returnMessage":null}'
#: What makes it try again, up to six times.
ACKNOWLEDGE_FAIL: Final = b'{"returnCode":"FAIL","returnMessage":null}'

_HEADERS: Final = {
    "serial": "BinancePay-Certificate-SN",
    "nonce": "BinancePay-Nonce",
    "timestamp": "BinancePay-Timestamp",
    "signature": "BinancePay-Signature",
}
_BY_LOWER: Final = {header.lower(): name for name, header in _HEADERS.items()}
#: Printable ASCII only: a line feed in a header would let the signed parts be cut differently.
_VALUE: Final = re.compile(r"[\x21-\x7e]{1,4096}", re.ASCII)
_MILLISECONDS: Final = re.compile(r"[0-9]{1,14}", re.ASCII)
_SPACE: Final = " \t\r\n"


def verify(
    raw: bytes,
    headers: Mapping[str, str],
    keys: Mapping[str, Key],
    now: datetime,
    *,
    past_seconds: float | None = 300,
    future_seconds: float | None = 300,
) -> Notification:
    """Prove the signature of a notification over its raw bytes, then read it.

    `keys` are by certificate serial. A window of None is not checked: retries may carry their
    first timestamp. Raises a SignatureVerificationError, or UnreadableNotification once the
    signature is proven.
    """
    return parse_notification(
        verify_signature(
            raw, headers, keys, now, past_seconds=past_seconds, future_seconds=future_seconds
        )
    )


def verify_signature(
    raw: bytes,
    headers: Mapping[str, str],
    keys: Mapping[str, Key],
    now: datetime,
    *,
    past_seconds: float | None = 300,
    future_seconds: float | None = 300,
) -> SignedBytes:
    """Prove the signature and nothing else; `parse_notification` reads the outcome.

    The window is looked at last, so that TimestampOutOfTolerance always means "signed by
    Binance". Raises a SignatureVerificationError.
    """
    if not isinstance(raw, bytes):
        raise TypeError(
            f"verify needs the body's raw bytes, not {type(raw).__name__}: what was parsed and"
            " written again is not what Binance signed"
        )
    given = _signature_headers(headers)
    serial, nonce, timestamp = given["serial"], given["nonce"], given["timestamp"]
    if not _MILLISECONDS.fullmatch(timestamp):
        raise MissingHeader("BinancePay-Timestamp is malformed", header=_HEADERS["timestamp"])
    key = _find_key(keys, serial)
    payload = b"%b\n%b\n%b\n" % (timestamp.encode(), nonce.encode(), raw)
    _check_rsa(key, given["signature"], payload)
    signed_at = moment(int(timestamp))
    _check_window(now - signed_at, signed_at, past_seconds, future_seconds)
    return SignedBytes(raw=raw, serial=serial, nonce=nonce, signed_at=signed_at)


def certificate_serial(headers: Mapping[str, str]) -> str:
    """Return the serial of the key to verify with. Raises MissingHeader."""
    return _signature_headers(headers)["serial"]


@functools.lru_cache(maxsize=128)  # loading costs many times a verification
def load_key(pem: str) -> "RSAPublicKey":
    r"""Load a public key as Binance hands it out. Raises ValueError.

    Takes what people store: with literal `\n`, or without the armour.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    text = pem.replace("\\n", "\n").strip()
    if not text.startswith("-----BEGIN"):
        text = f"-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----"
    try:
        key = load_pem_public_key(text.encode())
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from error
    if isinstance(key, RSAPublicKey):
        return key
    raise ValueError("is not an RSA key")


def _signature_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Find the four headers whatever their case: every stack writes them differently."""
    found: dict[str, str] = {}
    for header, value in headers.items():
        name = _BY_LOWER.get(header.lower())
        if name is not None:
            found[name] = value.strip(_SPACE)
    for name, header in _HEADERS.items():
        if not _VALUE.fullmatch(found.get(name, "")):
            raise MissingHeader(f"{header} is missing or malformed", header=header)
    return found


def _find_key(keys: Mapping[str, Key], serial: str) -> "RSAPublicKey":
    key = keys.get(serial)
    if key is None:
        raise UnknownCertificate(f"no certificate has the serial {serial!r}", serial=serial)
    try:
        return load_key(key) if isinstance(key, str) else key
    except ValueError as error:
        raise UnknownCertificate(
            f"the certificate {serial!r} is not a readable RSA public key", serial=serial
        ) from error


def _check_rsa(key: "RSAPublicKey", signature: str, payload: bytes) -> None:
    padding, algorithm, invalid_signature = _scheme()
    try:
        key.verify(binascii.a2b_base64(signature), payload, padding, algorithm)
    except (invalid_signature, binascii.Error) as error:
        raise BadSignature("the signature does not fit these bytes") from error


@functools.cache  # import statements inside a function cost a fifth of the verification
def _scheme() -> "tuple[PKCS1v15, SHA256, type[Exception]]":
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    return PKCS1v15(), SHA256(), InvalidSignature


def _check_window(
    age: timedelta, signed_at: datetime, past_seconds: float | None, future_seconds: float | None
) -> None:
    seconds = age.total_seconds()
    if past_seconds is not None and seconds > past_seconds:
        message = f"signed {seconds:.0f} s ago, more than {past_seconds:g}"
        raise TimestampOutOfTolerance(message, signed_at=signed_at)
    if future_seconds is not None and -seconds > future_seconds:
        message = f"signed {-seconds:.0f} s in the future, more than {future_seconds:g}"
        raise TimestampOutOfTolerance(message, signed_at=signed_at)
