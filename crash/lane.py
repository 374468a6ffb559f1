"""A gateway with everything around it: a database, a simulator, a shop, perhaps a worker apart.

Lanes share a PostgreSQL and nothing else, so cases run side by side, one a lane.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg

from checkstand.simulator.server import DEFAULT_API_KEY, DEFAULT_API_SECRET
from checkstand.storage.embedded import EmbeddedPostgres
from crash.http import UNREACHABLE, Answer, Caller
from crash.ports import free_port
from crash.programs import Program, run_once
from crash.surroundings import Acknowledge, Binance, Shop, running_shop

#: How the duties are spread over processes; what a process is called in the matrix.
TOGETHER: Final = "together"  # `serve` does the background duties too
APART: Final = "apart"  # `serve --no-worker`, and a `worker`
PROCESSES: Final[Mapping[str, tuple[str, ...]]] = {
    TOGETHER: ("serve",),
    APART: ("gateway", "worker"),
}
_ARGUMENTS: Final = {
    "serve": ("serve",),
    "gateway": ("serve", "--no-worker"),
    "worker": ("worker",),
}
#: A lease lives five seconds longer than the call it covers, and a successor waits for it. A
#: crowded machine needs more than one second for three programs in a row.
_BINANCE_SECONDS: Final = "1"
_DELIVERY_SECONDS: Final = "3"
#: A careful shop calls until it is answered; longer than this is a gateway that stays away.
_ANSWER_WITHIN_SECONDS: Final = 60.0
#: What a caller repeats: a gateway that says "not now", or that somebody is at it already.
_NOT_NOW: Final = {502, 503}


class Unanswered(Exception):
    """The gateway did not answer in time, or not as it should."""


@dataclass(slots=True, kw_only=True)
class Lane:
    """One gateway under test and its surroundings."""

    name: str
    directory: Path
    launcher: Path
    database_url: str
    binance: Binance
    shop: Shop
    environment: dict[str, str]
    database: Any  # a pool of the harness's own, as the superuser
    programs: dict[str, Program] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    gateway: Caller = field(default_factory=lambda: Caller(""))
    arrangement: str = ""
    fulfils_on_delivery: bool | None = None  # what the registered endpoint does; none: no endpoint
    _endpoint_id: str | None = None
    _endpoints: int = 0

    async def arrange(self, arrangement: str) -> None:
        """Run the processes of an arrangement, and no others."""
        if arrangement == self.arrangement:
            return
        await self.stop_programs()
        for process in PROCESSES[arrangement]:
            await self.run(process)
        self.arrangement = arrangement

    async def run(self, process: str, *, name: str | None = None) -> Program:
        """Start a process and keep it running."""
        name = name or process
        arguments = list(_ARGUMENTS[process])
        if arguments[0] == "serve":
            is_first = name == process
            port = int(self.gateway.url.rpartition(":")[2]) if is_first else free_port()
            self.ports[name] = port
            arguments += ["--port", str(port)]
        program = Program(
            arguments,
            environment=self.environment,
            directory=self.directory / name,
            launcher=self.launcher,
        )
        self.programs[name] = program
        await program.start()
        return program

    async def stop_programs(self) -> None:
        """End every process of this lane but the simulator."""
        await asyncio.gather(*(program.stop() for program in self.programs.values()))
        self.programs.clear()
        self.arrangement = ""

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        key: str | None = None,
        allowed: frozenset[int] = frozenset({200, 201, 202, 204}),
    ) -> Answer:
        """Call the gateway until it answers, as a careful shop does. Raises Unanswered."""
        headers = {"idempotency-key": key} if key else {}
        last = "no answer"
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_SECONDS):
                while True:
                    try:
                        answer = await self.gateway.request(
                            method, path, body=body, headers=headers
                        )
                    except UNREACHABLE as error:
                        last = repr(error)
                        await asyncio.sleep(0.05)
                        continue
                    if answer.status in allowed:
                        return answer
                    last = f"{answer.status} {answer.content.decode()}"
                    is_running = answer.status == 409 and b"idempotency_key_running" in (
                        answer.content
                    )
                    if answer.status not in _NOT_NOW and not is_running:
                        raise Unanswered(f"{method} {path}: {last}")
                    await asyncio.sleep(0.2)
        except TimeoutError:
            raise Unanswered(f"{method} {path}: {last}") from None

    async def listen_to_events(self, *, fulfils_on_delivery: bool = False) -> None:
        """Register the shop's address anew, and forget the one before, unless it does that."""
        if self.fulfils_on_delivery is fulfils_on_delivery:
            return
        if self._endpoint_id is not None:
            await self.call("DELETE", f"/api/webhook-endpoints/{self._endpoint_id}")
        self._endpoints += 1
        name = f"webhooks-{self._endpoints}"
        body = {"url": f"{self.shop.url}/{name}", "fulfil_on_delivery": fulfils_on_delivery}
        endpoint = (await self.call("POST", "/api/webhook-endpoints", body=body)).json
        self._endpoint_id = endpoint["endpoint_id"]
        acknowledge: Acknowledge | None = None if fulfils_on_delivery else self._acknowledge
        self.shop.listen(name, endpoint["secret"], acknowledge)
        self.fulfils_on_delivery = fulfils_on_delivery

    async def _acknowledge(self, order_id: str) -> bool:
        path = f"/api/payments/binance/orders/{order_id}/fulfill"
        return (await self.gateway.request("POST", path)).status == 200


@asynccontextmanager
async def opening_lane(
    cluster: EmbeddedPostgres, *, name: str, directory: Path, launcher: Path
) -> AsyncIterator[Lane]:
    """Make a lane with a fresh database; its processes are started by `arrange` or `run`."""
    database = f"crash_{name}_{secrets.token_hex(4)}"
    await asyncio.to_thread(cluster.ensure_database, database)
    url = cluster.url(database=database)
    place = {"CHECKSTAND_DATABASE_URL": url, "CHECKSTAND_SECRET_KEY": secrets.token_hex(32)}
    async with _lane(url, place, name=name, directory=directory, launcher=launcher) as lane:
        yield lane


@asynccontextmanager
async def opening_embedded_lane(
    cluster: EmbeddedPostgres, *, name: str, directory: Path, launcher: Path, data_dir: Path
) -> AsyncIterator[Lane]:
    """Make a lane whose processes keep an embedded database themselves; `cluster` is that."""
    url = cluster.url(database="checkstand")
    place = {"CHECKSTAND_DATA_DIR": str(data_dir)}
    async with _lane(url, place, name=name, directory=directory, launcher=launcher) as lane:
        yield lane


@asynccontextmanager
async def _lane(
    url: str, place: Mapping[str, str], *, name: str, directory: Path, launcher: Path
) -> AsyncIterator[Lane]:
    simulator = Program(
        ["simulator", "--port", "0"],
        environment={"PATH": os.environ["PATH"]},
        directory=directory / "simulator",
        launcher=launcher,
    )
    async with running_shop() as shop:
        await simulator.start()
        binance = Binance(simulator.ready_line.split()[1])
        settings = {
            "PATH": os.environ["PATH"],
            "CHECKSTAND_ALLOW_PRIVATE_WEBHOOKS": "1",
            "CHECKSTAND_DELIVERY_TIMEOUT": _DELIVERY_SECONDS,
            "CHECKSTAND_LOG_LEVEL": "warning",
            "BINANCE_PAY_API_KEY": DEFAULT_API_KEY,
            "BINANCE_PAY_API_SECRET": DEFAULT_API_SECRET,
            "BINANCE_PAY_BASE_URL": binance.url,
            "BINANCE_PAY_TIMEOUT": _BINANCE_SECONDS,
            **place,
        }
        # A worker sends creates too, and tells Binance the gateway's address with each.
        address = f"http://127.0.0.1:{free_port()}"
        settings["CHECKSTAND_PUBLIC_URL"] = address
        api_key = await _make_key(settings, launcher)
        lane = Lane(
            name=name,
            directory=directory,
            launcher=launcher,
            database_url=url,
            binance=binance,
            shop=shop,
            environment=settings,
            database=await asyncpg.create_pool(url, min_size=1, max_size=8),
            gateway=Caller(address, {"authorization": f"Bearer {api_key}"}),
        )
        try:
            yield lane
        finally:
            await lane.stop_programs()
            await simulator.stop()
            await lane.gateway.close()
            await binance.close()
            lane.database.terminate()


async def _make_key(environment: Mapping[str, str], launcher: Path) -> str:
    printed = await run_once(["keys", "create", "shop"], environment, launcher)
    return printed[-1]
