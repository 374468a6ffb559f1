# Generated from sub_merchants.py by scripts/generate_sync_client.py: change that file and run this.
"""Sub-merchants: the shops that a channel partner sells for."""

import msgspec

from checkstand.binance.caller_sync import Caller
from checkstand.binance.calls import ADD_SUB_MERCHANT, MODIFY_SUB_MERCHANT
from checkstand.binance.exchange import CallOptions
from checkstand.binance.partner_messages import (
    CreatedSubMerchant,
    ModifySubMerchant,
    SubMerchantProfile,
)
from checkstand.binance.raw_sync import RawCaller, as_raw


class SubMerchants:
    """`client.sub_merchants`"""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    @property
    def with_raw_response(self) -> "RawSubMerchants":
        """The same calls, each result beside its response."""
        return RawSubMerchants(self._caller)

    def create(
        self, *, profile: SubMerchantProfile, options: CallOptions | None = None
    ) -> CreatedSubMerchant:
        """Add a shop. A taken name raises DuplicateRequest (400205): keep the id, none lists it."""
        return self._caller.call(ADD_SUB_MERCHANT, profile, options)

    def modify(
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
        return self._caller.call(MODIFY_SUB_MERCHANT, request, options)


class RawSubMerchants:
    """`client.sub_merchants.with_raw_response`"""

    def __init__(self, caller: Caller) -> None:
        sub_merchants = SubMerchants(RawCaller(caller))
        self.create = as_raw(sub_merchants.create)
        self.modify = as_raw(sub_merchants.modify)
