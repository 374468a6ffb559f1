"""Standard Webhooks: the three headers that prove a delivery comes from us and is fresh.

Pure: secrets, times and randomness are handed in. The merchant's side is `checkstand.receiver` or
any Standard Webhooks library (https://www.standardwebhooks.com); both know these headers.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from datetime import datetime

#: Says "this is a webhook secret" to people and to secret scanners; not part of the key.
SECRET_PREFIX = "whsec_"  # noqa: S105 - a label, not a secret

#: The lengths in bytes that Standard Webhooks allows a key.
KEY_BYTES_LEAST, KEY_BYTES_MOST = 24, 64

# A full stop in the id would let one signed text be read as two different messages.
_EVENT_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


def sign(
    *, secrets: Sequence[str], event_id: str, sent_at: datetime, body: bytes
) -> dict[str, str]:
    """Return the headers that sign `body`, one signature per secret in the order given.

    Several secrets are for the time of a rotation: the receiver accepts any one it knows. Sign
    each try anew with its own `sent_at`, and repeat `event_id`. Raises ValueError for an
    unusable secret, id or time, without repeating the secret.
    """
    if not secrets:
        raise ValueError("a delivery needs at least one secret to sign with")
    if not _EVENT_ID.fullmatch(event_id):
        raise ValueError("an event id is 1 to 128 letters, digits, hyphens and underscores")
    if sent_at.tzinfo is None:
        raise ValueError("sent_at needs a time zone")
    timestamp = str(int(sent_at.timestamp()))
    signed = b".".join((event_id.encode(), timestamp.encode(), body))
    return {
        "webhook-id": event_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(_signature(secret, signed) for secret in secrets),
    }


def make_secret(*, random_bytes: bytes) -> str:
    """Write fresh random bytes (24 to 64, better 32) as the secret text the merchant is shown."""
    _check_length(random_bytes)
    return SECRET_PREFIX + base64.b64encode(random_bytes).decode("ascii")


def _signature(secret: str, signed: bytes) -> str:
    mac = hmac.new(_key(secret), signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(mac).decode("ascii")


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        # From None: the first error would show a piece of the secret.
        raise ValueError("a webhook secret is whsec_ followed by base64") from None
    _check_length(key)
    return key


def _check_length(key: bytes) -> None:
    if not KEY_BYTES_LEAST <= len(key) <= KEY_BYTES_MOST:
        raise ValueError(f"a webhook key has {KEY_BYTES_LEAST} to {KEY_BYTES_MOST} bytes")
