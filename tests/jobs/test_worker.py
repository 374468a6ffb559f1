"""The worker's lanes: one that is stuck keeps nobody else waiting."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from checkstand.operations.deliver_event import claim_deliveries


class Listener:
    """A shop's server, as raw as it gets: answers 204, or never."""

    def __init__(self) -> None:
        self.heard = 0
        self.answers = asyncio.Event()
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            )
            await reader.readexactly(length)
            self.heard += 1
            await self.answers.wait()
            writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def listeners() -> AsyncIterator[tuple[Listener, Listener]]:
    """A shop that answers, and one that does not."""
    healthy, stuck = Listener(), Listener()
    healthy.answers.set()
    servers = []
    for listener in (healthy, stuck):
        server = await asyncio.start_server(listener.serve, "127.0.0.1", 0)
        listener.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        servers.append(server)
    yield healthy, stuck
    stuck.answers.set()
    for server in servers:
        server.close()


async def _heard(listener: Listener, number: int) -> None:
    async with asyncio.timeout(10):
        while listener.heard < number:
            await asyncio.sleep(0.01)


async def test_shop_that_never_answers_does_not_hold_up_another(
    gateway: Any, listeners: tuple[Listener, Listener]
) -> None:
    healthy, stuck = listeners
    for listener in (stuck, healthy):
        body = {"url": listener.url}
        assert (await gateway.request("POST", "/api/webhook-endpoints", body=body)).status == 201

    await gateway.create()
    await _heard(stuck, 1)
    for number in range(2, 6):
        await gateway.create()
        await _heard(healthy, number)

    assert not stuck.answers.is_set()
    states: list[str] = []
    for _ in range(200):  # it is heard before it is written down that it was
        events = (await gateway.request("GET", "/api/events?limit=100")).json["data"]
        states = [delivery["status"] for event in events for delivery in event["deliveries"]]
        if states.count("pending") == 5:
            break
        await asyncio.sleep(0.02)
    assert states.count("pending") == 5


async def test_later_event_of_an_order_waits_for_the_earlier_one(
    gateway: Any, listeners: tuple[Listener, Listener], empty_database_url: str
) -> None:
    _, stuck = listeners
    await gateway.request("POST", "/api/webhook-endpoints", body={"url": stuck.url})
    created = await gateway.create()
    await _heard(stuck, 1)

    gateway.simulator.control.pay(gateway.trade_numbers()[0])
    await gateway.until(created.json["order_id"], "PAID")
    assert await claim_deliveries(gateway.resources, limit=10) == []
    connection = await asyncpg.connect(empty_database_url)
    in_hand = "SELECT count(*) FROM deliveries WHERE lease_owner IS NOT NULL"
    assert await connection.fetchval(in_hand) == 1
    await connection.close()
    stuck.answers.set()
    await _heard(stuck, 2)

    timeline = await gateway.timeline(created.json["order_id"])
    told = [e["summary"].split()[0] for e in timeline if e["kind"] == "delivery"]
    assert told[0] == "order.pending"
