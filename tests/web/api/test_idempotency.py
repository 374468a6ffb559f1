"""One request, however often, wherever and however spelt it arrives, opens one order."""

import asyncio
import json
from typing import Any

import asyncpg
import pytest

CREATE = "/api/payments/binance/create"
CART = {
    "merchant_order_id": "shop-7",
    "amount": "12.50",
    "currency": "USDT",
    "goods": [{"name": "tea", "quantity": 2, "unit_amount": "6.25"}],
    "metadata": {"table": "4", "waiter": "Ada"},
}


async def send(gateway: Any, body: str, *, key: str = "one") -> Any:
    """Create an order from JSON as it is spelt."""
    headers = {"idempotency-key": key}
    return await gateway.request("POST", CREATE, content=body.encode(), headers=headers)


async def count(url: str, table: str) -> int:
    """Count the rows of a table."""
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))
    finally:
        await connection.close()


async def test_same_key_gets_the_same_answer_and_says_so(gateway: Any) -> None:
    first = await gateway.create(key="one", merchant_order_id="shop-1")

    again = await gateway.create(key="one", merchant_order_id="shop-1")

    assert (first.status, again.status) == (201, 201)
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json == first.json
    assert len(gateway.simulator.control.orders) == 1


SPELLINGS = {
    "white space": json.dumps(CART, indent=4),
    "no white space": json.dumps(CART, separators=(",", ":")),
    "another order of the fields": json.dumps(dict(reversed(CART.items()))),
    "another order of metadata": json.dumps(CART | {"metadata": {"waiter": "Ada", "table": "4"}}),
    "trailing zeros": json.dumps(CART | {"amount": "12.50000000"}),
    "no trailing zero": json.dumps(CART | {"amount": "12.5"}),
    "zeros in the goods": json.dumps(
        CART | {"goods": [{"name": "tea", "quantity": 2, "unit_amount": "6.2500"}]}
    ),
    "escapes": json.dumps(CART).replace("Ada", "\\u0041da"),
    "a default said aloud": json.dumps(CART | {"expires_in": 86_400, "cart_id": None}),
}


async def test_spelling_does_not_make_another_request(gateway: Any) -> None:
    first = await send(gateway, json.dumps(CART))

    for name, body in SPELLINGS.items():
        again = await send(gateway, body)
        assert (again.status, again.json) == (201, first.json), name
        assert again.headers["idempotency-replayed"] == "true", name
        other_key = await send(gateway, body, key=f"another for {name}".replace(" ", "-"))
        assert (other_key.status, other_key.json["order_id"]) == (200, first.json["order_id"]), name

    assert len(gateway.simulator.control.orders) == 1


CHANGES: dict[str, dict[str, Any]] = {
    "amount": {"amount": "12.51", "goods": []},
    "currency": {"currency": "BNB"},
    "description": {"description": "coffee"},
    "goods": {"goods": [{"name": "tea", "quantity": 1, "unit_amount": "12.50"}]},
    "metadata": {"metadata": {"table": "5"}},
    "life": {"expires_in": 600},
    "address": {"return_url": "https://shop.example/thanks"},
    "cart": {"cart_id": "cart-1"},
}


async def test_other_content_is_a_conflict_under_any_key(gateway: Any) -> None:
    first = await send(gateway, json.dumps(CART))

    for name, change in CHANGES.items():
        reused = await send(gateway, json.dumps(CART | change))
        assert (reused.status, reused.json["code"]) == (422, "idempotency_key_reused"), name
        assert reused.json["field"] == "Idempotency-Key"
        taken = await send(gateway, json.dumps(CART | change), key=f"new-{name}")
        assert (taken.status, taken.json["code"]) == (409, "order_exists"), name
        assert taken.json["field"] == "merchant_order_id"
        assert taken.json["order_id"] == first.json["order_id"]

    same_key = await send(gateway, json.dumps(CART | {"merchant_order_id": "shop-8"}))
    assert same_key.json["code"] == "idempotency_key_reused"
    assert len(gateway.simulator.control.orders) == 1


async def test_merchant_order_ids_are_compared_byte_for_byte(gateway: Any) -> None:
    ids = ["Shop-1", "shop-1", "shop-1 ", "caf\u00e9", "cafe\u0301"]

    made = [await gateway.create(merchant_order_id=each) for each in ids]

    assert [answer.status for answer in made] == [201] * len(ids)
    assert len({answer.json["order_id"] for answer in made}) == len(ids)


async def test_cart_has_one_order_on_its_way_at_a_time(gateway: Any) -> None:
    second = {"cart_id": "cart-1", "merchant_order_id": "shop-2", "key": "second"}
    first = await gateway.create(cart_id="cart-1", merchant_order_id="shop-1")

    refused = await gateway.create(**second)

    assert (refused.status, refused.json["code"]) == (409, "cart_has_live_order")
    assert refused.json["field"] == "cart_id"
    assert refused.json["order_id"] == first.json["order_id"]
    cancel = f"/api/payments/binance/orders/{first.json['order_id']}/cancel"
    assert (await gateway.request("POST", cancel)).status in {200, 202}
    await gateway.until(first.json["order_id"], "CANCELED")
    # A conflict is not kept under the key: the same request succeeds now.
    assert (await gateway.create(**second)).status == 201


@pytest.mark.parametrize("gateways", [1, 2])
async def test_fifty_requests_at_one_instant_open_one_order(
    run_gateway: Any, gateways: int, empty_database_url: str
) -> None:
    async with run_gateway() as one, run_gateway(with_worker=False) as two:
        doors = [one, two][:gateways]
        # Binance takes its time, so that all of them meet.
        one.simulator.control.faults.add("delay", endpoint="/v3/order", seconds=2)
        sending = [
            asyncio.create_task(
                doors[number % gateways].create(key="one", merchant_order_id="shop-1")
            )
            for number in range(50)
        ]
        await asyncio.wait(sending[:], return_when=asyncio.FIRST_COMPLETED)
        one.simulator.clock.advance(2)
        answers = await asyncio.gather(*sending)
        last = await two.create(key="one", merchant_order_id="shop-1")

    assert last.status == 201
    assert {answer.status for answer in answers} <= {201, 409}
    created = [answer for answer in answers if answer.status == 201]
    assert {answer.json["order_id"] for answer in created} == {last.json["order_id"]}
    assert [a.headers.get("idempotency-replayed") for a in created].count(None) == 1
    for running in (answer for answer in answers if answer.status == 409):
        assert running.json["code"] == "idempotency_key_running"
        assert int(running.headers["retry-after"]) >= 1
    assert len(one.simulator.control.orders) == 1
    assert await count(empty_database_url, "orders") == 1
    assert await count(empty_database_url, "idempotency_keys") == 1


async def test_same_order_under_fifty_keys_is_opened_once(gateway: Any) -> None:
    answers = await asyncio.gather(
        *(gateway.create(key=f"k{n}", merchant_order_id="shop-1") for n in range(50))
    )

    assert {answer.status for answer in answers} <= {200, 201}
    assert [answer.status for answer in answers].count(201) == 1
    assert len({answer.json["order_id"] for answer in answers}) == 1
    assert len(gateway.simulator.control.orders) == 1


async def test_order_that_binance_refuses_is_canceled_and_the_answer_kept(gateway: Any) -> None:
    gateway.simulator.control.faults.add("rejected", endpoint="/v3/order", code="400606")

    first = await gateway.create(key="one", merchant_order_id="shop-1")
    again = await gateway.create(key="one", merchant_order_id="shop-1")
    other_key = await gateway.create(key="two", merchant_order_id="shop-1")

    assert (first.status, first.json["code"]) == (422, "provider_rejected")
    assert "400606" in first.json["detail"]
    assert first.json["order"]["status"] == "CANCELED"
    assert first.headers["content-type"] == "application/problem+json"
    assert (again.status, again.json) == (422, first.json)
    assert again.headers["idempotency-replayed"] == "true"
    assert (other_key.status, other_key.json["status"]) == (200, "CANCELED")
    order_id = first.json["order"]["order_id"]
    assert (await gateway.order(order_id))["status"] == "CANCELED"
    assert [event["type"] for event in await gateway.events()] == ["order.canceled"]


@pytest.mark.parametrize(
    ("fault", "parameters"),
    [
        ("lost_before_effect", {}),
        ("answer_lost_after_effect", {}),
        ("http_5xx_before_effect", {"status": 503}),
        ("http_5xx_after_effect", {"status": 502}),
        ("unknown_error", {}),
        ("html", {"status": 403}),
    ],
)
async def test_order_gets_its_links_although_binance_was_away(
    gateway: Any, fault: str, parameters: dict[str, Any]
) -> None:
    gateway.simulator.control.faults.add(fault, endpoint="/v3/order", **parameters)

    first = await gateway.create(key="one", merchant_order_id="shop-1")

    assert first.status == 202, first.content
    assert first.json["status"] == "CREATED"
    links = ("qr_content", "deeplink", "universal_url", "binance_checkout_url")
    assert {first.json[name] for name in links} == {None}
    assert first.json["checkout_url"].startswith(gateway.url)
    for _ in range(40):  # the worker asks on a schedule; the clock is ours
        if (await gateway.order(first.json["order_id"]))["qr_content"]:
            break
        await gateway.simulator.control.advance(5)
        await asyncio.sleep(0.05)  # a worker that rests looks again once in a second of its own
    order = await gateway.order(first.json["order_id"])
    assert order["status"] == "PENDING_PAYMENT"
    again = await gateway.create(key="one", merchant_order_id="shop-1")
    assert (again.status, again.headers["idempotency-replayed"]) == (202, "true")
    assert again.json["qr_content"] == order["qr_content"]  # links of the current attempt
    live = [o for o in gateway.simulator.control.orders if o.status == "INITIAL"]
    assert len(live) == 1
