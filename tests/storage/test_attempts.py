"""The claim of due attempts: each once, under a lease, whoever else is at it."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from checkstand.domain.attempt import AttemptStatus
from checkstand.storage import accounts, attempts, cases
from checkstand.storage.database import Database, Transaction


async def _write(store: Any, count: int = 1, **changes: Any) -> list[Any]:
    """Write orders with an attempt each, due a second after each other from noon on."""
    written = []
    for number in range(count):
        order = store.order()
        due = {"due_at": store.noon + timedelta(seconds=number)} | changes
        case = await store.write(order, store.attempt(order, **due))
        written.append(case.attempts[0])
    return written


def _claim(store: Any, *, after: float = 100, limit: int = 10) -> Any:
    now = store.noon + timedelta(seconds=after)
    return store.run(
        attempts.claim_due,
        owner=uuid4(),
        now=now,
        until=now + timedelta(seconds=15),
        limit=limit,
    )


def _ids(claimed: Any) -> set[Any]:
    return {attempt_id for _, _, attempt_id in claimed}


async def test_due_attempt_is_claimed_with_its_order_and_lease(store: Any) -> None:
    (attempt,) = await _write(store)

    claimed = await _claim(store)

    assert claimed == [(attempt.account_id, attempt.order_id, attempt.attempt_id)]
    (row,) = await store.sql("SELECT lease_owner, lease_until FROM attempts")
    assert row["lease_owner"] is not None
    assert row["lease_until"] == store.noon + timedelta(seconds=115)


async def test_attempt_is_not_claimed_before_its_time_or_when_it_has_none(store: Any) -> None:
    await _write(store, due_at=store.noon + timedelta(seconds=100, microseconds=1))
    await _write(store, due_at=None)

    assert await _claim(store, after=100) == []


async def test_longest_due_are_claimed_first_and_no_more_than_asked_for(store: Any) -> None:
    written = await _write(store, 7)

    first = await _claim(store, limit=3)
    second = await _claim(store, limit=3)
    third = await _claim(store, limit=3)

    assert _ids(first) == {attempt.attempt_id for attempt in written[:3]}
    assert _ids(second) == {attempt.attempt_id for attempt in written[3:6]}
    assert _ids(third) == {written[6].attempt_id}


async def test_lease_keeps_others_off_until_it_runs_out(store: Any) -> None:
    await _write(store)
    assert await _claim(store, after=100)

    assert await _claim(store, after=114.9) == []
    assert len(await _claim(store, after=115)) == 1


async def test_two_workers_at_once_share_what_is_due_and_wait_for_nobody(
    store: Any, gate: Any
) -> None:
    written = await _write(store, 6)

    async def claim_and_hold(tx: Transaction) -> Any:
        now = store.noon + timedelta(seconds=100)
        claimed = await attempts.claim_due(
            tx, owner=uuid4(), now=now, until=now + timedelta(seconds=15), limit=4
        )
        await gate.pass_through()
        return claimed

    slow = asyncio.create_task(store.database.run(claim_and_hold, name="slow"))
    await gate.reached.wait()
    async with asyncio.timeout(10):
        quick = await _claim(store, limit=4)
    gate.opened.set()
    held = await slow

    assert (len(held), len(quick)) == (4, 2)
    assert _ids(held) | _ids(quick) == {attempt.attempt_id for attempt in written}


async def test_attempt_whose_order_somebody_is_deciding_is_left_for_later(
    store: Any, gate: Any
) -> None:
    (attempt,) = await _write(store)

    async def hold(tx: Transaction) -> None:
        await cases.lock(tx, [(attempt.account_id, attempt.order_id)])
        await gate.pass_through()

    holding = asyncio.create_task(store.database.run(hold, name="hold"))
    await gate.reached.wait()
    async with asyncio.timeout(10):
        assert await _claim(store) == []
    gate.opened.set()
    await holding

    assert len(await _claim(store)) == 1


async def test_halted_account_s_attempts_rest_and_others_go_on(
    store: Any, other_account: Any
) -> None:
    await _write(store)
    (credential,) = await store.sql(
        "SELECT credential_id FROM credentials WHERE account_id = $1", other_account
    )
    order = store.order(account_id=other_account)
    attempt = store.attempt(order, credential_id=credential["credential_id"])
    await store.write(order, attempt)

    assert await store.run(accounts.halt, store.account_id, reason="the wrong key", now=store.noon)
    assert not await store.run(accounts.halt, store.account_id, reason="again", now=store.noon)

    assert await _claim(store) == [(other_account, order.order_id, attempt.attempt_id)]


def _ask(store: Any, attempt: Any, *, after: float) -> Any:
    now = store.noon + timedelta(seconds=after)
    return store.run(
        attempts.make_due,
        attempt.account_id,
        attempt.order_id,
        now=now,
        last_before=now - timedelta(seconds=5),
    )


async def test_shoppers_who_say_they_paid_make_it_due_once_in_five_seconds(store: Any) -> None:
    later = store.noon + timedelta(hours=1)
    (attempt,) = await _write(store, status=AttemptStatus.OPEN, due_at=later)

    assert await _ask(store, attempt, after=10)
    assert not await _ask(store, attempt, after=14)
    assert await _ask(store, attempt, after=15)

    (row,) = await store.sql("SELECT due_at, hinted_at FROM attempts")
    assert row["due_at"] == store.noon + timedelta(seconds=10)  # earlier stays earlier
    assert row["hinted_at"] == store.noon + timedelta(seconds=15)


@pytest.mark.parametrize("status", AttemptStatus)
async def test_only_an_attempt_that_binance_may_know_is_asked_about(
    store: Any, status: AttemptStatus
) -> None:
    (attempt,) = await _write(store, status=status)

    asked = await _ask(store, attempt, after=10)

    unknown_there = {
        AttemptStatus.PREPARED,
        AttemptStatus.REJECTED,
        AttemptStatus.NEVER_EXISTED,
    }
    assert asked == (status not in unknown_there | {AttemptStatus.PAID})


def _lease(store: Any, order: Any, *, after: float = 0) -> Any:
    now = store.noon + timedelta(seconds=after)
    return store.run(
        attempts.take_lease,
        order.account_id,
        order.order_id,
        owner=uuid4(),
        now=now,
        until=now + timedelta(seconds=15),
    )


async def test_lease_on_an_order_is_for_its_newest_attempt_and_for_one_alone(store: Any) -> None:
    order = store.order()
    old = store.attempt(order, status=AttemptStatus.CLOSED)
    new = store.attempt(order, number=2, status=AttemptStatus.OPEN)
    await store.write(order, old, new)

    async with asyncio.timeout(10):
        taken = await asyncio.gather(*(_lease(store, order) for _ in range(5)))

    assert sorted(taken, key=str) == sorted([new.attempt_id, *[None] * 4], key=str)
    assert await _lease(store, order, after=15) == new.attempt_id


async def test_attempt_found_by_either_number_is_the_account_s_own(
    store: Any, other_account: Any
) -> None:
    (attempt,) = await _write(store, prepay_id="29", status=AttemptStatus.OPEN)
    number = attempt.merchant_trade_no

    async def find(**names: Any) -> list[Any]:
        wanted = {"prepay_ids": [], "trade_numbers": []} | names
        return [n.attempt_id for n in await store.run(attempts.find_named, **wanted)]

    by_id = [(store.account_id, "29"), (other_account, "29"), (store.account_id, "30")]
    assert await find(prepay_ids=by_id) == [attempt.attempt_id]
    by_number = [(store.account_id, number), (other_account, number)]
    assert await find(trade_numbers=by_number) == [attempt.attempt_id]
    assert await find() == []


async def test_drawn_code_is_kept_through_changes_of_its_attempt(store: Any) -> None:
    (attempt,) = await _write(store)
    key = (attempt.account_id, attempt.attempt_id)
    assert await store.run(attempts.find_qr, *key) is None

    await store.run(attempts.store_qr, *key, "<svg/>")
    await _claim(store)

    assert await store.run(attempts.find_qr, *key) == "<svg/>"


async def test_claim_keeps_to_its_limit_however_it_is_planned(store: Any) -> None:
    await _write(store, 7)
    # What a planner with stale statistics may choose: one run of a subquery for each row.
    url = f"{store.url}&enable_hashagg=off&enable_hashjoin=off&enable_mergejoin=off"
    url += "&enable_sort=off&enable_material=off&enable_indexscan=off&enable_bitmapscan=off"

    async with await Database.open(url) as database:
        claimed = await _claim(replace(store, database=database), limit=3)

    assert len(claimed) == 3
