"""Sub-merchants: the shops that a channel partner sells for."""

import msgspec

from checkstand.binance.caller import AsyncCaller
from checkstand.binance.calls import ADD_SUB_MERCHANT, MODIFY_SUB_MERCHANT
from checkstand.binance.exchange import CallOptions
from checkstand.binance.partner_messages import (
    CreatedSubMerchant,
    ModifySubMerchant,
    SubMerchantProfile,
)
from checkstand.binance.raw import AsyncRawCaller, as_raw


class AsyncSubMerchants:
    """`client.sub_merchants`"""

    def __init__(self, caller: AsyncCaller) -> None:
        self._caller = caller

    @property
    def with_raw_response(self) -> "AsyncRawSubMerchants":
        """The same calls, each result beside its response."""
        return AsyncRawSubMerchants(self._caller)

    async def create(
        self, *, profile: SubMerchantProfile, options: CallOptions | None = None
    ) -> CreatedSubMerchant:
        """Add a shop. A taken name raises DuplicateRequest (400205): keep the id, none lists it."""
        return await self._caller.call(ADD_SUB_MERCHANT, profile, options)

    async def modify(
        self,
        *,
        sub_merchant_id: str,
        profile: SubMerchantProfile,
        options: CallOptions | None = None,
    ) -> CreatedSubMerchant:
        """Replace what Binance knows of a shop."""
        request = ModifySubMerchant(
            sub_merchant_id=sub_merchant_id, **msgspec.structs.asdict(profile)
        )
        return await self._caller.call(MODIFY_SUB_MERCHANT, request, options)


class AsyncRawSubMerchants:
    """`client.sub_merchants.with_raw_response`"""

    def __init__(self, caller: AsyncCaller) -> None:
        sub_merchants = AsyncSubMerchants(AsyncRawCaller(caller))
        self.create = as_raw(sub_merchants.create)
        self.modify = as_raw(sub_merchants.modify)
