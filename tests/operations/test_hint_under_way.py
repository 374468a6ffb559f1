"""News that comes while Binance is being asked: the answer under way is older than the news."""

import asyncio
from typing import Any

import pytest

from checkstand.web.checkout.desk import CheckoutDesk


async def _say_paid(gateway: Any, created: Any) -> None:
    token = str(created.json["checkout_url"].rsplit("/", 1)[1])
    assert await CheckoutDesk(gateway.resources).check(token)


async def _tell_at_the_shared_door(gateway: Any, _created: Any) -> None:
    number = gateway.trade_numbers()[0]
    notice = await gateway.simulator.control.send_webhook(
        number, biz_status="PAY_SUCCESS", url=f"{gateway.url}/api/payments/binance/webhook"
    )
    assert notice.tries[-1].http_status == 200


@pytest.mark.parametrize("hint", [_say_paid, _tell_at_the_shared_door])
async def test_hint_that_comes_during_a_query_is_looked_into_after_it(
    gateway: Any, hint: Any
) -> None:
    created = await gateway.create()
    order_id, control = created.json["order_id"], gateway.simulator.control
    await control.advance(700)  # from now on it is asked about every five minutes only
    path = f"/api/payments/binance/orders/{order_id}/refresh"
    await gateway.request("POST", path)
    control.faults.add("drop", biz_status="PAY_SUCCESS")
    control.faults.add("slow", endpoint="/v2/order/query", seconds=1)

    asking = asyncio.create_task(gateway.request("POST", path))
    while any(fault.kind == "slow" for fault in control.faults.listed):
        await asyncio.sleep(0.01)  # "unpaid" is said, and on its way
    control.pay(gateway.trade_numbers()[0])
    await hint(gateway, created)
    await asking

    await gateway.until(order_id, "PAID")
