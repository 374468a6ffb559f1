"""What is no matter of points: the database dies, fills up or is held, and gateways race.

Each is one function in `HARDSHIPS`. It lets customers buy meanwhile, waits until all is at rest,
and holds every order against Binance's books as the matrix does.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from checkstand.storage.embedded import EmbeddedPostgres, EmbeddedUnavailable
from crash.lane import TOGETHER, Lane, Unanswered, opening_embedded_lane, opening_lane
from crash.matrix import check_lane
from crash.programs import NeverReady
from crash.scene import DATABASE_AWAY, NoRest, Scene
from crash.standing import find_violations
from crash.surroundings import BinanceRefused

#: The promise to Binance: a notice is answered within this time, whatever others do.
ANSWER_WITHIN_SECONDS: Final = 3.0
_CUSTOMERS: Final = 40
_DISK_BYTES: Final = 224 * 1024 * 1024
_OUTAGE_SECONDS: Final = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardship:
    """What came of one of them."""

    name: str
    outcome: str
    violations: Sequence[str] = ()

    @property
    def title(self) -> str:
        """Return what it is, in a sentence."""
        return (HARDSHIPS[self.name].__doc__ or "").strip().partition("\n")[0].rstrip(".")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Where a hardship takes place."""

    cluster: EmbeddedPostgres  # shared with others, so not to be harmed
    directory: Path
    launcher: Path


Run = Callable[[Ground], Awaitable[tuple[str, list[str]]]]  # the outcome, and violations


async def run_hardship(name: str, ground: Ground) -> Hardship:
    """Go through one of them."""
    try:
        outcome, violations = await HARDSHIPS[name](ground)
    except (NoRest, NeverReady, Unanswered, BinanceRefused) as error:
        outcome, violations = "did not come to rest", [str(error)]
    return Hardship(name=name, outcome=outcome, violations=violations)


# PostgreSQL.


async def postgres_killed(ground: Ground) -> tuple[str, list[str]]:
    """PostgreSQL's postmaster is killed twice while customers buy."""
    async with _embedded(ground, "postgres_killed") as (lane, cluster):

        async def kill() -> None:
            for _ in range(2):
                await asyncio.sleep(2)
                while not _kill_postgres(cluster):
                    await asyncio.sleep(0.05)

        return await _buy_meanwhile(lane, kill)


def _kill_postgres(cluster: EmbeddedPostgres) -> bool:
    """Kill it; False when it is not up again yet."""
    try:
        os.kill(cluster.postgres_pid, signal.SIGKILL)
    except (EmbeddedUnavailable, ProcessLookupError):
        return False
    return True


async def supervisor_killed(ground: Ground) -> tuple[str, list[str]]:
    """The embedded server's supervisor is killed, and postgres with it, while customers buy."""
    async with _embedded(ground, "supervisor_killed") as (lane, cluster):

        async def kill() -> None:
            await asyncio.sleep(2)
            os.kill(cluster.supervisor_pid, signal.SIGKILL)

        return await _buy_meanwhile(lane, kill)


async def disk_full(ground: Ground) -> tuple[str, list[str]]:
    """The database's disk is full for six seconds, its log too, while customers buy."""
    disk = ground.directory / "disk"
    disk.mkdir()
    if not await asyncio.to_thread(_mount, disk):
        return "not tried: this user cannot mount a small disk here", []
    try:
        async with _embedded(ground, "disk_full", disk=disk) as (lane, _):

            async def fill() -> None:
                await asyncio.sleep(1.5)
                ballast = disk / "ballast"
                await asyncio.to_thread(_fill_up, ballast)
                try:
                    with contextlib.suppress(*DATABASE_AWAY, TimeoutError):
                        async with asyncio.timeout(_OUTAGE_SECONDS):  # a segment more has no room
                            await lane.database.execute("SELECT pg_switch_wal()")
                    await asyncio.sleep(_OUTAGE_SECONDS)
                finally:
                    ballast.unlink()

            return await _buy_meanwhile(lane, fill)
    finally:
        await asyncio.to_thread(subprocess.run, ["umount", "-l", str(disk)], check=False)


def _mount(disk: Path) -> bool:
    options = f"size={_DISK_BYTES},mode=0700"
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def _fill_up(ballast: Path) -> None:
    """Write until nothing fits any more."""
    with ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        for size in (1 << 20, 1 << 12):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"\0" * size)


async def pool_exhausted(ground: Ground) -> tuple[str, list[str]]:
    """Thirty requests wait for locked orders, so that the gateway's pool has no connection left."""
    async with _shared(ground, "pool_exhausted") as lane:
        held = await _open_orders(lane, 30)
        paid = await _open_orders(lane, 10)
        codes = [await scene.code_soon() for scene in paid]
        for scene, code in zip(paid, codes, strict=True):
            await scene.pay(code, webhook=False)
        async with _locked(lane, held):
            cancels = [asyncio.create_task(scene.ask("cancel")) for scene in held]
            await asyncio.sleep(0.5)
            told = await asyncio.gather(*(_tell(lane, code) for code in codes))
            await asyncio.sleep(1)
        await asyncio.gather(*cancels)
        found = await _judge(lane, [*held, *paid])
        slowest = max(seconds for _, seconds in told)
        heard = sum(acknowledged for acknowledged, _ in told)
        if slowest > ANSWER_WITHIN_SECONDS + 1:
            found.append(f"a notice waited {slowest:.1f} s for an answer")
        if heard < len(told):
            found.append(f"{len(told) - heard} notices found no connection")
        outcome = (
            f"{heard} of {len(told)} notices were answered SUCCESS meanwhile, "
            f"the slowest after {slowest:.1f} s; everything came to rest"
        )
        return outcome, found


# Races.


async def crossed_duplicates(ground: Ground) -> tuple[str, list[str]]:
    """Two gateways hear the same notices at the same moment, one of them in reverse order."""
    return await cross_duplicates(ground, rounds=6, orders=8)


async def cross_duplicates(ground: Ground, *, rounds: int, orders: int) -> tuple[str, list[str]]:
    """Let two gateways hear the same notices, for some rounds of some orders."""
    async with _shared(ground, "crossed_duplicates") as lane:
        await lane.run("gateway", name="second")
        other = f"http://127.0.0.1:{lane.ports['second']}"
        failed, slowest, scenes = 0, 0.0, []
        for _ in range(rounds):
            fresh = await _open_orders(lane, orders)
            codes = [await scene.code_soon() for scene in fresh]
            for scene, code in zip(fresh, codes, strict=True):
                await scene.pay(code, webhook=False)
            told = await asyncio.gather(
                *(_tell(lane, code) for code in codes),
                *(_tell(lane, code, at=other) for code in reversed(codes)),
            )
            failed += sum(not acknowledged for acknowledged, _ in told)
            slowest = max(slowest, *(seconds for _, seconds in told))
            scenes += fresh
        found = await _judge(lane, scenes)
        notices = await lane.database.fetchval(
            "SELECT count(*) FROM notices WHERE biz_status = 'PAY_SUCCESS'"
        )
        if notices != len(scenes):
            found.append(f"{notices} notices are stored of {len(scenes)}")
        if failed:
            found.append(f"{failed} notices were answered FAIL")
        return f"{2 * len(scenes)} answers, all SUCCESS, the slowest after {slowest:.2f} s", found


async def order_locked(ground: Ground) -> tuple[str, list[str]]:
    """One order's row is held for five seconds while notices of it and of others come in."""
    async with _shared(ground, "order_locked") as lane:
        scenes = await _open_orders(lane, 21)
        codes = [await scene.code_soon() for scene in scenes]
        for scene, code in zip(scenes, codes, strict=True):
            await scene.pay(code, webhook=False)
        async with _locked(lane, scenes[:1]):
            until = time.monotonic() + 5
            blocked = asyncio.create_task(_tell(lane, codes[0]))
            others = []
            for code in codes[1:]:
                others.append(asyncio.create_task(_tell(lane, code)))
                await asyncio.sleep(0.2)
            told = await asyncio.gather(*others)
            # In the books while the one is still held: that is what "others go on" means.
            booked = await lane.database.fetchval("SELECT count(*) FROM payments")
            is_taken, blocked_seconds = await blocked
            await asyncio.sleep(max(0.0, until - time.monotonic()))
        found = await _judge(lane, scenes)
        waits = sorted(seconds for _, seconds in told)
        if not all(acknowledged for acknowledged, _ in told) or booked < len(told):
            found.append(f"only {booked} of {len(told)} others were settled meanwhile")
        if waits[-1] > ANSWER_WITHIN_SECONDS:
            found.append(f"another order's notice waited {waits[-1]:.1f} s")
        outcome = (
            f"{len(told)} notices of others: answered in {waits[len(waits) // 2] * 1000:.0f} ms in "
            f"the middle, {waits[-1] * 1000:.0f} ms at most; the held order's own "
            f"{'SUCCESS' if is_taken else 'FAIL'} after {blocked_seconds:.1f} s"
        )
        return outcome, found


HARDSHIPS: Final[Mapping[str, Run]] = {
    run.__name__: run
    for run in (
        postgres_killed,
        supervisor_killed,
        disk_full,
        pool_exhausted,
        crossed_duplicates,
        order_locked,
    )
}


# What they are made of.


@asynccontextmanager
async def _shared(ground: Ground, name: str) -> AsyncIterator[Lane]:
    async with opening_lane(
        ground.cluster, name=name, directory=ground.directory / name, launcher=ground.launcher
    ) as lane:
        await lane.arrange(TOGETHER)
        await lane.listen_to_events()
        yield lane


@asynccontextmanager
async def _embedded(
    ground: Ground, name: str, *, disk: Path | None = None
) -> AsyncIterator[tuple[Lane, EmbeddedPostgres]]:
    """Run a gateway that keeps its database itself; what is done to that harms nobody else."""
    data_dir = (disk or ground.directory) / name[:2]  # sockets need a short path
    data_dir.mkdir(mode=0o700)
    cluster = await asyncio.to_thread(EmbeddedPostgres.start, data_dir / "postgres")
    with cluster:
        await asyncio.to_thread(cluster.ensure_database, "checkstand")
        async with opening_embedded_lane(
            cluster,
            name=name,
            directory=ground.directory / name,
            launcher=ground.launcher,
            data_dir=data_dir,
        ) as lane:
            await lane.arrange(TOGETHER)
            await lane.listen_to_events()
            yield lane, cluster


async def _buy_meanwhile(
    lane: Lane, harm: Callable[[], Coroutine[Any, Any, None]]
) -> tuple[str, list[str]]:
    """Let customers buy, one after the other, while something is harmed; then judge."""
    waits: list[float] = []

    async def buy(number: int) -> Scene:
        await asyncio.sleep(number * 0.15)
        began = time.monotonic()
        scene = _scene(lane)
        await scene.create()
        await scene.pay(await scene.code_soon())
        await scene.until(lambda standing: standing.order["status"] == "FULFILLED")
        waits.append(time.monotonic() - began)
        return scene

    harming = asyncio.create_task(harm())
    scenes = await asyncio.gather(*(buy(number) for number in range(_CUSTOMERS)))
    await harming
    found = await _judge(lane, scenes)
    failed = sum(
        not tried["acknowledged"]
        for webhook in (await lane.binance.state())["webhooks"]
        for tried in webhook["tries"]
    )
    waits.sort()
    outcome = (
        f"{len(scenes)} customers got their goods, after {waits[len(waits) // 2]:.1f} s in the "
        f"middle and {waits[-1]:.1f} s at most; {failed} notices had to be sent again"
    )
    return outcome, found


async def _judge(lane: Lane, scenes: Sequence[Scene]) -> list[str]:
    """Wait until all is at rest, and hold it against Binance's books."""
    found = []
    for scene in scenes:
        standing = await scene.rest()
        found += find_violations(standing, lane.shop)
        found += await scene.hear_again(standing)
    for name, program in lane.programs.items():
        found += [f"{name} ended with {code}" for code in program.ends]
    return found + await check_lane(lane)


async def _open_orders(lane: Lane, count: int) -> list[Scene]:
    scenes = [_scene(lane) for _ in range(count)]
    await asyncio.gather(*(scene.create() for scene in scenes))
    for scene in scenes:
        await scene.rest()
    return scenes


def _scene(lane: Lane) -> Scene:
    async def nothing() -> None:
        pass

    return Scene(lane, on_begin=nothing)


async def _tell(lane: Lane, code: str, *, at: str | None = None) -> tuple[bool, float]:
    """Let Binance say once that a code was paid; return whether it was taken, and how soon."""
    order = await lane.binance.find(code)
    assert order is not None
    url = order["webhook_url"]
    if at is not None:
        url = at + url.removeprefix(lane.gateway.url)
    began = time.monotonic()
    sent = await lane.binance.ask(
        "POST", f"/orders/{code}/send-webhook", biz_status="PAY_SUCCESS", url=url
    )
    return bool(sent["tries"][-1]["acknowledged"]), time.monotonic() - began


@asynccontextmanager
async def _locked(lane: Lane, scenes: Sequence[Scene]) -> AsyncIterator[None]:
    """Hold the rows of orders while the block runs, as a long report or a person might."""
    ids: list[UUID | None] = [scene.order_id for scene in scenes]
    async with lane.database.acquire() as connection, connection.transaction():
        rows: Any = await connection.fetch(
            "SELECT order_id FROM orders WHERE order_id = ANY($1::uuid[])"
            " ORDER BY order_id FOR UPDATE",
            ids,
        )
        assert len(rows) == len(ids)
        yield
