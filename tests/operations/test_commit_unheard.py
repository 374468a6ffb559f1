"""A commit that happened, and whose acknowledgement is lost with the connection."""

import uuid
from collections import Counter
from typing import Any

import pytest

from checkstand import app
from checkstand.domain.money import Money, parse_amount
from checkstand.domain.order import Terms
from checkstand.operations.cancel_order import cancel_order
from checkstand.operations.create_order import create_order
from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID
from checkstand.operations.refresh_order import refresh_order
from checkstand.operations.renew_order import renew_order, renew_order_once
from checkstand.operations.resources import Resources
from checkstand.storage import cases
from checkstand.storage.database import Transaction


class LosesFirst:
    """Breaks the connection right after the first commit of one name."""

    def __init__(self, name: str) -> None:
        self._point, self.passed = f"commit {name}", Counter[str]()

    def before(self, point: str) -> None:
        """Let everything begin."""

    def after(self, point: str) -> None:
        """Lose the acknowledgement of the first such commit."""
        self.passed[point] += 1
        if point == self._point and self.passed[point] == 1:
            raise ConnectionResetError("the acknowledgement is lost")


class Died(Exception):
    """The process is gone."""


class DiesAfter:
    """Lets a process die right after the first commit of one name."""

    def __init__(self, name: str) -> None:
        self._point, self._has_died = f"commit {name}", False

    def before(self, point: str) -> None:
        """Let everything begin."""

    def after(self, point: str) -> None:
        """Die of the first such commit."""
        if point == self._point and not self._has_died:
            self._has_died = True
            raise Died


async def _create(resources: Resources) -> uuid.UUID:
    terms = Terms(
        merchant_order_id=f"shop-{uuid.uuid4().hex}",
        price=Money(parse_amount("12.50"), "USDT"),
        fiat_price=None,
        description="A tin of green tea",
    )
    stored = await create_order(
        resources,
        account_id=DEFAULT_ACCOUNT_ID,
        terms=terms,
        key=uuid.uuid4().hex,
        request_hash=b"",
    )
    assert stored.status == 201
    return uuid.UUID(str(stored.body["order_id"]))


async def _closes(resources: Resources, order_id: uuid.UUID) -> list[int]:
    async def step(tx: Transaction) -> list[int]:
        (case,) = (await cases.get_many(tx, [(DEFAULT_ACCOUNT_ID, order_id)])).values()
        return [attempt.closes for attempt in case.attempts]

    return await resources.database.read(step)


@pytest.mark.parametrize(
    "name", ["create_order.begin", "create_order.conclude", "plan_call", "record_answer"]
)
async def test_payment_is_found_whatever_commit_went_unheard(
    gateway_settings: Any, simulator: Any, name: str
) -> None:
    observer = LosesFirst(name)
    async with app.building_house(
        gateway_settings, clock=simulator.clock, observer=observer
    ) as resources:
        order_id = await _create(resources)
        assert len(simulator.control.orders) == 1
        simulator.control.pay(simulator.control.orders[0].merchant_trade_no, webhook=False)

        # A call whose plan went unheard is made when its lease runs out.
        await refresh_order(resources, account_id=DEFAULT_ACCOUNT_ID, order_id=order_id)
        await simulator.control.advance(20)
        case = await refresh_order(resources, account_id=DEFAULT_ACCOUNT_ID, order_id=order_id)

    assert observer.passed[f"commit {name}"] >= 2
    assert str(case.order.status) == "PAID"
    assert len(case.payments) == 1


@pytest.mark.parametrize("act", [cancel_order, renew_order])
async def test_close_is_asked_for_once_when_the_wish_for_it_went_unheard(
    gateway_settings: Any, simulator: Any, act: Any
) -> None:
    observer = LosesFirst(act.__name__)
    async with app.building_house(
        gateway_settings, clock=simulator.clock, observer=observer
    ) as resources:
        order_id = await _create(resources)
        await act(resources, account_id=DEFAULT_ACCOUNT_ID, order_id=order_id)
        for _ in range(4):
            await refresh_order(resources, account_id=DEFAULT_ACCOUNT_ID, order_id=order_id)
            await simulator.control.advance(1)
        closes = await _closes(resources, order_id)

    assert str(simulator.control.orders[0].status) == "CANCELED"
    assert closes[0] == 1


async def _go_on(resources: Resources, simulator: Any, order_id: uuid.UUID) -> None:
    """Do what a worker does for a while: close, ask, make the next code."""
    for _ in range(6):
        await refresh_order(resources, account_id=DEFAULT_ACCOUNT_ID, order_id=order_id)
        await simulator.control.advance(1)


async def test_code_is_renewed_once_under_a_key_whose_answer_nobody_heard(
    gateway_settings: Any, simulator: Any
) -> None:
    async with app.building_house(
        gateway_settings, clock=simulator.clock, observer=DiesAfter("renew_order")
    ) as resources:
        order_id = await _create(resources)
        wish: dict[str, Any] = {"account_id": DEFAULT_ACCOUNT_ID, "order_id": order_id, "key": "k1"}

        with pytest.raises(Died):
            await renew_order_once(resources, request_hash=b"one", **wish)
        await _go_on(resources, simulator, order_id)
        again = await renew_order_once(resources, request_hash=b"one", **wish)
        await _go_on(resources, simulator, order_id)

    assert again.replayed
    assert len(simulator.control.orders) == 2
    assert again.body["qr_content"] == simulator.control.orders[1].links.qr_content
