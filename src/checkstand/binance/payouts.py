"""Payouts: create, query, and a look at a receiver before."""

from collections.abc import Sequence
from decimal import Decimal

from checkstand.binance.caller import AsyncCaller
from checkstand.binance.calls import CHECK_RECEIVER, CREATE_PAYOUT, QUERY_PAYOUT
from checkstand.binance.exchange import CallOptions
from checkstand.binance.idempotency import number_for
from checkstand.binance.partner_messages import (
    AcceptedPayout,
    CheckReceiver,
    CreatePayout,
    PayoutLine,
    QueriedPayout,
    QueryPayout,
)
from checkstand.binance.raw import AsyncRawCaller, as_raw


class AsyncPayouts:
    """`client.payouts`"""

    def __init__(self, caller: AsyncCaller) -> None:
        self._caller = caller

    @property
    def with_raw_response(self) -> "AsyncRawPayouts":
        """The same calls, each result beside its response."""
        return AsyncRawPayouts(self._caller)

    async def create(
        self,
        *,
        request_id: str | None = None,
        batch_name: str,
        currency: str,
        lines: Sequence[PayoutLine],
        biz_scene: str | None = None,
        webhook_url: str | None = None,
        sub_merchant_id: str | None = None,
        options: CallOptions | None = None,
    ) -> AcceptedPayout:
        """Send one coin to up to 500 receivers. Number and total are those of the lines.

        It is never sent again once it may have arrived: after `outcome_unknown`, query the same
        `request_id`.
        """
        request = CreatePayout(
            request_id=number_for(CREATE_PAYOUT.number, request_id, options),
            batch_name=batch_name,
            currency=currency,
            total_amount=sum((line.transfer_amount for line in lines), Decimal()),
            total_number=len(lines),
            transfer_detail_list=tuple(lines),
            biz_scene=biz_scene,
            webhook_url=webhook_url,
            sub_merchant_id=sub_merchant_id,
        )
        return await self._caller.call(CREATE_PAYOUT, request, options)

    async def query(
        self,
        *,
        request_id: str,
        detail_status: Sequence[str] | None = None,
        options: CallOptions | None = None,
    ) -> QueriedPayout:
        """Ask what became of a payout and its lines, or of the lines in some statuses."""
        request = QueryPayout(request_id=request_id, detail_status=detail_status)
        return await self._caller.call(QUERY_PAYOUT, request, options)

    async def check_receiver(
        self,
        *,
        receiver_id: str,
        receive_type: str = "BINANCE_ID",
        registration_email: str | None = None,
        registration_mobile_number: str | None = None,
        registration_mobile_code: str | None = None,
        open_user_id: str | None = None,
        options: CallOptions | None = None,
    ) -> bool:
        """Ask whether a receiver is who they are taken for. Too many misses are RateLimited."""
        request = CheckReceiver(
            receive_type=receive_type,
            receiver_id=receiver_id,
            registration_email=registration_email,
            registration_mobile_number=registration_mobile_number,
            registration_mobile_code=registration_mobile_code,
            open_user_id=open_user_id,
        )
        return await self._caller.call(CHECK_RECEIVER, request, options)


class AsyncRawPayouts:
    """`client.payouts.with_raw_response`"""

    def __init__(self, caller: AsyncCaller) -> None:
        payouts = AsyncPayouts(AsyncRawCaller(caller))
        self.create = as_raw(payouts.create)
        self.query = as_raw(payouts.query)
        self.check_receiver = as_raw(payouts.check_receiver)
