"""The fields of the calls about wallets, payouts, sub-merchants and reports."""

import re

from checkstand.simulator.order_parameters import WebUrl
from checkstand.simulator.parameters import (
    Amount,
    Field,
    Identifier,
    Listed,
    Nested,
    Spec,
    Text,
    TextAmount,
    Texts,
    Whole,
    optional,
    required,
)

_REQUEST_ID = Text(pattern=re.compile(r"[A-Za-z0-9]{1,32}", re.ASCII), pattern_code="400101")
_WALLET = Text(choices=frozenset({"FUNDING_WALLET", "SPOT_WALLET"}))
_DATE = Text(pattern=re.compile(r"\d{4}-\d\d-\d\d", re.ASCII), pattern_code="400101")
_SLASHED_DATE = Text(pattern=re.compile(r"\d\d/\d\d/\d{4}", re.ASCII), pattern_code="400101")

TRANSFER: Spec = {
    "requestId": required(Text(length_max=32)),
    "currency": required(Text()),
    "amount": required(TextAmount()),
    "transferType": required(Text(choices=frozenset({"TO_MAIN", "TO_PAY"}))),
}
TRANSFER_REFERENCE: Spec = {"tranId": required(Text(length_max=32))}
BALANCE_V2: Spec = {"wallet": required(_WALLET), "currency": Field(Text())}
BALANCE_V1: Spec = {"wallet": required(_WALLET), "currency": required(Text())}

_LINE: Spec = {
    "merchantSendId": required(Text(recollected_length_max=32)),
    "receiveType": required(Text(choices=frozenset({"PAY_ID", "BINANCE_ID", "EMAIL"}))),
    "receiver": required(Text()),
    "transferAmount": required(Amount()),
    "transferMethod": required(_WALLET),
    **optional("remark", "registrationEmail", "registrationMobileNumber"),
    "registrationMobileCode": Field(Text()),
}
_SCENES = frozenset(
    {
        "CRYPTO_REWARDS",
        "DIRECT_TRANSFER",
        "MERCHANT_PAYMENT",
        "OTHERS",
        "REIMBURSEMENT",
        "SETTLEMENT",
    }
)
PAYOUT: Spec = {
    "requestId": required(_REQUEST_ID),
    "bizScene": Field(Text(choices=_SCENES)),
    "batchName": required(Text(length_max=32)),
    "currency": required(Text()),
    "totalAmount": required(Amount()),
    "totalNumber": required(Whole()),
    "transferDetailList": required(Listed(Nested(_LINE))),
    "webhookUrl": Field(WebUrl()),
    "subMerchantId": Field(Text(length_max=19)),
}
PAYOUT_REFERENCE: Spec = {
    "requestId": required(_REQUEST_ID),
    # A list on the page, one word in the official connector.
    "detailStatus": Field(Texts(choices=frozenset({"ALL", "PROCESSING", "SUCCESS", "FAIL"}))),
}

SUB_MERCHANT: Spec = {
    "merchantName": required(Text(length_max=128)),
    "storeType": Field(Whole(choices=frozenset({-1, 0, 1}))),
    "merchantMcc": required(Text(pattern=re.compile(r"\d{4}", re.ASCII), pattern_code="400101")),
    "merchantType": Field(Whole(choices=frozenset({1, 2, 3, 4, 5}))),
    "siteUrl": Field(Text(length_max=256)),
    "address": Field(Text(length_max=1024)),
    "payIndustryDescription": Field(Text(length_max=500)),
    "brandLogo": Field(Text(length_max=256)),
    "companyName": Field(Text(length_max=64)),
    "registrationNumber": Field(Text(length_max=64)),
    "incorporationDate": Field(Whole()),
    "siteType": Field(Whole()),
    "certificateType": Field(Whole(choices=frozenset({1, 2}))),
    "certificateValidDate": Field(Whole()),
    "contractTimeIsv": Field(Whole()),
    "blockPayerKycCountries": Field(Texts()),
    **optional(
        "country",
        "subPayMccCode",
        "subPayIndustryDescription",
        "registrationCountry",
        "registrationAddress",
        "siteName",
        "certificateCountry",
        "certificateNumber",
    ),
}
SUB_MERCHANT_CHANGE: Spec = {"subMerchantId": required(Identifier()), **SUB_MERCHANT}

REPORT: Spec = {
    "reportType": required(Text(choices=frozenset({"Transaction", "Settlement"}))),
    "transactionType": Field(Text(choices=frozenset({"Payment", "Payout"}))),
    "startDate": required(_SLASHED_DATE),
    "endDate": required(_SLASHED_DATE),
}
BALANCE_REPORT: Spec = {
    "reportType": required(Text(choices=frozenset({"Balance"}))),
    "walletType": Field(_WALLET),
    "startDate": required(_DATE),
    "endDate": required(_DATE),
}
BALANCE_REPORT_REFERENCE: Spec = {"downloadId": required(Identifier())}
