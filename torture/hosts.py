"""A gateway's process: built as `app.py` builds it, dropped as by SIGKILL, and built again."""

import asyncio
import contextlib
import contextvars
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Final

from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from checkstand.jobs.registry import CHORES
from checkstand.jobs.worker import run_worker
from checkstand.operations.account_book import AccountBook
from checkstand.operations.open_account import MerchantKeys, open_default_account
from checkstand.operations.receive_notice import NoticeDesk
from checkstand.operations.refresh_certificates import refresh_all_certificates
from checkstand.operations.resources import Policy, Resources
from checkstand.operations.witness_database import witness_database
from checkstand.provider.gateway import Provider
from checkstand.simulator.server import DEFAULT_API_KEY, DEFAULT_API_SECRET
from checkstand.storage.database import Database
from checkstand.vault import Vault
from checkstand.web.gateway import build_app, build_gateway
from torture.ambient import SeededIds, SeededRandom, SkewedClock, Time
from torture.faults import Breakage, CrashPoint, Watcher
from torture.gate import Gate, GatedPool
from torture.loop import OWNER
from torture.network import BinanceLine, Network, ShopLine
from torture.timetable import PatientWake, Timetable, patient
from torture.trace import Trace

PUBLIC_URL: Final = "https://pay.torture.example"
BINANCE_URL: Final = "https://binance.torture.example"
OUR_KEYS: Final = MerchantKeys(
    name="Teahouse",
    base_url=BINANCE_URL,
    api_key=DEFAULT_API_KEY,
    api_secret=DEFAULT_API_SECRET,
)
_WAKE: Final = "_wake"
#: A process that does not start is started again ever later, and at least this often.
_START_AGAIN_SECONDS_MAX: Final = 30.0
#: How often a host's clock is compared with the database's, while much happens and afterwards.
_CLOCK_EVERY_SECONDS: Final = (60.0, 12 * 3600.0)
#: How often accounts are read again, likewise.
_ACCOUNTS_EVERY_SECONDS: Final = (5.0, 48 * 3600.0)
_GROWTH: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What every host of a world has around it."""

    seed: int
    time: Time
    trace: Trace
    gate: Gate
    network: Network
    timetable: Timetable
    connection: Any
    simulator: ASGIApp
    shop: ASGIApp
    database_now: Callable[[], datetime]
    check_database: Callable[[], Awaitable[None]]
    binance_faults: Breakage
    shop_faults: Breakage


class Host:
    """One gateway with its worker."""

    def __init__(
        self, name: str, around: Surroundings, *, skew_seconds: float, database_faults: Breakage
    ) -> None:
        self.name = name
        self._around = around
        self._skew = timedelta(seconds=skew_seconds)
        self._ids = SeededIds(f"{around.seed}:{name}:ids", around.time)
        self._random = SeededRandom(f"{around.seed}:{name}:random")
        self._phases = random.Random(f"{around.seed}:{name}:phases")
        self.database_faults = database_faults
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._wakes: list[PatientWake] = []
        self.resources: Resources | None = None
        self.app: ASGIApp | None = None
        self._watcher = self._new_watcher()
        self.deaths = 0
        self._burial: asyncio.Task[None] | None = None
        self.keys = OUR_KEYS  # with which it is built the next time, and was the last time
        self.runs_with = OUR_KEYS

    @property
    def is_up(self) -> bool:
        """Say whether it takes requests."""
        return self.app is not None

    def adopt(self, task: "asyncio.Task[Any]") -> None:
        """Count a task as this process's own."""
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Run something in this process."""
        context = contextvars.copy_context()
        context.run(OWNER.set, self)
        return asyncio.get_running_loop().create_task(coroutine, context=context)

    async def start(self) -> None:
        """Build everything and open the doors; try again, ever later, while that fails."""
        seconds = 1.0
        while not self.is_up and not self._watcher.is_dead:
            try:
                await self._build()
            except Exception:  # noqa: BLE001  (a supervisor would start it again, whatever it was)
                self._close_wakes()
                await asyncio.sleep(seconds)
                seconds = min(seconds * 2, _START_AGAIN_SECONDS_MAX)

    def crash_after(self, passings: int, *, down_seconds: float) -> None:
        """Let the process die at the so-manieth passing of a door from now on."""
        self._watcher.crash = CrashPoint(passings, down_seconds)

    async def kill(self) -> None:
        """End the process now. Nothing but `revive` starts it again."""
        if self._burial is not None:
            self._burial.cancel()
        self.deaths += self.is_up
        self.app = None
        self._watcher.is_dead = True
        self._around.trace.note(self.name, "is killed")
        await self._rest()

    def revive(self) -> None:
        """Start the process that was killed."""
        self._watcher = self._new_watcher()
        self.spawn(self.start())

    def disarm(self) -> None:
        """Let it live."""
        self._watcher.crash = None

    async def _build(self) -> None:
        around, watcher = self._around, self._watcher
        pool = GatedPool(
            around.connection,
            gate=around.gate,
            host=self.name,
            database_now=around.database_now,
            check=around.check_database,
        )
        self._pool = pool
        self.runs_with = self.keys
        database = Database(pool, watcher, {}, session_has_limits=True)
        clock = SkewedClock(around.time, skew=self._skew)
        await database.learn_time(clock)
        vault = Vault(["torture"], self._random)
        await open_default_account(
            database,
            keys=self.keys,
            vault=vault,
            clock=clock,
            ids=self._ids,
            random=self._random,
        )
        policy = Policy(public_url=PUBLIC_URL)
        line = BinanceLine(
            around.network, around.simulator, faults=around.binance_faults, watcher=watcher
        )
        provider = Provider(
            observer=watcher,
            clock=clock,
            random=self._random,
            timeout_seconds=policy.provider_timeout.total_seconds(),
            transport=line,
            fetch=line.fetch,
            elapsed_seconds=asyncio.get_running_loop().time,
        )
        sender = ShopLine(
            around.network,
            around.shop,
            faults=around.shop_faults,
            watcher=watcher,
            timeout_seconds=policy.delivery_timeout.total_seconds(),
        )
        resources = Resources(
            database=database,
            provider=provider,
            sender=sender,
            accounts=AccountBook(),
            vault=vault,
            clock=clock,
            ids=self._ids,
            random=self._random,
            policy=policy,
            run_in_thread=_here,
            **self._new_wakes(),
        )
        await witness_database(resources)
        await refresh_all_certificates(resources)
        self._work(resources, database, clock)

    def _work(self, resources: Resources, database: Database, clock: SkewedClock) -> None:
        chores = [
            patient(chore, self._around.timetable, self._wakes, str(self._phases.random()))
            for chore in CHORES
        ]
        self.resources = resources
        self.app = _build_gateway(resources)
        self.spawn(run_worker(resources, chores=chores))
        self.spawn(_keep_time(database, clock))
        self.spawn(_keep_accounts(resources))
        self._around.trace.note(self.name, "is up")

    def _new_wakes(self) -> dict[str, Any]:
        """Make a wake for each queue that has one; each is named after its table."""
        names = [field.name for field in fields(Resources) if field.name.endswith(_WAKE)]
        wakes = {
            name: PatientWake(
                self._around.timetable, name.removesuffix(_WAKE), phase=self._phases.random()
            )
            for name in names
        }
        self._wakes.extend(wakes.values())
        return dict(wakes)

    def _new_watcher(self) -> Watcher:
        return Watcher(
            self.name,
            trace=self._around.trace,
            database=self.database_faults,
            die=self._die,
            note_commit=self._note_commit,
        )

    def _note_commit(self) -> None:
        self._pool.is_dirty = True

    def _die(self) -> None:
        self.deaths += 1
        self.app = None
        self._around.trace.note(self.name, "dies")
        point = self._watcher.crash
        seconds = point.down_seconds if point else 1.0
        context = contextvars.copy_context()
        context.run(OWNER.set, None)
        loop = asyncio.get_running_loop()
        self._burial = loop.create_task(self._rise_again(seconds), context=context)

    async def _rest(self) -> None:
        # The connection is to be given back first; time stands still until it is.
        while self._around.gate.inside == self.name:  # noqa: ASYNC110
            await asyncio.sleep(0.0001)
        await self.drop()

    async def _rise_again(self, seconds: float) -> None:
        await self._rest()
        await asyncio.sleep(seconds)
        self._watcher = self._new_watcher()
        self.spawn(self.start())

    async def drop(self) -> None:
        """Drop every task, in the order they were made."""
        self.app = None
        self._close_wakes()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _close_wakes(self) -> None:
        for wake in self._wakes:
            wake.close()
        self._wakes.clear()


#: The API's routes as the framework prepares them at the first request, which takes it longer
#: than a whole plan takes to run. They know no resources, so every gateway may have the same.
_PREPARED: list[BaseRoute] = []


def _build_gateway(resources: Resources) -> ASGIApp:
    """Build the gateway, with the API's routes as they were prepared before."""
    app = build_app(resources)
    routes = app.router.routes
    places = [n for n, route in enumerate(routes) if hasattr(route, "original_router")]
    if not _PREPARED:
        _PREPARED.extend(routes[n] for n in places)
    for place, prepared in zip(places, _PREPARED, strict=True):
        routes[place] = prepared
    return build_gateway(resources, desk=NoticeDesk(resources), app=app)


async def _keep_accounts(resources: Resources) -> None:
    seconds, most = _ACCOUNTS_EVERY_SECONDS
    while True:
        await asyncio.sleep(seconds)
        seconds = min(seconds * _GROWTH, most)
        with contextlib.suppress(Exception):  # likewise
            await resources.accounts.reload(
                resources.database,
                resources.provider,
                resources.vault,
                now=resources.clock.now(),
            )


async def _here(work: Callable[..., Any], *values: Any) -> Any:
    return work(*values)


async def _keep_time(database: Database, clock: SkewedClock) -> None:
    seconds, most = _CLOCK_EVERY_SECONDS
    while True:
        await asyncio.sleep(seconds)
        seconds = min(seconds * _GROWTH, most)
        with contextlib.suppress(Exception):  # the database may be away; the offset stays
            await database.learn_time(clock)
