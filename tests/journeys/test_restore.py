"""The database is put back to an earlier point, and nothing is paid, returned or told twice.

A shop's day: a backup is taken, more is sold, paid, returned and told, and then the disk is lost.
"""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from checkstand import app
from checkstand.ambient import HostClock
from checkstand.errors import Refused
from checkstand.operations.explain_orphans import explain_orphans
from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID
from checkstand.operations.recover import (
    RecoveryStatus,
    begin_recovery,
    finish_recovery,
    gather_recoveries,
    recovery_status,
)
from checkstand.operations.set_limit import set_limit
from checkstand.operations.witness_database import witness_database
from checkstand.queries.list_orders import find_order
from checkstand.settings import SettingsError
from checkstand.storage import orphan_orders
from checkstand.storage.orphan_orders import OrphanOrder
from crash.ports import free_port


class Shop:
    """A shop's webhook endpoint: remembers the ids and types it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str]] = []  # event id, type, order id
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.split("content-length:")[1].split("\r\n")[0])
            event = json.loads(await reader.readexactly(length))
            self.told.append((event["id"], event["type"], event["data"]["order"]["order_id"]))
            writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def heard(self, type_: str, order_id: str) -> list[str]:
        """The ids under which it was told this of an order."""
        return [event for event, kind, order in self.told if (kind, order) == (type_, order_id)]


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    made = Shop()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server:
        yield made


async def _put(gateway: Any, orphan: OrphanOrder) -> None:
    async def step(tx: Any) -> None:
        await orphan_orders.put(tx, orphan)

    await gateway.resources.database.run(step, name="put_orphan")


async def _until(gateway: Any, wanted: Any, *, step: float = 1, rounds: int = 1500) -> None:
    """Let time pass until something holds."""
    for _ in range(rounds):
        if await wanted():
            return
        await gateway.simulator.control.advance(step)
        await asyncio.sleep(0.02)
    raise AssertionError("it never came")


async def _status(gateway: Any) -> RecoveryStatus:
    return await recovery_status(gateway.resources, account_id=DEFAULT_ACCOUNT_ID)


async def _all_asked(gateway: Any) -> bool:
    progress = (await _status(gateway)).progress
    return progress is not None and progress.is_gathered and progress.unasked == 0


async def _finish(gateway: Any, **how: Any) -> RecoveryStatus:
    how = {"is_forced": False, "reason": None} | how
    return await finish_recovery(
        gateway.resources, account_id=DEFAULT_ACCOUNT_ID, by="alice", **how
    )


async def _refund(gateway: Any, order_id: str, **fields: Any) -> None:
    answer = await gateway.request(
        "POST",
        f"/api/payments/binance/orders/{order_id}/refunds",
        body={"merchant_refund_id": uuid.uuid4().hex} | fields,
        headers={"idempotency-key": uuid.uuid4().hex},
    )
    assert answer.status == 202, answer.content


async def _refund_is(gateway: Any, order_id: str, status: str) -> bool:
    answer = await gateway.request("GET", f"/api/payments/binance/orders/{order_id}/refunds")
    return [refund["status"] for refund in answer.json["data"]] == [status]


@pytest.mark.timeout(300)
async def test_restored_database_learns_again_what_it_forgot_and_acts_on_nothing(  # noqa: PLR0915  (a story)
    run_gateway: Any, gateway_settings: Any, shop: Shop, tmp_path: Path
) -> None:
    port, backup = free_port(), tmp_path / "backup"
    first = {"database_url": None, "data_dir": tmp_path / "first", "port": port, "secret_keys": ()}

    async with run_gateway(**first) as gateway:
        control = gateway.simulator.control
        numbers: dict[str, str] = {}
        ids: dict[str, str] = {}

        async def open_order(name: str, running: Any) -> None:
            created = await running.create(merchant_order_id=name)
            assert created.status == 201
            ids[name], numbers[name] = created.json["order_id"], running.trade_numbers()[-1]

        async def is_told(type_: str, name: str) -> bool:
            return bool(shop.heard(type_, ids[name]))

        await gateway.request("POST", "/api/webhook-endpoints", body={"url": shop.url})
        for name in ("told", "paid-after", "closing", "returning", "returned-after", "quiet"):
            await open_order(name, gateway)
        for name in ("told", "returning", "returned-after"):
            control.pay(numbers[name])
            await gateway.until(ids[name], "PAID")
            await _until(gateway, partial(is_told, "order.paid", name))
        for name in ("returning", "returned-after"):
            path = f"/api/payments/binance/orders/{ids[name]}/fulfill"
            assert (await gateway.request("POST", path)).status == 200
        # A refund that Binance does not answer, and a close that it does not hear.
        deaf = [
            control.faults.add("lost_before_effect", endpoint=endpoint, times=None)
            for endpoint in ("/order/refund", "/order/close")
        ]
        await _refund(gateway, ids["returning"])
        await _until(gateway, lambda: _refund_is(gateway, ids["returning"], "UNKNOWN"))
        await gateway.request("POST", f"/api/payments/binance/orders/{ids['closing']}/cancel")

        settings = app_settings(gateway_settings, **first)
        await app.back_up(settings, backup, now=gateway.resources.clock.now())

        # The rest of the day, of which the backup knows nothing.
        for fault in deaf:
            control.faults.remove(fault.number)
        control.pay(numbers["paid-after"])
        await gateway.until(ids["paid-after"], "PAID")
        await _until(gateway, lambda: is_told("order.paid", "paid-after"))
        await _until(gateway, lambda: _refund_is(gateway, ids["returning"], "SUCCEEDED"))
        await _refund(gateway, ids["returned-after"])
        await _until(gateway, lambda: _refund_is(gateway, ids["returned-after"], "SUCCEEDED"))
        await open_order("sold-after", gateway)
        control.pay(numbers["sold-after"])
        await gateway.until(ids["sold-after"], "PAID")
        control.pay(numbers["closing"], webhook=False, force=True)

    told_before = list(shop.told)
    refunds_before = [(r.refund_request_id, r.status) for r in control.refunds]
    second = first | {"data_dir": tmp_path / "second"}
    await app.restore(
        app_settings(gateway_settings, **second), backup, clock=gateway.resources.clock
    )

    async with run_gateway(**second) as restored:
        assert (await _status(restored)).epoch == 2
        assert (await _status(restored)).is_open
        with pytest.raises(Refused) as early:
            await _finish(restored, is_forced=True)
        assert early.value.code == "reason_missing"
        await _until(restored, lambda: _all_asked(restored))
        await control.advance(120)

        # Money that came after the backup is found by asking, not by a notice.
        await restored.until(ids["paid-after"], "PAID")
        await restored.until(ids["closing"], "PAID")
        assert (await restored.order(ids["returned-after"]))["anomalies"] == ["refunded_elsewhere"]
        # A shop may go on selling.
        assert (await restored.create(merchant_order_id="new")).status == 201
        # Whose goods were sent may be forgotten, so nobody takes any in hand.
        path = f"/api/payments/binance/orders/{ids['paid-after']}/fulfilment/claim"
        claimed = await restored.request("POST", path, body={})
        assert (claimed.status, claimed.json["code"]) == (409, "recovery_unfinished")
        # What only Binance knows is learnt from its notices, and explained by a query.
        await control.send_webhook(numbers["sold-after"], biz_status="PAY_SUCCESS")
        await explain_orphans(restored.resources)
        (orphan,) = (await _status(restored)).orphans
        assert (str(orphan.order_id), orphan.merchant_trade_no) == (
            ids["sold-after"],
            numbers["sold-after"],
        )
        assert (orphan.status, orphan.amount, orphan.currency) == ("PAID", Decimal("12.5"), "USDT")
        assert "an order that our rows do not know" in orphan.explanation
        # Whom other keys told that there is none asks again, and not at once.
        await _put(restored, replace(orphan, status=None, transaction_id=None))
        await explain_orphans(restored.resources)
        assert [each.status for each in (await _status(restored)).orphans] == [None]
        await control.advance(3601)
        await explain_orphans(restored.resources)
        assert [each.status for each in (await _status(restored)).orphans] == ["PAID"]

        # Nothing was told, returned or closed meanwhile.
        await control.advance(600)
        await asyncio.sleep(1.2)
        assert shop.told == told_before
        assert [(r.refund_request_id, r.status) for r in control.refunds] == refunds_before
        timeline = await restored.timeline(ids["closing"])
        since = (await _status(restored)).recovery.began_at.isoformat()  # type: ignore[union-attr]
        closes = [e for e in timeline if "/order/close for" in e["summary"] and e["at"] > since]
        assert closes == []

        ended = await _finish(restored)
        assert not ended.is_open
        heard = len(shop.heard("order.paid", ids["paid-after"]))

        async def is_told_again() -> bool:
            return len(shop.heard("order.paid", ids["paid-after"])) > heard

        await _until(restored, is_told_again)
        assert len(set(shop.heard("order.paid", ids["paid-after"]))) == 1
        await _until(restored, lambda: _refund_is(restored, ids["returning"], "SUCCEEDED"))
        assert [(r.refund_request_id, r.status) for r in control.refunds] == refunds_before
        await restored.until(ids["returning"], "REFUNDED")


class HurriedClock(HostClock):
    """The clock of a host that is ahead of the database's."""

    def host_now(self) -> datetime:
        return super().host_now() + timedelta(seconds=90)


@pytest.mark.timeout(300)
async def test_recovery_begins_on_the_databases_clock_whatever_the_hosts_says(
    run_gateway: Any, gateway_settings: Any, tmp_path: Path
) -> None:
    # Else what was asked in the first minute and a half would not count as asked.
    first, second = (
        app_settings(gateway_settings, database_url=None, data_dir=tmp_path / name, secret_keys=())
        for name in ("first", "second")
    )
    async with run_gateway(database_url=None, data_dir=first.data_dir, secret_keys=()):
        await app.back_up(first, tmp_path / "backup", now=HostClock().now())

    before = HostClock().now()
    await app.restore(second, tmp_path / "backup", clock=HurriedClock())
    after = HostClock().now()

    async with run_gateway(database_url=None, data_dir=second.data_dir, secret_keys=()) as restored:
        recovery = (await _status(restored)).recovery
        assert recovery is not None
        assert before <= recovery.began_at <= after


def app_settings(settings: Any, **changes: Any) -> Any:
    from dataclasses import replace

    return replace(settings, **changes)


@pytest.fixture
def sql(empty_database_url: str) -> Any:
    async def ask(text: str, *values: Any) -> list[Any]:
        connection = await asyncpg.connect(empty_database_url)
        try:
            return list(await connection.fetch(text, *values))
        finally:
            await connection.close()

    return ask


async def test_database_that_was_put_back_by_other_hands_recovers_by_itself(
    run_gateway: Any, sql: Any
) -> None:
    async with run_gateway() as gateway:
        created = await gateway.create()
        assert (await _status(gateway)).epoch == 1
        await gateway.simulator.control.advance(3600)
        before = await sql("SELECT * FROM witnesses")
        await witness_database(gateway.resources)
        assert await sql("SELECT * FROM witnesses") != before
    # Somebody restores a snapshot of an hour ago: what it says of the last visit is older.
    await sql("UPDATE witnesses SET seen_at = $1", before[0]["seen_at"])

    async with run_gateway() as gateway:
        status = await _status(gateway)
        assert (status.epoch, status.is_open) == (2, True)
        assert status.recovery is not None
        assert "it was put back" in status.recovery.cause
        await _until(gateway, lambda: _all_asked(gateway))
        await _finish(gateway)
        assert (await gateway.order(created.json["order_id"]))["status"] == "PENDING_PAYMENT"

    async with run_gateway() as gateway:
        status = await _status(gateway)
        assert (status.epoch, status.is_open) == (2, False)


async def test_recovery_does_not_end_before_everything_was_asked(
    run_gateway: Any, sql: Any
) -> None:
    async with run_gateway() as gateway:
        for _ in range(3):
            await gateway.create()
    await sql("DELETE FROM witnesses")

    async with run_gateway(with_worker=False) as gateway:
        await gather_recoveries(gateway.resources, stretch=2)
        with pytest.raises(Refused) as refusal:
            await _finish(gateway)
        assert refusal.value.code == "recovery_unfinished"
        assert "3 of 3" in refusal.value.message

        ended = await _finish(gateway, is_forced=True, reason="a drill")

        assert not ended.is_open
        (row,) = await sql("SELECT finished_by, reason, unasked FROM recoveries")
        assert tuple(row) == ("alice", "a drill", 3)


async def test_recovery_asks_again_what_a_notice_has_put_off(run_gateway: Any, sql: Any) -> None:
    async with run_gateway(with_worker=False) as gateway:
        await gateway.create()
    await sql("DELETE FROM witnesses")

    async with run_gateway(with_worker=False) as gateway:
        await gather_recoveries(gateway.resources)
        # As a notice of a payment does, whose money is looked after the next day.
        await sql("UPDATE attempts SET due_at = due_at + interval '1 day'")

        await gather_recoveries(gateway.resources)

        (again,) = await sql("SELECT due_at FROM attempts")
        assert again["due_at"] <= gateway.resources.clock.now()
        await sql("UPDATE recoveries SET finished_at = began_at")
        await sql("UPDATE attempts SET due_at = due_at + interval '1 day'")
        await gather_recoveries(gateway.resources)
        (later,) = await sql("SELECT due_at FROM attempts")
        assert later["due_at"] > gateway.resources.clock.now()  # nothing waits for it any more


async def test_code_that_may_have_been_sent_after_the_backup_is_asked_about_first(
    run_gateway: Any, sql: Any
) -> None:
    async with run_gateway(with_worker=False) as gateway:
        created = await gateway.create()
        order_id = created.json["order_id"]
        gateway.simulator.control.pay(gateway.trade_numbers()[0], webhook=False)
        await gateway.simulator.control.advance(2 * 3600)  # the code's own time is over
    # As the row was before it was sent: nobody knows of the code that was paid since. Had it truly
    # never been sent it would be replaced by now, unasked.
    await sql(
        "UPDATE attempts SET status = 'PREPARED', sends = 0, last_sent_at = NULL, links = NULL,"
        " prepay_id = NULL"
    )
    await sql("UPDATE orders SET status = 'CREATED', previous_status = 'CREATED'")
    await sql("DELETE FROM witnesses")

    async with run_gateway() as gateway:
        await gateway.until(order_id, "PAID")
        assert len(gateway.trade_numbers()) == 1


async def test_half_a_restore_keeps_everything_from_starting(
    run_gateway: Any, gateway_settings: Any
) -> None:
    gateway_settings.data_dir.mkdir(parents=True, exist_ok=True)
    (gateway_settings.data_dir / "restoring").touch()

    with pytest.raises(SettingsError) as refusal:
        async with run_gateway():
            pass

    assert refusal.value.code == "restore_unfinished"


async def test_another_database_beside_the_same_directory_was_not_put_back(
    run_gateway: Any, sql: Any
) -> None:
    async with run_gateway() as gateway:
        await gateway.simulator.control.advance(3600)
        await witness_database(gateway.resources)
    # A new database: its account has the same id, and a reference of its own.
    await sql("DELETE FROM witnesses")
    await sql("UPDATE accounts SET reference = 'another1'")

    async with run_gateway() as gateway:
        assert (await _status(gateway)).epoch == 1


@pytest.mark.parametrize("has_gone", [True, False])
async def test_refund_whose_approval_was_forgotten_is_asked_about_before_it_can_be_denied(
    gateway: Any,
    has_gone: bool,
) -> None:
    house, control = gateway.resources, gateway.simulator.control
    order_id = (await gateway.create()).json["order_id"]
    control.pay(gateway.trade_numbers()[0])
    await gateway.until(order_id, "PAID")
    limit = {"kind": "refunds_per_day", "most": "0", "currency": "USDT"}
    await set_limit(house, account_id=DEFAULT_ACCOUNT_ID, **limit)
    await _refund(gateway, order_id, amount="5.00")
    case = await find_order(house.database, DEFAULT_ACCOUNT_ID, uuid.UUID(order_id))
    assert case is not None
    (refund,) = case.refunds
    if has_gone:  # approved and sent after the backup: Binance alone knows
        await house.provider.refund(
            refund, case.attempts[0], notice_url="http://127.0.0.1:9/", reference="call:lost"
        )
    await begin_recovery(
        house.database,
        account_id=DEFAULT_ACCOUNT_ID,
        cause="a drill",
        restored_to=None,
        now=house.clock.now(),
    )
    deny = f"/api/payments/binance/orders/{order_id}/refunds/{refund.refund_id}/deny"

    in_doubt = await gateway.request("POST", deny)
    assert (in_doubt.status, in_doubt.json["code"]) == (409, "refund_in_doubt")
    assert "Binance is asked about it" in in_doubt.json["detail"]
    await gather_recoveries(house)
    await _until(gateway, lambda: _all_asked(gateway))
    await _finish(gateway)

    wanted = "SUCCEEDED" if has_gone else "REQUESTED"
    await _until(gateway, lambda: _refund_is(gateway, order_id, wanted), step=30)
    denied = await gateway.request("POST", deny)
    if has_gone:
        assert (denied.status, denied.json["code"]) == (409, "refund_not_waiting")
        assert (await gateway.order(order_id))["refunded_amount"] == "5.00"
    else:
        assert (denied.status, denied.json["status"]) == (200, "FAILED")
        assert control.refunds == []
