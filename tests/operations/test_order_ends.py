"""The end of an order: what is refused then, and what may not happen by itself."""

from typing import Any

import pytest

from checkstand.operations.expire_orders import expire_orders
from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID
from checkstand.storage import accounts
from checkstand.storage.database import Transaction
from checkstand.web.checkout.desk import CheckoutDesk


async def _view(gateway: Any, created: Any) -> Any:
    token = str(created.json["checkout_url"].rsplit("/", 1)[1])
    return await CheckoutDesk(gateway.resources).find(token)


async def test_code_is_not_taken_away_when_no_other_can_follow(gateway: Any) -> None:
    control, created = gateway.simulator.control, await gateway.create(expires_in=60)
    order_id = created.json["order_id"]
    assert (await _view(gateway, created)).can_renew
    await control.advance(40)

    refused = await gateway.request("POST", f"/api/payments/binance/orders/{order_id}/renew")

    assert refused.status == 409, refused.content
    assert not (await _view(gateway, created)).can_renew
    assert (await gateway.order(order_id))["universal_url"] is not None
    control.pay(gateway.trade_numbers()[0])
    await gateway.until(order_id, "PAID")


async def test_order_of_a_stopped_account_does_not_expire(run_gateway: Any) -> None:
    async with run_gateway(with_worker=False) as gateway:
        control, created = gateway.simulator.control, await gateway.create(expires_in=60)
        order_id = created.json["order_id"]
        control.expire(gateway.trade_numbers()[0])
        await control.settle()
        await control.advance(100)

        async def halt(tx: Transaction) -> None:
            now = gateway.resources.clock.now()
            await accounts.halt(tx, DEFAULT_ACCOUNT_ID, reason="another one's key", now=now)

        await gateway.resources.database.run(halt, name="halt")

        await expire_orders(gateway.resources)

        assert (await gateway.order(order_id))["status"] == "PENDING_PAYMENT"


async def test_page_of_an_order_being_cancelled_promises_no_code(gateway: Any) -> None:
    control = gateway.simulator.control
    control.faults.add("answer_lost_after_effect", endpoint="/v3/order")
    control.faults.add("http_5xx_before_effect", endpoint="/v2/order/query", times=None)
    created = await gateway.create()
    assert created.status == 202
    assert (await _view(gateway, created)).state == "preparing"

    order_id = created.json["order_id"]
    cancelled = await gateway.request("POST", f"/api/payments/binance/orders/{order_id}/cancel")

    assert cancelled.status == 202
    assert (await _view(gateway, created)).state == "checking"


@pytest.mark.parametrize(
    ("act", "code"),
    [
        ("cancel", "order_not_cancellable"),
        ("renew", "order_not_renewable"),
        ("fulfill", "order_not_paid"),
    ],
)
async def test_refused_act_says_how_the_order_stands(gateway: Any, act: str, code: str) -> None:
    created = await gateway.create()
    order_id = created.json["order_id"]
    if act != "fulfill":
        gateway.simulator.control.pay(gateway.trade_numbers()[0])
        await gateway.until(order_id, "PAID")

    refused = await gateway.request("POST", f"/api/payments/binance/orders/{order_id}/{act}")

    assert refused.status == 409, refused.content
    assert refused.json["code"] == code
    assert refused.json["order_status"] == ("PAID" if act != "fulfill" else "PENDING_PAYMENT")
