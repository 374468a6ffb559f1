"""What is said about others: payouts to receivers, and the shops of a channel partner.

As in `messages.py`: Binance's field names in snake_case, open sets of words as text.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

import msgspec
from msgspec import field

from checkstand.binance.results import Result
from checkstand.binance.wire import Amount, Id, Message, amount_to_send

# --- Payouts --------------------------------------------------------------------------------


class PayoutLine(Message, frozen=True):
    """Money for one receiver."""

    merchant_send_id: str  # yours, one for each line
    receive_type: str  # PAY_ID, BINANCE_ID, EMAIL
    receiver: str
    transfer_amount: Decimal
    transfer_method: str  # FUNDING_WALLET, SPOT_WALLET: from where it is taken
    remark: str | None = None
    registration_email: str | None = None
    registration_mobile_number: str | None = None
    registration_mobile_code: str | None = None

    def __post_init__(self) -> None:
        amount_to_send(self.transfer_amount, "transfer_amount")


class CreatePayout(Message, frozen=True):
    """The body of a payout."""

    request_id: str
    batch_name: str
    currency: str
    total_amount: Decimal
    total_number: int
    transfer_detail_list: tuple[PayoutLine, ...]
    biz_scene: str | None = None
    webhook_url: str | None = None
    sub_merchant_id: str | None = None  # at this place by the changelog; uncertain

    def __post_init__(self) -> None:
        if not self.transfer_detail_list:
            raise ValueError("a payout needs at least one line")


class AcceptedPayout(Result, frozen=True, kw_only=True):
    """A payout Binance took on. Nobody has been paid yet: query it, or wait for PAYOUT."""

    request_id: str
    status: str  # ACCEPTED


class QueryPayout(Message, frozen=True):
    """The body of the payout query."""

    request_id: str
    detail_status: Sequence[str] | None = None  # ALL, PROCESSING, SUCCESS, FAIL


class QueriedPayoutLine(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What became of one line."""

    merchant_send_id: str
    status: str  # SUCCESS, FAIL, AWAITING_RECEIPT, REFUNDED, PROCESSING
    amount: Amount
    order_id: Id | None = None
    payer_id: Id | None = None
    payee_id: Id | None = None
    receive_type: str | None = None
    receiver: str | None = None
    transfer_method: str | None = None
    remark: str | None = None


class QueriedPayout(Result, frozen=True, kw_only=True):
    """A payout as Binance sees it."""

    request_id: str
    batch_status: str  # ACCEPTED, PROCESSING, SUCCESS, PART_SUCCESS, FAILED, CANCELED
    merchant_id: Id | None = None
    currency: str | None = None
    total_amount: Amount | None = None
    total_number: int | None = None
    transfer_detail_list: tuple[QueriedPayoutLine, ...] | None = None


class CheckReceiver(Message, frozen=True):
    """The body of the receiver check."""

    receive_type: str
    receiver_id: str
    registration_email: str | None = None
    registration_mobile_number: str | None = None
    registration_mobile_code: str | None = None
    open_user_id: str | None = None


# --- Sub-merchants --------------------------------------------------------------------------


class SubMerchantProfile(Message, frozen=True):
    """What Binance wants to know of a shop."""

    merchant_name: str  # unique among yours
    merchant_mcc: str  # four digits of Binance's own list, such as 1039; 9999 for others
    store_type: int  # 0 online, 1 physical, -1 both
    merchant_type: int | None = None  # 2 sole proprietor, 3 partnership, 4 company, 5 other
    country: str | None = None  # two letters each, with commas between; GO for the world
    site_url: str | None = None  # needed by an online shop
    address: str | None = None  # needed by a physical one
    pay_industry_description: str | None = None  # needed for 9999
    sub_pay_mcc_code: str | None = None
    sub_pay_industry_description: str | None = None
    brand_logo: str | None = None
    company_name: str | None = None
    registration_number: str | None = None
    registration_country: str | None = None
    registration_address: str | None = None
    incorporated_at: datetime | None = field(name="incorporationDate", default=None)
    certificate_type: int | None = None  # 1 identity card, 2 passport
    certificate_country: str | None = None
    certificate_number: str | None = None
    certificate_expires_at: datetime | None = field(name="certificateValidDate", default=None)
    contracted_at: datetime | None = field(name="contractTimeIsv", default=None)
    block_payer_kyc_countries: tuple[str, ...] | None = None


class ModifySubMerchant(SubMerchantProfile, frozen=True, kw_only=True):
    """The body of modify."""

    sub_merchant_id: str


class CreatedSubMerchant(Result, frozen=True, kw_only=True):
    """A shop that can be sold for."""

    sub_merchant_id: Id
