"""POSTs that are answered as before when they come again under their key."""

import asyncio
from typing import Any

import pytest

ORDERS = "/api/payments/binance/orders"


async def _post(gateway: Any, path: str, key: str | None, body: Any = None) -> Any:
    headers = {} if key is None else {"idempotency-key": key}
    return await gateway.request("POST", path, body=body, headers=headers)


async def test_repeated_cancel_gets_the_answer_of_the_first(run_gateway: Any) -> None:
    async with run_gateway(with_worker=False) as gateway:
        created = await gateway.create()
        path = f"{ORDERS}/{created.json['order_id']}/cancel"

        first = await _post(gateway, path, "k1")
        again = await _post(gateway, path, "k1")

        assert (first.status, again.status) == (202, 202)
        assert again.content == first.content
        assert again.headers["idempotency-replayed"] == "true"
        assert "idempotency-replayed" not in first.headers


async def test_key_of_another_request_is_refused(gateway: Any) -> None:
    one, two = await gateway.create(), await gateway.create()

    first = await _post(gateway, f"{ORDERS}/{one.json['order_id']}/refresh", "k1")
    other = await _post(gateway, f"{ORDERS}/{two.json['order_id']}/refresh", "k1")

    assert first.status == 200
    assert (other.status, other.json["code"]) == (422, "idempotency_key_reused")


async def test_refusal_is_not_kept(gateway: Any) -> None:
    created = await gateway.create()
    order_id = created.json["order_id"]
    early = await _post(gateway, f"{ORDERS}/{order_id}/fulfill", "k1")
    assert (early.status, early.json["code"]) == (409, "order_not_paid")

    gateway.simulator.control.pay(gateway.trade_numbers()[0])
    await gateway.until(order_id, "PAID")
    later = await _post(gateway, f"{ORDERS}/{order_id}/fulfill", "k1")

    assert (later.status, later.json["status"]) == (200, "FULFILLED")


async def test_two_renewals_under_one_key_are_one(gateway: Any) -> None:
    created = await gateway.create()
    order_id = created.json["order_id"]
    path = f"{ORDERS}/{order_id}/renew"

    answers = await asyncio.gather(*(_post(gateway, path, "k1") for _ in range(8)))
    await gateway.until(order_id, lambda _: len(gateway.trade_numbers()) == 2)
    late = await _post(gateway, path, "k1")

    assert {answer.status for answer in answers} <= {202, 409}
    assert late.status == 202
    assert late.headers["idempotency-replayed"] == "true"
    assert len(gateway.trade_numbers()) == 2


async def test_repeated_renewal_shows_the_code_that_there_is_by_now(gateway: Any) -> None:
    created = await gateway.create()
    order_id = created.json["order_id"]
    path = f"{ORDERS}/{order_id}/renew"
    first = await _post(gateway, path, "k1", {})
    assert first.json["qr_content"] is None  # the old one cannot be shown any more
    await gateway.until(order_id, lambda order: order["qr_content"] is not None)

    again = await _post(gateway, path, "k1")

    order = await gateway.order(order_id)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json["qr_content"] == order["qr_content"] != created.json["qr_content"]
    assert again.json["version"] == first.json["version"]
    other = await _post(gateway, path, "k1", {"expires_in": 600})
    assert (other.status, other.json["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize("key", ["", "two words", "a\tb", "x" * 256])
async def test_malformed_key_is_said_to_be_one(gateway: Any, key: str) -> None:
    created = await gateway.create()

    answer = await _post(gateway, f"{ORDERS}/{created.json['order_id']}/cancel", key)

    assert (answer.status, answer.json["code"]) == (400, "idempotency_key_malformed")
    assert answer.json["field"] == "Idempotency-Key"


async def test_secret_of_an_endpoint_is_kept_under_no_key(gateway: Any) -> None:
    body = {"url": "http://127.0.0.1:9/webhooks"}
    first = await _post(gateway, "/api/webhook-endpoints", "k1", body)
    again = await _post(gateway, "/api/webhook-endpoints", "k1", body)

    assert first.status == 201
    assert (again.status, again.json["code"]) == (409, "endpoint_exists")


async def test_document_names_the_header_once(gateway: Any) -> None:
    document = (await gateway.request("GET", "/api/openapi.json")).json

    headers = {
        f"{method} {path}": [
            p["required"] for p in operation.get("parameters", []) if p["name"] == "Idempotency-Key"
        ]
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    assert headers["post /api/payments/binance/create"] == [True]
    assert headers["post /api/payments/binance/orders/{order_id}/renew"] == [True]
    assert headers["post /api/payments/binance/orders/{order_id}/cancel"] == [False]
    assert all(len(found) <= 1 for found in headers.values())
