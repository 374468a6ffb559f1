"""Pay, close and expire race; whichever comes first wins and the clock decides."""

from collections.abc import Awaitable, Callable
from decimal import Decimal
from itertools import product
from typing import Any

import pytest

from checkstand.simulator.orders import NotPossible
from checkstand.simulator.records import TRANSITIONS, OrderStatus, Payment
from checkstand.simulator.settings import Settings


def statuses_told(shop: Any) -> list[str]:
    return [notice.biz_status for notice in shop.simulator.control.notices]


def history(shop: Any, trade_no: str = "T1") -> list[str]:
    return [str(move.status) for move in shop.simulator.control.order(trade_no).history]


async def test_accepted_close_takes_effect_later_and_is_told(shop: Any) -> None:
    await shop.create("T1")

    accepted = await shop.call("/order/close", {"merchantTradeNo": "T1", "prepayId": None})
    before = (await shop.query("T1"))["status"]
    await shop.simulator.control.advance(0.1)

    assert accepted.json == {"status": "SUCCESS", "code": "000000", "data": True}
    assert before == "INITIAL"
    assert (await shop.query("T1"))["status"] == "CANCELED"
    assert statuses_told(shop) == ["PAY_CLOSED"]


async def test_payer_who_is_faster_than_an_accepted_close_has_paid(shop: Any) -> None:
    await shop.create("T1")
    await shop.call("/order/close", {"merchantTradeNo": "T1"})

    shop.simulator.control.pay("T1")
    await shop.simulator.control.advance(3600)

    assert history(shop) == ["INITIAL", "PAID"]
    assert statuses_told(shop) == ["PAY_SUCCESS"]


async def test_payer_who_starts_after_an_accepted_close_keeps_the_order_open(shop: Any) -> None:
    await shop.create("T1")
    await shop.call("/order/close", {"merchantTradeNo": "T1"})
    shop.simulator.control.pending("T1")
    await shop.simulator.control.advance(1)

    shop.simulator.control.cancel("T1")
    again = await shop.call("/order/close", {"merchantTradeNo": "T1"})
    await shop.simulator.control.advance(1)

    assert again.json["data"] is True
    assert history(shop) == ["INITIAL", "PENDING", "INITIAL", "CANCELED"]


async def test_two_closes_are_one(shop: Any) -> None:
    await shop.create("T1")

    for _ in range(2):
        assert (await shop.call("/order/close", {"merchantTradeNo": "T1"})).json["data"] is True
    await shop.simulator.control.advance(1)

    assert statuses_told(shop) == ["PAY_CLOSED"]


@pytest.mark.parametrize("act", ["pay", "pending", "expire", "fail"])
async def test_close_is_refused_once_the_payer_acted_or_the_order_ended(
    shop: Any, act: str
) -> None:
    await shop.create("T1")
    getattr(shop.simulator.control, act)("T1")

    reply = await shop.call("/order/close", {"merchantTradeNo": "T1"})

    assert reply.code == "400204"


async def test_unpaid_order_expires_with_the_clock_and_is_told(shop: Any) -> None:
    created = await shop.create("T1")

    await shop.simulator.control.advance(3599)
    before = (await shop.query("T1"))["status"]
    await shop.simulator.control.advance(1)

    assert before == "INITIAL"
    assert (await shop.query("T1"))["status"] == "EXPIRED"
    (notice,) = shop.simulator.control.notices
    assert notice.biz_status == "PAY_CLOSED"
    assert notice.created_ms == created["expireTime"]


async def test_order_in_payment_expires_too(shop: Any) -> None:
    await shop.create("T1")
    shop.simulator.control.pending("T1")

    await shop.simulator.control.advance(3600)

    assert history(shop) == ["INITIAL", "PENDING", "EXPIRED"]


async def test_request_at_the_very_end_finds_the_order_expired(
    start: Callable[..., Awaitable[Any]],
) -> None:
    shop = await start(settings=Settings(order_expiry_default_ms=30))
    await shop.create("T1")
    order = shop.simulator.control.order("T1")

    while shop.simulator.clock.now_ms() < order.expires_ms:
        pass  # the loop gets no turn, so no timer can fire; the request itself must look
    shop.simulator.clock.freeze()

    assert (await shop.query("T1"))["status"] == "EXPIRED"


async def test_paid_order_does_not_expire(shop: Any) -> None:
    await shop.create("T1")
    shop.simulator.control.pay("T1")

    await shop.simulator.control.advance(7200)

    assert history(shop) == ["INITIAL", "PAID"]


async def test_order_is_paid_once(shop: Any) -> None:
    await shop.create("T1")
    shop.simulator.control.pay("T1")

    with pytest.raises(NotPossible, match="T1 is PAID"):
        shop.simulator.control.pay("T1")

    assert statuses_told(shop) == ["PAY_SUCCESS"]


@pytest.mark.parametrize("end", ["expire", "fail"])
async def test_forced_payment_is_late_money_on_an_ended_order(shop: Any, end: str) -> None:
    await shop.create("T1")
    getattr(shop.simulator.control, end)("T1")
    with pytest.raises(NotPossible):
        shop.simulator.control.pay("T1")

    shop.simulator.control.pay("T1", force=True)

    assert (await shop.query("T1"))["status"] == "PAID"
    assert statuses_told(shop)[-1] == "PAY_SUCCESS"


async def test_other_money_than_was_asked_for_shows_in_query_and_webhook(shop: Any) -> None:
    await shop.create("T1")

    shop.simulator.control.pay("T1", amount="12.49", currency="USDC")
    await shop.simulator.control.settle()

    data = await shop.query("T1")
    assert (data["orderAmount"], data["currency"]) == ("12.49000000", "USDC")
    assert b'\\"totalFee\\":12.49000000' in shop.simulator.control.notices[0].body


async def test_payment_less_the_fee_lands_in_the_merchants_wallet(shop: Any) -> None:
    await shop.create("T1")

    shop.simulator.control.pay("T1", commission="0.5")

    assert shop.simulator.control.balance("900000001", "USDT") == Decimal(12)


async def test_payment_without_webhook_is_known_by_query_alone(shop: Any) -> None:
    await shop.create("T1")

    shop.simulator.control.pay("T1", webhook=False)

    assert (await shop.query("T1"))["status"] == "PAID"
    assert shop.simulator.control.notices == []


async def test_closed_notice_can_be_switched_off(start: Callable[..., Awaitable[Any]]) -> None:
    shop = await start(settings=Settings(sends_pay_closed=False))
    await shop.create("T1")

    shop.simulator.control.expire("T1")

    assert shop.simulator.control.notices == []


ACTS = {
    "pending": OrderStatus.PENDING,
    "pay": OrderStatus.PAID,
    "fail": OrderStatus.ERROR,
    "expire": OrderStatus.EXPIRED,
}


@pytest.mark.parametrize(("status", "act"), list(product(OrderStatus, ACTS)))
async def test_every_act_on_every_status_is_allowed_or_refused_by_the_table(
    shop: Any, status: OrderStatus, act: str
) -> None:
    await shop.create("T1")
    control, store = shop.simulator.control, shop.simulator.world.store
    order = control.order("T1")
    payment = Payment(
        transaction_id="P",
        open_user_id="o",
        payer_id="1",
        amount=order.amount,
        currency="USDT",
        commission=Decimal(0),
        paid_ms=0,
        spent_currency="USDT",
        spent_amount=order.amount,
        price=Decimal(1),
    )
    unpaid = {"INITIAL", "PENDING", "CANCELED", "EXPIRED", "ERROR"}
    changed = {"status": status, "payment": None if status in unpaid else payment}
    store.put_order(type(order)(**{f: getattr(order, f) for f in order.__slots__} | changed))

    # A refund that is refused leads from REFUNDING to PAID; a payer does not.
    is_twice = act == "pay" and status not in unpaid
    if ACTS[act] in TRANSITIONS[status] and not is_twice:
        assert getattr(control, act)("T1").status is ACTS[act]
    else:
        with pytest.raises(NotPossible):
            getattr(control, act)("T1")
        assert control.order("T1").status is status
