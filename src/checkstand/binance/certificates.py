"""Certificates: the public keys Binance signs notifications with."""

import builtins

from checkstand.binance.caller import AsyncCaller
from checkstand.binance.calls import LIST_CERTIFICATES
from checkstand.binance.exchange import CallOptions
from checkstand.binance.messages import Certificate, ListCertificates


class AsyncCertificates:
    """`client.certificates`"""

    def __init__(self, caller: AsyncCaller) -> None:
        self._caller = caller

    async def list(self, *, options: CallOptions | None = None) -> builtins.list[Certificate]:
        """Return the keys in use. Several are normal: choose by serial, never the first."""
        return await self._caller.call(LIST_CERTIFICATES, ListCertificates(), options)
