# Generated from balances.py by scripts/generate_sync_client.py: change that file and run this.
"""Balances: what the merchant's wallets hold."""

from checkstand.binance.account_messages import CoinBalance, QueryBalance, WalletBalance
from checkstand.binance.caller_sync import Caller
from checkstand.binance.calls import QUERY_BALANCE, QUERY_BALANCE_V1
from checkstand.binance.exchange import CallOptions
from checkstand.binance.raw_sync import RawCaller, as_raw


class Balances:
    """`client.balances`"""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    @property
    def with_raw_response(self) -> "RawBalances":
        """The same calls, each result beside its response."""
        return RawBalances(self._caller)

    def query(
        self,
        *,
        wallet: str = "FUNDING_WALLET",
        currency: str | None = None,
        options: CallOptions | None = None,
    ) -> WalletBalance:
        """Ask what a wallet holds (v2), of one coin or of all. Payments arrive in funding."""
        request = QueryBalance(wallet=wallet, currency=currency)
        return self._caller.call(QUERY_BALANCE, request, options)

    def query_v1(
        self, *, wallet: str = "FUNDING_WALLET", currency: str, options: CallOptions | None = None
    ) -> CoinBalance:
        """Ask what a wallet holds of one coin, as v1 did."""
        request = QueryBalance(wallet=wallet, currency=currency)
        return self._caller.call(QUERY_BALANCE_V1, request, options)


class RawBalances:
    """`client.balances.with_raw_response`"""

    def __init__(self, caller: Caller) -> None:
        balances = Balances(RawCaller(caller))
        self.query = as_raw(balances.query)
        self.query_v1 = as_raw(balances.query_v1)
