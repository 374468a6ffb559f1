"""Certificates: the public keys Binance signs notifications with."""

import builtins

from checkstand.binance.caller import AsyncCaller
from checkstand.binance.calls import LIST_CERTIFICATES
from checkstand.binance.exchange import CallOptions
from checkstand.binance.messages import Certificate, ListCertificates
from checkstand.binance.raw import AsyncRawCaller, as_raw


class AsyncCertificates:
    """`client.certificates`"""

    def __init__(self, caller: AsyncCaller) -> None:
        self._caller = caller

    @property
    def with_raw_response(self) -> "AsyncRawCertificates":
        """The same calls, each result beside its response."""
        return AsyncRawCertificates(self._caller)

    async def list(self, *, options: CallOptions | None = None) -> builtins.list[Certificate]:
        """Return the keys in use. Several are normal: choose by serial, never the first."""
        return await self._caller.call(LIST_CERTIFICATES, ListCertificates(), options)


class AsyncRawCertificates:
    """`client.certificates.with_raw_response`"""

    def __init__(self, caller: AsyncCaller) -> None:
        certificates = AsyncCertificates(AsyncRawCaller(caller))
        self.list = as_raw(certificates.list)
