# Generated from webhooks.py by scripts/generate_sync_client.py: change that file and run this.
"""Verifies notifications with keys it fetches itself.

`verify` (in `verification.py`) is the pure half. Here is who gets the keys, and how seldom: a
stranger can name any serial he likes, so an unknown one causes at most one fetch a minute.
"""

from collections.abc import Mapping
from typing import Final

from checkstand.binance.caller_sync import Caller
from checkstand.binance.certificates_sync import Certificates
from checkstand.binance.errors import BinancePayError
from checkstand.binance.notifications import Notification
from checkstand.binance.verification import certificate_serial, verify

#: Between two fetches, whatever arrives.
FETCH_SECONDS_MIN: Final = 60.0
#: After this, known keys are looked up again, so that a withdrawn one is not trusted for ever.
FRESH_SECONDS: Final = 3600.0


class Webhooks:
    """`client.webhooks`"""

    def __init__(self, caller: Caller, certificates: Certificates) -> None:
        import threading

        self._party = caller.party
        self._certificates = certificates
        self._keys: Mapping[str, str] = {}
        self._fetched_at: float | None = None  # with success
        self._tried_at: float | None = None
        self._fetching = threading.Lock()

    def construct_event(
        self,
        raw: bytes,
        headers: Mapping[str, str],
        *,
        past_seconds: float | None = 300,
        future_seconds: float | None = 300,
    ) -> Notification:
        """Verify the raw bytes of a notification and read it.

        Raises SignatureVerificationError (answer 401), UnreadableNotification (signed, so keep
        it and acknowledge), or what fetching the keys raises (answer `ACKNOWLEDGE_FAIL`: Binance
        tries again).
        """
        keys = self._keys_for(certificate_serial(headers))
        now = self._party.clock.now() + self._party.offset.correction()
        return verify(
            raw, headers, keys, now, past_seconds=past_seconds, future_seconds=future_seconds
        )

    def _keys_for(self, serial: str) -> Mapping[str, str]:
        if self._is_settled(serial):
            return self._keys
        with self._fetching:  # many notifications may wait here for one fetch
            if not self._is_settled(serial):
                self._fetch(serial)
            return self._keys

    def _is_settled(self, serial: str) -> bool:
        """Say whether to go by the keys at hand, known serial or not."""
        now = self._party.elapsed_seconds()
        if self._tried_at is not None and now - self._tried_at < FETCH_SECONDS_MIN:
            return True
        fresh = self._fetched_at is not None and now - self._fetched_at < FRESH_SECONDS
        return fresh and serial in self._keys

    def _fetch(self, serial: str) -> None:
        try:
            listed = self._certificates.list()
        except BinancePayError:
            if serial in self._keys:
                return  # Binance is away; the key was good an hour ago
            raise
        finally:
            self._tried_at = self._party.elapsed_seconds()  # not before: others wait for the lock
        if listed:  # an empty answer is an accident, not a withdrawal of everything
            self._keys = {certificate.serial: certificate.public_key for certificate in listed}
            self._fetched_at = self._party.elapsed_seconds()
