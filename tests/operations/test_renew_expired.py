"""The shop brings an expired order back to life, a shopper does not; acts are told as whose."""

import asyncio
from datetime import datetime
from typing import Any

import pytest

from checkstand.operations.resources import Resources
from checkstand.web.checkout.desk import CheckoutDesk

ORDERS = "/api/payments/binance/orders"


async def _expired(gateway: Any, **fields: Any) -> tuple[str, str]:
    """An order whose time has passed unpaid: its id, and its page's token."""
    created = await gateway.create(expires_in=60, **fields)
    order_id = str(created.json["order_id"])
    await gateway.simulator.control.advance(70)
    await gateway.until(order_id, "EXPIRED")
    return order_id, created.json["checkout_url"].rsplit("/", 1)[1]


async def _renew(gateway: Any, order_id: str, **body: Any) -> Any:
    return await gateway.request("POST", f"{ORDERS}/{order_id}/renew", body=body or None)


def _desk(gateway: Any) -> CheckoutDesk:
    resources: Resources = gateway.resources
    return CheckoutDesk(resources)


@pytest.mark.parametrize(("body", "seconds"), [({}, 60), ({"expires_in": 7200}, 7200)])
async def test_expired_order_lives_again_and_is_paid_by_its_new_code(
    gateway: Any, body: dict[str, int], seconds: int
) -> None:
    order_id, token = await _expired(gateway)
    before = gateway.resources.clock.now()

    renewed = await _renew(gateway, order_id, **body)

    assert (renewed.status, renewed.json["status"]) == (202, "PENDING_PAYMENT"), renewed.content
    order = await gateway.until(order_id, lambda order: order["qr_content"] is not None)
    lives = _moment(order["expires_at"]) - before
    assert seconds - 1 <= lives.total_seconds() <= seconds + 10
    view = await _desk(gateway).find(token)
    assert view is not None
    assert view.state == "ready"
    gateway.simulator.control.pay(gateway.trade_numbers()[-1])
    await gateway.until(order_id, "PAID")
    told = [event["type"] for event in await gateway.events()]
    assert told == ["order.pending", "order.expired", "order.pending", "order.paid"]
    summaries = [entry["summary"] for entry in await gateway.timeline(order_id)]
    assert any(s.startswith("renew the code by API key") for s in summaries)


def _moment(text: str) -> Any:
    return datetime.fromisoformat(text)


async def test_order_that_lived_twice_expires_again(gateway: Any) -> None:
    order_id, _ = await _expired(gateway)
    await _renew(gateway, order_id)
    await gateway.until(order_id, lambda order: order["qr_content"] is not None)

    await gateway.simulator.control.advance(75)

    await gateway.until(order_id, "EXPIRED")
    assert len(gateway.trade_numbers()) == 2


async def test_two_renewals_of_an_expired_order_are_one(gateway: Any) -> None:
    order_id, _ = await _expired(gateway)
    control = gateway.simulator.control
    control.faults.add("slow", endpoint="/v3/order", seconds=1)

    first = await _renew(gateway, order_id)
    while control.faults.listed:
        await asyncio.sleep(0.01)  # the new code is made there, and on its way
    second = await _renew(gateway, order_id)
    await control.advance(1)

    assert (first.status, second.status) == (202, 202)
    await gateway.until(order_id, lambda order: order["qr_content"] is not None)
    assert len(gateway.trade_numbers()) == 2


async def test_shopper_does_not_bring_an_order_back(gateway: Any) -> None:
    order_id, token = await _expired(gateway)

    assert not await _desk(gateway).renew(token)

    assert (await gateway.order(order_id))["status"] == "EXPIRED"


async def test_living_order_gets_no_other_lifetime(gateway: Any) -> None:
    order_id = (await gateway.create()).json["order_id"]

    answer = await _renew(gateway, order_id, expires_in=600)

    assert (answer.status, answer.json["field"]) == (422, "expires_in")


async def test_order_whose_cart_is_bought_otherwise_stays_expired(gateway: Any) -> None:
    order_id, _ = await _expired(gateway, cart_id="cart-7")
    assert (await gateway.create(cart_id="cart-7")).status == 201

    answer = await _renew(gateway, order_id)

    assert (answer.status, answer.json["code"]) == (409, "cart_has_live_order")
    assert (await gateway.order(order_id))["status"] == "EXPIRED"


async def test_paid_order_that_was_expired_is_not_renewed(gateway: Any) -> None:
    order_id, _ = await _expired(gateway)
    gateway.simulator.control.pay(gateway.trade_numbers()[-1], force=True)
    await gateway.simulator.control.settle()
    await gateway.until(order_id, "PAID")

    assert (await _renew(gateway, order_id)).status == 409


async def test_cancel_is_told_as_the_act_of_who_asked_for_it(gateway: Any) -> None:
    by_shopper, by_shop = await gateway.create(), await gateway.create()
    token = by_shopper.json["checkout_url"].rsplit("/", 1)[1]
    assert await _desk(gateway).cancel(token)
    await gateway.request("POST", f"{ORDERS}/{by_shop.json['order_id']}/cancel")

    for created, actor in ((by_shopper, "shopper"), (by_shop, "merchant")):
        order_id = created.json["order_id"]
        for _ in range(20):
            if (await gateway.order(order_id))["status"] == "CANCELED":
                break
            await gateway.simulator.control.advance(1)
        await gateway.until(order_id, "CANCELED")
        entries = await gateway.timeline(order_id)
        acts = [e for e in entries if e["kind"] in {"act", "transition"}]
        told = [e["actor"] for e in acts if "cancel" in e["summary"]]
        assert told == [actor, actor], entries
