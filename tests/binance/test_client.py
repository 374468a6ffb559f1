"""Both clients against a server on loopback that does as it is told."""

import asyncio
import contextlib
import json
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from typing import Any

import pytest

from checkstand.binance import (
    AsyncBinancePay,
    BinancePay,
    BinancePayError,
    CallOptions,
    ClockSkewed,
    ConnectionFailed,
    ConnectionTimedOut,
    Goods,
    NotFound,
    Request,
    ServerFailed,
    UnitAmount,
    UnreadableAnswer,
)
from checkstand.binance.http_transport import AsyncHttpTransport, HttpTransport
from checkstand.binance.signing import sign
from checkstand.binance.transport import NeverSent

CREATED = {
    "currency": "USDT",
    "totalFee": "12.5",
    "prepayId": "270342174837100001",
    "terminalType": "WEB",
    "expireTime": 1767229200000,
    "qrcodeLink": "https://pictures.example/1.jpg",
    "qrContent": "https://codes.example/1",
    "checkoutUrl": "https://pages.example/1",
    "deeplink": "app://pay",
    "universalUrl": "https://links.example/1",
}
QUERIED = {
    "merchantId": 900000001,
    "prepayId": "270342174837100001",
    "merchantTradeNo": "T1",
    "status": "INITIAL",
    "currency": "USDT",
    "createTime": 1767225600000,
    "orderAmount": "12.50000000",
}
TEA = Goods(
    goods_type="01", goods_category="D000", reference_goods_id="sku-77", goods_name="Green tea"
)
ORDER: dict[str, Any] = {
    "merchant_trade_no": "T1",
    "description": "Café ☕",
    "goods_details": [TEA],
    "order_amount": Decimal("12.50"),
    "currency": "USDT",
}


async def failing(counter: Any, what: Any) -> BinancePayError:
    with pytest.raises(BinancePayError) as caught:
        await counter.call(what)
    return caught.value


async def test_create_sends_what_it_signed_and_reads_the_links(counter: Any, server: Any) -> None:
    server.succeed(CREATED)
    client = counter.client()

    created = await counter.call(
        lambda: client.orders.create(
            **ORDER,
            return_url="https://shop.example/ok",
            expires_at=datetime(2026, 1, 1, 1, tzinfo=UTC),
            pass_through_info="cart=77",
            webhook_url="https://shop.example/hooks",
        )
    )

    (received,) = server.received
    assert received.path == "/binancepay/openapi/v3/order"
    assert received.headers["content-type"] == "application/json"
    assert received.headers["binancepay-certificate-sn"] == "key-of-the-test"
    assert received.headers["binancepay-signature"] == sign(
        "secret-of-the-test",
        timestamp=received.headers["binancepay-timestamp"],
        nonce=received.headers["binancepay-nonce"],
        body=received.body,
    )
    assert b'"orderAmount":12.50,' in received.body
    assert json.loads(received.body) == {
        "env": {"terminalType": "WEB"},
        "merchantTradeNo": "T1",
        "orderAmount": 12.5,
        "currency": "USDT",
        "description": "Café ☕",
        "goodsDetails": [
            {
                "goodsType": "01",
                "goodsCategory": "D000",
                "referenceGoodsId": "sku-77",
                "goodsName": "Green tea",
            }
        ],
        "returnUrl": "https://shop.example/ok",
        "orderExpireTime": 1767229200000,
        "passThroughInfo": "cart=77",
        "webhookUrl": "https://shop.example/hooks",
    }
    assert created.prepay_id == "270342174837100001"
    assert created.expires_at == datetime(2026, 1, 1, 1, tzinfo=UTC)
    assert created.universal_url == "https://links.example/1"
    assert created.total_fee == Decimal("12.5")
    assert created.last_response.status == 200
    assert created.last_response.headers["content-length"]
    assert timedelta() < created.last_response.elapsed < timedelta(seconds=10)


async def test_create_in_fiat_with_unit_prices_and_a_sub_merchant(
    counter: Any, server: Any
) -> None:
    server.succeed({**CREATED, "fiatCurrency": "EUR", "fiatAmount": 11})
    client = counter.client()
    each = Goods(
        goods_type="02",
        goods_category="6000",
        reference_goods_id="g",
        goods_name="Coins",
        goods_unit_amount=UnitAmount(amount=Decimal("0.00000001"), currency="EUR"),
    )

    created = await counter.call(
        lambda: client.orders.create(
            merchant_trade_no="T2",
            description="d",
            goods_details=[each],
            fiat_amount="11.00",
            fiat_currency="EUR",
            sub_merchant_id="98765987",
        )
    )

    body = server.received[0].body
    assert b'"fiatAmount":11.00,' in body
    assert b'"goodsUnitAmount":{"amount":0.00000001,"currency":"EUR"}' in body
    assert b'"merchant":{"subMerchantId":"98765987"}' in body
    assert b"orderAmount" not in body
    assert b"null" not in body
    assert (created.fiat_currency, created.fiat_amount) == ("EUR", 11)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"order_amount": 12.5}, TypeError),
        ({"order_amount": Decimal("0.000000001")}, ValueError),
        ({"order_amount": Decimal(0)}, ValueError),
        ({"currency": None}, ValueError),
        ({"order_amount": None, "currency": None}, ValueError),
        ({"fiat_amount": "1", "fiat_currency": "EUR"}, ValueError),
        ({"merchant_trade_no": "a-b"}, ValueError),
        ({"merchant_trade_no": "a" * 33}, ValueError),
        ({"goods_details": []}, ValueError),
        ({"expires_at": datetime(2026, 1, 1)}, ValueError),  # noqa: DTZ001
    ],
)
async def test_wrong_arguments_never_leave(counter: Any, change: Any, error: Any) -> None:
    client = counter.client()

    with pytest.raises(error):
        await counter.call(lambda: client.orders.create(**{**ORDER, **change}))


async def test_query_close_refund_and_certificates(counter: Any, server: Any) -> None:
    refund = {
        "refundRequestId": "RF1",
        "prepayId": "270342174837100001",
        "orderAmount": "12.50000000",
        "refundedAmount": "5.00000000",
        "refundAmount": "5.00000000",
        "remainingAttempts": 9,
        "payerOpenId": "fedc",
        "duplicateRequest": "N",
    }
    for data in (
        QUERIED,
        True,
        refund,
        {**refund, "refundStatus": "REFUND_PENDING"},
        [{"certPublic": "PEM", "certSerial": "0A"}],
    ):
        server.succeed(data)
    client = counter.client()

    queried = await counter.call(lambda: client.orders.query(merchant_trade_no="T1"))
    closed = await counter.call(lambda: client.orders.close(prepay_id="2703"))
    refunded = await counter.call(
        lambda: client.refunds.create(
            refund_request_id="RF1", prepay_id="2703", refund_amount=Decimal("5.00")
        )
    )
    asked = await counter.call(lambda: client.refunds.query(refund_request_id="RF1"))
    (certificate,) = await counter.call(client.certificates.list)

    assert (queried.merchant_id, queried.status) == ("900000001", "INITIAL")
    assert closed is True
    assert (refunded.refund_amount, refunded.remaining_attempts) == (Decimal(5), 9)
    assert asked.refund_status == "REFUND_PENDING"
    assert (certificate.serial, certificate.public_key) == ("0A", "PEM")
    assert [
        (received.path.removeprefix("/binancepay/openapi"), received.body)
        for received in server.received
    ] == [
        ("/v2/order/query", b'{"merchantTradeNo":"T1"}'),
        ("/order/close", b'{"prepayId":"2703"}'),
        (
            "/order/refund",
            b'{"refundRequestId":"RF1","prepayId":"2703","refundAmount":5.00}',
        ),
        ("/order/refund/query", b'{"refundRequestId":"RF1"}'),
        ("/certificates", b"{}"),
    ]
    assert server.connections == 1  # kept alive


async def test_neither_name_of_an_order_is_an_error(counter: Any) -> None:
    client = counter.client()

    for method in (client.orders.query, client.orders.close):
        with pytest.raises(ValueError, match="merchant_trade_no or prepay_id"):
            await counter.call(method)


def transport_of(counter: Any, ssl_context: ssl.SSLContext) -> Any:
    made = AsyncHttpTransport if counter.kind == "async" else HttpTransport
    return made(ssl_context=ssl_context)


async def test_calls_go_over_tls_and_keep_the_connection(
    counter: Any, tls_server: Any, authority: Any
) -> None:
    tls_server.succeed(QUERIED)
    tls_server.hang()
    client = counter.client(
        base_url=tls_server.url,
        transport=transport_of(counter, authority.trusting()),
    )

    queried = await counter.call(lambda: client.orders.query(merchant_trade_no="T1"))
    options = CallOptions(timeout_seconds=0.5)
    error = await failing(counter, lambda: client.orders.create(**ORDER, options=options))

    assert queried.status == "INITIAL"
    assert tls_server.connections == 1
    assert (type(error), error.outcome_unknown) == (ConnectionTimedOut, True)


async def test_a_certificate_nobody_vouches_for_gets_nothing(counter: Any, tls_server: Any) -> None:
    client = counter.client(base_url=tls_server.url, max_retries=0)

    error = await failing(counter, lambda: client.orders.create(**ORDER))

    assert type(error) is ConnectionFailed
    assert not error.outcome_unknown
    assert tls_server.received == []


def test_verification_cannot_be_switched_off(counter: Any) -> None:
    careless = ssl.create_default_context()
    careless.check_hostname = False

    with pytest.raises(ValueError, match="must verify"):
        transport_of(counter, careless)


async def test_a_refused_connection_was_never_sent(counter: Any, closed_port: int) -> None:
    client = counter.client(base_url=f"http://127.0.0.1:{closed_port}")

    error = await failing(counter, lambda: client.orders.create(**ORDER))

    assert type(error) is ConnectionFailed
    assert (error.outcome_unknown, error.retryable) == (False, True)
    assert error.request_nonce


async def test_a_failed_handshake_was_never_sent(counter: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=greet_in_plain_text, args=(listener,))
        thread.start()
        port = listener.getsockname()[1]
        client = counter.client(base_url=f"https://127.0.0.1:{port}", max_retries=0)

        error = await failing(counter, lambda: client.orders.create(**ORDER))
        await asyncio.to_thread(thread.join, 10)

    assert type(error) is ConnectionFailed
    assert (error.outcome_unknown, error.retryable) == (False, True)


def greet_in_plain_text(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(1)
        connection.sendall(b"220 hello, this is another protocol\r\n")


async def test_a_reset_after_sending_is_unknown_and_not_repeated(counter: Any, server: Any) -> None:
    server.reset()
    client = counter.client()

    error = await failing(counter, lambda: client.orders.create(**ORDER))

    assert type(error) is ConnectionFailed
    assert (error.outcome_unknown, error.retryable) == (True, False)
    assert len(server.received) == 1


async def test_a_reset_on_a_kept_connection_is_unknown_too(counter: Any, server: Any) -> None:
    server.succeed(QUERIED)
    server.reset()
    client = counter.client()
    await counter.call(lambda: client.orders.query(merchant_trade_no="T1"))

    error = await failing(counter, lambda: client.orders.create(**ORDER))

    assert {received.connection for received in server.received} == {1}
    assert error.outcome_unknown


async def test_a_connection_that_the_server_hung_up_meanwhile_is_not_used(
    counter: Any, server: Any
) -> None:
    server.succeed(QUERIED, then_hang_up=True)
    server.succeed(CREATED)
    client = counter.client(max_retries=0)
    await counter.call(lambda: client.orders.query(merchant_trade_no="T1"))
    assert await asyncio.to_thread(server.hung_up.acquire, timeout=10)

    created = await counter.call(lambda: client.orders.create(**ORDER))

    assert created.prepay_id
    assert [received.connection for received in server.received] == [1, 2]


async def test_a_query_survives_a_reset_and_a_5xx(counter: Any, server: Any) -> None:
    server.reset()
    server.answer(b"<html>Bad gateway</html>", status=502)
    server.succeed(QUERIED)
    client = counter.client()

    queried = await counter.call(lambda: client.orders.query(merchant_trade_no="T1"))

    assert queried.status == "INITIAL"
    nonces = {received.headers["binancepay-nonce"] for received in server.received}
    assert len(nonces) == 3


@pytest.mark.parametrize("silence", ["hang", "drip"])
async def test_no_answer_in_time_is_unknown(counter: Any, server: Any, silence: str) -> None:
    getattr(server, silence)()
    client = counter.client(timeout_seconds=1.0)

    error = await failing(counter, lambda: client.orders.create(**ORDER))

    assert type(error) is ConnectionTimedOut
    assert (error.outcome_unknown, error.retryable) == (True, False)


async def test_an_answer_cut_short_is_unknown(counter: Any, server: Any) -> None:
    server.cut_short()
    client = counter.client()

    error = await failing(counter, lambda: client.orders.create(**ORDER))

    assert type(error) is ConnectionFailed
    assert error.outcome_unknown


async def test_an_endless_answer_is_cut_off(counter: Any, server: Any) -> None:
    server.answer(b" " * (9 * 1024 * 1024))
    client = counter.client()

    error = await failing(counter, lambda: client.orders.create(**ORDER))

    assert "larger than" in str(error)
    assert error.outcome_unknown


@pytest.mark.parametrize(
    ("status", "kind"), [(500, ServerFailed), (503, ServerFailed), (200, UnreadableAnswer)]
)
async def test_a_page_instead_of_an_answer_is_unknown(
    counter: Any, server: Any, status: int, kind: Any
) -> None:
    server.answer(b"<html>We will be back</html>", status=status)
    client = counter.client()

    error = await failing(counter, lambda: client.orders.create(**ORDER))

    assert type(error) is kind
    assert (error.http_status, error.outcome_unknown) == (status, True)


async def test_redirects_are_not_followed(counter: Any, server: Any) -> None:
    server.answer(b"", status=307, headers={"Location": f"{server.url}/elsewhere"})
    client = counter.client()

    error = await failing(counter, lambda: client.orders.create(**ORDER))

    assert type(error) is UnreadableAnswer
    assert len(server.received) == 1


async def test_a_refusal_is_typed(counter: Any, server: Any) -> None:
    server.refuse("400202", "Order not found.")
    client = counter.client()

    error = await failing(counter, lambda: client.orders.query(merchant_trade_no="T1"))

    assert type(error) is NotFound
    assert (error.code, error.binance_message) == ("400202", "Order not found.")


@pytest.mark.parametrize("seconds", [-30, 30])
async def test_a_wrong_clock_is_set_right_and_the_create_succeeds(
    counter: Any, server: Any, clock: Any, seconds: float
) -> None:
    theirs = {"Date": format_datetime(clock.now() + timedelta(seconds=seconds), usegmt=True)}
    server.refuse("400003", "outside of the recvWindow", headers=theirs)
    server.succeed(CREATED, headers=theirs)
    client = counter.client(clock=clock)

    await counter.call(lambda: client.orders.create(**ORDER))

    before, after = (int(received.headers["binancepay-timestamp"]) for received in server.received)
    assert abs((after - before) / 1000 - seconds) < 1


async def test_a_clock_refused_again_and_again_is_reported(
    counter: Any, server: Any, clock: Any
) -> None:
    for _ in range(2):
        server.refuse("400003", headers={"Date": "Mon, 23 Nov 2026 12:00:09 GMT"})
    client = counter.client(clock=clock, max_retries=1)

    error = await failing(counter, lambda: client.orders.create(**ORDER))

    assert isinstance(error, ClockSkewed)
    assert (error.least_seconds, error.most_seconds) == (9, 10)


async def test_proxies_of_the_environment_are_ignored(
    counter: Any, server: Any, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port}")
    server.succeed(QUERIED)
    client = counter.client()

    assert await counter.call(lambda: client.orders.query(merchant_trade_no="T1"))


async def test_options_of_one_call_reach_it(counter: Any, server: Any) -> None:
    server.answer(b"", status=503)
    client = counter.client()
    options = CallOptions(max_retries=0, headers={"X-Trace": "7"})

    error = await failing(
        counter, lambda: client.orders.query(merchant_trade_no="T1", options=options)
    )

    assert type(error) is ServerFailed
    assert server.received[0].headers["x-trace"] == "7"


async def test_a_base_address_may_have_a_path(counter: Any, server: Any) -> None:
    server.succeed(QUERIED)
    client = counter.client(base_url=f"{server.url}/shop/7/")

    await counter.call(lambda: client.orders.query(merchant_trade_no="T1"))

    assert server.received[0].path == "/shop/7/binancepay/openapi/v2/order/query"


def test_threads_share_one_client(server: Any) -> None:
    calls, threads_count = 40, 8
    for _ in range(calls):
        server.succeed(QUERIED)
    with BinancePay(
        api_key="key-of-the-test", api_secret="secret-of-the-test", base_url=server.url
    ) as client:

        def work() -> None:
            for _ in range(calls // threads_count):
                assert client.orders.query(merchant_trade_no="T1").status == "INITIAL"

        threads = [threading.Thread(target=work) for _ in range(threads_count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert_each_signed_for_itself(server, calls)


async def test_tasks_share_one_client(server: Any) -> None:
    calls = 40
    for _ in range(calls):
        server.succeed(QUERIED)
    async with AsyncBinancePay(
        api_key="key-of-the-test", api_secret="secret-of-the-test", base_url=server.url
    ) as client:
        await asyncio.gather(*(client.orders.query(merchant_trade_no="T1") for _ in range(calls)))

    assert_each_signed_for_itself(server, calls)


def assert_each_signed_for_itself(server: Any, calls: int) -> None:
    assert len({received.headers["binancepay-nonce"] for received in server.received}) == calls
    for received in server.received:
        assert received.headers["binancepay-signature"] == sign(
            "secret-of-the-test",
            timestamp=received.headers["binancepay-timestamp"],
            nonce=received.headers["binancepay-nonce"],
            body=received.body,
        )


def test_a_client_of_another_event_loop_says_so(server: Any) -> None:
    server.succeed(QUERIED)
    client = AsyncBinancePay(api_key="k", api_secret="s", base_url=server.url)

    async def once() -> None:
        await client.orders.query(merchant_trade_no="T1")

    async def twice() -> None:
        await once()
        with pytest.raises(RuntimeError, match="another event loop"):
            await asyncio.to_thread(asyncio.run, once())
        await client.aclose()

    asyncio.run(twice())


async def test_a_cancelled_call_leaves_the_client_usable(server: Any) -> None:
    server.hang()
    server.succeed(QUERIED)
    async with AsyncBinancePay(
        api_key="k", api_secret="s", base_url=server.url, max_retries=0
    ) as client:
        hanging = asyncio.create_task(client.orders.query(merchant_trade_no="T1"))
        assert await asyncio.to_thread(server.arrived.acquire, timeout=10)
        hanging.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await hanging

        queried = await client.orders.query(merchant_trade_no="T1")
        assert queried.status == "INITIAL"


def test_headers_that_could_not_be_written_were_never_sent() -> None:
    # Nothing of the body has been asked for, so no whole request can have arrived.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=hang_up_unread, args=(listener,))
        thread.start()
        port = listener.getsockname()[1]
        request = Request(f"http://127.0.0.1:{port}/", [("X-Long", "x" * 20_000_000)], b"{}", 10.0)
        transport = HttpTransport()

        with pytest.raises(NeverSent):
            transport.send(request)

        transport.close()
        thread.join(10)


def hang_up_unread(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    connection.recv(1000)
    connection.close()  # with the rest unread this resets the connection
