"""The fields of the order and refund calls, as the documentation lists them.

Only what the pages state as a limit is enforced; lengths from memory are marked `recollected_`.
"""

import re
from urllib.parse import urlsplit

from checkstand.simulator.parameters import (
    Amount,
    Field,
    Flag,
    Listed,
    Nested,
    Spec,
    Text,
    Whole,
    optional,
    required,
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


_PERSON = Nested(
    {"firstName": required(_TEXT), "middleName": Field(_TEXT), "lastName": required(_TEXT)}
)
_GOOD: Spec = {
    "goodsType": required(Text(choices=frozenset({"01", "02"}))),
    "goodsCategory": required(Text(choices=_CATEGORIES)),
    "referenceGoodsId": required(Text(recollected_length_max=32)),
    "goodsName": required(Text(length_max=256, plain=True)),
    "goodsDetail": Field(Text(length_max=256)),
    "goodsUnitAmount": Field(Nested({"currency": required(_TEXT), "amount": required(Amount())})),
    "goodsQuantity": Field(_TEXT),
}
_ENVIRONMENT: Spec = {
    "terminalType": required(Text(choices=_TERMINALS)),
    "osType": Field(Text(choices=frozenset({"IOS", "ANDROID"}))),
    **optional("orderClientIp", "cookieId"),
}
_SHIPPING: Spec = {
    "shippingName": Field(_PERSON),
    "shippingAddress": Field(
        Nested(
            {
                "region": required(_TEXT),
                **optional("state", "city", "address", "zipCode", "shippingAddressType"),
            }
        )
    ),
    "shippingPhoneNo": Field(_TEXT),
}
_BUYER: Spec = {
    "buyerName": Field(_PERSON),
    "buyerRegistrationTime": Field(Whole()),
    **optional(
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
    "env": required(Nested(_ENVIRONMENT)),
    "merchantTradeNo": required(_TRADE_NO),
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
    **optional("voucherCode", "qrCodeReferId"),
}

ORDER_V3: Spec = {
    **_ORDER,
    "description": required(Text(recollected_length_max=256, recollected_plain=True)),
    "goodsDetails": required(Listed(Nested(_GOOD))),
}
#: A list here is not called malformed but no JSON object, as seen live.
ORDER_V2: Spec = {**_ORDER, "goods": required(Nested(_GOOD, type_code="400008"))}
ORDER_V1: Spec = {
    "subMerchantId": Field(Text(length_max=19)),
    "merchantTradeNo": required(_TRADE_NO),
    "tradeType": required(Text(choices=_TERMINALS | {"PAYMENT_LINK"})),
    "totalFee": required(Amount()),
    "currency": required(_TEXT),
    "productType": Field(Text(length_max=16)),
    "productName": required(Text(length_max=256)),
    "productDetail": Field(Text(length_max=256)),
    "returnUrl": Field(Text(length_max=256)),
    "cancelUrl": Field(Text(length_max=256)),
    "orderExpireTime": Field(Whole()),
}
#: Of a query or close; the id that is not used may be null, as the documented samples send it.
ORDER_REFERENCE: Spec = {"prepayId": Field(_TEXT), "merchantTradeNo": Field(_TEXT)}
REFUND: Spec = {
    "refundRequestId": required(Text(length_max=64)),
    "prepayId": required(_TEXT),
    "refundAmount": required(Amount()),
    "refundReason": Field(Text(length_max=256)),
    "webhookUrl": Field(WebUrl()),
}
REFUND_REFERENCE: Spec = {"refundRequestId": required(Text(length_max=64))}
NOTHING: Spec = {}
