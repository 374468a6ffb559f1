"""What is said about orders, refunds and certificates: a struct for each request and result.

Field names are Binance's in snake_case; times end in `_at`. Words of Binance's (statuses,
currencies, terminal types) are plain text, because their sets are open. Limits are Binance's to
enforce: only what it documents and what would cost money is checked here. `order_parts.py` has
what an order is made of; `account_messages.py` and `partner_messages.py` have the other families.
"""

import re
from decimal import Decimal
from typing import Final

import msgspec
from msgspec import field

from checkstand.binance.order_parts import (
    Buyer,
    Environment,
    Goods,
    OrderTags,
    Shipping,
    SubMerchant,
)
from checkstand.binance.results import Result
from checkstand.binance.wire import Amount, Id, Message, Moment

_TRADE_NO: Final = re.compile(r"[A-Za-z0-9]{1,32}", re.ASCII)


# --- Orders ---------------------------------------------------------------------------------


class NewOrder(Message, frozen=True):
    """What the bodies of create order have in common since v2."""

    env: Environment
    merchant_trade_no: str
    merchant: SubMerchant | None = None
    order_amount: Decimal | None = None
    currency: str | None = None
    fiat_amount: Decimal | None = None
    fiat_currency: str | None = None
    shipping: Shipping | None = None
    buyer: Buyer | None = None
    return_url: str | None = None
    cancel_url: str | None = None
    order_expire_time: int | None = None
    support_pay_currency: str | None = None
    app_id: str | None = None
    universal_url_attach: str | None = None
    pass_through_info: str | None = None
    webhook_url: str | None = None
    order_tags: OrderTags | None = None
    voucher_code: str | None = None
    qr_code_refer_id: str | None = None

    def __post_init__(self) -> None:
        _check_trade_no(self.merchant_trade_no)
        if (self.order_amount is None) != (self.currency is None):
            raise ValueError("order_amount and currency go together")
        if (self.fiat_amount is None) != (self.fiat_currency is None):
            raise ValueError("fiat_amount and fiat_currency go together")
        if (self.order_amount is None) == (self.fiat_amount is None):
            raise ValueError("give either order_amount or fiat_amount")


class CreateOrder(NewOrder, frozen=True, kw_only=True):
    """The body of create order, v3."""

    description: str
    goods_details: tuple[Goods, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.goods_details:
            raise ValueError("goods_details must name at least one thing")


class CreateOrderV2(NewOrder, frozen=True, kw_only=True):
    """The body of create order, v2: one article, no description."""

    goods: Goods


class CreateOrderV1(Message, frozen=True):
    """The body of create order, v1, which is deprecated."""

    merchant_trade_no: str
    trade_type: str  # WEB, APP, WAP, MINI_PROGRAM, PAYMENT_LINK, OTHERS
    total_fee: Decimal
    currency: str
    product_name: str
    product_type: str | None = None
    product_detail: str | None = None
    return_url: str | None = None
    cancel_url: str | None = None
    order_expire_time: int | None = None
    sub_merchant_id: str | None = None

    def __post_init__(self) -> None:
        _check_trade_no(self.merchant_trade_no)


def _check_trade_no(number: str) -> None:
    if not _TRADE_NO.fullmatch(number):
        raise ValueError("merchant_trade_no must be 1 to 32 letters and digits")


class CreatedOrder(Result, frozen=True, kw_only=True):
    """An order that waits for its shopper. A query does not return the links: keep them."""

    prepay_id: Id
    expires_at: Moment = field(name="expireTime")
    qr_content: str  # the text to draw a code from
    qrcode_link: str = field(name="qrcodeLink")  # a picture of it at Binance's
    checkout_url: str
    deeplink: str  # opens the app, where one is surely installed
    universal_url: str  # opens the app or a page
    terminal_type: str | None = None
    currency: str = ""  # of the order: USDT where the price is fiat; "" in old answers
    total_fee: Amount | None = None
    fiat_currency: str | None = None
    fiat_amount: Amount | None = None


class CreatedOrderV1(Result, frozen=True, kw_only=True):
    """An order made by create v1. The links were added to its answers late."""

    prepay_id: Id
    expires_at: Moment = field(name="expireTime")
    qr_content: str
    qrcode_link: str = field(name="qrcodeLink")
    trade_type: str | None = None
    checkout_url: str | None = None
    deeplink: str | None = None
    universal_url: str | None = None


class OrderReference(Message, frozen=True):
    """One of the two names of an order. Binance takes `prepay_id` where both are given."""

    merchant_trade_no: str | None = None
    prepay_id: str | None = None

    def __post_init__(self) -> None:
        if self.merchant_trade_no is None and self.prepay_id is None:
            raise ValueError("give merchant_trade_no or prepay_id")


class QueryOrder(OrderReference, frozen=True):
    """The body of query order, v2 and v1."""


class CloseOrder(OrderReference, frozen=True):
    """The body of close order."""


class PaymentInstruction(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the shopper spent of one coin."""

    currency: str | None = None
    amount: Amount | None = None
    price: Amount | None = None


class PaymentInfo(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How the shopper paid. For the record only: what the shop gets is the order's amount."""

    payer_id: Id | None = None
    pay_method: str | None = None
    payment_instructions: tuple[PaymentInstruction, ...] | None = None
    channel: str | None = None
    sub_channel: str | None = None
    payer_detail: str | None = None  # encrypted: see `decrypt_payer_detail`


class QueriedOrder(Result, frozen=True, kw_only=True):
    """An order as Binance sees it."""

    merchant_id: Id
    prepay_id: Id
    merchant_trade_no: str
    status: str  # INITIAL, PENDING, PAID, CANCELED, EXPIRED, ERROR, REFUNDING, REFUNDED, ...
    currency: str
    order_amount: Amount
    created_at: Moment = field(name="createTime")
    transacted_at: Moment | None = field(name="transactTime", default=None)
    transaction_id: Id | None = None
    open_user_id: Id | None = None  # a stable pseudonym of the payer
    pass_through_info: str | None = None
    commission: Amount | None = None  # the fee; None is "not known", not zero
    payment_info: PaymentInfo | None = None


# --- Refunds --------------------------------------------------------------------------------


class RefundOrder(Message, frozen=True):
    """The body of refund order."""

    refund_request_id: str
    prepay_id: str
    refund_amount: Decimal
    refund_reason: str | None = None
    webhook_url: str | None = None


class QueryRefund(Message, frozen=True):
    """The body of query refund."""

    refund_request_id: str


class Refund(Result, frozen=True, kw_only=True):
    """A refund that Binance took on. `refund_amount` is what it gives back, asked for or not."""

    refund_request_id: str
    prepay_id: Id
    order_amount: Amount
    refunded_amount: Amount  # in all, this one included
    refund_amount: Amount
    remaining_attempts: int  # at 1 the next refund returns all the rest, whatever it asks
    refund_id: Id | None = None  # Binance's own; the name of the field is uncertain
    payer_open_id: Id | None = None
    duplicate_request: str | None = None  # Y or N
    refunded_commission: Amount | None = None
    refund_commission: Amount | None = None


class QueriedRefund(Refund, frozen=True, kw_only=True):
    """A refund as Binance sees it."""

    refund_status: str  # REFUND_PENDING, REFUND_SUCCESS, REFUND_FAIL


# --- Certificates ---------------------------------------------------------------------------


class ListCertificates(Message, frozen=True):
    """The body of the certificate query: empty, but sent and signed."""


class Certificate(Result, frozen=True, kw_only=True):
    """A public key that Binance signs notifications with."""

    serial: Id = field(name="certSerial")
    public_key: str = field(name="certPublic")  # PEM, subject public key info
