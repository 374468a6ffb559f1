"""A create that is committed is answered with its order, whatever becomes of the rest."""

import asyncio
from typing import Any

import asyncpg


async def test_create_whose_order_is_held_meanwhile_is_answered_all_the_same(
    gateway: Any, empty_database_url: str
) -> None:
    control = gateway.simulator.control
    control.faults.add("slow", endpoint="/v3/order", seconds=0.1)
    control.clock.freeze()
    creating = asyncio.create_task(gateway.create())
    connection = await asyncpg.connect(empty_database_url)
    try:
        while not control.orders:  # Binance is at work, so the order is committed here
            await asyncio.sleep(0.01)
        async with connection.transaction():
            order_id = str(await connection.fetchval("SELECT order_id FROM orders FOR UPDATE"))
            control.clock.resume()
            created = await creating
    finally:
        await connection.close()

    assert created.status == 202, created.content
    assert created.json["order_id"] == order_id
    assert created.json["status"] == "CREATED"
    assert created.json["qr_content"] is None
    for _ in range(100):  # the answer is lost, and its links with it: a worker makes another code
        await control.advance(1)
        if (await gateway.order(order_id))["qr_content"]:
            break
        await asyncio.sleep(0.02)
    control.pay(control.orders[-1].merchant_trade_no)
    await gateway.until(order_id, "PAID")
