from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkstand.binance import Answer, BinancePayError, errors
from checkstand.binance.answers import FAILURES, REFUSALS, judge
from checkstand.binance.calls import CREATE_ORDER, LIST_CERTIFICATES, QUERY_ORDER, Call, Effect
from checkstand.binance.results import Result, one
from checkstand.binance.wire import Amount

QUERIED = (
    b'{"merchantId":900000001,"prepayId":"270342174837100001","transactionId":"P_A1B2C3",'
    b'"merchantTradeNo":"T1","status":"PAID","currency":"USDT",'
    b'"openUserId":"0123456789abcdef0123456789abcdef","orderAmount":"12.50000000",'
    b'"transactTime":1767226000000,"createTime":1767225600000,"commission":"0.12500000"}'
)


def told(body: bytes, *, status: int = 200, call: Any = QUERY_ORDER) -> Any:
    return judge(call, Answer(status, {}, body), nonce="n", elapsed=timedelta(seconds=0.1))


def enveloped(data: bytes) -> bytes:
    return b'{"status":"SUCCESS","code":"000000","data":%b,"errorMessage":""}' % data


def test_a_queried_order_is_typed() -> None:
    order = told(enveloped(QUERIED))

    assert order.merchant_id == "900000001"
    assert (order.prepay_id, order.merchant_trade_no) == ("270342174837100001", "T1")
    assert (order.status, order.currency) == ("PAID", "USDT")
    assert (str(order.order_amount), str(order.commission)) == ("12.50000000", "0.12500000")
    assert order.transacted_at - order.created_at == timedelta(seconds=400)
    assert order.last_response.code == "000000"
    assert order.last_response.status == 200
    assert order.last_response.elapsed == timedelta(seconds=0.1)


def test_an_unpaid_order_carries_only_what_live_replies_do() -> None:
    order = told(
        enveloped(
            b'{"merchantId":1,"prepayId":"2","merchantTradeNo":"T1","status":"INITIAL",'
            b'"currency":"USDT","createTime":1767225600000,"orderAmount":"1.50000000"}'
        )
    )

    assert (order.transaction_id, order.commission, order.transacted_at) == (None, None, None)


def test_unknown_fields_and_words_survive() -> None:
    order = told(
        enveloped(QUERIED.replace(b'"PAID"', b'"DREAMT"')[:-1] + b',"mood":0.10,"n":[1e2]}')
    )

    assert order.status == "DREAMT"
    assert order.extras == {"mood": Decimal("0.10"), "n": [Decimal("1e2")]}


def test_an_optional_field_that_cannot_be_read_does_not_hide_the_rest() -> None:
    order = told(
        enveloped(QUERIED[:-1].replace(b'"0.12500000"', b'"free"') + b',"paymentInfo":"funding"}')
    )

    assert (order.status, order.commission, order.payment_info) == ("PAID", None, None)
    assert order.extras == {"commission": "free", "paymentInfo": "funding"}


def test_a_required_field_that_cannot_be_read_is_an_unreadable_answer() -> None:
    error = told(enveloped(QUERIED.replace(b'"12.50000000"', b'"a lot"')))

    assert type(error) is errors.UnreadableAnswer
    assert "orderAmount" in str(error)


@pytest.mark.parametrize("total", [b'"1.5"', b"1.5"])
def test_a_created_order_takes_its_total_as_text_or_number(total: bytes) -> None:
    order = told(
        enveloped(
            b'{"currency":"USDT","totalFee":%b,"prepayId":"29383937493038367292",'
            b'"terminalType":"WEB","expireTime":1767229200000,"qrcodeLink":"l","qrContent":"q",'
            b'"checkoutUrl":"c","deeplink":"d","universalUrl":"u","fiatCurrency":"EUR",'
            b'"fiatAmount":2.00}' % total
        ),
        call=CREATE_ORDER,
    )

    assert order.total_fee == Decimal("1.5")
    assert (order.fiat_currency, str(order.fiat_amount)) == ("EUR", "2.00")
    assert order.prepay_id == "29383937493038367292"
    assert order.extras == {}


def test_certificates_are_a_list_each_with_its_extras() -> None:
    listed = told(
        enveloped(
            b'[{"certPublic":"P","certSerial":"S","x":1},{"certPublic":"Q","certSerial":"T"}]'
        ),
        call=LIST_CERTIFICATES,
    )

    assert [(one.serial, one.public_key) for one in listed] == [("S", "P"), ("T", "Q")]
    assert listed[0].extras == {"x": 1}
    assert listed[1].last_response.code == "000000"


def test_a_replayed_transfer_is_a_success() -> None:
    body = b'{"status":"REPEAT_REQ_SUCCESS","code":"000001","data":%b}' % QUERIED

    assert told(body).last_response.code == "000001"


class Report(Result, frozen=True, kw_only=True):
    exist: bool
    status: str
    size: Amount | None = None


BARE = Call("/report", msgspec.Struct, Effect.NONE, one(Report), bare=True)


@pytest.mark.parametrize(
    "body",
    [
        b'{"exist":true,"downloadUrl":"","status":"PROCESSING"}',
        b'{"status":"SUCCESS","code":"000000","data":{"exist":true,"status":"PROCESSING"}}',
    ],
    ids=["bare", "enveloped"],
)
def test_a_bare_answer_is_taken_where_it_is_documented(body: bytes) -> None:
    assert told(body, call=BARE).status == "PROCESSING"


def test_a_bare_answer_elsewhere_is_unreadable() -> None:
    assert type(told(QUERIED)) is errors.UnreadableAnswer


def test_a_bare_call_still_hears_refusals() -> None:
    assert type(told(b'{"status":"FAIL","code":"400202"}', call=BARE)) is errors.NotFound
    assert type(told(b'{"exist":true}', status=500, call=BARE)) is errors.ServerFailed


@pytest.mark.parametrize(("code", "kind"), REFUSALS.items())
@pytest.mark.parametrize("status", [200, 400, 500])
def test_the_code_decides_whatever_the_http_status(code: str, kind: Any, status: int) -> None:
    body = b'{"status":"FAIL","code":"%b","errorMessage":"why"}' % code.encode()

    error = told(body, status=status, call=CREATE_ORDER)

    assert type(error) is kind
    assert (error.code, error.binance_message, error.http_status) == (code, "why", status)
    assert not error.outcome_unknown


@pytest.mark.parametrize("code", sorted(FAILURES))
def test_a_failure_within_binance_decides_nothing(code: str) -> None:
    body = b'{"status":"ERROR","code":"%b","errorData":"System abnormality"}' % code.encode()

    error = told(body, call=CREATE_ORDER)

    assert type(error) is errors.ServerFailed
    assert error.outcome_unknown
    assert error.binance_message == "System abnormality"


def test_a_refusal_in_the_spelling_of_the_faq_is_understood() -> None:
    body = b'{"code":"400002","msg":"Signature for this request is not valid."}'

    error = told(body)

    assert type(error) is errors.AuthenticationFailed
    assert error.binance_message == "Signature for this request is not valid."


def test_an_unheard_of_code_is_a_refusal() -> None:
    assert type(told(b'{"status":"FAIL","code":"499999"}')) is errors.RequestRefused


GEO = b'{"code":0,"msg":"Service unavailable from a restricted location according to ..."}'


@pytest.mark.parametrize("status", [200, 403, 451])
def test_the_restricted_location_is_no_success(status: int) -> None:
    error = told(GEO, status=status, call=CREATE_ORDER)

    assert type(error) is errors.RestrictedLocation
    assert (error.outcome_unknown, error.retryable) == (False, False)


@pytest.mark.parametrize(
    "body",
    [
        b'{"status":"SUCCESS","code":"400000x"}',
        b'{"status":"SUCCESS","code":0,"data":true}',
        b'{"status":"FAIL_NOT","code":"000000"}',
        b'{"status":"SUCCESS","code":"000001"}',
        b'{"status":"SUCCESS"}',
        b'{"status":7,"code":"000000"}',
        b'{"status":"SUCCESS","code":[],"data":true}',
        b'{"status":"SUCCESS","code":"000000"}',
        b'{"status":"SUCCESS","code":"000000","data":null}',
        b'"SUCCESS"',
        b"[]",
        b"null",
        b"<html>",
        b"\xff\xfe",
    ],
)
def test_what_contradicts_itself_is_believed_in_no_direction(body: bytes) -> None:
    error = told(body, call=CREATE_ORDER)

    assert type(error) is errors.UnreadableAnswer
    assert error.outcome_unknown


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (403, errors.UnreadableAnswer, False),
        (404, errors.UnreadableAnswer, False),
        (429, errors.RateLimited, True),
        (500, errors.ServerFailed, True),
        (504, errors.ServerFailed, True),
    ],
)
def test_pages_of_things_in_between_go_by_their_status(
    status: int, kind: Any, retryable: bool
) -> None:
    error = told(b"<html>Request blocked</html>", status=status)

    assert type(error) is kind
    assert (error.retryable, error.code) == (retryable, None)


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)
envelopes = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from(["SUCCESS", "FAIL", "ERROR", ""]) | json_values,
        "code": st.sampled_from(["000000", "000001", "400202", "0", 0]) | json_values,
        "data": st.fixed_dictionaries(
            {}, optional=dict.fromkeys(("merchantId", "prepayId", "orderAmount"), json_values)
        )
        | json_values,
        "errorMessage": json_values,
        "msg": json_values,
    },
)


@settings(deadline=None)
@given(st.binary() | envelopes.map(msgspec.json.encode), st.integers(100, 599))
def test_any_answer_is_a_result_or_an_error_of_ours(body: bytes, status: int) -> None:
    outcome = told(body, status=status)

    assert isinstance(outcome, BinancePayError | Result)
