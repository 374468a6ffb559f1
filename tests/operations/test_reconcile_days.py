"""Ours and theirs are laid side by side: each difference is found, once, under its name."""

from datetime import timedelta
from typing import Any

from checkstand.operations.fetch_reports import fetch_reports
from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID
from checkstand.operations.reconcile_days import reconcile_days


async def test_x(run_gateway: Any) -> None:
    async with run_gateway(with_worker=False) as gateway:
        control = gateway.simulator.control
        created = await gateway.create()
        control.pay(gateway.trade_numbers()[0])
        await control.settle()
        await gateway.until(created.json["order_id"], "PAID")
        today = gateway.resources.clock.now().date()
        await control.advance(86400 * 2)
        fetched = await fetch_reports(
            gateway.resources,
            account_id=DEFAULT_ACCOUNT_ID,
            first=today - timedelta(days=1),
            last=today + timedelta(days=3),
        )
        print(fetched)
        r = await reconcile_days(gateway.resources, account_id=DEFAULT_ACCOUNT_ID, days=[today])
        print(r)
        assert 0
