import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkstand.binance import (
    BalanceNotice,
    Notification,
    PayNotice,
    PayRefundNotice,
    SignedBytes,
    UnreadableNotification,
    parse_notification,
)

SIGNED_AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
PAID = {"merchantTradeNo": "T1", "totalFee": 12.5, "currency": "USDT", "commission": 0}


def signed(raw: bytes) -> SignedBytes:
    return SignedBytes(raw=raw, serial="S", nonce="N", signed_at=SIGNED_AT)


def parse(
    data: Any, *, biz_type: str = "PAY", biz_status: str = "PAY_SUCCESS", **more: Any
) -> Notification:
    """Wrap data (text of JSON, or an object) as Binance does."""
    body = {"bizType": biz_type, "data": data, "bizIdStr": "7", "bizId": 7, **more}
    return parse_notification(signed(json.dumps({**body, "bizStatus": biz_status}).encode()))


def unreadable(raw: bytes) -> UnreadableNotification:
    with pytest.raises(UnreadableNotification) as caught:
        parse_notification(signed(raw))
    return caught.value


def test_a_payment_is_typed_in_full() -> None:
    text = (
        '{"merchantTradeNo":"T1","productType":"01","productName":"Green tea",'
        '"transactTime":1767226000000,"tradeType":"WEB","totalFee":12.50000000,"currency":"USDT",'
        '"transactionId":"P_A1B2C3","openUserId":"0123","passThroughInfo":"cart=77",'
        '"commission":0.12500000,"paymentInfo":{"payerId":100000001,"payMethod":"funding",'
        '"paymentInstructions":[{"currency":"USDT","amount":12.50000000,"price":1}],'
        '"channel":"DEFAULT"},"novelty":0.10}'
    )

    notification = parse(text)

    notice = notification.data
    assert isinstance(notice, PayNotice)
    assert (notice.merchant_trade_no, notice.currency) == ("T1", "USDT")
    assert (str(notice.total_fee), str(notice.commission)) == ("12.50000000", "0.12500000")
    assert (notice.transaction_id, notice.open_user_id) == ("P_A1B2C3", "0123")
    assert notice.transacted_at == datetime(2026, 1, 1, 0, 6, 40, tzinfo=UTC)
    assert notice.pass_through_info == "cart=77"
    assert notice.payment_info is not None
    assert notice.payment_info.payer_id == "100000001"
    (spent,) = notice.payment_info.payment_instructions or ()
    assert (spent.currency, str(spent.amount), str(spent.price)) == ("USDT", "12.50000000", "1")
    assert notification.data_text == text
    assert notification.fields["novelty"] == Decimal("0.10")
    assert (notification.serial, notification.nonce) == ("S", "N")
    assert notification.signed_at == SIGNED_AT


def test_data_is_read_as_text_or_as_object() -> None:
    assert parse(json.dumps(PAID)).data == parse(PAID).data


def test_data_text_is_exactly_what_came() -> None:
    odd = '{ "merchantTradeNo":"\\u0054\\u0031",\n"totalFee":1.0,"currency":"USDT" }'

    assert parse(odd).data_text == odd
    raw = b'{"bizType":"X","bizStatus":"Y","bizIdStr":"1","data":{ "a" : 1.50 }}'
    assert parse_notification(signed(raw)).data_text == '{ "a" : 1.50 }'


@pytest.mark.parametrize("amount", [b"0.88000000", rb"\"0.88000000\""])
def test_amounts_are_read_as_number_or_text(amount: bytes) -> None:
    raw = (
        rb'{"bizType":"PAY","bizStatus":"PAY_SUCCESS","bizIdStr":"1","data":"{\"merchantTradeNo\":'
        rb'\"T1\",\"currency\":\"EUR\",\"totalFee\":%b,\"commission\":%b}"}' % (amount, amount)
    )

    notice = parse_notification(signed(raw)).data

    assert isinstance(notice, PayNotice)
    assert (str(notice.total_fee), str(notice.commission)) == ("0.88000000", "0.88000000")


@settings(deadline=None)
@given(st.from_regex(r"\A(0|[1-9][0-9]{0,14})(\.[0-9]{1,8})?\Z"), st.booleans())
def test_any_amount_comes_through_with_the_same_digits(text: str, quoted: bool) -> None:
    written = f'"{text}"' if quoted else text

    notice = parse(f'{{"merchantTradeNo":"T1","currency":"USDT","totalFee":{written}}}').data

    assert isinstance(notice, PayNotice)
    assert f"{notice.total_fee:f}" == text


def test_the_textual_id_is_preferred() -> None:
    assert parse(PAID, bizIdStr="29383937493038367292", bizId=7).biz_id == "29383937493038367292"


@pytest.mark.parametrize("number", ["29383937493038367292", "270342174837100001", "1" * 40])
def test_an_id_that_is_only_a_number_keeps_its_digits(number: str) -> None:
    raw = b'{"bizType":"PAY","bizId":%b,"bizStatus":"PAY_SUCCESS","data":%b}' % (
        number.encode(),
        json.dumps(PAID).encode(),
    )

    assert parse_notification(signed(raw)).biz_id == number


REFUND = {
    "refundRequestId": "RF0001",
    "prepayId": "270342174837100001",
    "orderAmount": "12.50000000",
    "refundedAmount": "5.00000000",
    "refundAmount": "5.00000000",
    "remainingAttempts": 9,
    "payerOpenId": "fedc",
    "duplicateRequest": "N",
}


@pytest.mark.parametrize("info", [REFUND, json.dumps(REFUND)], ids=["object", "text"])
@pytest.mark.parametrize("packed", [True, False])
def test_a_refund_is_typed_whether_its_info_is_object_or_text(info: Any, packed: bool) -> None:
    data = {**PAID, "refundInfo": info}

    notice = parse(
        json.dumps(data) if packed else data, biz_type="PAY_REFUND", biz_status="REFUND_SUCCESS"
    ).data

    assert isinstance(notice, PayRefundNotice)
    assert notice.total_fee == Decimal("12.5")
    assert notice.refund_info is not None
    assert notice.refund_info.refund_request_id == "RF0001"
    assert str(notice.refund_info.refund_amount) == "5.00000000"
    assert notice.refund_info.remaining_attempts == 9


def test_a_refund_without_info_is_understood() -> None:
    notice = parse(PAID, biz_type="PAY_REFUND", biz_status="REFUND_REJECTED").data

    assert isinstance(notice, PayRefundNotice)
    assert notice.refund_info is None


def test_a_balance_report_is_typed() -> None:
    notice = parse(
        {
            "downloadType": "Balance",
            "downloadId": 197430692664600001,
            "userId": 900000002,
            "status": "2",
            "downloadLink": "https://files.example/report.zip",
            "expirationTimestamp": 1767312400000,
            "createTime": "1767226000000",
        },
        biz_type="BALANCE",
        biz_status="BALANCE_SUCCESS",
    ).data

    assert isinstance(notice, BalanceNotice)
    assert (notice.download_id, notice.user_id) == ("197430692664600001", "900000002")
    assert notice.created_at == datetime(2026, 1, 1, 0, 6, 40, tzinfo=UTC)


def test_an_unknown_type_is_a_mapping_that_loses_nothing() -> None:
    notification = parse(
        '{"contractId":29383937493038367292,"singleUpperLimit":50.00000000,"deep":{"x":[0.1]}}',
        biz_type="DIRECT_DEBIT_CT",
        biz_status="CONTRACT_SIGNED",
    )

    assert notification.data == {
        "contractId": 29383937493038367292,
        "singleUpperLimit": Decimal("50.00000000"),
        "deep": {"x": [Decimal("0.1")]},
    }
    assert notification.data == notification.fields


def test_a_close_with_other_fields_than_a_payment_is_a_mapping() -> None:
    closed = parse({"merchantTradeNo": "T1"}, biz_status="PAY_CLOSED")

    assert closed.data == {"merchantTradeNo": "T1"}
    assert isinstance(parse(PAID, biz_status="PAY_CLOSED").data, PayNotice)


@pytest.mark.parametrize("missing", ["merchantTradeNo", "totalFee", "currency"])
def test_a_payment_that_lacks_what_it_says_is_unreadable(missing: str) -> None:
    data = {name: value for name, value in PAID.items() if name != missing}

    with pytest.raises(UnreadableNotification) as caught:
        parse(json.dumps(data))

    error = caught.value
    assert missing in str(error)
    assert (error.biz_type, error.biz_id, error.biz_status) == ("PAY", "7", "PAY_SUCCESS")
    assert error.data_text == json.dumps(data)
    assert (error.serial, error.nonce, error.signed_at) == ("S", "N", SIGNED_AT)


@pytest.mark.parametrize(
    "odd",
    [
        {"paymentInfo": "funding"},
        {"paymentInfo": {"payerId": 1.5}},
        {"paymentInfo": {"paymentInstructions": {"currency": "USDT"}}},
        {"commission": "free"},
        {"transactTime": "yesterday"},
        {"productName": 7, "tradeType": [], "transactionId": {}},
    ],
)
def test_a_payment_is_heard_whatever_is_odd_beside_it(odd: dict[str, Any]) -> None:
    notification = parse({**PAID, "openUserId": "0123", **odd})

    notice = notification.data
    assert isinstance(notice, PayNotice)
    assert (notice.merchant_trade_no, str(notice.total_fee)) == ("T1", "12.5")
    assert notice.open_user_id == "0123"
    for name in ("payment_info", "transacted_at", "product_name"):
        assert getattr(notice, name) is None
    assert (
        notification.fields.items()
        >= {name: value for name, value in odd.items() if not isinstance(value, dict)}.items()
    )


def test_a_refund_with_unreadable_info_is_heard() -> None:
    data = {**PAID, "refundInfo": "see portal"}

    notice = parse(data, biz_type="PAY_REFUND", biz_status="REFUND_SUCCESS").data

    assert isinstance(notice, PayRefundNotice)
    assert notice.refund_info is None


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        (b"", (None, None, None, None)),
        (b"[]", (None, None, None, None)),
        (b"\xff", (None, None, None, None)),
        (b"[" * 100_000, (None, None, None, None)),
        (b'{"bizType":"PAY","bizId":7}', ("PAY", "7", None, None)),
        (b'{"bizType":7,"bizIdStr":"8","data":"d"}', (None, "8", None, "d")),
        (b'{"bizType":"PAY","bizStatus":"S","data":"{}"}', ("PAY", None, "S", None)),
        (b'{"bizType":"P","bizIdStr":"7","bizStatus":"S","data":"{"}', ("P", "7", "S", "{")),
        (b'{"bizType":"P","bizIdStr":"7","bizStatus":"S","data":7}', ("P", "7", "S", "7")),
        (b'{"bizType":"P","bizIdStr":"7","bizStatus":"S","data":null}', ("P", "7", "S", "null")),
    ],
)
def test_what_is_not_understood_says_what_could_be_read(raw: bytes, read: Any) -> None:
    error = unreadable(raw)

    assert (error.biz_type, error.biz_id, error.biz_status, error.data_text) == read
    assert error.raw == raw
