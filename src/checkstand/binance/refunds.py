"""Refunds: create, query."""

from decimal import Decimal

from checkstand.binance.caller import AsyncCaller
from checkstand.binance.calls import QUERY_REFUND, REFUND_ORDER
from checkstand.binance.exchange import CallOptions
from checkstand.binance.idempotency import number_for
from checkstand.binance.messages import QueriedRefund, QueryRefund, Refund, RefundOrder
from checkstand.binance.raw import AsyncRawCaller, as_raw
from checkstand.binance.wire import amount_to_send


class AsyncRefunds:
    """`client.refunds`"""

    def __init__(self, caller: AsyncCaller) -> None:
        self._caller = caller

    @property
    def with_raw_response(self) -> "AsyncRawRefunds":
        """The same calls, each result beside its response."""
        return AsyncRawRefunds(self._caller)

    async def create(
        self,
        *,
        refund_request_id: str | None = None,
        prepay_id: str,
        refund_amount: Decimal | str,
        refund_reason: str | None = None,
        webhook_url: str | None = None,
        options: CallOptions | None = None,
    ) -> Refund:
        """Return part of an order's money, or all of it.

        Make and store `refund_request_id` before; keep it for every further try, and query it
        after `outcome_unknown`. At one remaining attempt Binance returns the whole rest,
        whatever is asked.
        """
        request = RefundOrder(
            refund_request_id=number_for(REFUND_ORDER.number, refund_request_id, options),
            prepay_id=prepay_id,
            refund_amount=amount_to_send(refund_amount, "refund_amount"),
            refund_reason=refund_reason,
            webhook_url=webhook_url,
        )
        return await self._caller.call(REFUND_ORDER, request, options)

    async def query(
        self, *, refund_request_id: str, options: CallOptions | None = None
    ) -> QueriedRefund:
        """Ask what became of a refund."""
        request = QueryRefund(refund_request_id=refund_request_id)
        return await self._caller.call(QUERY_REFUND, request, options)


class AsyncRawRefunds:
    """`client.refunds.with_raw_response`"""

    def __init__(self, caller: AsyncCaller) -> None:
        refunds = AsyncRefunds(AsyncRawCaller(caller))
        self.create = as_raw(refunds.create)
        self.query = as_raw(refunds.query)
