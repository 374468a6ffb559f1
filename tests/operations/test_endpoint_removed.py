"""An address that was taken away is told nothing more."""

from typing import Any

import asyncpg

from checkstand.operations.deliver_event import claim_deliveries


async def _add(gateway: Any, url: str) -> str:
    added = await gateway.request("POST", "/api/webhook-endpoints", body={"url": url})
    assert added.status == 201, added.content
    return str(added.json["endpoint_id"])


async def _claimed(gateway: Any) -> list[str]:
    claimed = await claim_deliveries(gateway.resources, limit=10)
    return sorted(delivery.owed.url for delivery in claimed)


async def test_removed_endpoint_is_not_told_what_was_still_owed_to_it(run_gateway: Any) -> None:
    async with run_gateway(with_worker=False) as gateway:
        kept, removed = "http://127.0.0.1:9/kept", "http://127.0.0.1:9/removed"
        await _add(gateway, kept)
        endpoint_id = await _add(gateway, removed)
        await gateway.create()

        gone = await gateway.request("DELETE", f"/api/webhook-endpoints/{endpoint_id}")

        assert gone.status in {200, 204}
        assert await _claimed(gateway) == [kept]


async def test_event_is_delivered_again_to_nobody_who_was_removed(
    run_gateway: Any, empty_database_url: str
) -> None:
    async with run_gateway(with_worker=False) as gateway:
        kept, removed = "http://127.0.0.1:9/kept", "http://127.0.0.1:9/removed"
        await _add(gateway, kept)
        endpoint_id = await _add(gateway, removed)
        await gateway.create()
        connection = await asyncpg.connect(empty_database_url)
        await connection.execute("UPDATE deliveries SET status = 'delivered', ended_at = due_at")
        await connection.close()
        await gateway.request("DELETE", f"/api/webhook-endpoints/{endpoint_id}")

        event_id = (await gateway.events())[0]["id"]
        again = await gateway.request("POST", f"/api/events/{event_id}/redeliver")

        assert again.status == 202, again.content
        assert await _claimed(gateway) == [kept]
