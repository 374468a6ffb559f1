"""The client: one object with a resource for each family of endpoints.

async with AsyncBinancePay() as client:
    order = await client.orders.create(...)
"""

import types
from collections.abc import Callable, Mapping
from typing import Any, Self

from checkstand.binance.ambient import Clock, Random, SystemClock, SystemRandom, elapsed_seconds
from checkstand.binance.balances import AsyncBalances
from checkstand.binance.caller import AsyncCaller
from checkstand.binance.calls import Effect, unmodelled
from checkstand.binance.certificates import AsyncCertificates
from checkstand.binance.clock_offset import ClockOffset
from checkstand.binance.configuration import configure
from checkstand.binance.exchange import CallOptions, Party
from checkstand.binance.orders import AsyncOrders
from checkstand.binance.payouts import AsyncPayouts
from checkstand.binance.raw import AsyncRawCaller
from checkstand.binance.refunds import AsyncRefunds
from checkstand.binance.reports import AsyncReports
from checkstand.binance.results import RawResponse
from checkstand.binance.signing import mask
from checkstand.binance.sub_merchants import AsyncSubMerchants
from checkstand.binance.transfers import AsyncTransfers
from checkstand.binance.transport import AsyncTransport
from checkstand.binance.webhooks import AsyncWebhooks


class AsyncBinancePay:
    """Binance Pay's merchant API. Make one client, keep it, share it; close it at the end.

    What is not given comes from `BINANCE_PAY_API_KEY`, `_API_SECRET`, `_BASE_URL`, `_TIMEOUT` and
    `_MAX_RETRIES`. `timeout_seconds` is for a whole call with its retries. Raises
    ConfigurationError.
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        api_secret: str | None = None,
        base_url: str | None = None,
        timeout_seconds: float | None = None,
        max_retries: int | None = None,
        transport: AsyncTransport | None = None,
        clock: Clock | None = None,
        random: Random | None = None,
        elapsed_seconds: Callable[[], float] = elapsed_seconds,
    ) -> None:
        configuration = configure(
            api_key=api_key,
            api_secret=api_secret,
            base_url=base_url,
            timeout_seconds=timeout_seconds,
            max_retries=max_retries,
        )
        party = Party(
            credentials=configuration.credentials,
            base_url=configuration.base_url,
            clock=clock or SystemClock(),
            random=random or SystemRandom(),
            elapsed_seconds=elapsed_seconds,
            offset=ClockOffset(),
            timeout_seconds=configuration.timeout_seconds,
            max_retries=configuration.max_retries,
        )
        self._caller = AsyncCaller(party, transport or _default_transport())
        self.orders = AsyncOrders(self._caller)
        self.refunds = AsyncRefunds(self._caller)
        self.balances = AsyncBalances(self._caller)
        self.transfers = AsyncTransfers(self._caller)
        self.payouts = AsyncPayouts(self._caller)
        self.reports = AsyncReports(self._caller)
        self.sub_merchants = AsyncSubMerchants(self._caller)
        self.certificates = AsyncCertificates(self._caller)
        self.webhooks = AsyncWebhooks(self._caller, self.certificates)

    async def raw_request(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        effect: Effect = Effect.ONCE,
        options: CallOptions | None = None,
    ) -> RawResponse[Any]:
        """Call an endpoint this SDK does not model, such as `/direct-debit/contract`.

        Signed, judged and raised like any other; the data comes as plain values, digits kept.
        `effect` says whether it may be repeated: by default it is not.
        """
        call = unmodelled(path, effect)
        return await AsyncRawCaller(self._caller).call(call, dict(body or {}), options)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._caller.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        party = self._caller.party
        return f"AsyncBinancePay({party.base_url!r}, {mask(party.credentials.api_key)!r})"


def _default_transport() -> AsyncTransport:
    from checkstand.binance.http_transport import AsyncHttpTransport

    return AsyncHttpTransport()
