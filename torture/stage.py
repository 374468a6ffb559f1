"""The database under the worlds of one process, and the running of plans on it, one by one."""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final, Self

import asyncpg

from checkstand.queries.verify_ledger import verify_ledger
from checkstand.simulator.signing import make_signing_key
from checkstand.storage.migrate import migrate
from torture.accountant import look_over_books
from torture.actions import act
from torture.backups import read_tables
from torture.books import Books
from torture.invariants import list_violations
from torture.loop import VirtualLoop
from torture.mending import mend, rest
from torture.network import Unanswered, Unreached
from torture.plan import Plan
from torture.world import World

#: What a run needs of PostgreSQL: nothing of it is kept.
SERVER_SETTINGS: Final = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "jit": "off",
}
#: Plans must not change with the sizes of tables, or rows might come in another order.
_SESSION: Final = {
    "role": "checkstand_app",
    "timezone": "UTC",
    "application_name": "torture",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
}
_ENDS: Final = (
    ("order", "orders", "status"),
    ("attempt", "attempts", "status"),
    ("refund", "refunds", "status"),
    ("anomaly", "anomalies", "kind"),
    ("notice", "notices", "outcome"),
    ("orphan", "orphan_orders", "status"),
    ("act", "acts", "what"),
    ("discrepancy", "discrepancies", "kind"),
)
#: After the last step things may still be on their way for so long before faults end.
_LAST_FAULTS_SECONDS: Final = 20.0
#: Then the world must come to rest: asking again ends after three days, and so do deliveries.
_REST_SECONDS: Final = 4.2 * 86_400
_VACUUM_EVERY: Final = 10

_TABLES = """
    SELECT c.relname AS name,
           bool_or(a.attname = 'due_at') AS has_due, bool_or(a.attname = 'lease_until') AS has_lease
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_attribute a ON a.attrelid = c.oid
     WHERE c.relkind = 'r' AND n.nspname = 'public' AND c.relname <> 'schema_migrations'
     GROUP BY c.relname ORDER BY c.relname
"""
_WATCH_ATTEMPTS = """
    SELECT '= attempts' AS name, 0::bigint AS overdue, NULL::timestamptz AS next_at,
           0::bigint AS mark,
           string_agg(concat_ws(':', order_id, attempt_id, status, coalesce(close_reason, ''),
                                (links IS NOT NULL)::text), ' ' ORDER BY order_id, number) AS detail
      FROM attempts
"""
_WATCH_ORDERS = """
    SELECT '= orders', 0, NULL, 0,
           string_agg(concat_ws(':', order_id, status, version, buyer_reference),
                      ' ' ORDER BY order_id) FROM orders
"""
_WATCH_EXPIRY = """
    SELECT 'orders', count(*) FILTER (WHERE expires_at <= $1),
           min(expires_at) FILTER (WHERE expires_at > $1), 0, NULL
      FROM orders WHERE status IN ('CREATED', 'PENDING_PAYMENT')
"""
_WATCH_NOTICES = """
    SELECT 'notices', count(*), NULL, 0, NULL FROM notices WHERE outcome IN ('orphan', 'stored')
"""
_WATCH_TRANSFERS = """
    SELECT 'transfers', count(*), NULL, 0, NULL FROM transfers t
     WHERE NOT EXISTS (SELECT 1 FROM sealed_transfers s
                        WHERE (s.account_id, s.kind, s.fact) = (t.account_id, t.kind, t.fact))
"""
_WATCH_EVENTS = """
    SELECT 'events', count(*), NULL, 0, NULL FROM events e
     WHERE NOT EXISTS (SELECT 1 FROM event_positions p
                        WHERE (p.account_id, p.event_id) = (e.account_id, e.event_id))
"""
_WATCH_FULFILMENTS = """
    SELECT 'fulfilments', count(*) FILTER (WHERE fulfilment_due_at <= $1),
           min(fulfilment_due_at) FILTER (WHERE fulfilment_due_at > $1), 0, NULL
      FROM orders WHERE status = 'PAID' AND fulfilment_due_at IS NOT NULL
"""
_WATCH_DUE = """
    SELECT '{table}', count(*) FILTER (WHERE due <= $1), min(due) FILTER (WHERE due > $1),
           coalesce(sum(mark), 0)::bigint, NULL
      FROM (SELECT {due} AS due, hashtext(t::text) AS mark
              FROM {table} t WHERE due_at IS NOT NULL) AS each
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one plan."""

    seed: int
    violations: tuple[str, ...]
    digest: str
    faults: Counter[str]
    crashes: int
    transactions: int
    met: Counter[str]  # how orders, attempts, refunds, anomalies and notices ended
    lines: tuple[str, ...] | None = None
    timelines: dict[str, Any] = field(default_factory=dict)
    books: Books | None = None  # kept with the lines, for whoever wants to look closer


class Stage:
    """One process's loop and database; runs any number of plans, each in a world of its own."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self.loop = VirtualLoop()
        self._runs = 0

    def __enter__(self) -> Self:
        self.loop.run_until_complete(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.run_until_complete(self._close())
        self.loop.close()

    def run(self, plan: Plan, *, keeps_lines: bool = False) -> Result:
        """Run one plan from an empty database to its end."""
        return self.loop.run_until_complete(self._run(plan, keeps_lines=keeps_lines))

    @property
    def server_pid(self) -> int:
        """Return the process of PostgreSQL that works for this stage."""
        return int(self._connection.get_server_pid())

    async def _open(self) -> None:
        with self.loop.reality():
            await migrate(self._url)
            self._owner = await asyncpg.connect(self._url)
            self._connection = await asyncpg.connect(
                self._url,
                server_settings=_SESSION,
                statement_cache_size=1000,
                max_cached_statement_lifetime=0,  # minutes of virtual time are over at once
            )
            tables = await self._owner.fetch(_TABLES)
        self._tables = [row["name"] for row in tables]
        parts = [
            _WATCH_ATTEMPTS,
            _WATCH_ORDERS,
            _WATCH_EXPIRY,
            _WATCH_NOTICES,
            _WATCH_TRANSFERS,
            _WATCH_EVENTS,
            _WATCH_FULFILMENTS,
        ]
        for row in tables:
            if row["has_due"]:
                due = "greatest(due_at, lease_until)" if row["has_lease"] else "due_at"
                parts.append(_WATCH_DUE.format(table=row["name"], due=due))
        self._watch = " UNION ALL ".join(parts)
        self._keys = (make_signing_key(), make_signing_key())
        self._quiet_deletes = "".join(f"DELETE FROM {name};" for name in self._tables)

    async def _close(self) -> None:
        with self.loop.reality():
            await self._connection.close()
            await self._owner.close()

    async def _empty(self) -> None:
        with self.loop.reality():
            await self._owner.execute(
                f"SET session_replication_role = replica; {self._quiet_deletes}"
            )
            if self._runs % _VACUUM_EVERY == 0:
                await self._owner.execute("VACUUM")
        self._runs += 1

    async def _run(self, plan: Plan, *, keeps_lines: bool) -> Result:
        await self._empty()
        first, second = self._keys
        world = World(
            loop=self.loop,
            plan=plan,
            connection=self._connection,
            owner=self._owner,
            tables=self._tables,
            watch=self._watch,
            key=first,
            second_key=second,
            keeps_lines=keeps_lines,
        )
        try:
            await world.begin()
            await self._tell(world, plan)
            books = await self._read(world)
            violations = tuple(list_violations(books))
        finally:
            await world.end()
        return Result(
            seed=plan.seed,
            violations=violations,
            digest=world.trace.digest(),
            faults=+world.struck,
            crashes=sum(host.deaths for host in world.hosts.values()),
            transactions=world.gate.passings,
            met=_count_ends(books),
            lines=None if world.trace.lines is None else tuple(world.trace.lines),
            timelines=dict(books.timelines),
            books=books if keeps_lines else None,
        )

    async def _tell(self, world: World, plan: Plan) -> None:
        began = self.loop.time()
        doing = []
        for step in plan.steps:
            await asyncio.sleep(max(began + step.at - self.loop.time(), 0.0))
            doing.append(self.loop.create_task(act(world, step)))
        await asyncio.sleep(_LAST_FAULTS_SECONDS)
        world.end_faults()
        await mend(world)
        await rest(world, _REST_SECONDS)
        await look_over_books(world)
        for done in await asyncio.gather(*doing, return_exceptions=True):
            if isinstance(done, BaseException):
                world.complaints.append(f"an action failed: {done!r}")

    async def _read(self, world: World) -> Books:
        with self.loop.reality():
            tables = await read_tables(self._owner, self._tables)
        timelines = {}
        for row in tables["orders"]:
            path = f"/api/payments/binance/orders/{row['order_id']}/timeline"
            try:
                reply = await world.call_gateway("GET", path)
            except (Unreached, Unanswered):
                continue
            timelines[str(row["order_id"])] = json.loads(reply.body).get("data", [])
        for name in ("orders", "payments"):
            for row in tables[name]:
                world.trace.note("end", str(dict(row).get("status") or row["amount"]))
        return Books(
            world=world,
            now=world.time.now(),
            tables=tables,
            timelines=timelines,
            flaws=await _verify(world),
        )


def _count_ends(books: Books) -> Counter[str]:
    """Count how things ended, so that one sees what was never met."""
    ends = Counter(
        f"{name} {row[column]}" for name, table, column in _ENDS for row in books.tables[table]
    )
    return ends + Counter({f"desk {what}": n for what, n in books.world.desk.done.items()})


async def _verify(world: World) -> list[str]:
    """Have the ledger verified by the gateway's own means."""
    resources = next((host.resources for host in world.hosts.values() if host.is_up), None)
    if resources is None:
        return ["no gateway is up"]
    verdict = await verify_ledger(resources.database, now=resources.clock.now())
    return [str(flaw) for flaw in verdict.flaws]
