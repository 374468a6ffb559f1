"""While money has arrived that nobody has decided about, nobody is asked for more."""

from typing import Any

from checkstand.operations.advance_attempt import Lease, advance_attempt
from checkstand.operations.claim_due_attempts import claim_due_attempts
from checkstand.storage import cases


async def _advance(gateway: Any, *, numbers: set[int] | None = None) -> None:
    """Do what a worker would do now, for the attempts with these numbers alone."""
    for lease in await claim_due_attempts(gateway.resources, limit=10):
        if numbers is None or await _number(gateway, lease) in numbers:
            await advance_attempt(gateway.resources, lease=lease)


async def _number(gateway: Any, lease: Lease) -> int:
    async def step(tx: Any) -> int:
        (case,) = (await cases.get_many(tx, [(lease.account_id, lease.order_id)])).values()
        return int(case.attempt(lease.attempt_id).number)

    return int(await gateway.resources.database.read(step))


async def _renew(gateway: Any, order_id: str) -> None:
    """Renew, and see the old code closed: the new one is written down, and not yet sent."""
    await gateway.request("POST", f"/api/payments/binance/orders/{order_id}/renew")
    for _ in range(10):
        await _advance(gateway, numbers={1})
        await gateway.simulator.control.advance(1)
        if str(gateway.simulator.control.orders[0].status) == "CANCELED":
            break
    await _advance(gateway, numbers={1})


async def test_prepared_code_is_not_sent_once_odd_money_arrived(run_gateway: Any) -> None:
    async with run_gateway(with_worker=False) as gateway:
        control, created = gateway.simulator.control, await gateway.create()
        order_id = created.json["order_id"]
        await _renew(gateway, order_id)
        control.pay(gateway.trade_numbers()[0], amount="1.00", force=True)
        await control.settle()
        await control.advance(20)
        await _advance(gateway, numbers={1})
        assert (await gateway.order(order_id))["anomalies"] == ["amount_differs"]

        for _ in range(3):
            await control.advance(20)
            await _advance(gateway)

        assert len(control.orders) == 1


async def test_code_on_show_is_withheld_once_odd_money_arrived(run_gateway: Any) -> None:
    async with run_gateway(with_worker=False) as gateway:
        control, created = gateway.simulator.control, await gateway.create()
        order_id = created.json["order_id"]
        await _renew(gateway, order_id)
        await control.advance(20)
        await _advance(gateway)
        assert (await gateway.order(order_id))["universal_url"] is not None

        control.pay(gateway.trade_numbers()[0], amount="1.00", force=True)
        await control.settle()
        await control.advance(20)
        await _advance(gateway, numbers={1})

        order = await gateway.order(order_id)
        assert order["anomalies"] == ["amount_differs"]
        assert order["universal_url"] is None
