"""Which genuine notices settle by themselves, and what becomes of those that cannot yet."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from checkstand.operations.retry_notices import match_orphans, retry_notices


@pytest.fixture
async def rows(empty_database_url: str) -> Any:
    """Look into the database."""
    connection = await asyncpg.connect(empty_database_url)
    yield connection.fetch
    await connection.close()


Rows = Callable[..., Any]


async def _outcomes(rows: Rows) -> list[str]:
    return [row["outcome"] for row in await rows("SELECT outcome FROM notices ORDER BY notice_id")]


@pytest.mark.parametrize(
    ("limit", "outcome"), [(None, "applied"), ("12.5", "applied"), ("12.49", "hint"), ("0", "hint")]
)
async def test_payment_above_the_limit_is_confirmed_by_a_query(
    run_gateway: Any, rows: Rows, limit: str | None, outcome: str
) -> None:
    async with run_gateway(confirm_above=None if limit is None else Decimal(limit)) as gateway:
        created, control = await gateway.create(amount="12.50"), gateway.simulator.control
        control.clock.freeze()  # or the timetable would have it asked about

        control.pay(gateway.trade_numbers()[0])
        await control.settle()

        assert await _outcomes(rows) == [outcome]
        await gateway.until(created.json["order_id"], "PAID")
        timeline = await gateway.timeline(created.json["order_id"])
        asked = [e for e in timeline if e["summary"].startswith("asking Binance /v2/order/query")]
        assert len(asked) == (outcome == "hint")


async def test_close_needs_no_confirmation(run_gateway: Any, rows: Rows) -> None:
    async with run_gateway(with_worker=False, confirm_above=Decimal(0)) as gateway:
        await gateway.create()

        gateway.simulator.control.expire(gateway.trade_numbers()[0])
        await gateway.simulator.control.settle()

        assert await _outcomes(rows) == ["applied"]


async def _forget_attempt(rows: Rows) -> None:
    """Let an attempt be as it was before Binance's answer came, and its number unknown."""
    await rows("UPDATE attempts SET prepay_id = NULL, merchant_trade_no = 'x' || prepay_id")


async def _remember_attempt(rows: Rows, gateway: Any, *, prepay_id: bool) -> None:
    theirs = gateway.simulator.control.orders[0]
    await rows("UPDATE attempts SET merchant_trade_no = $1", theirs.merchant_trade_no)
    if prepay_id:
        await rows("UPDATE attempts SET prepay_id = $1", theirs.prepay_id)


async def test_orphan_is_matched_when_its_attempt_learns_its_id(
    run_gateway: Any, rows: Rows
) -> None:
    async with run_gateway(with_worker=False) as gateway:
        created, control = await gateway.create(), gateway.simulator.control
        await _forget_attempt(rows)
        control.pay(gateway.trade_numbers()[0])
        await control.settle()
        assert await _outcomes(rows) == ["orphan"]
        await retry_notices(gateway.resources)
        assert await _outcomes(rows) == ["orphan"]

        await _remember_attempt(rows, gateway, prepay_id=True)
        await retry_notices(gateway.resources)

        assert await _outcomes(rows) == ["applied"]
        assert (await gateway.order(created.json["order_id"]))["status"] == "PAID"


async def test_orphan_is_matched_by_its_number_on_the_timetable(
    run_gateway: Any, rows: Rows
) -> None:
    async with run_gateway(with_worker=False) as gateway:
        await gateway.create()
        await _forget_attempt(rows)
        gateway.simulator.control.pay(gateway.trade_numbers()[0])
        await gateway.simulator.control.settle()
        await _remember_attempt(rows, gateway, prepay_id=False)

        await retry_notices(gateway.resources)
        assert await _outcomes(rows) == ["orphan"]
        await match_orphans(gateway.resources)

        assert await _outcomes(rows) == ["hint"]


async def test_new_id_wakes_whoever_matches_orphans(run_gateway: Any) -> None:
    async with run_gateway(with_worker=False) as gateway:
        woken = asyncio.create_task(gateway.resources.notices_wake.wait(timeout_seconds=30))
        await asyncio.sleep(0)

        await gateway.create()

        async with asyncio.timeout(5):
            await woken
        # Without news of it nobody is woken again.
        path = "/api/payments/binance/orders?limit=1"
        order_id = (await gateway.request("GET", path)).json["data"][0]["order_id"]
        await gateway.request("POST", f"/api/payments/binance/orders/{order_id}/refresh")
        again = asyncio.create_task(gateway.resources.notices_wake.wait(timeout_seconds=30))
        done, _ = await asyncio.wait([again], timeout=0.1)
        again.cancel()
        assert not done
