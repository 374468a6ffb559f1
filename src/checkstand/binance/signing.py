"""The request signature: HMAC-SHA512 over time, nonce and the exact body.

Pure functions; who makes the time and the nonce, and how often, is `exchange`'s business.
"""

import hmac

import msgspec


class Credentials(msgspec.Struct, frozen=True):
    """One identity towards Binance. The secret never shows in a repr."""

    api_key: str
    api_secret: str

    def __repr__(self) -> str:
        return f"Credentials(api_key={mask(self.api_key)!r}, api_secret='***')"


def sign(secret: str, *, timestamp: str, nonce: str, body: bytes) -> str:
    """Return the upper-case hexadecimal signature of these very bytes."""
    # Each part ends in a line feed, the last one too: leaving that off is the field's favourite
    # mistake. The secret is text even where it looks like hexadecimal.
    payload = b"%b\n%b\n%b\n" % (timestamp.encode(), nonce.encode(), body)
    return hmac.digest(secret.encode(), payload, "sha512").hex().upper()


def signed_headers(
    credentials: Credentials, *, timestamp: str, nonce: str, body: bytes
) -> list[tuple[str, str]]:
    """Return the headers of one attempt. They are good for about one second."""
    return [
        ("Content-Type", "application/json"),
        ("BinancePay-Timestamp", timestamp),
        ("BinancePay-Nonce", nonce),
        ("BinancePay-Certificate-SN", credentials.api_key),  # the API key, whatever the name says
        (
            "BinancePay-Signature",
            sign(credentials.api_secret, timestamp=timestamp, nonce=nonce, body=body),
        ),
    ]


def mask(text: str) -> str:
    """Return enough of a key to recognise it, and no more."""
    return f"{text[:4]}***" if len(text) > 12 else "***"
