"""One order's row is held by somebody: its own news waits, everybody else's does not."""

import asyncio
from typing import Any

import asyncpg


async def test_news_of_other_orders_goes_on_while_one_is_held(
    gateway: Any, empty_database_url: str
) -> None:
    held = await gateway.create()
    other = await gateway.create()
    control = gateway.simulator.control
    connection = await asyncpg.connect(empty_database_url)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(
        "SELECT 1 FROM orders WHERE order_id = $1 FOR UPDATE", held.json["order_id"]
    )

    for number in gateway.trade_numbers():
        control.pay(number)
    paid = await gateway.until(other.json["order_id"], "PAID")
    assert paid["anomalies"] == []
    assert (await gateway.order(held.json["order_id"]))["status"] == "PENDING_PAYMENT"

    await transaction.rollback()
    await connection.close()
    for _ in range(40):
        await control.advance(1)  # its notice was answered FAIL, or it is asked about
        await asyncio.sleep(0.02)
    await gateway.until(held.json["order_id"], "PAID")


async def test_request_for_a_held_order_is_told_to_come_again(
    gateway: Any, empty_database_url: str
) -> None:
    created = await gateway.create()
    order_id = created.json["order_id"]
    connection = await asyncpg.connect(empty_database_url)
    async with connection.transaction():
        await connection.execute("SELECT 1 FROM orders WHERE order_id = $1 FOR UPDATE", order_id)

        answer = await gateway.request("POST", f"/api/payments/binance/orders/{order_id}/cancel")

    await connection.close()
    assert answer.status == 503
    assert answer.json["code"] == "database_busy"
    assert int(answer.headers["retry-after"]) > 0
