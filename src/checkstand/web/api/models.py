"""The API's words: what a request may hold and what an answer holds. Amounts are text."""

import hashlib
import ipaddress
import json
import re
import unicodedata
from collections.abc import Set as AbstractSet
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    model_validator,
)
from pydantic_core import PydanticCustomError

from checkstand.domain.anomaly import Resolution
from checkstand.domain.money import (
    Money,
    parse_amount,
    parse_crypto,
    parse_fee,
    parse_fiat,
    render_amount,
)
from checkstand.domain.order import Goods, OrderStatus, Terms
from checkstand.domain.refund import RefundStatus
from checkstand.domain.view import parse_time

_COINS = re.compile(r"[A-Z0-9]{2,16}(,[A-Z0-9]{2,16})*", re.ASCII)
#: Unicode's control characters, lone surrogates, line and paragraph separators.
_NOT_PLAIN = frozenset({"Cc", "Cs", "Zl", "Zp"})
#: Browsers and servers take these apart differently, or a page would have to escape them.
_NOT_IN_ADDRESS = frozenset("\\\"'<>^`{|}")


def _plain(text: str) -> str:
    if any(unicodedata.category(sign) in _NOT_PLAIN for sign in text):
        raise ValueError("must have no control characters or line breaks")
    return text


def _address(text: str) -> str:
    if any(sign in _NOT_IN_ADDRESS or sign.isspace() for sign in _plain(text)):
        raise ValueError("must be a web address: percent-encode spaces, quotes and the like")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("must be a web address such as https://shop.example/thanks") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise ValueError("must be a web address that starts with https:// (or http://)")
    if "@" in parts.netloc:
        raise ValueError("must hold no user name or password")
    return text


def _fingerprint(model: BaseModel, *about: str, left_out: AbstractSet[str] = frozenset()) -> bytes:
    dumped = model.model_dump(exclude=set(left_out))
    fields = json.dumps([dumped, *about], sort_keys=True, default=_canonical)
    return hashlib.sha256(fields.encode()).digest()


def _coins(text: str) -> str:
    if not _COINS.fullmatch(text):
        raise ValueError("must list upper-case asset codes with commas, such as USDT,BNB")
    return text


def _client_address(text: str) -> str:
    """Read an IP address. Of IPv6 the first half is kept: the rest is the buyer's to change."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError("must be an IP address such as 203.0.113.7 or 2001:db8::1") from None
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((int(address), 64), strict=False))
    return str(address)


def _amount(value: Any) -> Decimal:
    return parse_amount(value)


def _fee(value: Any) -> Decimal:
    return parse_fee(value)


# The patterns are for who reads the document; what is refused is refused by our own functions,
# in words that say what to write instead.
_AS_AMOUNT = Field(
    json_schema_extra={
        "type": "string",
        "pattern": r"^(0|[1-9][0-9]{0,14})(\.[0-9]{1,8})?$",
        "examples": ["12.50"],
    }
)
Amount = Annotated[Decimal, BeforeValidator(_amount, json_schema_input_type=str), _AS_AMOUNT]
Fee = Annotated[Decimal, BeforeValidator(_fee, json_schema_input_type=str), _AS_AMOUNT]
Moment = Annotated[datetime, BeforeValidator(parse_time, json_schema_input_type=str)]
Crypto = Annotated[
    StrictStr,
    AfterValidator(parse_crypto),
    Field(json_schema_extra={"pattern": "^[A-Z0-9]{2,16}$", "examples": ["USDT"]}),
]
Fiat = Annotated[
    StrictStr,
    AfterValidator(parse_fiat),
    Field(json_schema_extra={"pattern": "^[A-Z]{3}$", "examples": ["EUR"]}),
]
Coins = Annotated[
    StrictStr,
    Field(
        max_length=256,
        json_schema_extra={
            "pattern": "^[A-Z0-9]{2,16}(,[A-Z0-9]{2,16})*$",
            "examples": ["USDT,BNB"],
        },
    ),
    AfterValidator(_coins),
]
ClientAddress = Annotated[
    StrictStr, Field(max_length=45, examples=["203.0.113.7"]), AfterValidator(_client_address)
]
Address = Annotated[StrictStr, Field(max_length=512), AfterValidator(_address)]


Text32 = Annotated[StrictStr, Field(min_length=1, max_length=32), AfterValidator(_plain)]
Text40 = Annotated[StrictStr, Field(min_length=1, max_length=40), AfterValidator(_plain)]
Text128 = Annotated[StrictStr, Field(min_length=1, max_length=128), AfterValidator(_plain)]
Text256 = Annotated[StrictStr, Field(min_length=1, max_length=256), AfterValidator(_plain)]
Text500 = Annotated[StrictStr, Field(max_length=500), AfterValidator(_plain)]


class GoodsLine(BaseModel):
    """One line of what is sold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Text256
    goods_type: Literal["01", "02"] = Field("02", description="01 tangible, 02 virtual")
    category: Annotated[StrictStr, Field(pattern=r"^[0-9A-Z][0-9]{3}$")] = "Z000"
    reference: Text32 = "goods"
    quantity: Annotated[StrictInt, Field(ge=1, le=1_000_000)] = 1
    unit_amount: Amount | None = None


class NewOrder(BaseModel):
    """What a shop wants paid. Price it in crypto, or in fiat and let Binance convert."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    merchant_order_id: Annotated[
        Text128, Field(description="Your own id. One order each, byte for byte.")
    ]
    amount: Amount | None = None
    currency: Crypto | None = None
    fiat_amount: Amount | None = None
    fiat_currency: Fiat | None = None
    description: Text256 | None = None
    goods: Annotated[list[GoodsLine], Field(max_length=100)] = []
    support_pay_currency: Coins | None = None
    return_url: Address | None = None
    cancel_url: Address | None = None
    expires_in: Annotated[
        StrictInt, Field(ge=60, le=604_800, description="Seconds until the order ends unpaid.")
    ] = 86_400
    cart_id: Text128 | None = None
    metadata: Annotated[dict[Text40, Text500], Field(max_length=20)] = {}
    terminal: Literal["WEB", "WAP", "APP", "MINI_PROGRAM", "OTHERS"] = "WEB"
    buyer_reference: Annotated[
        Text128 | None, Field(description="Your own id of the buyer, for limits; forgotten later.")
    ] = None
    client_ip: Annotated[
        ClientAddress | None, Field(description="The buyer's address, for limits; forgotten later.")
    ] = None

    @model_validator(mode="after")
    def _has_one_price(self) -> Self:
        crypto = (self.amount is not None, self.currency is not None)
        fiat = (self.fiat_amount is not None, self.fiat_currency is not None)
        if crypto[0] != crypto[1] or fiat[0] != fiat[1] or crypto[0] == fiat[0]:
            raise PydanticCustomError(
                "price",
                "give either amount and currency, or fiat_amount and fiat_currency",
                {"field": _field_at_fault(crypto=crypto, fiat=fiat)},
            )
        return self

    @model_validator(mode="after")
    def _goods_add_up(self) -> Self:
        priced = [line for line in self.goods if line.unit_amount is not None]
        if not priced:
            return self
        total = sum(
            (line.quantity * (line.unit_amount or Decimal(0)) for line in priced), Decimal(0)
        )
        price = self.amount if self.amount is not None else self.fiat_amount
        if total != price:
            raise PydanticCustomError(
                "goods",
                "the goods add up to {total}, not to the order's amount",
                {"field": "goods", "total": render_amount(total)},
            )
        return self

    def to_terms(self) -> Terms:
        """Turn the request into the domain's words."""
        return Terms(
            merchant_order_id=self.merchant_order_id,
            price=_money(self.amount, self.currency),
            fiat_price=_money(self.fiat_amount, self.fiat_currency),
            description=self.description or f"Order {self.merchant_order_id}",
            goods=tuple(Goods(**line.model_dump()) for line in self.goods),
            support_pay_currency=self.support_pay_currency,
            return_url=self.return_url,
            cancel_url=self.cancel_url,
            expires_in_seconds=self.expires_in,
            cart_id=self.cart_id,
            terminal=self.terminal,
            metadata=self.metadata,
            buyer_reference=self.buyer_reference,
            client_ip=self.client_ip,
        )

    def fingerprint(self) -> bytes:
        """Hash the parsed fields: the same request however its JSON was written.

        Where the buyer sat when it was sent is no part of what was asked for. A buyer counts where
        one is named, so that requests from before there was such a field keep their hash.
        """
        left_out = {"client_ip"} | ({"buyer_reference"} if self.buyer_reference is None else set())
        return _fingerprint(self, left_out=left_out)


class NewRefund(BaseModel):
    """Money to return."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    merchant_refund_id: Annotated[
        Text128, Field(description="Your own id. One refund each, byte for byte.")
    ]
    amount: Annotated[
        Amount | None, Field(description="In the payment's currency; all that is left when absent.")
    ] = None
    payment_id: Annotated[
        UUID | None,
        Field(description="Which of the order's payments, if not the one that paid it."),
    ] = None
    reason: Text256 | None = None
    force: StrictBool = Field(
        default=False, description="Although the shop has the goods of this order in hand."
    )

    def fingerprint(self, *, about: str) -> bytes:
        """Hash the parsed fields and the order they are about."""
        return _fingerprint(self, about)


class NewEndpoint(BaseModel):
    """Where the shop wants to be told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Annotated[StrictStr, Field(max_length=2048)]
    fulfil_on_delivery: StrictBool = Field(
        default=False, description="A 2xx to order.paid counts as the order's fulfilment."
    )


class NewResolution(BaseModel):
    """How an anomaly is to end, and why."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    resolution: Resolution
    reason: Annotated[Text500, Field(min_length=1)]
    amount: Annotated[
        Amount | None, Field(description="With accepting refunded_elsewhere: what went back.")
    ] = None
    returned_at: Annotated[
        Moment | None,
        Field(
            description="Beside the amount: when. Else as report files list it, or now.",
            json_schema_extra={"examples": ["2026-01-31T12:00:00Z"]},
        ),
    ] = None
    fee_returned: Annotated[
        Fee | None,
        Field(
            description="Beside the amount: what came back of Binance's fee; 0 where nothing did."
        ),
    ] = None


class Renewal(BaseModel):
    """How long an expired order is to live once more."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    expires_in: Annotated[
        StrictInt | None,
        Field(ge=60, le=604_800, description="Seconds; as long as at first when left out."),
    ] = None

    def fingerprint(self, *, about: str) -> bytes:
        """Hash the parsed fields and the order they are about."""
        return _fingerprint(self, about)


class Fulfilment(BaseModel):
    """Who says so, by the token of the delivery or of a claim; without one it is just the shop."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    token: Annotated[Text128 | None, Field(description="As delivered or claimed.")] = None


class FulfilmentView(BaseModel):
    """A paid order that nobody has acknowledged."""

    order_id: str
    merchant_order_id: str
    paid_at: datetime
    age_seconds: int
    offers: Annotated[int, Field(description="How often it was offered again.")]
    lease_until: Annotated[
        datetime | None, Field(description="Somebody has it in hand until then.")
    ]
    offered_again_at: datetime | None


class FulfilmentList(BaseModel):
    """A page of what is unacknowledged, the longest waiting first."""

    data: list[FulfilmentView]
    has_more: bool


class Halt(BaseModel):
    """Why an account is to stop."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reason: Annotated[Text500, Field(min_length=1)]


class Resume(Halt):
    """Why an account may go on."""

    forget_merchant: StrictBool = Field(
        default=False, description="Let the next query say anew which merchant this is."
    )


class AccountView(BaseModel):
    """The account that the key belongs to, and whether it is stopped."""

    account_id: str
    reference: str
    name: str
    merchant_id: Annotated[str | None, Field(description="Binance's, as queries said so far.")]
    halted_reason: str | None
    halted_at: datetime | None


class _Filters(BaseModel):
    """What the query of a list may hold: a misspelt filter would otherwise find everything."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    starting_after: Annotated[
        str | None, Field(description="The id of the last entry of the page before.")
    ] = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20


class OrderFilters(_Filters):
    """Which orders are listed."""

    status: OrderStatus | None = None
    merchant_order_id: Annotated[
        str | None, Field(max_length=128, description="Finds at most one.")
    ] = None


class AnomalyFilters(_Filters):
    """Which anomalies are listed."""

    resolved: Annotated[
        bool, Field(description="Those that were settled, instead of those that are open.")
    ] = False


class FulfilmentFilters(_Filters):
    """Which unacknowledged orders are listed."""


class EventFilters(_Filters):
    """Which events are listed."""

    after_position: Annotated[
        int | None,
        Field(ge=0, le=2**63 - 1, description="Read the feed behind this position; 0 begins it."),
    ] = None

    @model_validator(mode="after")
    def _has_one_place(self) -> Self:
        if self.after_position is not None and self.starting_after is not None:
            raise PydanticCustomError(
                "place",
                "give either starting_after or after_position",
                {"field": "after_position"},
            )
        return self


class PaymentView(BaseModel):
    """Money that arrived for one attempt of an order."""

    payment_id: str
    attempt: int
    amount: str
    currency: str
    fee: str | None
    refunded_amount: str
    held: bool
    paid_at: datetime | None


class OrderView(BaseModel):
    """An order as the shop sees it, in answers and in events."""

    order_id: str
    merchant_order_id: str
    status: OrderStatus
    anomalies: list[str]
    amount: str | None
    currency: str | None
    fiat_amount: str | None
    fiat_currency: str | None
    description: str
    cart_id: str | None
    paid_amount: str
    refunded_amount: str
    checkout_url: str
    qr_content: str | None
    deeplink: str | None
    universal_url: str | None
    binance_checkout_url: str | None
    created_at: datetime
    expires_at: datetime
    paid_at: datetime | None
    fulfilled_at: datetime | None
    version: int
    metadata: dict[str, str]
    payments: list[PaymentView]


class RefundView(BaseModel):
    """A refund as the shop sees it, in answers and in events."""

    refund_id: str
    merchant_refund_id: str
    order_id: str
    payment_id: str
    status: RefundStatus
    amount: str
    currency: str
    returned_amount: str | None
    reason: str | None
    failure: str | None
    requested_at: datetime
    ended_at: datetime | None
    returned_at: Annotated[
        datetime | None,
        Field(description="When the money left: before ended_at where a portal refund was late."),
    ]


class RefundList(BaseModel):
    """The refunds of one order, oldest first."""

    data: list[RefundView]


class AnomalyView(BaseModel):
    """Something about an order that a rule or a person must settle."""

    anomaly_id: str
    order_id: str
    kind: str
    detail: str
    is_open: bool
    opened_at: datetime
    resolved_at: datetime | None
    resolved_by: str | None
    resolution: Resolution | None
    reason: str | None
    resolutions: Annotated[list[Resolution], Field(description="What is offered while it is open")]


class AnomalyList(BaseModel):
    """Everything that was ever odd about one order, oldest first."""

    data: list[AnomalyView]


class AnomalyPage(BaseModel):
    """A page of anomalies across all orders, newest first."""

    data: list[AnomalyView]
    has_more: bool


class ResolvedView(BaseModel):
    """An anomaly as it was settled, and the order as it is then."""

    anomaly: AnomalyView
    order: OrderView


class ClaimedView(BaseModel):
    """The goods in hand: by which token, and until when nobody else gets them."""

    token: str
    lease_until: datetime
    order: OrderView


class OrderList(BaseModel):
    """A page of orders, newest first."""

    data: list[OrderView]
    has_more: bool


class TimelineEntryView(BaseModel):
    """One thing that happened to an order."""

    model_config = ConfigDict(populate_by_name=True)

    at: datetime
    seq: int
    actor: str
    kind: str
    summary: str
    from_: Annotated[str | None, Field(alias="from")]
    to: str | None
    ref: str | None
    detail: dict[str, Any]


class Timeline(BaseModel):
    """Everything that happened to one order, in causal order."""

    data: list[TimelineEntryView]


class EndpointView(BaseModel):
    """A webhook endpoint."""

    endpoint_id: str
    url: str
    fulfil_on_delivery: bool
    created_at: datetime


class EndpointList(BaseModel):
    """Every endpoint that is told things."""

    data: list[EndpointView]


class NewEndpointView(EndpointView):
    """A new endpoint with its signing secret, which is shown this once."""

    secret: str


class DeliveryView(BaseModel):
    """How one delivery of an event stands."""

    endpoint_id: str
    status: str
    tries: int
    due_at: datetime | None


class EventView(BaseModel):
    """An event as it was delivered, and how its deliveries stand."""

    position: Annotated[
        int | None,
        Field(description="Its place in the feed; null until it has one, moments after it."),
    ]
    event: dict[str, Any]
    deliveries: list[DeliveryView]


class EventList(BaseModel):
    """A page of events, newest first; with `after_position` in the order of the feed."""

    data: list[EventView]
    has_more: bool


class Fault(BaseModel):
    """One field that was wrong."""

    field: str | None
    detail: str


class Problem(BaseModel):
    """Why a request was refused, as RFC 9457 problem details."""

    model_config = ConfigDict(extra="allow")  # some codes bring facts, such as an order_id

    type: str
    title: str
    status: int
    code: Annotated[str, Field(description="Stable, to branch on.")]
    detail: Annotated[str, Field(description="A sentence that says what to do.")]
    field: Annotated[str | None, Field(description="The input that was wrong, if one was.")]
    errors: Annotated[
        list[Fault], Field(description="With invalid_request alone: the first twenty wrong fields.")
    ] = []


def _field_at_fault(*, crypto: tuple[bool, bool], fiat: tuple[bool, bool]) -> str:
    """Name the half of a price that is missing, or the price that is one too many."""
    if any(crypto) and any(fiat):
        return "fiat_amount"
    if any(fiat):
        return "fiat_currency" if fiat[0] else "fiat_amount"
    return "currency" if crypto[0] else "amount"


def _money(amount: Decimal | None, currency: str | None) -> Money | None:
    return None if amount is None or currency is None else Money(amount, currency)


def _canonical(value: object) -> str:
    if isinstance(value, Decimal):
        return render_amount(value.normalize())
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no canonical text")
