"""What an order is made of: goods, the shopper, where they go, where the shopper sits.

Only goods and the terminal are mandatory. Leave out what is not known; an empty text is not the
same as nothing.
"""

from datetime import datetime
from decimal import Decimal

from msgspec import field

from checkstand.binance.wire import Message, amount_to_send


class UnitAmount(Message, frozen=True):
    """The price of one piece."""

    amount: Decimal
    currency: str

    def __post_init__(self) -> None:
        amount_to_send(self.amount, "amount")


class Goods(Message, frozen=True):
    """One thing the shopper buys, as the checkout shows it. No emoji, `"` or `\\` in names."""

    goods_type: str  # "01" tangible, "02" virtual
    goods_category: str  # such as "D000" food or "6000" games; "Z000" others
    reference_goods_id: str  # the shop's own article number
    goods_name: str
    goods_detail: str | None = None
    goods_unit_amount: UnitAmount | None = None
    goods_quantity: str | None = None  # in the v2 connector; uncertain in v3


class Environment(Message, frozen=True):
    """Where the shopper is."""

    terminal_type: str  # APP, WEB (desktop), WAP (mobile browser), MINI_PROGRAM, OTHERS
    os_type: str | None = None  # IOS, ANDROID
    order_client_ip: str | None = None
    cookie_id: str | None = None


class SubMerchant(Message, frozen=True):
    """For whom a channel partner sells."""

    sub_merchant_id: str


class OrderTags(Message, frozen=True):
    """Marks on an order."""

    if_profit_sharing: bool | None = None  # must be true for an order that is to be split


class PersonName(Message, frozen=True):
    """A name in its parts."""

    first_name: str
    last_name: str
    middle_name: str | None = None


class Buyer(Message, frozen=True):
    """Who buys, as far as the shop knows."""

    #: Only this Binance account may pay (for admitted merchants). Not the shop's customer number.
    reference_buyer_id: str | None = None
    buyer_name: PersonName | None = None
    buyer_phone_country_code: str | None = None
    buyer_phone_no: str | None = None
    buyer_email: str | None = None
    buyer_registered_at: datetime | None = field(name="buyerRegistrationTime", default=None)
    buyer_browser_language: str | None = None


class ShippingAddress(Message, frozen=True):
    """Where goods go."""

    region: str  # two letters, ISO 3166-1
    state: str | None = None
    city: str | None = None
    address: str | None = None
    zip_code: str | None = None
    shipping_address_type: str | None = None  # "01" office, "02" home, "03" public box, "04" other


class Shipping(Message, frozen=True):
    """Who receives goods, and where."""

    shipping_name: PersonName | None = None
    shipping_address: ShippingAddress | None = None
    shipping_phone_no: str | None = None
