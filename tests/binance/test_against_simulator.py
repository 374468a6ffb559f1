"""The SDK and the simulator were written apart from the same page; here they meet."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from checkstand.binance import (
    ACKNOWLEDGE_SUCCESS,
    AuthenticationFailed,
    DuplicateRequest,
    Goods,
    NotFound,
    OrderStatusConflict,
    PayNotice,
    RefundRefused,
)
from checkstand.simulator.server import Simulator, running_simulator

TEA = Goods(
    goods_type="01", goods_category="D000", reference_goods_id="sku-77", goods_name="Green tea"
)
ORDER: dict[str, Any] = {
    "merchant_trade_no": "T1",
    "description": "Tea",
    "goods_details": [TEA],
    "order_amount": Decimal("12.50"),
    "currency": "USDT",
}


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with running_simulator() as simulator:
        yield simulator


@pytest.fixture
def client(counter: Any, simulator: Simulator) -> Any:
    return counter.client(base_url=simulator.base_url, api_key="simulator", api_secret="simulator")


async def test_an_order_is_created_paid_told_refunded(
    counter: Any, client: Any, simulator: Simulator, server: Any
) -> None:
    server.answer(ACKNOWLEDGE_SUCCESS, headers={"Content-Type": "application/json"})
    created = await counter.call(
        lambda: client.orders.create(
            **ORDER, pass_through_info="cart=77", webhook_url=f"{server.url}/hooks"
        )
    )

    simulator.control.pay("T1")
    assert await asyncio.to_thread(server.arrived.acquire, timeout=30)
    (told,) = server.received
    event = await counter.call(lambda: client.webhooks.construct_event(told.body, told.headers))
    queried = await counter.call(lambda: client.orders.query(merchant_trade_no="T1"))
    refund = await counter.call(
        lambda: client.refunds.create(
            refund_request_id="RF1", prepay_id=created.prepay_id, refund_amount="5"
        )
    )
    asked = await counter.call(lambda: client.refunds.query(refund_request_id="RF1"))

    assert created.total_fee == Decimal("12.50")
    assert created.universal_url
    assert (event.biz_type, event.biz_status) == ("PAY", "PAY_SUCCESS")
    assert event.biz_id == created.prepay_id == queried.prepay_id
    assert isinstance(event.data, PayNotice)
    assert (event.data.total_fee, event.data.currency) == (Decimal("12.50"), "USDT")
    assert event.data.pass_through_info == queried.pass_through_info == "cart=77"
    assert (queried.status, queried.order_amount) == ("PAID", Decimal("12.5"))
    assert queried.commission == event.data.commission
    assert (refund.refund_amount, refund.remaining_attempts) == (5, 9)
    assert asked.refund_status in {"REFUND_PENDING", "REFUND_SUCCESS"}
    server_says_more = [result.extras for result in (created, queried, refund, asked)]
    assert server_says_more == [{}, {}, {}, {}]  # every field it sends is modelled


async def test_refusals_have_their_types(counter: Any, client: Any, simulator: Simulator) -> None:
    await counter.call(lambda: client.orders.create(**ORDER))

    with pytest.raises(DuplicateRequest):
        await counter.call(lambda: client.orders.create(**ORDER))
    with pytest.raises(NotFound):
        await counter.call(lambda: client.orders.query(merchant_trade_no="T2"))
    assert await counter.call(lambda: client.orders.close(merchant_trade_no="T1")) is True
    created = await counter.call(
        lambda: client.orders.create(**{**ORDER, "merchant_trade_no": "T3"})
    )
    simulator.control.pay("T3")
    with pytest.raises(OrderStatusConflict):
        await counter.call(lambda: client.orders.close(merchant_trade_no="T3"))
    with pytest.raises(RefundRefused):
        await counter.call(
            lambda: client.refunds.create(
                refund_request_id="RF1", prepay_id=created.prepay_id, refund_amount="13"
            )
        )


async def test_a_wrong_secret_is_refused(counter: Any, simulator: Simulator) -> None:
    client = counter.client(base_url=simulator.base_url, api_key="simulator", api_secret="another")

    with pytest.raises(AuthenticationFailed) as caught:
        await counter.call(client.certificates.list)

    assert caught.value.code == "400002"


class LateClock:
    """Runs at the right speed, some seconds wrong."""

    def __init__(self, clock: Any, seconds: float) -> None:
        self._clock = clock
        self._wrong = timedelta(seconds=seconds)

    def now(self) -> Any:
        return self._clock.now() + self._wrong


@pytest.mark.parametrize("seconds", [-60, -3, 3, 60])
async def test_a_wrong_clock_is_set_right_by_the_strict_one(
    counter: Any, simulator: Simulator, seconds: float
) -> None:
    client = counter.client(
        base_url=simulator.base_url,
        api_key="simulator",
        api_secret="simulator",
        clock=LateClock(counter.client()._caller.party.clock, seconds),
    )

    created = await counter.call(lambda: client.orders.create(**ORDER))

    assert created.prepay_id
