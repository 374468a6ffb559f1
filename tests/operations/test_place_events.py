"""The feed: a cursor over it misses no event, however late one is committed and whoever places."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from checkstand.operations.place_events import place_late_events, place_new_events

_WRITE = """
INSERT INTO events (account_id, event_id, order_id, order_version, type, created_at, body)
SELECT account_id, gen_random_uuid(), order_id, 2, 'order.pending',
       created_at + n * interval '1 millisecond' - $2 * interval '1 second', '{"id": "' || n || '"}'
  FROM orders, generate_series(1, $1) n
"""


@dataclass(frozen=True, slots=True)
class Feed:
    """A gateway without a worker, one order, and a hand on its events."""

    gateway: Any
    connection: Any

    async def write(self, count: int = 1, *, seconds_old: float = 0) -> None:
        """Write so many events past every door."""
        await self.connection.execute(_WRITE, count, seconds_old)

    async def place(self, **more: Any) -> int:
        return int(await place_new_events(self.gateway.resources, **more))

    async def read(self, after: int = 0, limit: int = 100) -> tuple[list[int], bool]:
        answer = await self.gateway.request(
            "GET", f"/api/events?after_position={after}&limit={limit}"
        )
        assert answer.status == 200, answer.content
        positions = [entry["position"] for entry in answer.json["data"]]
        return positions, answer.json["has_more"]


@pytest.fixture
async def feed(run_gateway: Any, empty_database_url: str) -> AsyncIterator[Feed]:
    async with run_gateway(with_worker=False) as gateway:
        await gateway.create()
        connection = await asyncpg.connect(empty_database_url)
        await connection.execute("SET session_replication_role = replica")
        await connection.execute("DELETE FROM events")
        yield Feed(gateway, connection)
        await connection.close()


async def test_events_get_their_places_and_are_read_in_pages(feed: Feed) -> None:
    await feed.write(7)
    assert await feed.read() == ([], False)
    newest = (await feed.gateway.request("GET", "/api/events")).json["data"][0]
    assert newest["position"] is None

    assert await feed.place(batch=3) == 7
    assert await feed.place() == 0

    assert await feed.read(limit=3) == ([1, 2, 3], True)
    assert await feed.read(3, limit=4) == ([4, 5, 6, 7], False)
    assert await feed.read(7) == ([], False)
    newest = (await feed.gateway.request("GET", "/api/events")).json["data"][0]
    assert newest["position"] == 7


async def test_event_that_is_committed_late_comes_behind_what_was_seen(
    feed: Feed, empty_database_url: str
) -> None:
    await feed.write(2)
    late = await asyncpg.connect(empty_database_url)
    transaction = late.transaction()
    await transaction.start()
    await late.execute(_WRITE, 1, 30)  # older than the other two, and still unseen

    await feed.place()
    assert await feed.read() == ([1, 2], False)
    await transaction.commit()
    await late.close()
    await feed.place()

    assert await feed.read(2) == ([3], False)


async def test_event_that_is_committed_very_late_waits_for_the_thorough_look(feed: Feed) -> None:
    await feed.write(1)
    await feed.place()
    await feed.write(1, seconds_old=3600)

    assert await feed.place() == 0
    assert await place_late_events(feed.gateway.resources) == 1
    assert await feed.read() == ([1, 2], False)


async def test_placers_at_once_make_one_feed_that_a_reader_sees_grow_without_a_gap(
    feed: Feed,
) -> None:
    total, seen = 150, 0
    done = asyncio.Event()

    async def place() -> None:
        while not done.is_set():
            await feed.place(batch=7)

    placers = [asyncio.create_task(place()) for _ in range(5)]
    async with asyncio.timeout(60):
        for _ in range(10):
            await feed.write(total // 10)
            positions, _ = await feed.read(seen)
            assert positions == list(range(seen + 1, seen + 1 + len(positions)))
            seen += len(positions)
        while seen < total:
            positions, _ = await feed.read(seen)
            assert positions == list(range(seen + 1, seen + 1 + len(positions)))
            seen += len(positions)
    done.set()
    await asyncio.gather(*placers)

    placed = await feed.connection.fetchval("SELECT count(DISTINCT event_id) FROM event_positions")
    assert (placed, await feed.place()) == (total, 0)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("after_position=-1", "after_position"),
        ("after_position=x", "after_position"),
        (f"after_position={2**63}", "after_position"),
        (f"after_position=1&starting_after={UUID(int=7)}", "after_position"),
    ],
)
async def test_wrong_place_in_the_feed_is_refused(feed: Feed, query: str, field: str) -> None:
    answer = await feed.gateway.request("GET", f"/api/events?{query}")

    assert (answer.status, answer.json["field"]) == (422, field)
