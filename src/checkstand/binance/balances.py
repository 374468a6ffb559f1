"""Balances: what the merchant's wallets hold."""

from checkstand.binance.account_messages import CoinBalance, QueryBalance, WalletBalance
from checkstand.binance.caller import AsyncCaller
from checkstand.binance.calls import QUERY_BALANCE, QUERY_BALANCE_V1
from checkstand.binance.exchange import CallOptions
from checkstand.binance.raw import AsyncRawCaller, as_raw


class AsyncBalances:
    """`client.balances`"""

    def __init__(self, caller: AsyncCaller) -> None:
        self._caller = caller

    @property
    def with_raw_response(self) -> "AsyncRawBalances":
        """The same calls, each result beside its response."""
        return AsyncRawBalances(self._caller)

    async def query(
        self,
        *,
        wallet: str = "FUNDING_WALLET",
        currency: str | None = None,
        options: CallOptions | None = None,
    ) -> WalletBalance:
        """Ask what a wallet holds (v2), of one coin or of all. Payments arrive in funding."""
        request = QueryBalance(wallet=wallet, currency=currency)
        return await self._caller.call(QUERY_BALANCE, request, options)

    async def query_v1(
        self, *, wallet: str = "FUNDING_WALLET", currency: str, options: CallOptions | None = None
    ) -> CoinBalance:
        """Ask what a wallet holds of one coin, as v1 did."""
        request = QueryBalance(wallet=wallet, currency=currency)
        return await self._caller.call(QUERY_BALANCE_V1, request, options)


class AsyncRawBalances:
    """`client.balances.with_raw_response`"""

    def __init__(self, caller: AsyncCaller) -> None:
        balances = AsyncBalances(AsyncRawCaller(caller))
        self.query = as_raw(balances.query)
        self.query_v1 = as_raw(balances.query_v1)
