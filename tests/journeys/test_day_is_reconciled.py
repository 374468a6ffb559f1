"""Days go by with refunds of both kinds, and Binance's own files are laid beside ours."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from checkstand.operations.fetch_reports import fetch_reports
from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID
from checkstand.operations.reconcile_days import Reconciled, reconcile_days

DAY = datetime(2031, 1, 11, 12, tzinfo=UTC)


async def _paid(gateway: Any) -> str:
    order_id = str((await gateway.create()).json["order_id"])
    gateway.simulator.control.pay(gateway.trade_numbers()[-1])
    await gateway.until(order_id, "PAID")
    return order_id


async def _reconcile(gateway: Any) -> Reconciled:
    await gateway.simulator.control.advance(1)
    return await reconcile_days(gateway.resources, account_id=DEFAULT_ACCOUNT_ID, days=[DAY.date()])


async def test_our_refund_is_matched_and_one_of_the_portal_is_found_and_asked_about(
    gateway: Any,
) -> None:
    control = gateway.simulator.control
    control.clock.set(DAY)
    ours, portal = await _paid(gateway), await _paid(gateway)
    path = f"/api/payments/binance/orders/{ours}/refunds"
    wish = {"merchant_refund_id": "r-1", "amount": "5.00"}
    headers = {"idempotency-key": uuid.uuid4().hex}
    await gateway.request("POST", path, body=wish, headers=headers)
    for _ in range(200):
        if (await gateway.request("GET", path)).json["data"][0]["status"] == "SUCCEEDED":
            break
        await control.advance(1)
        await asyncio.sleep(0.02)
    control.refund(gateway.trade_numbers()[-1], amount="2.00")
    control.clock.set(DAY + timedelta(hours=20))  # the next day, before a worker looks by itself
    await fetch_reports(
        gateway.resources, account_id=DEFAULT_ACCOUNT_ID, first=DAY.date(), last=DAY.date()
    )

    found = await _reconcile(gateway)

    result = found.results[DAY.date()]
    totals = {(t["kind"], t["bucket"], t["count"], t["amount"]) for t in result["totals"]}
    assert ("payments", "matched", 2, "25") in totals
    assert ("refunds", "matched", 1, "5") in totals
    assert result["discrepancies"] == {"refunded_elsewhere": {"found": 1, "open": 1}}
    assert found.asked == 1
    # Binance says that money went back and not how much: a person says what became of it, and
    # until then ours and theirs differ.
    await gateway.until(portal, lambda order: order["anomalies"] == ["refunded_elsewhere"])
    assert (await _reconcile(gateway)).open == 1
