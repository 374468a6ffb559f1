"""One payment told a thousand times by thirty-two senders at once: one payment, one event."""

import asyncio
from typing import Any

from checkstand.demo.shop import running_shop


async def test_thousand_deliveries_of_one_notice_are_one_payment_one_event_one_fulfilment(
    gateway: Any,
) -> None:
    async with running_shop(gateway_url=gateway.url, api_key=gateway.api_key) as shop:
        await shop.register_endpoint()
        await gateway.request(
            "POST",
            f"{shop.url}/buy",
            content=b"cart=" + b"a" * 20,
            headers={"content-type": "application/x-www-form-urlencoded"},
        )
        order = shop.orders["sample-" + "a" * 20]
        control = gateway.simulator.control
        control.faults.add("drop", biz_status="PAY_SUCCESS")
        number = gateway.trade_numbers()[0]
        control.pay(number)
        left = iter(range(1000))

        async def send() -> int:
            answered = 0
            for _ in left:
                notice = await control.send_webhook(number)
                answered += notice.tries[-1].acknowledged
            return answered

        acknowledged = sum(await asyncio.gather(*(send() for _ in range(32))))

        await gateway.until(order.order_id, "FULFILLED")
        assert acknowledged == 1000
        assert order.fulfilments == 1
        types = [event["type"] for event in await gateway.events()]
        assert types.count("order.paid") == types.count("order.fulfilled") == 1
        timeline = await gateway.timeline(order.order_id)
        assert len([entry for entry in timeline if entry["kind"] == "notice"]) == 1
        paid = [e for e in timeline if e["kind"] == "transition" and e["to"] == "PAID"]
        assert len([e for e in paid if e["from"] != "PAID"]) == 1
