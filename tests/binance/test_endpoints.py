"""Every modelled endpoint beside orders v3: what goes out, and what is made of the answer."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from checkstand.binance import (
    Buyer,
    Environment,
    Goods,
    OrderTags,
    PayoutLine,
    PersonName,
    Shipping,
    ShippingAddress,
    SubMerchantProfile,
    UnreadableAnswer,
)

TEA = Goods(
    goods_type="01", goods_category="D000", reference_goods_id="sku-77", goods_name="Green tea"
)
TEA_SENT = {
    "goodsType": "01",
    "goodsCategory": "D000",
    "referenceGoodsId": "sku-77",
    "goodsName": "Green tea",
}
CREATED = {
    "prepayId": "270342174837100001",
    "terminalType": "WEB",
    "expireTime": 1767229200000,
    "qrcodeLink": "https://pictures.example/1.jpg",
    "qrContent": "https://codes.example/1",
    "checkoutUrl": "https://pages.example/1",
    "deeplink": "app://pay",
    "universalUrl": "https://links.example/1",
}
LINE = PayoutLine(
    merchant_send_id="L1",
    receive_type="EMAIL",
    receiver="person@example.com",
    transfer_amount=Decimal("1.10"),
    transfer_method="FUNDING_WALLET",
    remark="thanks",
)
LINE_SENT = {
    "merchantSendId": "L1",
    "receiveType": "EMAIL",
    "receiver": "person@example.com",
    "transferAmount": 1.1,
    "transferMethod": "FUNDING_WALLET",
    "remark": "thanks",
}
SHOP = SubMerchantProfile(
    merchant_name="Tea of the north",
    merchant_mcc="1040",
    store_type=0,
    site_url="https://tea.example",
    incorporated_at=datetime(2020, 1, 1, tzinfo=UTC),
    block_payer_kyc_countries=("XX", "YY"),
)
SHOP_SENT = {
    "merchantName": "Tea of the north",
    "merchantMcc": "1040",
    "storeType": 0,
    "siteUrl": "https://tea.example",
    "incorporationDate": 1577836800000,
    "blockPayerKycCountries": ["XX", "YY"],
}


@dataclass(frozen=True)
class Case:
    call: Callable[[Any], Any]
    path: str
    sent: dict[str, Any]
    answered: Any
    understood: dict[str, Any] | bool


CASES = {
    "create order v2": Case(
        lambda client: client.orders.create_v2(
            merchant_trade_no="T1",
            goods=TEA,
            env=Environment(terminal_type="WEB"),
            order_amount="12.50",
            currency="USDT",
            sub_merchant_id="77",
        ),
        "/v2/order",
        {
            "env": {"terminalType": "WEB"},
            "merchantTradeNo": "T1",
            "merchant": {"subMerchantId": "77"},
            "orderAmount": 12.5,
            "currency": "USDT",
            "goods": TEA_SENT,
        },
        CREATED,
        {"prepay_id": "270342174837100001", "total_fee": None, "currency": ""},
    ),
    "create order v1": Case(
        lambda client: client.orders.create_v1(
            merchant_trade_no="T1",
            trade_type="WEB",
            total_fee=Decimal("25.17"),
            currency="USDT",
            product_name="Ice cream",
            expires_at=datetime(2026, 1, 1, 1, tzinfo=UTC),
        ),
        "/order",
        {
            "merchantTradeNo": "T1",
            "tradeType": "WEB",
            "totalFee": 25.17,
            "currency": "USDT",
            "productName": "Ice cream",
            "orderExpireTime": 1767229200000,
        },
        {
            "prepayId": 270342174837100001,
            "tradeType": "WEB",
            "expireTime": 1767229200000,
            "qrcodeLink": "https://pictures.example/1.jpg",
            "qrContent": "https://codes.example/1",
        },
        {"prepay_id": "270342174837100001", "trade_type": "WEB", "checkout_url": None},
    ),
    "query order v1": Case(
        lambda client: client.orders.query_v1(prepay_id="1"),
        "/order/query",
        {"prepayId": "1"},
        {
            "merchantId": 900000001,
            "prepayId": "1",
            "merchantTradeNo": "T1",
            "status": "INITIAL",
            "currency": "USDT",
            "createTime": 1767225600000,
            "orderAmount": "12.50000000",
        },
        {"status": "INITIAL", "order_amount": Decimal("12.5")},
    ),
    "balance of one coin": Case(
        lambda client: client.balances.query(currency="USDT"),
        "/v2/balance",
        {"wallet": "FUNDING_WALLET", "currency": "USDT"},
        {
            "wallet": "FUNDING_WALLET",
            "updateTime": "1767229200000",
            "fiat": "USD",
            "balance": {"asset": "USDT", "available": "1.10", "freeze": 0},
        },
        {"wallet": "FUNDING_WALLET", "updated_at": datetime(2026, 1, 1, 1, tzinfo=UTC)},
    ),
    "balance v1": Case(
        lambda client: client.balances.query_v1(wallet="SPOT_WALLET", currency="BTC"),
        "/balance",
        {"wallet": "SPOT_WALLET", "currency": "BTC"},
        {
            "balance": 0.00000001,
            "asset": "BTC",
            "fiat": "USD",
            "availableFiatValuation": "0.01",
            "availableBtcValuation": 0.00000001,
        },
        {"asset": "BTC", "balance": Decimal("1e-8"), "fiat": "USD"},
    ),
    "transfer": Case(
        lambda client: client.transfers.create(
            request_id="R1", currency="USDT", amount=Decimal("1E-8"), transfer_type="TO_MAIN"
        ),
        "/wallet/transfer",
        {"requestId": "R1", "currency": "USDT", "amount": "0.00000001", "transferType": "TO_MAIN"},
        {"tranId": "R1", "status": "PROCESS", "currency": "USDT", "amount": "0.00000001"},
        {"tran_id": "R1", "status": "PROCESS", "amount": Decimal("1e-8")},
    ),
    "transfer query": Case(
        lambda client: client.transfers.query(tran_id="R1"),
        "/wallet/transfer/query",
        {"tranId": "R1"},
        {"tranId": "R1", "status": "SUCCESS"},
        {"tran_id": "R1", "status": "SUCCESS", "amount": None},
    ),
    "request of a balance report": Case(
        lambda client: client.reports.request_balance(
            start_date=date(2026, 1, 2), end_date=date(2026, 2, 1), wallet_type="SPOT_WALLET"
        ),
        "/balance-report",
        {
            "reportType": "Balance",
            "walletType": "SPOT_WALLET",
            "startDate": "2026-01-02",
            "endDate": "2026-02-01",
        },
        "Your request has been submitted successfully. Your task ID: 197430692664600001",
        {"download_id": "197430692664600001", "extras": {}},
    ),
    "query of a balance report": Case(
        lambda client: client.reports.query_balance(download_id="197430692664600001"),
        "/balance-report/query",
        {"downloadId": "197430692664600001"},
        {"exist": True, "downloadUrl": "https://files.example/1", "status": "SUCCESS"},
        {"exist": True, "download_url": "https://files.example/1", "status": "SUCCESS"},
    ),
    "payout": Case(
        lambda client: client.payouts.create(
            request_id="PO1", batch_name="May", currency="USDT", lines=[LINE, LINE]
        ),
        "/payout/transfer",
        {
            "requestId": "PO1",
            "batchName": "May",
            "currency": "USDT",
            "totalAmount": 2.2,
            "totalNumber": 2,
            "transferDetailList": [LINE_SENT, LINE_SENT],
        },
        {"requestId": "PO1", "status": "ACCEPTED"},
        {"request_id": "PO1", "status": "ACCEPTED"},
    ),
    "payout query": Case(
        lambda client: client.payouts.query(request_id="PO1", detail_status=["FAIL"]),
        "/payout/query",
        {"requestId": "PO1", "detailStatus": ["FAIL"]},
        {
            "requestId": "PO1",
            "batchStatus": "PART_SUCCESS",
            "merchantId": 900000001,
            "currency": "USDT",
            "totalAmount": 2.20000000,
            "totalNumber": 2,
            "transferDetailList": [],
        },
        {"batch_status": "PART_SUCCESS", "merchant_id": "900000001", "transfer_detail_list": ()},
    ),
    "receiver check": Case(
        lambda client: client.payouts.check_receiver(receiver_id="1", registration_email="a@b"),
        "/payout/receiver/check",
        {"receiveType": "BINANCE_ID", "receiverId": "1", "registrationEmail": "a@b"},
        False,
        False,
    ),
    "sub-merchant add": Case(
        lambda client: client.sub_merchants.create(profile=SHOP),
        "/submerchant/add",
        SHOP_SENT,
        {"subMerchantId": 123456789012345678},
        {"sub_merchant_id": "123456789012345678"},
    ),
    "sub-merchant modify": Case(
        lambda client: client.sub_merchants.modify(sub_merchant_id="12", profile=SHOP),
        "/submerchant/modify",
        {"subMerchantId": "12", **SHOP_SENT},
        {"subMerchantId": 12},
        {"sub_merchant_id": "12"},
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_endpoint_says_and_understands(counter: Any, server: Any, case: Case) -> None:
    server.succeed(case.answered)
    client = counter.client()

    result = await counter.call(lambda: case.call(client))

    (received,) = server.received
    assert received.path == f"/binancepay/openapi{case.path}"
    assert json.loads(received.body) == case.sent
    if isinstance(case.understood, bool):
        assert result is case.understood
    else:
        assert {name: getattr(result, name) for name in case.understood} == case.understood
        assert result.last_response.code == "000000"


async def test_create_carries_everything_that_can_be_said_of_an_order(
    counter: Any, server: Any
) -> None:
    server.succeed({**CREATED, "currency": "USDT", "totalFee": "12.5"})
    client = counter.client()
    ada = PersonName(first_name="Ada", last_name="Test", middle_name="M")

    await counter.call(
        lambda: client.orders.create(
            merchant_trade_no="T1",
            description="Tea",
            goods_details=[TEA],
            order_amount="1",
            currency="USDT",
            terminal_type="MINI_PROGRAM",
            os_type="IOS",
            order_client_ip="192.0.2.1",
            cookie_id="c",
            shipping=Shipping(
                shipping_name=ada,
                shipping_address=ShippingAddress(
                    region="DE",
                    state="BE",
                    city="Berlin",
                    address="Street 1",
                    zip_code="10115",
                    shipping_address_type="02",
                ),
                shipping_phone_no="030",
            ),
            buyer=Buyer(
                reference_buyer_id="7",
                buyer_name=ada,
                buyer_phone_country_code="DE",
                buyer_phone_no="030",
                buyer_email="ada@example.com",
                buyer_registered_at=datetime(2026, 1, 1, 1, tzinfo=UTC),
                buyer_browser_language="de",
            ),
            app_id="app",
            universal_url_attach="a=1",
            order_tags=OrderTags(if_profit_sharing=True),
            voucher_code="V",
            qr_code_refer_id="Q",
            sub_merchant_id="77",
        )
    )

    name = {"firstName": "Ada", "middleName": "M", "lastName": "Test"}
    assert json.loads(server.received[0].body) == {
        "env": {
            "terminalType": "MINI_PROGRAM",
            "osType": "IOS",
            "orderClientIp": "192.0.2.1",
            "cookieId": "c",
        },
        "merchantTradeNo": "T1",
        "description": "Tea",
        "goodsDetails": [TEA_SENT],
        "orderAmount": 1,
        "currency": "USDT",
        "merchant": {"subMerchantId": "77"},
        "shipping": {
            "shippingName": name,
            "shippingAddress": {
                "region": "DE",
                "state": "BE",
                "city": "Berlin",
                "address": "Street 1",
                "zipCode": "10115",
                "shippingAddressType": "02",
            },
            "shippingPhoneNo": "030",
        },
        "buyer": {
            "referenceBuyerId": "7",
            "buyerName": name,
            "buyerPhoneCountryCode": "DE",
            "buyerPhoneNo": "030",
            "buyerEmail": "ada@example.com",
            "buyerRegistrationTime": 1767229200000,
            "buyerBrowserLanguage": "de",
        },
        "appId": "app",
        "universalUrlAttach": "a=1",
        "orderTags": {"ifProfitSharing": True},
        "voucherCode": "V",
        "qrCodeReferId": "Q",
    }


@pytest.mark.parametrize("wrapped", [True, False], ids=["list", "object"])
async def test_a_balance_is_read_as_list_or_object(
    counter: Any, server: Any, wrapped: bool
) -> None:
    coin = {"asset": "USDT", "available": 1.10, "freeze": "0", "availableBtcValuation": "0.00001"}
    server.succeed({"wallet": "SPOT_WALLET", "balance": [coin] if wrapped else coin})
    client = counter.client()

    held = await counter.call(lambda: client.balances.query(wallet="SPOT_WALLET"))

    (balance,) = held.balance
    assert (balance.asset, balance.available, balance.freeze) == ("USDT", Decimal("1.1"), 0)


async def test_the_lines_of_a_payout_are_typed(counter: Any, server: Any) -> None:
    line = {
        "orderId": 284838578405900060,
        "merchantSendId": "L1",
        "payerId": 900000001,
        "amount": "1",
        "payeeId": 100000001,
        "status": "AWAITING_RECEIPT",
    }
    server.succeed({"requestId": "P", "batchStatus": "PROCESSING", "transferDetailList": [line]})
    client = counter.client()

    payout = await counter.call(lambda: client.payouts.query(request_id="P"))

    (read,) = payout.transfer_detail_list
    assert (read.order_id, read.amount, read.status) == (
        "284838578405900060",
        Decimal(1),
        "AWAITING_RECEIPT",
    )


async def test_report_files_are_asked_for_by_days_with_slashes(counter: Any, server: Any) -> None:
    file = {
        "reportType": "Transaction",
        "transactionType": "Payment",
        "transactionDate": "20260102",
        "fileName": "T_Payment_20260102.xls",
        "downloadUrl": "https://files.example/1",
    }
    server.succeed([file])
    client = counter.client()

    (read,) = await counter.call(
        lambda: client.reports.list_files(
            report_type="Transaction",
            transaction_type="Payment",
            start_date=date(2026, 1, 2),
            end_date=date(2026, 3, 4),
        )
    )

    assert json.loads(server.received[0].body) == {
        "reportType": "Transaction",
        "transactionType": "Payment",
        "startDate": "02/01/2026",
        "endDate": "04/03/2026",
    }
    assert (read.file_name, read.download_url) == (file["fileName"], file["downloadUrl"])


@pytest.mark.parametrize("said", ["", "It failed.", None, {"id": 1}, 12.5])
async def test_a_report_request_without_an_id_is_unreadable_and_unknown(
    counter: Any, server: Any, said: Any
) -> None:
    server.succeed(said)
    client = counter.client()
    days = {"start_date": date(2026, 1, 2), "end_date": date(2026, 1, 3)}

    with pytest.raises(UnreadableAnswer) as caught:
        await counter.call(lambda: client.reports.request_balance(**days))

    assert caught.value.outcome_unknown


async def test_a_report_query_is_read_without_its_envelope(counter: Any, server: Any) -> None:
    server.answer({"exist": True, "downloadUrl": "", "status": "PROCESSING"})
    client = counter.client()

    report = await counter.call(lambda: client.reports.query_balance(download_id="1"))

    assert (report.status, report.last_response.status) == ("PROCESSING", 200)


async def test_a_lost_transfer_is_sent_again_and_its_replay_is_a_success(
    counter: Any, server: Any
) -> None:
    server.reset()
    replayed = {"status": "REPEAT_REQ_SUCCESS", "code": "000001"}
    server.answer({**replayed, "data": {"tranId": "R1", "status": "SUCCESS"}})
    client = counter.client()

    transfer = await counter.call(
        lambda: client.transfers.create(
            request_id="R1", currency="USDT", amount="1", transfer_type="TO_PAY"
        )
    )

    assert (transfer.status, transfer.last_response.code) == ("SUCCESS", "000001")
    first, second = server.received
    assert first.body == second.body
    assert first.headers["binancepay-nonce"] != second.headers["binancepay-nonce"]


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.payouts.create(
            request_id="P", batch_name="b", currency="USDT", lines=[LINE]
        ),
        lambda client: client.sub_merchants.create(profile=SHOP),
        lambda client: client.orders.create_v1(
            merchant_trade_no="T", trade_type="WEB", total_fee="1", currency="X", product_name="x"
        ),
        lambda client: client.reports.request_balance(
            start_date=date(2026, 1, 2), end_date=date(2026, 1, 3)
        ),
    ],
    ids=["payout", "sub-merchant", "order", "report"],
)
async def test_what_makes_something_is_sent_once(counter: Any, server: Any, call: Any) -> None:
    server.reset()
    client = counter.client()

    with pytest.raises(Exception, match="no answer") as caught:
        await counter.call(lambda: call(client))

    assert caught.value.outcome_unknown  # type: ignore[attr-defined]
    assert len(server.received) == 1


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda client: client.payouts.create(batch_name="b", currency="X", lines=[]), ValueError),
        (
            lambda client: client.transfers.create(
                request_id="R", currency="X", amount=1.5, transfer_type="TO_PAY"
            ),
            TypeError,
        ),
        (
            lambda client: client.orders.create_v1(
                merchant_trade_no="T-1",
                trade_type="W",
                total_fee="1",
                currency="X",
                product_name="",
            ),
            ValueError,
        ),
    ],
)
async def test_wrong_arguments_never_leave(counter: Any, call: Any, error: Any) -> None:
    client = counter.client()

    with pytest.raises(error):
        await counter.call(lambda: call(client))


def test_a_line_of_a_payout_takes_no_float() -> None:
    with pytest.raises(TypeError):
        PayoutLine(
            merchant_send_id="L1",
            receive_type="EMAIL",
            receiver="x",
            transfer_amount=1.1,  # type: ignore[arg-type]
            transfer_method="SPOT_WALLET",
        )
