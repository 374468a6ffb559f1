"""One order goes through everything, and each row that it leaves is told of."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from checkstand.operations.close_day import close_day
from checkstand.operations.manage_keys import create_key
from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID
from checkstand.operations.prune_records import prune_records
from checkstand.operations.reconcile_days import reconcile_days
from checkstand.operations.recover import (
    begin_recovery,
    finish_recovery,
    gather_recoveries,
    recovery_status,
)
from checkstand.operations.resolve_discrepancy import resolve_discrepancy
from checkstand.operations.retry_notices import match_orphans
from checkstand.operations.set_limit import set_limit
from checkstand.operations.take_in_report import take_in_report, withdraw_report
from checkstand.queries.timeline import Kind, list_timeline
from checkstand.storage import orphan_orders
from checkstand.storage.database import STATEMENTS
from checkstand.storage.orphan_orders import OrphanOrder

ORDERS = "/api/payments/binance/orders"
ACCOUNT = DEFAULT_ACCOUNT_ID
#: What a number in a key is called in an entry's detail, where that is not the column's own name.
ALIASES = {"number": "try"}
SECRET = "a-secret-in-the-address"


@dataclass
class Story:
    """An order, and what its life is made of."""

    gateway: Any
    database_url: str
    folder: Path
    shop_answers: int = 500
    order_id: str = ""
    second_key: str = ""
    told: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Be the shop's endpoint."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length:")[1].split("\r\n")[0])
        self.told.append(json.loads(await reader.readexactly(length))["type"])
        writer.write(f"HTTP/1.1 {self.shop_answers} X\r\nconnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    async def post(self, act: str, *, by_second: bool = False, **body: Any) -> Any:
        """Do something to the order over the API."""
        headers = {"idempotency-key": uuid.uuid4().hex}
        if by_second:
            headers["authorization"] = f"Bearer {self.second_key}"
        path = f"{ORDERS}/{self.order_id}/{act}" if not act.startswith("/") else act
        answer = await self.gateway.request("POST", path, body=body or None, headers=headers)
        assert answer.status < 300, answer.content
        return answer.json if answer.content else None

    async def order(self) -> dict[str, Any]:
        """Read the order."""
        return dict(await self.gateway.order(self.order_id))

    async def lines(self) -> list[str]:
        """Return what the timeline says, a line each."""
        return [f"{e['kind']}: {e['summary']}" for e in await self.entries()]

    async def entries(self) -> list[dict[str, Any]]:
        """Read the timeline."""
        return list(await self.gateway.timeline(self.order_id))

    async def until(self, wanted: Callable[[list[str]], bool], *, step: float = 1) -> None:
        """Let time pass until the timeline is as wanted."""
        lines: list[str] = []
        for _ in range(400):
            if wanted(lines := await self.lines()):
                return
            await self.gateway.simulator.control.advance(step)
            await asyncio.sleep(0.02)
        raise AssertionError("it never came:\n" + "\n".join(lines))

    async def until_told(self, *words: str, step: float = 1) -> None:
        """Let time pass until a line has all these words."""
        await self.until(
            lambda lines: any(all(word in line for word in words) for line in lines), step=step
        )

    async def sql(self, text: str, *values: Any) -> list[Any]:
        """Ask or change the database as its owner."""
        connection = await asyncpg.connect(self.database_url)
        try:
            return list(await connection.fetch(text, *values))
        finally:
            await connection.close()


@pytest.fixture
async def story(run_gateway: Any, empty_database_url: str, tmp_path: Path) -> AsyncIterator[Story]:
    """A gateway, a shop that answers 500, a second person, and an order that was just created."""
    async with run_gateway() as gateway:
        story = Story(gateway, empty_database_url, tmp_path)
        server = await asyncio.start_server(story.serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            url = f"http://127.0.0.1:{port}/hook?token={SECRET}"
            await story.post("/api/webhook-endpoints", url=url)
            house = gateway.resources
            story.second_key = await create_key(
                house.database,
                account_id=ACCOUNT,
                reference=house.accounts.get(ACCOUNT).reference,
                name="finance",
                scopes=["refunds:approve"],
                clock=house.clock,
                ids=house.ids,
                random=house.random,
            )
            created = await gateway.create(
                merchant_order_id="shop-1", buyer_reference="buyer-77", client_ip="203.0.113.7"
            )
            story.order_id = created.json["order_id"]
            yield story


async def _is_paid_in_the_end(story: Story) -> None:
    """A new code, another sum than expected, a stop of the account, and a person's word."""
    control = story.gateway.simulator.control
    await story.post("renew")
    await story.until_told("attempt: attempt 2 prepared")
    await story.gateway.until(story.order_id, lambda order: order["binance_checkout_url"])
    control.pay(story.gateway.trade_numbers()[-1], amount="12.00", force=True)
    await story.until_told("anomaly: amount_differs opened")
    await story.post("/api/account/halt", reason="the auditor is here")
    await control.advance(60)
    await story.post("/api/account/resume", reason="she has gone")
    (odd,) = (await story.gateway.request("GET", f"{ORDERS}/{story.order_id}/anomalies")).json[
        "data"
    ]
    path = f"anomalies/{odd['anomaly_id']}/resolve"
    await story.post(path, resolution="accept", reason="close enough")
    await story.gateway.until(story.order_id, "PAID")


async def _is_fulfilled(story: Story) -> None:
    """The shop's endpoint fails and is gone; a packer claims the goods all the same."""
    await story.until_told("delivery: order.paid to", "answered 500")
    answer = None
    while answer is None or answer.status != 200:  # each refusal of the shop's lets it go
        await story.gateway.simulator.control.advance(60)
        answer = await story.gateway.request("POST", f"{ORDERS}/{story.order_id}/fulfilment/claim")
    await story.post("fulfill", token=answer.json["token"])
    story.shop_answers = 410
    await story.until_told("delivery: order.paid to", "given up after", step=600)
    story.shop_answers = 204
    paid = next(e for e in await story.entries() if e["summary"].startswith("order.paid written"))
    await story.post(f"/api/events/{paid['ref'].removeprefix('event:')}/redeliver")
    await story.until_told("delivery: order.paid to", "answered 204")


async def _goes_back_in_part(story: Story) -> None:
    """Money goes back in the portal; ours waits for a second person, who denies one, too."""
    house, control = story.gateway.resources, story.gateway.simulator.control
    await set_limit(house, account_id=ACCOUNT, kind="refunded_per_day", most="1", currency="USDT")
    await control.advance(11)
    control.refund(story.gateway.trade_numbers()[-1], amount="3.00")
    first = await story.post("refunds", merchant_refund_id="r-1", amount="5.00", reason="dented")
    await story.post(f"refunds/{first['refund_id']}/approve", by_second=True)
    await story.until_told("refund: refund r-1 FAILED")
    path = f"{ORDERS}/{story.order_id}/anomalies"
    odd = next(a for a in (await story.gateway.request("GET", path)).json["data"] if a["is_open"])
    await story.post(
        f"anomalies/{odd['anomaly_id']}/resolve",
        resolution="accept",
        reason="the boss did it",
        amount="3.00",
    )
    second = await story.post("refunds", merchant_refund_id="r-2", amount="4.00")
    await story.post(f"refunds/{second['refund_id']}/approve", by_second=True)
    await story.until_told("refund: refund r-2 SUCCEEDED")
    third = await story.post("refunds", merchant_refund_id="r-3", amount="2.00")
    await story.post(f"refunds/{third['refund_id']}/deny", by_second=True)


async def _is_restored(story: Story) -> None:
    """The database was put back; a notice is matched only now, and one order is only theirs."""
    house = story.gateway.resources
    now = house.clock.now()
    (made,) = await story.sql("SELECT created_at FROM orders")
    backup = made["created_at"]
    await begin_recovery(
        house.database, account_id=ACCOUNT, cause="a disk", restored_to=backup, now=now
    )
    await gather_recoveries(house)
    for _ in range(400):
        status = await recovery_status(house, account_id=ACCOUNT)
        if status.progress is not None and status.progress.unasked == 0:
            break
        await story.gateway.simulator.control.advance(5)
        await asyncio.sleep(0.02)
    await finish_recovery(house, account_id=ACCOUNT, by="alice", is_forced=False, reason=None)
    await story.sql(
        "UPDATE notices SET outcome = 'orphan', order_id = NULL, attempt_id = NULL,"
        " received_at = $1 WHERE biz_status = 'PAY_SUCCESS'",
        house.clock.now(),
    )
    await story.gateway.simulator.control.advance(5)
    await match_orphans(house)
    await story.until_told("check: PAY PAY_SUCCESS matched with this order")
    (notice,) = await story.sql("SELECT notice_id FROM notices WHERE biz_status = 'PAY_SUCCESS'")
    forgotten = uuid.uuid4()
    orphan = OrphanOrder(
        account_id=ACCOUNT,
        merchant_trade_no=forgotten.hex,
        notice_id=notice["notice_id"],
        order_id=UUID(story.order_id),
        attempt_id=forgotten,
        prepay_id=None,
        status="PAID",
        amount=None,
        currency=None,
        transaction_id=None,
        explanation="an attempt made after the last backup; Binance says PAID",
        found_at=now,
        asked_at=now,
    )

    async def step(tx: Any) -> None:
        await orphan_orders.put(tx, orphan)

    await house.database.run(step, name="put_orphan")


async def _is_reconciled(story: Story) -> date:
    """A file of Binance's lists another sum; a person explains it, and the day is closed."""
    house, control = story.gateway.resources, story.gateway.simulator.control
    (paid,) = await story.sql("SELECT received_at FROM payments")
    day: date = paid["received_at"].date()
    there = control.orders[-1]
    header = "Time (UTC),Prepay ID,Currency,Amount,Commission"
    path = story.folder / "january.csv"
    moment = f"{paid['received_at']:%Y-%m-%d %H:%M:%S}"
    path.write_text(f"{header}\n{moment},{there.prepay_id},USDT,12.60,0.1\n")
    await control.advance(4 * 86_400)
    taken = await take_in_report(
        house, account_id=ACCOUNT, path=path, name=path.name, days=(day, day)
    )
    await reconcile_days(house, account_id=ACCOUNT, days=[day])
    found = await story.sql("SELECT discrepancy_id FROM discrepancies WHERE kind = 'amount'")
    await resolve_discrepancy(
        house,
        account_id=ACCOUNT,
        discrepancy_id=found[0]["discrepancy_id"],
        resolution="explained",
        reason="the file is of a test",
        by="jo",
    )
    await control.advance(60)
    await withdraw_report(house, account_id=ACCOUNT, file_id=taken.file.file_id)
    await close_day(house, account_id=ACCOUNT, day=day, by="Ada")
    return day


async def test_every_row_of_an_order_that_went_through_everything_is_told_of(
    story: Story,
) -> None:
    await _is_paid_in_the_end(story)
    await _is_fulfilled(story)
    await _goes_back_in_part(story)
    await _is_restored(story)
    day = await _is_reconciled(story)

    entries = await story.entries()
    untold = [row async for row in _untold(story, entries)]

    lines = [f"{e['actor']} {e['kind']}: {e['summary']}" for e in entries]
    assert untold == [], "\n".join(lines)
    _lead_from_one_to_the_next(lines, day)
    _tell_nothing_of_a_person_who_pays(entries)
    assert {e["kind"] for e in entries} == set(Kind) - {Kind.RETENTION, Kind.OMITTED}
    await _is_forgotten(story)


async def _untold(story: Story, entries: list[dict[str, Any]]) -> AsyncIterator[str]:
    """Walk every table that has an order's id, and name the rows that no entry tells of."""
    named = [set(_leaves(entry)) for entry in entries]
    for table, key in (await _tables_with_orders(story)).items():
        rows = await story.sql(
            f"SELECT * FROM {table} WHERE order_id = $1",
            UUID(story.order_id),
        )
        if not rows:
            yield f"{table} has no row of this order: let the order go through that, too"
        columns = [column for column in key if column not in {"account_id", "order_id"}]
        for row in rows:
            wanted = {_named(column, row[column]) for column in columns or ["order_id"]}
            if not any(wanted <= names for names in named):
                yield f"{table} {sorted(wanted)}"


async def _tables_with_orders(story: Story) -> dict[str, list[str]]:
    rows = await story.sql(
        """
        SELECT c.table_name AS name, array_agg(k.column_name::text) AS key
          FROM information_schema.columns c
          JOIN information_schema.table_constraints t
            ON t.table_schema = c.table_schema AND t.table_name = c.table_name
           AND t.constraint_type = 'PRIMARY KEY'
          JOIN information_schema.key_column_usage k
            ON k.constraint_schema = t.constraint_schema
           AND k.constraint_name = t.constraint_name AND k.table_name = t.table_name
         WHERE c.table_schema = 'public' AND c.column_name = 'order_id'
         GROUP BY c.table_name ORDER BY c.table_name
        """
    )
    assert len(rows) >= 17
    return {row["name"]: list(row["key"]) for row in rows}


def _named(column: str, value: Any) -> str:
    """Say how an entry has to name a part of a key: an id anywhere, anything else by its name."""
    return str(value) if isinstance(value, UUID) else f"{ALIASES.get(column, column)}={value}"


def _leaves(entry: dict[str, Any]) -> list[str]:
    """List what an entry names."""
    _, _, about = (entry["ref"] or "").partition(":")
    found = [about]
    for name, value in entry["detail"].items():
        values = value if isinstance(value, list) else [value]
        found += [f"{name}={each}" for each in values] + [str(each) for each in values]
    return found


def _lead_from_one_to_the_next(lines: list[str], day: date) -> None:
    """Hold that the stations come in this order, each after the one before it."""
    stations = [
        "merchant request: the shop asked to create it",
        "merchant act: CREATED as shop-1 for 12.50 USDT",
        "checkstand attempt: attempt 1 prepared for 12.50 USDT",
        "checkstand call: asking Binance /v3/order for attempt 1",
        "binance call: /v3/order accepted",
        "binance transition: CREATED → PENDING_PAYMENT",
        "checkstand event: order.pending written for the shop",
        "merchant act: renew the code by API key test",
        "checkstand attempt: attempt 1 is to be closed at Binance (renew)",
        "checkstand attempt: attempt 1 ended CLOSED",
        "checkstand attempt: attempt 2 prepared",
        "binance payment: 12.00",
        "checkstand anomaly: amount_differs opened: expected 12.50 USDT",
        "checkstand transfer: booked: payment, 12.00",
        "checkstand transition: PENDING_PAYMENT: anomaly amount_differs",
        "checkstand event: order.attention",
        "merchant halt: the account is stopped: no order is moved or sent to Binance, by API key",
        "merchant halt: the account is going on again",
        "merchant act: resolve",
        "person anomaly: amount_differs resolved (accept): close enough (by API key",
        "checkstand transfer: booked: payment released, 12.00",
        "checkstand event: order.paid",
        "checkstand delivery: order.paid to http://127.0.0.1",
        "merchant act: take the goods in hand by API key test",
        "merchant act: acknowledge the goods by API key test",
        "merchant transition: PAID → FULFILLED",
        "merchant act: deliver an event again, given up before by API key test",
        "merchant refund: refund r-1 of 5.00 USDT requested by API key test",
        "merchant act: approve the refund by API key finance",
        "checkstand anomaly: refunded_elsewhere opened",
        "checkstand refund: refund r-1 FAILED: money of this payment went back outside",
        "person anomaly: refunded_elsewhere resolved (accept): the boss did it",
        "merchant refund: refund r-2 of 4.00 USDT requested by API key test",
        "binance refund: refund r-2 SUCCEEDED, 4.00 USDT went back",
        "checkstand transfer: booked: refund, 4.00 USDT from binance:funding to refunds",
        "binance transition: FULFILLED: 4.00 USDT went back",
        "merchant refund: refund r-3 of 2.00 USDT requested by API key test",
        "merchant act: deny the refund by API key finance",
        "checkstand refund: refund r-3 FAILED: denied by key:",
        "checkstand recovery: the database was put back to an earlier point (a disk)",
        "person recovery: the recovery was ended by alice",
        "checkstand check: PAY PAY_SUCCESS matched with this order; hint: asking Binance",
        "binance report: row 2 of a report file that was uploaded lists a payment of 12.6",
        f"checkstand discrepancy: amount found in reconciling {day}: ours 12 USDT, theirs 12.6",
        "person discrepancy: amount of",
        "merchant report: that file was withdrawn",
        f"person day: {day} was closed by Ada and counts the payment, 12.00",
    ]
    place = -1
    for station in stations:
        after = [n for n, line in enumerate(lines) if n > place and line.startswith(station)]
        assert after, f"{station!r} does not come after {lines[place]!r}:\n" + "\n".join(lines)
        place = after[0]
    fee = next(line for line in lines if "booked: fee, " in line)
    assert fee.endswith("USDT from binance:funding to fees")


def _tell_nothing_of_a_person_who_pays(entries: list[dict[str, Any]]) -> None:
    text = json.dumps(entries)
    for word in ("buyer-77", "203.0.113.7", "openUserId", "payerInfo", SECRET):
        assert word not in text


async def _is_forgotten(story: Story) -> None:
    await story.gateway.simulator.control.advance(200 * 86_400)
    await prune_records(story.gateway.resources)

    await story.until_told("retention: the raw bytes of PAY PAY_CLOSED were forgotten by policy")


async def test_every_table_with_an_order_s_id_is_read_by_it(story: Story) -> None:
    rows = await story.sql(
        """
        SELECT DISTINCT c.relname AS name
          FROM pg_index i
          JOIN pg_class c ON c.oid = i.indrelid
         WHERE pg_get_indexdef(i.indexrelid) ~ '\\(account_id, order_id'
           AND (i.indpred IS NULL
                OR pg_get_expr(i.indpred, i.indrelid) = '(order_id IS NOT NULL)')
        """
    )

    # Deliveries are found by their events, whose key theirs begins with.
    assert set(await _tables_with_orders(story)) - {row["name"] for row in rows} == {"deliveries"}


async def test_nothing_is_found_by_going_through_a_table(story: Story) -> None:
    """Where a plan must do without sequential scans and still has one, no index would help it."""
    statements = [s for s in STATEMENTS.values() if s.name.startswith("timeline.")]
    connection = await asyncpg.connect(story.database_url)
    try:
        await connection.execute("SET enable_seqscan = off")
        plans = {each.name: await _explain(connection, each.text, story) for each in statements}
    finally:
        await connection.close()

    assert len(plans) >= 15
    assert {name: plan for name, plan in plans.items() if "Seq Scan" in plan} == {}


async def _explain(connection: Any, text: str, story: Story) -> str:
    """Return the plan of a statement of the timeline."""
    key, limit = [f"'{ACCOUNT}'::uuid", f"'{story.order_id}'::uuid"], ["10"]
    values = key + (["'2031-01-11Z'::timestamptz", *limit] if "$4" in text else limit)
    for number, value in enumerate(values, 1):
        text = text.replace(f"${number}", value)
    return "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {text}"))


async def test_more_rows_than_are_read_are_said_to_be_left_out(story: Story) -> None:
    await story.until_told("order.pending written")
    key = (ACCOUNT, UUID(story.order_id))

    entries = await list_timeline(story.gateway.resources.database, *key, rows_max=1)

    left_out = [entry.summary for entry in entries if entry.kind is Kind.OMITTED]
    assert left_out == []
    await story.post("renew")
    await story.until_told("attempt 2 prepared")
    entries = await list_timeline(story.gateway.resources.database, *key, rows_max=1)
    left_out = [entry.summary for entry in entries if entry.kind is Kind.OMITTED]
    assert "only the first 1 attempts of this order are shown" in left_out


async def test_a_stop_of_today_is_not_told_of_an_order_that_was_over_before(story: Story) -> None:
    control = story.gateway.simulator.control
    control.pay(story.gateway.trade_numbers()[-1])
    await story.gateway.until(story.order_id, "PAID")
    await control.advance(1)
    await story.post("/api/account/halt", reason="waits for this")
    while_it_waits = await story.lines()
    await story.post("/api/account/resume", reason="goes on")
    await story.post("fulfill")
    await story.gateway.until(story.order_id, "FULFILLED")
    await control.advance(timedelta(days=200).total_seconds())
    await story.post("/api/account/halt", reason="says nothing about it")

    lines = await story.lines()

    assert any("waits for this" in line for line in while_it_waits)
    assert any("waits for this" in line for line in lines)
    assert not any("says nothing about it" in line for line in lines)
