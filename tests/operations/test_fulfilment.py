"""A paid order is owed until it is acknowledged, by one hand at a time, never beside a refund."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from checkstand.domain.case import Decision
from checkstand.domain.refund import Refund, RefundStatus
from checkstand.errors import Conflict
from checkstand.operations.advance_refund import advance_refund, claim_due_refunds
from checkstand.operations.deliver_event import claim_deliveries, deliver_event
from checkstand.operations.fulfil_order import refuse_refund_of_goods_in_hand
from checkstand.operations.offer_fulfilment import offer_fulfilments
from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID
from checkstand.queries.list_orders import find_order
from checkstand.storage import cases

ORDERS = "/api/payments/binance/orders"


class Shop:
    """A shop's server: keeps what it is told, and answers as it was told to."""

    def __init__(self) -> None:
        self.answer = 204
        self.told: list[dict[str, Any]] = []
        self.url = ""
        self.before_answer: Callable[[], Awaitable[None]] | None = None  # once

    @property
    def paid(self) -> list[dict[str, Any]]:
        """Every order.paid it was told, as it was told."""
        return [event for event in self.told if event["type"] == "order.paid"]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one request."""
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next(int(x.split(b":")[1]) for x in lines if x.startswith(b"content-length"))
        self.told.append(json.loads(await reader.readexactly(length)))
        if self.before_answer is not None:
            do, self.before_answer = self.before_answer, None
            await do()
        writer.write(f"HTTP/1.1 {self.answer} X\r\nconnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()


@asynccontextmanager
async def _open_shop(gateway: Any, *, fulfils: bool = False) -> AsyncIterator[Shop]:
    shop = Shop()
    server = await asyncio.start_server(shop.serve, "127.0.0.1", 0)
    async with server:
        shop.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        body = {"url": shop.url, "fulfil_on_delivery": fulfils}
        await gateway.request("POST", "/api/webhook-endpoints", body=body)
        yield shop


@pytest.fixture
async def gateway(run_gateway: Any) -> AsyncIterator[Any]:
    """A gateway that does nothing by itself."""
    async with run_gateway(with_worker=False) as running:
        yield running


async def _deliver(gateway: Any) -> None:
    """Deliver what is due, until nothing is."""
    while claimed := await claim_deliveries(gateway.resources, limit=10):
        for delivery in claimed:
            await deliver_event(gateway.resources, claimed=delivery)


async def _paid_order(gateway: Any) -> str:
    """An order that is paid; of the payment nobody was told yet."""
    created = await gateway.create()
    order_id = str(created.json["order_id"])
    await _deliver(gateway)
    gateway.simulator.control.pay(gateway.trade_numbers()[-1])
    await gateway.simulator.control.settle()
    await gateway.until(order_id, "PAID")
    return order_id


async def _case(gateway: Any, order_id: str) -> Any:
    found = await find_order(gateway.resources.database, DEFAULT_ACCOUNT_ID, UUID(order_id))
    assert found is not None
    return found


async def _refund(gateway: Any, order_id: str, status: RefundStatus) -> None:
    """Write a refund of everything into the order, in a state."""
    case = await _case(gateway, order_id)
    now, (payment,) = gateway.resources.clock.now(), case.payments
    known = case.refunds[0] if case.refunds else None
    refund = known or Refund(
        account_id=payment.account_id,
        order_id=payment.order_id,
        attempt_id=payment.attempt_id,
        payment_id=payment.payment_id,
        refund_id=uuid4(),
        merchant_refund_id="back-1",
        amount=payment.money,
        requested_at=now,
        requested_by="merchant",
    )
    ended_at = None if status is RefundStatus.REQUESTED else now
    decision = Decision.nothing(case).with_refund(replace(refund, status=status, ended_at=ended_at))

    async def step(tx: Any) -> None:
        await cases.save(tx, [decision], public_url="https://shop.example")

    await gateway.resources.database.run(step, name="refund")


async def _post(gateway: Any, order_id: str, act: str, **body: Any) -> Any:
    return await gateway.request("POST", f"{ORDERS}/{order_id}/{act}", body=body or None)


async def _owed(gateway: Any) -> list[dict[str, Any]]:
    answer = await gateway.request("GET", "/api/fulfilments")
    assert answer.status == 200, answer.content
    return list(answer.json["data"])


async def test_delivery_puts_the_goods_in_one_hand(gateway: Any) -> None:
    async with _open_shop(gateway) as shop:
        order_id = await _paid_order(gateway)
        await _deliver(gateway)

        (event,) = shop.paid
        token = event["data"]["fulfilment"]["token"]
        refused = await _post(gateway, order_id, "fulfilment/claim")
        assert (refused.status, refused.json["code"]) == (409, "fulfilment_claimed")
        assert refused.json["lease_until"] >= event["data"]["fulfilment"]["lease_until"]
        kept = await _post(gateway, order_id, "fulfilment/claim", token=token)
        assert kept.status == 200
        stranger = await _post(gateway, order_id, "fulfill", token="somebody else")
        assert (stranger.status, stranger.json["code"]) == (409, "fulfilment_claimed")
        done = await _post(gateway, order_id, "fulfill", token=token)
        assert (done.status, done.json["status"]) == (200, "FULFILLED")
        again = await _post(gateway, order_id, "fulfill", token="somebody else")
        assert again.json == done.json
        assert await _owed(gateway) == []


async def test_plain_word_of_the_shop_is_enough(gateway: Any) -> None:
    async with _open_shop(gateway):
        order_id = await _paid_order(gateway)
        await _deliver(gateway)

        done = await _post(gateway, order_id, "fulfill")

        assert (done.status, done.json["status"]) == (200, "FULFILLED")


async def test_two_consumers_that_claim_at_once_get_it_once(gateway: Any) -> None:
    order_id = await _paid_order(gateway)

    answers = await asyncio.gather(
        *(_post(gateway, order_id, "fulfilment/claim") for _ in range(6))
    )

    assert sorted(answer.status for answer in answers) == [200, 409, 409, 409, 409, 409]
    won = next(answer.json for answer in answers if answer.status == 200)
    await gateway.simulator.control.advance(901)
    taken = await _post(gateway, order_id, "fulfilment/claim")
    assert taken.status == 200
    assert taken.json["token"] != won["token"]
    late = await _post(gateway, order_id, "fulfill", token=won["token"])
    assert (late.status, late.json["code"]) == (409, "fulfilment_claimed")


async def test_what_is_not_acknowledged_is_offered_again_under_the_same_id(gateway: Any) -> None:
    async with _open_shop(gateway) as shop:
        order_id = await _paid_order(gateway)
        await _deliver(gateway)
        control = gateway.simulator.control
        await control.advance(890)
        assert await offer_fulfilments(gateway.resources) == 0
        (owed,) = await _owed(gateway)
        assert owed["order_id"] == order_id
        assert owed["age_seconds"] >= 890
        assert owed["lease_until"] is not None

        await control.advance(20)
        before = len([e for e in await gateway.timeline(order_id) if "query" in e["summary"]])
        assert await offer_fulfilments(gateway.resources) == 1
        await _deliver(gateway)
        assert await offer_fulfilments(gateway.resources) == 0

        first, second = shop.paid
        assert first == second
        asked = [e for e in await gateway.timeline(order_id) if "query" in e["summary"]]
        assert len(asked) == before + 2  # the question, and its answer
        assert (await _owed(gateway))[0]["offers"] == 1
        await control.advance(3599)
        assert await offer_fulfilments(gateway.resources) == 0
        await control.advance(2)
        await offer_fulfilments(gateway.resources)
        await _deliver(gateway)
        assert len(shop.paid) == 3
        await _post(gateway, order_id, "fulfill")
        await control.advance(1_000_000)
        assert await offer_fulfilments(gateway.resources) == 0


async def test_nothing_is_offered_while_binance_is_away(gateway: Any) -> None:
    async with _open_shop(gateway) as shop:
        await _paid_order(gateway)
        await _deliver(gateway)
        control = gateway.simulator.control
        control.faults.add("http_5xx_before_effect", endpoint="/v2/order/query", times=None)
        await control.advance(910)
        await offer_fulfilments(gateway.resources)
        await _deliver(gateway)
        assert len(shop.paid) == 1

        control.faults.clear()
        await control.advance(310)
        await offer_fulfilments(gateway.resources)
        await _deliver(gateway)

        assert len(shop.paid) == 2


async def test_goods_are_not_offered_after_money_that_went_back_in_the_portal(
    gateway: Any,
) -> None:
    async with _open_shop(gateway) as shop:
        order_id = await _paid_order(gateway)
        await _deliver(gateway)
        gateway.simulator.control.refund(gateway.trade_numbers()[-1])
        await gateway.simulator.control.advance(910)

        for _ in range(3):
            await offer_fulfilments(gateway.resources)
            await _deliver(gateway)
            await gateway.simulator.control.advance(1000)

        assert len(shop.paid) == 1
        assert (await gateway.order(order_id))["anomalies"] == ["refunded_elsewhere"]
        claimed = await _post(gateway, order_id, "fulfilment/claim")
        assert (claimed.status, claimed.json["code"]) == (409, "refund_under_way")


async def test_what_is_left_after_a_refund_of_ours_is_offered_again(gateway: Any) -> None:
    async with _open_shop(gateway) as shop:
        order_id = await _paid_order(gateway)
        await _deliver(gateway)
        control = gateway.simulator.control
        await control.advance(901)
        wish = {"merchant_refund_id": "part", "amount": "2.00"}
        path = f"{ORDERS}/{order_id}/refunds"
        headers = {"idempotency-key": uuid4().hex}
        assert (await gateway.request("POST", path, body=wish, headers=headers)).status == 202
        for _ in range(20):
            for lease in await claim_due_refunds(gateway.resources, limit=5):
                await advance_refund(gateway.resources, lease=lease)
            await control.advance(1)
            if (await gateway.request("GET", path)).json["data"][0]["status"] == "SUCCEEDED":
                break
        assert (await gateway.order(order_id))["refunded_amount"] == "2.00"

        await control.advance(310)
        await offer_fulfilments(gateway.resources)
        await _deliver(gateway)

        assert len(shop.paid) == 2
        assert (await _owed(gateway))[0]["offers"] == 1


async def test_goods_do_not_leave_while_their_money_goes_back(gateway: Any) -> None:
    async with _open_shop(gateway) as shop:
        order_id = await _paid_order(gateway)
        shop.answer = 503
        await _deliver(gateway)
        assert len(shop.paid) == 1
        shop.answer = 204
        await _refund(gateway, order_id, RefundStatus.REQUESTED)
        await gateway.simulator.control.advance(400)
        await _deliver(gateway)
        assert len(shop.paid) == 1  # the late news waits

        for act in ("fulfill", "fulfilment/claim"):
            refused = await _post(gateway, order_id, act)
            assert (refused.status, refused.json["code"]) == (409, "refund_under_way"), act
        assert await offer_fulfilments(gateway.resources) == 0

        await _refund(gateway, order_id, RefundStatus.FAILED)
        await gateway.simulator.control.advance(901)
        await _deliver(gateway)
        assert len(shop.paid) == 2
        assert (await _post(gateway, order_id, "fulfill")).json["status"] == "FULFILLED"


async def test_endpoint_that_fulfils_by_taking_it_does_not_beside_a_refund(gateway: Any) -> None:
    async with _open_shop(gateway, fulfils=True) as shop:
        order_id = await _paid_order(gateway)
        await _refund(gateway, order_id, RefundStatus.REQUESTED)
        await _deliver(gateway)
        assert shop.paid == []
        assert (await gateway.order(order_id))["status"] == "PAID"

        await _refund(gateway, order_id, RefundStatus.FAILED)
        await gateway.simulator.control.advance(901)
        await _deliver(gateway)

        assert len(shop.paid) == 1
        assert (await gateway.order(order_id))["status"] == "FULFILLED"


async def test_refund_waits_for_goods_in_hand(gateway: Any) -> None:
    order_id = await _paid_order(gateway)
    now = gateway.resources.clock.now()
    case = await _case(gateway, order_id)
    refuse_refund_of_goods_in_hand(case, now=now)

    await _post(gateway, order_id, "fulfilment/claim")
    case = await _case(gateway, order_id)

    with pytest.raises(Conflict) as refused:
        refuse_refund_of_goods_in_hand(case, now=now)
    assert refused.value.code == "fulfilment_under_way"
    assert refused.value.facts["lease_until"] is not None
    refuse_refund_of_goods_in_hand(case, now=now, payment_id=uuid4())  # another payment's money
    await gateway.simulator.control.advance(901)
    refuse_refund_of_goods_in_hand(case, now=gateway.resources.clock.now())


async def test_shop_that_refuses_the_news_has_nothing_in_hand(gateway: Any) -> None:
    async with _open_shop(gateway) as shop:
        order_id = await _paid_order(gateway)
        shop.answer = 500
        await _deliver(gateway)
        assert len(shop.paid) == 1

        assert (await _post(gateway, order_id, "fulfilment/claim")).status == 200


async def test_refusal_of_a_repetition_lets_go_of_nothing_that_a_packer_has(gateway: Any) -> None:
    async with _open_shop(gateway) as shop:
        order_id = await _paid_order(gateway)
        await _deliver(gateway)
        (paid,) = shop.paid
        token = paid["data"]["fulfilment"]["token"]
        assert (await _post(gateway, order_id, "fulfilment/claim", token=token)).status == 200

        await gateway.request("POST", f"/api/events/{paid['id']}/redeliver")
        shop.answer = 503
        await _deliver(gateway)
        assert len(shop.paid) == 2

        other = await _post(gateway, order_id, "fulfilment/claim")
        assert (other.status, other.json["code"]) == (409, "fulfilment_claimed")


async def test_packer_who_claims_while_a_delivery_is_refused_keeps_the_goods(gateway: Any) -> None:
    async with _open_shop(gateway) as shop:
        order_id = await _paid_order(gateway)
        shop.answer = 503

        async def pack() -> None:
            await gateway.simulator.control.advance(1)
            token = shop.paid[0]["data"]["fulfilment"]["token"]
            assert (await _post(gateway, order_id, "fulfilment/claim", token=token)).status == 200

        shop.before_answer = pack
        await _deliver(gateway)

        assert (await _post(gateway, order_id, "fulfilment/claim")).status == 409


async def test_news_waits_while_another_consumer_has_the_goods(gateway: Any) -> None:
    async with _open_shop(gateway) as shop:
        order_id = await _paid_order(gateway)
        claimed = await _post(gateway, order_id, "fulfilment/claim")
        await _deliver(gateway)
        assert shop.paid == []

        await _post(gateway, order_id, "fulfill", token=claimed.json["token"])
        await gateway.simulator.control.advance(901)
        await _deliver(gateway)

        assert len(shop.paid) == 1  # the shop learns what is past
        assert [event["type"] for event in shop.told].count("order.fulfilled") == 1
