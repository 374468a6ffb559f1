# Generated from client.py by scripts/generate_sync_client.py: change that file and run this.
"""The client: one object with a resource for each family of endpoints.

with BinancePay() as client:
    order = client.orders.create(...)
"""

import types
from collections.abc import Callable, Mapping
from typing import Any, Self

from checkstand.binance.ambient import Clock, Random, SystemClock, SystemRandom, elapsed_seconds
from checkstand.binance.balances_sync import Balances
from checkstand.binance.caller_sync import Caller
from checkstand.binance.calls import Effect, unmodelled
from checkstand.binance.certificates_sync import Certificates
from checkstand.binance.clock_offset import ClockOffset
from checkstand.binance.configuration import configure
from checkstand.binance.exchange import CallOptions, Party
from checkstand.binance.orders_sync import Orders
from checkstand.binance.payouts_sync import Payouts
from checkstand.binance.raw_sync import RawCaller
from checkstand.binance.refunds_sync import Refunds
from checkstand.binance.reports_sync import Reports
from checkstand.binance.results import RawResponse
from checkstand.binance.signing import mask
from checkstand.binance.sub_merchants_sync import SubMerchants
from checkstand.binance.transfers_sync import Transfers
from checkstand.binance.transport import Transport
from checkstand.binance.webhooks_sync import Webhooks


class BinancePay:
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
        transport: Transport | None = None,
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
        self._caller = Caller(party, transport or _default_transport())
        self.orders = Orders(self._caller)
        self.refunds = Refunds(self._caller)
        self.balances = Balances(self._caller)
        self.transfers = Transfers(self._caller)
        self.payouts = Payouts(self._caller)
        self.reports = Reports(self._caller)
        self.sub_merchants = SubMerchants(self._caller)
        self.certificates = Certificates(self._caller)
        self.webhooks = Webhooks(self._caller, self.certificates)

    def raw_request(
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
        return RawCaller(self._caller).call(call, dict(body or {}), options)

    def close(self) -> None:
        """Close every connection."""
        self._caller.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        party = self._caller.party
        return f"BinancePay({party.base_url!r}, {mask(party.credentials.api_key)!r})"


def _default_transport() -> Transport:
    from checkstand.binance.http_transport import HttpTransport

    return HttpTransport()
