"""Opens a webhook: checks who signed it and when, and only then reads it.

Standard Webhooks, with the body's bytes as they arrived. Whatever an unknown sender puts into body
or headers ends in an `EventRefused`, never in another error.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from checkstand.receiver.ambient import Clock, host_clock
from checkstand.receiver.events import Event, parse_event


class EventRefused(Exception):
    """This request is not to be believed. Answer `http_status` and do nothing else."""

    http_status = 400


class HeaderMissing(EventRefused):
    """A webhook header is not there or makes no sense: probably not from the gateway."""


class SignatureWrong(EventRefused):
    """Nobody who knows one of our secrets signed these bytes."""

    http_status = 401


class EventTooOld(EventRefused):
    """Genuine, but sent long ago: replayed by somebody, or this host's clock is ahead."""

    http_status = 401


class EventTooNew(EventRefused):
    """Genuine, but sent in the future: this host's clock, or the gateway's, is wrong."""

    http_status = 401


class EventUnreadable(EventRefused):
    """Genuine, but not an event as this version of the kit knows them."""


class Receiver:
    """Knows the endpoint's secret, or both of them while one replaces the other.

    Safe to share between threads and tasks. Secrets appear in no error and no repr.
    """

    def __init__(
        self, *secrets: str, tolerance_seconds: int = 300, clock: Clock = host_clock
    ) -> None:
        if not secrets:
            raise ValueError("a receiver needs the endpoint's secret (whsec_…)")
        self._keys = [_key(secret) for secret in secrets]
        self._tolerance = timedelta(seconds=tolerance_seconds)
        self._clock = clock

    def open(self, raw: bytes, headers: Mapping[str, str]) -> Event:
        """Return the event in this request, or raise the `EventRefused` that says why not.

        `raw` is the body's bytes as received. Header names may be written in any case.
        """
        if not isinstance(raw, bytes | bytearray | memoryview):
            raise TypeError(
                "open() takes the body's bytes as they arrived; a parsed or decoded body no "
                f"longer has the signature's bytes (got {type(raw).__name__})"
            )
        raw = bytes(raw)
        event_id, timestamp, signatures = _read_headers(headers)
        self._check_signature(f"{event_id}.{timestamp}.".encode() + raw, signatures)
        self._check_time(int(timestamp))
        try:
            event = parse_event(raw)
        except ValueError as error:
            raise EventUnreadable(f"signed, but not readable: {error}") from None
        if event.id != event_id:
            raise EventUnreadable("the body's id is not the webhook-id that was signed")
        return event

    def _check_signature(self, signed: bytes, signatures: str) -> None:
        offered = [_decoded(part) for part in signatures.split(" ") if part.startswith("v1,")]
        for key in self._keys:
            expected = hmac.new(key, signed, hashlib.sha256).digest()
            if any(hmac.compare_digest(expected, one) for one in offered):
                return
        raise SignatureWrong("no signature of this request was made with a secret we know")

    def _check_time(self, timestamp: int) -> None:
        sent_at, now = datetime.fromtimestamp(timestamp, UTC), self._clock()
        if sent_at < now - self._tolerance:
            raise EventTooOld(f"sent at {sent_at:%Y-%m-%d %H:%M:%S} UTC, which is too long ago")
        if sent_at > now + self._tolerance:
            raise EventTooNew(f"sent at {sent_at:%Y-%m-%d %H:%M:%S} UTC, which is in the future")


def _read_headers(headers: Mapping[str, str]) -> tuple[str, str, str]:
    lowered = {name.lower(): value for name, value in headers.items()}
    wanted = ("webhook-id", "webhook-timestamp", "webhook-signature")
    missing = [name for name in wanted if not lowered.get(name)]
    if missing:
        raise HeaderMissing(f"missing: {', '.join(missing)}")
    event_id, timestamp, signatures = (lowered[name] for name in wanted)
    if not _EVENT_ID.fullmatch(event_id):
        raise HeaderMissing("webhook-id is not an event id")
    if not _TIMESTAMP.fullmatch(timestamp):
        raise HeaderMissing("webhook-timestamp is not a number of seconds")
    return event_id, timestamp, signatures


def _decoded(signature: str) -> bytes:
    try:
        return base64.b64decode(signature.removeprefix("v1,"), validate=True)
    except (binascii.Error, ValueError):
        return b""  # equal to no signature


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) < 24:  # the least Standard Webhooks allows; it also catches a cut-off paste
        raise ValueError("this is not a webhook secret: whsec_ followed by base64") from None
    return key


_EVENT_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")  # no full stop: it separates the signed parts
_TIMESTAMP = re.compile(r"[0-9]{1,11}")  # up to the year 5138
