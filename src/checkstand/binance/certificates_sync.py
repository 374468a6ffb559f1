# Generated from certificates.py by scripts/generate_sync_client.py: change that file and run this.
"""Certificates: the public keys Binance signs notifications with."""

import builtins

from checkstand.binance.caller_sync import Caller
from checkstand.binance.calls import LIST_CERTIFICATES
from checkstand.binance.exchange import CallOptions
from checkstand.binance.messages import Certificate, ListCertificates
from checkstand.binance.raw_sync import RawCaller, as_raw


class Certificates:
    """`client.certificates`"""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    @property
    def with_raw_response(self) -> "RawCertificates":
        """The same calls, each result beside its response."""
        return RawCertificates(self._caller)

    def list(self, *, options: CallOptions | None = None) -> builtins.list[Certificate]:
        """Return the keys in use. Several are normal: choose by serial, never the first."""
        return self._caller.call(LIST_CERTIFICATES, ListCertificates(), options)


class RawCertificates:
    """`client.certificates.with_raw_response`"""

    def __init__(self, caller: Caller) -> None:
        certificates = Certificates(RawCaller(caller))
        self.list = as_raw(certificates.list)
