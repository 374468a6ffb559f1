"""Limits: what an account allows itself, exactly, also when many ask at once."""

import asyncio
import uuid
from typing import Any

import pytest

from checkstand.errors import Refused
from checkstand.operations.manage_keys import create_key
from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID
from checkstand.operations.set_limit import set_limit


async def _limit(gateway: Any, kind: str, most: str | None, currency: str | None = None) -> None:
    await set_limit(
        gateway.resources, account_id=DEFAULT_ACCOUNT_ID, kind=kind, most=most, currency=currency
    )
    await gateway.simulator.control.advance(11)  # what was read before is no longer fresh


async def _refund(gateway: Any, order_id: str, **fields: Any) -> Any:
    return await gateway.request(
        "POST",
        f"/api/payments/binance/orders/{order_id}/refunds",
        body={"merchant_refund_id": uuid.uuid4().hex} | fields,
        headers={"idempotency-key": uuid.uuid4().hex},
    )


async def _paid(gateway: Any) -> str:
    created = await gateway.create()
    gateway.simulator.control.pay(gateway.trade_numbers()[-1])
    await gateway.until(created.json["order_id"], "PAID")
    return str(created.json["order_id"])


async def _sent(gateway: Any, *amounts: str) -> None:
    """Let time pass until Binance has these refunds, and more in which it might get others."""
    control = gateway.simulator.control
    async with asyncio.timeout(20):
        while len(control.refunds) < len(amounts):
            await control.advance(10)
            await asyncio.sleep(0.02)
    for _ in range(60):  # longer than a worker sleeps
        await control.advance(10)
        await asyncio.sleep(0.02)
    assert sorted(str(refund.amount) for refund in control.refunds) == list(amounts)


async def _other_key(gateway: Any, *scopes: str) -> str:
    house = gateway.resources
    return await create_key(
        house.database,
        account_id=DEFAULT_ACCOUNT_ID,
        reference=house.accounts.get(DEFAULT_ACCOUNT_ID).reference,
        name=uuid.uuid4().hex,
        scopes=list(scopes) or None,
        clock=house.clock,
        ids=house.ids,
        random=house.random,
    )


async def test_order_above_the_limit_is_refused_and_leaves_nothing(gateway: Any) -> None:
    await _limit(gateway, "order_amount", "12.50", "USDT")

    fits = await gateway.create()
    key = uuid.uuid4().hex
    refused = await gateway.create(key=key, amount="12.51", merchant_order_id="too-much")

    assert fits.status == 201
    assert refused.status == 422
    assert (refused.json["code"], refused.json["limit"]) == ("limit_exceeded", "order_amount")
    assert refused.json["field"] == "amount"
    assert len(gateway.trade_numbers()) == 1
    # The key was not used up by a refusal: with the limit gone the same request goes.
    await _limit(gateway, "order_amount", None, "USDT")
    assert (
        await gateway.create(key=key, amount="12.51", merchant_order_id="too-much")
    ).status == 201


async def test_known_order_is_answered_whatever_the_limits_say_by_now(gateway: Any) -> None:
    first = await gateway.create(merchant_order_id="known")
    await _limit(gateway, "order_amount", "1", "USDT")

    again = await gateway.create(merchant_order_id="known")

    assert (again.status, again.json["order_id"]) == (200, first.json["order_id"])


async def test_fiat_orders_have_limits_of_their_own(gateway: Any) -> None:
    await _limit(gateway, "order_amount", "1", "USDT")
    fiat = {"amount": None, "currency": None, "fiat_amount": "10.00", "fiat_currency": "EUR"}
    assert (await gateway.create(**fiat)).status == 201

    await _limit(gateway, "order_amount", "9.99", "EUR")

    refused = await gateway.create(**fiat)
    assert (refused.status, refused.json["field"]) == (422, "fiat_amount")


@pytest.mark.parametrize(
    ("kind", "mine", "other"),
    [
        ("open_orders_per_buyer", {"buyer_reference": "b-1"}, {"buyer_reference": "b-2"}),
        ("open_orders_per_address", {"client_ip": "203.0.113.7"}, {"client_ip": "203.0.113.8"}),
        (
            "open_orders_per_address",
            {"client_ip": "2001:db8:1:2:3::4"},
            {"client_ip": "2001:db8:1:3::4"},
        ),
    ],
)
async def test_of_many_orders_at_once_exactly_the_limit_passes(
    run_gateway: Any, kind: str, mine: dict[str, str], other: dict[str, str]
) -> None:
    async with run_gateway() as gateway, run_gateway() as second:
        await _limit(gateway, kind, "3")

        gateways = [gateway, second] * 6
        answers = await asyncio.gather(*(each.create(**mine) for each in gateways))

        assert sorted(answer.status for answer in answers) == [201] * 3 + [422] * 9
        refused = next(answer for answer in answers if answer.status == 422)
        assert refused.json["field"] == next(iter(mine))
        assert (await gateway.create(**other)).status == 201
        # One that ends makes room for another.
        ended = next(answer for answer in answers if answer.status == 201).json["order_id"]
        await gateway.request("POST", f"/api/payments/binance/orders/{ended}/cancel")
        for _ in range(20):
            await gateway.simulator.control.advance(1)
            await asyncio.sleep(0.02)
        await gateway.until(ended, "CANCELED")
        assert (await gateway.create(**mine)).status == 201


async def test_address_is_no_part_of_what_was_asked_for(gateway: Any) -> None:
    key = uuid.uuid4().hex
    first = await gateway.create(key=key, merchant_order_id="one", client_ip="203.0.113.7")

    again = await gateway.create(key=key, merchant_order_id="one", client_ip="198.51.100.1")

    assert again.headers["idempotency-replayed"] == "true"
    assert again.json["order_id"] == first.json["order_id"]
    assert "client_ip" not in again.json
    wrong = await gateway.create(client_ip="nonsense")
    assert (wrong.status, wrong.json["field"]) == (422, "client_ip")


async def test_refund_above_the_limit_waits_for_another_key(gateway: Any) -> None:
    order_id = await _paid(gateway)
    await _limit(gateway, "refunded_per_day", "5", "USDT")
    small = await _refund(gateway, order_id, amount="4")
    assert small.json["failure"] is None
    waiting = await _refund(gateway, order_id, amount="2")
    assert (waiting.status, waiting.json["status"]) == (202, "REQUESTED")
    assert "second approver" in waiting.json["failure"]
    path = f"/api/payments/binance/orders/{order_id}/refunds/{waiting.json['refund_id']}"

    # One that waits holds up nobody and is not counted; it is never sent by itself.
    third = await _refund(gateway, order_id, amount="1")
    assert third.json["failure"] is None
    await _sent(gateway, "1", "4")

    own = await gateway.request("POST", f"{path}/approve")
    assert (own.status, own.json["code"]) == (403, "approver_is_requester")
    weak = {"authorization": f"Bearer {await _other_key(gateway, 'refunds:write')}"}
    assert (await gateway.request("POST", f"{path}/approve", headers=weak)).status == 403
    strong = {"authorization": f"Bearer {await _other_key(gateway, 'refunds:approve')}"}
    approved = await gateway.request("POST", f"{path}/approve", headers=strong)
    assert (approved.status, approved.json["failure"]) == (200, None)
    assert (await gateway.request("POST", f"{path}/approve", headers=strong)).status == 200

    await _sent(gateway, "1", "2", "4")
    history = [entry["summary"] for entry in await gateway.timeline(order_id)]
    assert any("was approved by key:" in line for line in history)


async def test_denied_refund_gives_back_what_it_had_set_aside(gateway: Any) -> None:
    order_id = await _paid(gateway)
    await _limit(gateway, "refunds_per_day", "0", "USDT")
    waiting = await _refund(gateway, order_id)
    path = f"/api/payments/binance/orders/{order_id}/refunds/{waiting.json['refund_id']}/deny"

    denied = await gateway.request("POST", path)

    assert (denied.status, denied.json["status"]) == (200, "FAILED")
    assert (await gateway.request("POST", path)).json["code"] == "refund_not_waiting"
    await _limit(gateway, "refunds_per_day", None, "USDT")
    assert (await _refund(gateway, order_id)).json["failure"] is None


async def test_refunds_of_many_orders_at_once_do_not_slip_under_the_limit(
    run_gateway: Any,
) -> None:
    async with run_gateway(with_worker=False) as gateway:
        orders = []
        for _ in range(6):
            created = await gateway.create()
            gateway.simulator.control.pay(gateway.trade_numbers()[-1])
            await gateway.until(created.json["order_id"], "PAID")
            orders.append(created.json["order_id"])
        await _limit(gateway, "refunded_per_day", "25", "USDT")

        answers = await asyncio.gather(*(_refund(gateway, order_id) for order_id in orders))

        waiting = [answer for answer in answers if answer.json["failure"]]
        assert len(waiting) == 4  # 2 of 12.50 fit into 25


@pytest.mark.parametrize(
    ("kind", "most", "currency", "code"),
    [
        ("speed", "1", None, "limit_unknown"),
        ("order_amount", "1", None, "limit_invalid"),
        ("order_amount", "much", "USDT", "limit_invalid"),
        ("open_orders_per_buyer", "1.5", None, "limit_invalid"),
        ("open_orders_per_buyer", "1", "USDT", "limit_invalid"),
    ],
)
async def test_limit_that_means_nothing_is_refused(
    gateway: Any, kind: str, most: str, currency: str | None, code: str
) -> None:
    with pytest.raises(Refused) as refusal:
        await _limit(gateway, kind, most, currency)

    assert refusal.value.code == code
