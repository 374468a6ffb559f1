"""The fields of the order and refund calls, as the documentation lists them.

Only what the pages state as a limit is enforced; lengths from memory are marked `recollected_`.
"""

import re
from urllib.parse import urlsplit

from checkstand.simulator.parameters import (
    Amount,
    Field,
    FieldType,
    Flag,
    Listed,
    Nested,
    Spec,
    Text,
    Whole,
)
from checkstand.simulator.rejections import Rejection
from checkstand.simulator.settings import Settings

_TERMINALS = frozenset({"APP", "WEB", "WAP", "MINI_PROGRAM", "OTHERS"})
_CATEGORIES = frozenset(f"{letter}000" for letter in "0123456789ABCDEFZ")
# A badly formed number and a duplicate share one code, 400201.
_TRADE_NO = Text(pattern=re.compile(r"[A-Za-z0-9]{1,32}", re.ASCII), pattern_code="400201")
_TEXT = Text()


class WebUrl:
    """An http or https address of at most 256 characters."""

    def read(self, value: object, *, name: str, settings: Settings) -> str:
        """Return the address."""
        url = Text(length_max=256).read(value, name=name, settings=settings)
        try:
            parts = urlsplit(url)
            parts.port  # noqa: B018 - a malformed port raises here
        except ValueError:
            raise Rejection("400102", name) from None
        if parts.scheme not in {"http", "https"} or not parts.hostname or not url.isascii():
            raise Rejection("400102", name)
        return url


def _optional(*names: str) -> dict[str, Field]:
    return {name: Field(_TEXT) for name in names}


def _required(field_type: FieldType) -> Field:
    return Field(field_type, required=True)


_PERSON = Nested(
    {"firstName": _required(_TEXT), "middleName": Field(_TEXT), "lastName": _required(_TEXT)}
)
_GOOD: Spec = {
    "goodsType": _required(Text(choices=frozenset({"01", "02"}))),
    "goodsCategory": _required(Text(choices=_CATEGORIES)),
    "referenceGoodsId": _required(Text(recollected_length_max=32)),
    "goodsName": _required(Text(length_max=256, plain=True)),
    "goodsDetail": Field(Text(length_max=256)),
    "goodsUnitAmount": Field(Nested({"currency": _required(_TEXT), "amount": _required(Amount())})),
    "goodsQuantity": Field(_TEXT),
}
_ENVIRONMENT: Spec = {
    "terminalType": _required(Text(choices=_TERMINALS)),
    "osType": Field(Text(choices=frozenset({"IOS", "ANDROID"}))),
    **_optional("orderClientIp", "cookieId"),
}
_SHIPPING: Spec = {
    "shippingName": Field(_PERSON),
    "shippingAddress": Field(
        Nested(
            {
                "region": _required(_TEXT),
                **_optional("state", "city", "address", "zipCode", "shippingAddressType"),
            }
        )
    ),
    "shippingPhoneNo": Field(_TEXT),
}
_BUYER: Spec = {
    "buyerName": Field(_PERSON),
    "buyerRegistrationTime": Field(Whole()),
    **_optional(
        "referenceBuyerId",
        "buyerPhoneCountryCode",
        "buyerPhoneNo",
        "buyerEmail",
        "buyerBrowserLanguage",
    ),
}
_BACK: Spec = {
    "returnUrl": Field(Text(recollected_length_max=512)),
    "cancelUrl": Field(Text(recollected_length_max=512)),
    "orderExpireTime": Field(Whole()),
}
_ORDER: Spec = {
    "merchant": Field(Nested({"subMerchantId": Field(Text(length_max=19))})),
    "env": _required(Nested(_ENVIRONMENT)),
    "merchantTradeNo": _required(_TRADE_NO),
    "orderAmount": Field(Amount()),
    "currency": Field(_TEXT),
    "fiatAmount": Field(Amount()),
    "fiatCurrency": Field(_TEXT),
    "shipping": Field(Nested(_SHIPPING)),
    "buyer": Field(Nested(_BUYER)),
    **_BACK,
    "supportPayCurrency": Field(_TEXT),
    "appId": Field(_TEXT),
    "universalUrlAttach": Field(_TEXT),
    "passThroughInfo": Field(Text(recollected_length_max=512)),
    "webhookUrl": Field(WebUrl()),
    "orderTags": Field(Nested({"ifProfitSharing": Field(Flag())})),
    **_optional("voucherCode", "qrCodeReferId"),
}

ORDER_V3: Spec = {
    **_ORDER,
    "description": _required(Text(recollected_length_max=256, recollected_plain=True)),
    "goodsDetails": _required(Listed(Nested(_GOOD))),
}
#: A list here is not called malformed but no JSON object, as seen live.
ORDER_V2: Spec = {**_ORDER, "goods": _required(Nested(_GOOD, type_code="400008"))}
ORDER_V1: Spec = {
    "subMerchantId": Field(Text(length_max=19)),
    "merchantTradeNo": _required(_TRADE_NO),
    "tradeType": _required(Text(choices=_TERMINALS | {"PAYMENT_LINK"})),
    "totalFee": _required(Amount()),
    "currency": _required(_TEXT),
    "productType": Field(Text(length_max=16)),
    "productName": _required(Text(length_max=256)),
    "productDetail": Field(Text(length_max=256)),
    "returnUrl": Field(Text(length_max=256)),
    "cancelUrl": Field(Text(length_max=256)),
    "orderExpireTime": Field(Whole()),
}
#: Of a query or close; the id that is not used may be null, as the documented samples send it.
ORDER_REFERENCE: Spec = {"prepayId": Field(_TEXT), "merchantTradeNo": Field(_TEXT)}
REFUND: Spec = {
    "refundRequestId": _required(Text(length_max=64)),
    "prepayId": _required(_TEXT),
    "refundAmount": _required(Amount()),
    "refundReason": Field(Text(length_max=256)),
    "webhookUrl": Field(WebUrl()),
}
REFUND_REFERENCE: Spec = {"refundRequestId": _required(Text(length_max=64))}
NOTHING: Spec = {}
