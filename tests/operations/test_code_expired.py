"""The shopper who paid in the last second, and whose page says that the code has expired."""

from typing import Any

from checkstand.web.checkout.desk import CheckoutDesk


async def test_shopper_who_says_paid_is_believed_after_the_code_expired_too(gateway: Any) -> None:
    control, created = gateway.simulator.control, await gateway.create()
    order_id, desk = created.json["order_id"], CheckoutDesk(gateway.resources)
    token = str(created.json["checkout_url"].rsplit("/", 1)[1])
    control.expire(gateway.trade_numbers()[0])
    await control.settle()
    assert str(await _state(desk, token)) == "code_expired"
    await control.advance(130)  # the first look after the end has been: the next is in minutes
    while not any("EXPIRED" in e["summary"] for e in await gateway.timeline(order_id)):
        await control.advance(1)
    control.pay(gateway.trade_numbers()[0], webhook=False, force=True)

    assert await desk.check(token)

    await gateway.until(order_id, "PAID")


async def _state(desk: CheckoutDesk, token: str) -> Any:
    status = await desk.status(token)
    assert status is not None
    return status.state
