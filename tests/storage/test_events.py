"""Deliveries: each event to every endpoint, an order's one after the other, urgent ones ahead."""

import asyncio
import json
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from checkstand.domain.case import Decision
from checkstand.domain.endpoint import Endpoint
from checkstand.domain.order import OrderStatus
from checkstand.storage import endpoints, events
from checkstand.storage.database import Transaction
from checkstand.storage.events import Owed

_GOOD_DAY = ("PENDING_PAYMENT", "PAID", "FULFILLED")


async def _endpoint(store: Any, **changes: Any) -> Endpoint:
    fields: dict[str, Any] = {
        "account_id": store.account_id,
        "endpoint_id": uuid4(),
        "url": f"https://shop.example/{uuid4().hex}",
        "secret_ciphertext": b"sealed",
        "fulfil_on_delivery": False,
        "created_at": store.noon,
    }
    endpoint = Endpoint(**fields | changes)
    assert await store.run(endpoints.insert, endpoint)
    return endpoint


async def _tell(store: Any, *statuses: str) -> Any:
    """Write an order that went through these states, all at noon."""
    case = await store.write(store.order())
    decision = Decision.nothing(case)
    for status in statuses:
        decision = decision.move(
            OrderStatus(status), actor="person", reason="", reference=None, at=store.noon
        )
    await store.save(decision)
    return decision.case.order


async def _claim(
    store: Any, *, after: float = 0, limit: int = 10, owner: UUID | None = None
) -> list[Owed]:
    now = store.noon + timedelta(seconds=after)
    claimed: list[Owed] = await store.run(
        events.claim_due,
        owner=owner or uuid4(),
        now=now,
        until=now + timedelta(seconds=20),
        urgent_before=now - timedelta(seconds=60),
        limit=limit,
    )
    return claimed


async def _end(
    store: Any,
    owed: Owed,
    owner: UUID,
    status: str,
    *,
    due_after: float | None = None,
    lets_next_go: bool = False,
) -> bool:
    ended: bool = await store.run(
        events.end_try,
        owed,
        owner=owner,
        status=status,
        due_at=None if due_after is None else store.noon + timedelta(seconds=due_after),
        ended_at=None if due_after is not None else store.noon,
        lets_next_go=lets_next_go,
    )
    return ended


async def test_event_is_owed_to_every_endpoint_that_is_told_things(store: Any) -> None:
    first, second = await _endpoint(store), await _endpoint(store, fulfil_on_delivery=True)
    gone = await _endpoint(store)
    assert await store.run(endpoints.disable, store.account_id, gone.endpoint_id, now=store.noon)

    order = await _tell(store, "PENDING_PAYMENT")

    claimed = await _claim(store)
    assert {owed.endpoint_id for owed in claimed} == {first.endpoint_id, second.endpoint_id}
    assert {(owed.url, owed.fulfil_on_delivery) for owed in claimed} == {
        (first.url, False),
        (second.url, True),
    }
    for owed in claimed:
        assert (owed.order_id, owed.type, owed.tries) == (order.order_id, "order.pending", 1)
        assert owed.secret_ciphertext == b"sealed"
        body = json.loads(owed.body)
        assert body["id"] == str(owed.event_id)
        assert body["data"]["order"]["status"] == "PENDING_PAYMENT"


async def test_deliveries_of_one_order_go_one_after_the_other(store: Any) -> None:
    await _endpoint(store)
    await _tell(store, *_GOOD_DAY)
    told = []

    for _ in range(3):
        owner = uuid4()
        (owed,) = await _claim(store, owner=owner)
        assert await _claim(store) == []  # the next waits while this one is under way
        assert await _end(store, owed, owner, "delivered")
        told.append(owed.type)

    assert told == ["order.pending", "order.paid", "order.fulfilled"]
    assert await _claim(store) == []


async def test_deliveries_of_different_orders_and_endpoints_do_not_wait(store: Any) -> None:
    await _endpoint(store)
    await _endpoint(store)
    for _ in range(3):
        await _tell(store, "PENDING_PAYMENT", "PAID")

    claimed = await _claim(store)

    assert [owed.type for owed in claimed] == ["order.pending"] * 6


async def test_paid_overtakes_a_stuck_delivery_after_a_minute_and_others_do_not(
    store: Any,
) -> None:
    await _endpoint(store)
    await _tell(store, *_GOOD_DAY)
    owner = uuid4()
    (stuck,) = await _claim(store, owner=owner)
    await _end(store, stuck, owner, "pending", due_after=3600)

    assert await _claim(store, after=59) == []
    (overtaking,) = await _claim(store, after=60)

    assert overtaking.type == "order.paid"
    assert await _claim(store, after=61) == []  # order.fulfilled waits for both


async def test_delivery_the_shop_refused_lets_the_next_go(store: Any) -> None:
    await _endpoint(store)
    await _tell(store, "PENDING_PAYMENT", "CANCELED")
    owner = uuid4()
    (refused,) = await _claim(store, owner=owner)

    await _end(store, refused, owner, "pending", due_after=3600, lets_next_go=True)

    assert [owed.type for owed in await _claim(store)] == ["order.canceled"]


async def test_delivery_given_up_lets_the_next_go(store: Any) -> None:
    await _endpoint(store)
    await _tell(store, "PENDING_PAYMENT", "CANCELED")
    owner = uuid4()
    (hopeless,) = await _claim(store, owner=owner)

    await _end(store, hopeless, owner, "given_up")

    assert [owed.type for owed in await _claim(store)] == ["order.canceled"]


async def test_lease_that_ran_out_lets_another_try_and_the_late_end_counts_no_more(
    store: Any,
) -> None:
    await _endpoint(store)
    await _tell(store, "PENDING_PAYMENT")
    slow, quick = uuid4(), uuid4()
    (first,) = await _claim(store, owner=slow)
    assert await _claim(store, after=19.9) == []

    (second,) = await _claim(store, after=20, owner=quick)

    assert (second.event_id, second.tries) == (first.event_id, 2)
    assert not await _end(store, first, slow, "pending", due_after=3600)
    assert await _end(store, second, quick, "delivered")
    assert not await _end(store, second, quick, "given_up")


async def test_two_senders_at_once_share_what_is_owed(store: Any, gate: Any) -> None:
    await _endpoint(store)
    for _ in range(5):
        await _tell(store, "PENDING_PAYMENT")

    async def claim_and_hold(tx: Transaction) -> list[Owed]:
        claimed = await events.claim_due(
            tx,
            owner=uuid4(),
            now=store.noon,
            until=store.noon + timedelta(seconds=20),
            urgent_before=store.noon,
            limit=3,
        )
        await gate.pass_through()
        return claimed

    slow = asyncio.create_task(store.database.run(claim_and_hold, name="slow"))
    await gate.reached.wait()
    async with asyncio.timeout(10):
        quick = await _claim(store, limit=3)
    gate.opened.set()
    held = await slow

    ids = [owed.event_id for owed in (*held, *quick)]
    assert (len(held), len(quick)) == (3, 2)
    assert len(set(ids)) == 5


async def test_earlier_delivery_just_being_claimed_keeps_the_later_one_back(
    store: Any, gate: Any
) -> None:
    """The claim is not committed yet: the other sender must not take what comes after it."""
    await _endpoint(store)
    await _tell(store, "PENDING_PAYMENT", "CANCELED")

    async def claim_and_hold(tx: Transaction) -> list[Owed]:
        claimed = await events.claim_due(
            tx,
            owner=uuid4(),
            now=store.noon,
            until=store.noon + timedelta(seconds=20),
            urgent_before=store.noon - timedelta(seconds=60),
            limit=3,
        )
        await gate.pass_through()
        return claimed

    slow = asyncio.create_task(store.database.run(claim_and_hold, name="slow"))
    await gate.reached.wait()
    async with asyncio.timeout(10):
        quick = await _claim(store)
    gate.opened.set()

    assert [owed.type for owed in await slow] == ["order.pending"]
    assert quick == []


async def test_each_sending_is_written_once(store: Any) -> None:
    await _endpoint(store)
    await _tell(store, "PENDING_PAYMENT")
    (owed,) = await _claim(store)

    for summary in ("answered 500", "the same, written again after a lost commit"):
        await store.run(events.record_try, owed, at=store.noon, status_code=500, summary=summary)

    rows = await store.sql("SELECT number, status_code, summary FROM delivery_tries")
    assert [tuple(row) for row in rows] == [(1, 500, "answered 500")]


async def test_event_is_sent_again_on_request(store: Any, other_account: Any) -> None:
    await _endpoint(store)
    await _tell(store, "PENDING_PAYMENT")
    owner = uuid4()
    (owed,) = await _claim(store, owner=owner)
    await _end(store, owed, owner, "delivered")
    assert await _claim(store) == []

    assert not await store.run(events.redeliver, other_account, owed.event_id, now=store.noon)
    assert not await store.run(events.redeliver, store.account_id, uuid4(), now=store.noon)
    assert await store.run(events.redeliver, store.account_id, owed.event_id, now=store.noon)

    (again,) = await _claim(store)
    assert (again.event_id, again.body, again.tries) == (owed.event_id, owed.body, 2)


async def test_address_is_registered_once_and_free_again_when_it_is_disabled(store: Any) -> None:
    endpoint = await _endpoint(store)
    again = Endpoint(
        account_id=store.account_id,
        endpoint_id=uuid4(),
        url=endpoint.url,
        secret_ciphertext=b"other",
        fulfil_on_delivery=False,
        created_at=store.noon,
    )
    assert not await store.run(endpoints.insert, again)

    disable = (endpoints.disable, store.account_id, endpoint.endpoint_id)
    assert await store.run(*disable, now=store.noon)
    assert not await store.run(*disable, now=store.noon)

    assert await store.run(endpoints.insert, again)
    assert await store.run(endpoints.list_enabled, store.account_id) == [again]


async def test_other_account_s_endpoint_hears_nothing(store: Any, other_account: Any) -> None:
    await _endpoint(store, account_id=other_account)

    await _tell(store, "PENDING_PAYMENT")

    assert await _claim(store) == []
