"""One world for one plan: two gateways, Binance, a shop, and everything between them."""

import asyncio
import contextlib
import json
import math
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, TypeVar

import structlog

from checkstand.errors import CheckstandError
from checkstand.operations.manage_endpoints import add_endpoint
from checkstand.operations.manage_keys import create_key
from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID
from checkstand.operations.resources import Resources
from checkstand.simulator.ambient import Randomness
from checkstand.simulator.clock import SimulatedClock
from checkstand.simulator.control import Control
from checkstand.simulator.records import FEATURES, Merchant, Order, OrderStatus
from checkstand.simulator.server import (
    DEFAULT_API_KEY,
    DEFAULT_MERCHANT,
    make_application,
    make_world,
)
from checkstand.simulator.settings import Settings
from checkstand.simulator.signing import KeyRing, SigningKey
from torture.ambient import Time
from torture.backups import Backup, Forgotten
from torture.desk import Desk, Hand
from torture.faults import Breakage
from torture.gate import Gate
from torture.hosts import BINANCE_URL, PUBLIC_URL, Host, Surroundings
from torture.loop import VirtualLoop
from torture.network import Call, Network, Reply, Unanswered, Unreached
from torture.plan import Plan
from torture.shop import HOOKS_URL, Shop
from torture.timetable import Due, Timetable
from torture.trace import Trace

STRANGER: Final = Merchant(
    api_key="stranger", api_secret="stranger", merchant_id="900000002", name="A stranger"
)
T = TypeVar("T")
_PAYABLE: Final = frozenset({OrderStatus.INITIAL, OrderStatus.PENDING})
#: More than all that a plan asks back.
_PLENTY: Final = Decimal(1000)


@dataclass(frozen=True, slots=True)
class Rows:
    """The attempts as they stood after a commit."""

    attempts: str = ""
    orders: str = ""


@dataclass(slots=True)
class Calamities:
    """What befell the installation itself, and what a person has to put right afterwards."""

    backup: Backup | None = None
    forgotten: Forgotten = field(default_factory=Forgotten)
    is_busy: bool = False  # one calamity at a time
    #: When another merchant's keys were in the place of ours, in virtual seconds: from, to.
    other_keys: list[tuple[float, float]] = field(default_factory=list)

    @property
    def befell(self) -> bool:
        """Say whether there is, or will be in a moment, anything to put right."""
        return bool(self.is_busy or self.other_keys or self.forgotten.restored_ms is not None)

    def note_keys(self, *, are_ours: bool, at: float) -> None:
        """Note whose keys were pasted."""
        if are_ours:
            self.other_keys = [(began, min(ended, at)) for began, ended in self.other_keys]
        else:
            self.other_keys.append((at, math.inf))


@dataclass
class World:
    """Everything that a plan acts upon."""

    loop: VirtualLoop
    plan: Plan
    connection: Any
    owner: Any  # likewise, of the role that may do everything
    tables: Sequence[str]
    watch: str  # the statement that says what is due and how things stand
    key: SigningKey
    second_key: SigningKey  # for the rotation; making one takes a tenth of a second
    keeps_lines: bool = False
    struck: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    rows: Rows = field(default_factory=Rows)
    calamities: Calamities = field(default_factory=Calamities)

    def __post_init__(self) -> None:
        plan, loop = self.plan, self.loop
        self.time = Time(loop)
        self.trace = Trace(loop, keeps_lines=self.keeps_lines)
        self.random = random.Random(f"{plan.seed}:world")
        self.network = Network(loop, f"{plan.seed}:network")
        self.timetable = Timetable(loop, self.database_now)
        self.gate = Gate(loop, random.Random(f"{plan.seed}:gate"), self.trace)
        self.gate.after_commit = self._look_at_rows
        self.database_away_until = 0.0
        self.binance_faults = Breakage(self.struck)
        self.shop_faults = Breakage(self.struck)
        self.line_faults = Breakage(self.struck)
        self.shop = Shop(time=self.time, call=self.call_gateway, faults=self.shop_faults)
        self.shop.forgotten = self.calamities.forgotten.orders
        self.shop.fulfils = not plan.fulfils_on_delivery
        self.desk = Desk()
        self.in_hand: dict[tuple[int, int], Hand] = {}  # by order and packer
        self.simulator = make_world(
            base_url=BINANCE_URL,
            merchants=(DEFAULT_MERCHANT, STRANGER),
            clock=SimulatedClock(host_ms=self.time.now_ms),
            settings=Settings(
                close_delay_ms=plan.close_delay_ms,
                refund_delay_ms=plan.refund_delay_ms,
                refund_query_is_current=plan.refund_query_is_current,
                portal_refunds_use_attempts=plan.portal_refunds_use_attempts,
            ),
            keys=KeyRing(self.key),
            randomness=Randomness(f"{plan.seed}:simulator"),
            line=_NoticeLine(self),
        )
        self.control = Control(self.simulator)
        self._fill_wallet()
        # Most keys may not fetch report files; a plan that tells of them gets one that may.
        self.control.set_key(DEFAULT_API_KEY, features=FEATURES - {"REPORT"})
        around = Surroundings(
            seed=plan.seed,
            time=self.time,
            trace=self.trace,
            gate=self.gate,
            network=self.network,
            timetable=self.timetable,
            connection=self.connection,
            simulator=make_application(self.simulator),
            shop=self.shop,
            database_now=self.database_now,
            check_database=self._check_database,
            binance_faults=self.binance_faults,
            shop_faults=self.shop_faults,
        )
        self.hosts = {
            name: Host(name, around, skew_seconds=skew, database_faults=Breakage(self.struck))
            for name, skew in zip("ab", plan.skews, strict=True)
        }
        self.api_key = ""

    def database_now(self) -> datetime:
        """Return what PostgreSQL's host believes."""
        return self.time.now() + timedelta(seconds=self.plan.database_skew)

    async def begin(self) -> None:
        """Start both gateways, make a key for the shop and tell them where it listens."""
        self._logs = _Logs(self)
        structlog.configure(
            processors=[self._logs], wrapper_class=structlog.BoundLogger, logger_factory=_nowhere
        )
        self.loop.set_exception_handler(self._unhandled)
        for host in self.hosts.values():
            await host.spawn(host.start())
        resources = self.hosts["a"].resources
        if resources is None:
            raise RuntimeError(f"the gateway did not start: {self.complaints}")
        self.api_key = await create_key(
            resources.database,
            account_id=DEFAULT_ACCOUNT_ID,
            reference=resources.accounts.get(DEFAULT_ACCOUNT_ID).reference,
            name="torture",
            scopes=None,
            clock=resources.clock,
            ids=resources.ids,
            random=resources.random,
        )
        _, secret = await add_endpoint(
            resources,
            account_id=DEFAULT_ACCOUNT_ID,
            url=HOOKS_URL,
            fulfil_on_delivery=self.plan.fulfils_on_delivery,
        )
        self.shop.trust(secret)

    async def end(self) -> None:
        """Take everything apart, so that nothing of this world is left in the loop."""
        for host in self.hosts.values():
            host.disarm()
            await host.drop()
        self.simulator.clock.close()
        me = asyncio.current_task()
        rest = [task for task in asyncio.all_tasks() if task is not me]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        self.loop.rewind()

    def end_faults(self) -> None:
        """Let nothing break any more: from here on everything has to come to rest."""
        for fault in self.control.faults.listed:
            self.struck[f"binance {fault.kind}"] -= fault.times or 0
        self.control.faults.clear()
        for breakage in (self.binance_faults, self.shop_faults, self.line_faults):
            breakage.clear()
        for host in self.hosts.values():
            host.database_faults.clear()
            host.disarm()
        self.database_away_until = 0.0
        self._fill_wallet()

    def _fill_wallet(self) -> None:
        """Give the merchant plenty: a wallet that stays empty would hold up refunds for ever."""
        merchant_id = DEFAULT_MERCHANT.merchant_id
        for currency in ("USDT", "BNB"):
            if self.control.balance(merchant_id, currency) < _PLENTY:
                self.control.set_balance(merchant_id, currency, 2 * _PLENTY)

    async def call_gateway(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        host: str | None = None,
    ) -> Reply:
        """Call the gateway as the shop, a shopper or Binance does. Raises Unreached, Unanswered."""
        sent = {"authorization": f"Bearer {self.api_key}", "content-type": "application/json"}
        if body is not None:
            content = json.dumps(body).encode()
        call = Call(
            method=method,
            url=f"{PUBLIC_URL}{path}",
            headers=sent | dict(headers or {}),
            body=content or b"",
        )
        reply = await self.reach_gateway(call, host=host)
        if reply.status == 500:
            self.complaints.append(f"{method} {path} was answered 500")
        self.trace.note("answer", f"{method} {path} {reply.status}")
        return reply

    async def reach_gateway(self, call: Call, *, host: str | None = None) -> Reply:
        """Carry a call to one of the gateways, as a load balancer does."""
        await self.network.travel()
        up = [each for each in self.hosts.values() if each.is_up]
        wanted = [each for each in up if each.name == host] or up
        if not wanted:
            raise Unreached("no gateway is up")
        chosen = wanted[self.random.randrange(len(wanted))]
        if chosen.app is None:
            raise Unreached("it went down this very moment")
        reply = await self.network.ask(chosen.app, call, owner=chosen)
        await self.network.travel()
        return reply

    async def operate(
        self, work: Callable[[Resources], Awaitable[T]], *, host: str | None = None
    ) -> T:
        """Do what a person does at one of the hosts. Raises Unreached, Unanswered, or what it does.

        A host that dies takes it along.
        """
        up = [each for each in self.hosts.values() if each.is_up and host in {None, each.name}]
        if not up or up[0].resources is None:
            raise Unreached("no such gateway is up")
        doing = up[0].spawn(_awaited(work(up[0].resources)))
        await asyncio.wait({doing})
        if doing.cancelled():
            raise Unanswered("it went down meanwhile")
        done: T = doing.result()
        return done

    @contextlib.asynccontextmanager
    async def alone_at_database(self, who: str) -> AsyncIterator[Any]:
        """Have the database for oneself, with every right, and let the world see what is in it."""
        await self.gate.enter(who)
        try:
            with self.loop.reality():
                yield self.owner
                await self._look_at_rows()
        finally:
            self.gate.leave()

    async def _check_database(self) -> None:
        if self.loop.time() < self.database_away_until:
            self.struck["database away"] += 1
            raise ConnectionRefusedError("the database is away")

    async def _look_at_rows(self) -> None:
        """Read what is due and how attempts stand, in the turn of the transaction that ended."""
        due = {}
        attempts = orders = ""
        for row in await self.connection.fetch(self.watch, self.database_now()):
            name = row["name"]
            if name == "= attempts":
                attempts = row["detail"] or ""
            elif name == "= orders":
                orders = row["detail"] or ""
            else:
                due[name] = Due(row["overdue"], row["next_at"], row["mark"])
        rows = Rows(attempts, orders)
        if rows != self.rows:
            self.rows = rows
            self.trace.note("rows", f"{orders} | {attempts}")
            self.complaints.extend(self.desk.heed_orders(orders, at=self.loop.time()))
        self._check_codes()  # also where only Binance's side has changed
        self.timetable.learn(due)

    def _check_codes(self) -> None:
        """See that no order has two attempts that can be paid now, whether shown or not.

        And that nobody can pay what the shop was told is over: it may have released its stock.
        """
        over = {
            order_id
            for order_id, status, *_ in (entry.split(":") for entry in self.rows.orders.split())
            if status in {"CANCELED", "EXPIRED"}
        }
        payable = Counter[str]()
        for entry in self.rows.attempts.split():
            order_id, attempt_id, *_ = entry.split(":")
            if self.is_payable(attempt_id):
                payable[order_id] += 1
            if order_id in over and self.is_payable(attempt_id):
                self._complain_once(f"order {order_id} is over, and attempt {attempt_id} payable")
        for order_id, count in payable.items():
            if count > 1:
                self._complain_once(f"order {order_id} has {count} attempts that can be paid")

    def _complain_once(self, sentence: str) -> None:
        if sentence not in self.complaints:
            self.complaints.append(sentence)

    def is_payable(self, attempt_id: str) -> bool:
        """Say whether Binance would take money for an attempt now."""
        order = self.find_binance_order(attempt_id)
        return order is not None and order.status in _PAYABLE

    def find_binance_order(self, attempt_id: str) -> Order | None:
        """Return Binance's order of one of our attempts."""
        number = attempt_id.replace("-", "")
        return self.simulator.store.find_order(DEFAULT_MERCHANT.merchant_id, number)

    def attempts_of(self, order_id: str) -> list[str]:
        """Return the ids of an order's attempts as last seen, oldest first."""
        entries = [entry.split(":") for entry in self.rows.attempts.split()]
        return [entry[1] for entry in entries if entry[0] == order_id]

    def _unhandled(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.complaints.append(f"nobody handled: {context.get('message')} {error!r}")


async def _awaited(work: Awaitable[T]) -> T:
    return await work


class _NoticeLine:
    """The simulator's way to the notices' door."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        """Send once; return status and content."""
        faults = self._world.line_faults
        if faults.draw("notice unsent"):
            raise Unreached("lost on the way")
        reply = await self._world.reach_gateway(Call(url=url, headers=headers, body=body))
        self._world.trace.note("notice", f"{reply.status} {reply.body.decode()}")
        if reply.status == 500:
            self._world.complaints.append("a notice was answered 500")
        if faults.draw("notice unanswered"):
            raise Unanswered("the answer was lost")
        return reply.status, reply.body

    async def aclose(self) -> None:
        """Leave the network as it is."""


class _Logs:
    """Keeps what the gateways log as errors, and complains of what nobody foresaw."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __call__(self, _logger: Any, method: str, entry: Any) -> Any:
        lines = self._world.trace.lines
        given = entry.get("exc_info")
        error = sys.exc_info()[1] if given is True else given
        if isinstance(error, Exception) and not isinstance(error, CheckstandError):
            self._world.complaints.append(f"{entry.get('event')}: {error!r}")
        if lines is not None:
            detail = {k: v for k, v in entry.items() if k not in {"event", "exc_info"}}
            told = repr(error) if error else ""
            lines.append(f"# {method} {entry.get('event')} {detail} {told}")
        raise structlog.DropEvent


def _nowhere(*_: Any) -> Any:
    return structlog.ReturnLogger()
