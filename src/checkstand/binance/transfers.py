"""Transfers between the merchant's own wallets: create, query."""

from decimal import Decimal

from checkstand.binance.account_messages import CreateTransfer, QueryTransfer, WalletTransfer
from checkstand.binance.caller import AsyncCaller
from checkstand.binance.calls import CREATE_TRANSFER, QUERY_TRANSFER
from checkstand.binance.exchange import CallOptions
from checkstand.binance.idempotency import number_for
from checkstand.binance.raw import AsyncRawCaller, as_raw
from checkstand.binance.wire import amount_to_send


class AsyncTransfers:
    """`client.transfers`"""

    def __init__(self, caller: AsyncCaller) -> None:
        self._caller = caller

    @property
    def with_raw_response(self) -> "AsyncRawTransfers":
        """The same calls, each result beside its response."""
        return AsyncRawTransfers(self._caller)

    async def create(
        self,
        *,
        request_id: str | None = None,
        currency: str,
        amount: Decimal | str,
        transfer_type: str,
        options: CallOptions | None = None,
    ) -> WalletTransfer:
        """Move money to spot (TO_MAIN) or to funding (TO_PAY).

        The same `request_id` again moves nothing more and tells of the first. Look at the status:
        PROCESS is not yet, FAILURE is a result too.
        """
        request = CreateTransfer(
            request_id=number_for(CREATE_TRANSFER.number, request_id, options),
            currency=currency,
            amount=f"{amount_to_send(amount, 'amount'):f}",
            transfer_type=transfer_type,
        )
        return await self._caller.call(CREATE_TRANSFER, request, options)

    async def query(self, *, tran_id: str, options: CallOptions | None = None) -> WalletTransfer:
        """Ask what became of a transfer, by the request id it was made with."""
        return await self._caller.call(QUERY_TRANSFER, QueryTransfer(tran_id=tran_id), options)


class AsyncRawTransfers:
    """`client.transfers.with_raw_response`"""

    def __init__(self, caller: AsyncCaller) -> None:
        transfers = AsyncTransfers(AsyncRawCaller(caller))
        self.create = as_raw(transfers.create)
        self.query = as_raw(transfers.query)
