"""A key stands for one number, in every process; and for one body, in this one."""

import json
import threading
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkstand.binance import (
    BinancePay,
    CallOptions,
    DuplicateRequest,
    Goods,
    IdempotencyConflict,
    PayoutLine,
)
from checkstand.binance.calls import CREATE_ORDER, REFUND_ORDER, Number
from checkstand.binance.idempotency import KEYS_MAX, KeyMemory, number_for

TEA = Goods(
    goods_type="01", goods_category="D000", reference_goods_id="sku-77", goods_name="Green tea"
)
ORDER: dict[str, Any] = {
    "description": "Tea",
    "goods_details": [TEA],
    "order_amount": Decimal("12.50"),
    "currency": "USDT",
}
KEY = CallOptions(idempotency_key="cart 77", namespace="teahouse")


def number(key: str, namespace: str, of: Number | None = CREATE_ORDER.number) -> str:
    return number_for(of, None, CallOptions(idempotency_key=key, namespace=namespace))


def test_a_key_yields_the_same_number_for_ever() -> None:
    # Written down: a release that changes it makes second orders out of first ones.
    assert number("cart 77", "teahouse") == "8ea08f418e61579bdab0924fe71534f4"


@given(st.text(min_size=1), st.text(min_size=1))
def test_any_key_yields_a_number_that_binance_takes(key: str, namespace: str) -> None:
    made = number(key, namespace)

    assert len(made) == 32
    assert made.isascii()
    assert made.isalnum()


def test_keys_namespaces_and_purposes_are_kept_apart() -> None:
    made = {
        number("a", "b"),
        number("b", "a"),
        number("aa", "b"),
        number("a", "ab"),
        number("a:1", "b"),
        number("a", "b", REFUND_ORDER.number),
    }

    assert len(made) == 6


def order(client: Any, **changes: Any) -> Any:
    return client.orders.create(**{**ORDER, "options": KEY, **changes})


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (order, "merchantTradeNo"),
        (
            lambda client: client.refunds.create(prepay_id="1", refund_amount="1", options=KEY),
            "refundRequestId",
        ),
        (
            lambda client: client.transfers.create(
                currency="X", amount="1", transfer_type="TO_PAY", options=KEY
            ),
            "requestId",
        ),
        (
            lambda client: client.payouts.create(
                batch_name="b",
                currency="X",
                lines=[
                    PayoutLine(
                        merchant_send_id="1",
                        receive_type="EMAIL",
                        receiver="r",
                        transfer_amount=Decimal(1),
                        transfer_method="SPOT_WALLET",
                    )
                ],
                options=KEY,
            ),
            "requestId",
        ),
    ],
    ids=["order", "refund", "transfer", "payout"],
)
async def test_a_key_stands_in_for_the_number(
    counter: Any, server: Any, call: Any, field: str
) -> None:
    client = counter.client()
    server.refuse("400201")
    server.refuse("400201")

    for _ in range(2):
        with pytest.raises(DuplicateRequest):
            await counter.call(lambda: call(client))

    first, second = (json.loads(received.body)[field] for received in server.received)
    assert first == second
    assert 32 <= len(first) <= 64


async def test_a_duplicate_raises_and_never_returns_a_strangers_order(
    counter: Any, server: Any
) -> None:
    server.refuse("400201", "merchantTradeNo is invalid or duplicated")
    client = counter.client()

    with pytest.raises(DuplicateRequest) as caught:
        await counter.call(lambda: order(client))

    assert not caught.value.outcome_unknown
    assert len(server.received) == 1


async def test_another_body_under_the_same_key_is_a_conflict_that_is_never_sent(
    counter: Any, server: Any
) -> None:
    server.refuse("400201")
    client = counter.client()
    with pytest.raises(DuplicateRequest):
        await counter.call(lambda: order(client))

    with pytest.raises(IdempotencyConflict) as caught:
        await counter.call(lambda: order(client, order_amount=Decimal(99)))
    with pytest.raises(IdempotencyConflict):
        await counter.call(
            lambda: client.orders.with_raw_response.create(
                **{**ORDER, "description": "Coffee", "options": KEY}
            )
        )

    assert not caught.value.outcome_unknown
    assert len(server.received) == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.orders.create(**ORDER),
        lambda client: client.orders.create(**ORDER, merchant_trade_no="T1", options=KEY),
        lambda client: client.orders.query(merchant_trade_no="T1", options=KEY),
        lambda client: client.raw_request("/a", options=KEY),
    ],
    ids=["neither", "both", "a call that makes nothing", "a call we do not know"],
)
async def test_a_key_where_it_means_nothing_is_refused(counter: Any, call: Any) -> None:
    client = counter.client()

    with pytest.raises(ValueError, match=r"number|merchantTradeNo"):
        await counter.call(lambda: call(client))


@pytest.mark.parametrize(
    "given",
    [{"idempotency_key": "k"}, {"namespace": "n"}, {"idempotency_key": "k", "namespace": ""}],
)
def test_a_key_needs_its_namespace(given: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="together"):
        CallOptions(**given)  # type: ignore[arg-type]


def test_memory_of_keys_is_bounded_and_forgets_the_oldest() -> None:
    memory = KeyMemory()

    def check(key: str, body: bytes) -> None:
        memory.check("/p", CallOptions(idempotency_key=key, namespace="n"), body)

    check("first", b"1")
    for each in range(KEYS_MAX):
        check(f"later {each}", b"1")

    check("first", b"2")
    with pytest.raises(IdempotencyConflict):
        check("first", b"3")


def test_threads_that_share_a_key_send_one_body(server: Any) -> None:
    for _ in range(8):
        server.refuse("400201")
    outcomes: list[type[Exception]] = []

    def attempt(client: BinancePay, amount: int) -> None:
        try:
            order(client, order_amount=Decimal(amount))
        except (DuplicateRequest, IdempotencyConflict) as error:
            outcomes.append(type(error))

    with BinancePay(api_key="k" * 16, api_secret="s", base_url=server.url) as client:
        threads = [threading.Thread(target=attempt, args=(client, n + 1)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert outcomes.count(DuplicateRequest) == 1
    assert outcomes.count(IdempotencyConflict) == 7
    assert len(server.received) == 1


async def test_options_may_name_another_address(counter: Any, server: Any) -> None:
    server.succeed(True)
    client = counter.client(base_url="http://127.0.0.1:1")
    elsewhere = CallOptions(base_url=f"{server.url}/")

    assert await counter.call(lambda: client.orders.close(prepay_id="1", options=elsewhere))


def test_an_address_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(Exception, match="base address"):
        CallOptions(base_url="ftp://x")
