"""Notices are stored once, whoever brings them, and none that can be used is left lying."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from checkstand.domain.attempt import AttemptStatus
from checkstand.storage import notices
from checkstand.storage.database import Transaction
from checkstand.storage.notices import NoticeMark, NoticeOutcome, StoredNotice


def _notice(store: Any, name: str, **changes: Any) -> StoredNotice:
    fields: dict[str, Any] = {
        "account_id": store.account_id,
        "notice_id": uuid4(),
        "fingerprint": name.encode(),
        "biz_type": "PAY",
        "biz_id": "290000000000000001",
        "biz_status": "PAY_SUCCESS",
        "serial": "serial",
        "signed_at": store.noon,
        "received_at": store.noon,
        "own_path": True,
        "raw": b"\x00\xff not even text",
    }
    return StoredNotice(**fields | changes)


def _only_stored(*batch: StoredNotice) -> list[tuple[StoredNotice, NoticeMark]]:
    return [(notice, notices.only_stored(notice, "not looked at")) for notice in batch]


async def _insert(store: Any, *batch: StoredNotice) -> set[UUID]:
    fresh: set[UUID] = await store.run(notices.insert_once, _only_stored(*batch))
    return fresh


async def _mark(store: Any, notice: StoredNotice, outcome: NoticeOutcome) -> None:
    mark = NoticeMark(
        account_id=notice.account_id,
        notice_id=notice.notice_id,
        outcome=outcome,
        explanation="because",
        order_id=uuid4(),
        attempt_id=uuid4(),
    )
    await store.run(notices.mark, [mark], now=store.noon)


async def _due(store: Any, *, limit: int = 10) -> list[StoredNotice]:
    found: list[StoredNotice] = await store.run(
        notices.list_due,
        received_after=store.noon - timedelta(days=7),
        orphans_after=store.noon - timedelta(hours=2),
        limit=limit,
    )
    return found


async def _orphans(store: Any, *, limit: int = 10) -> list[StoredNotice]:
    found: list[StoredNotice] = await store.run(
        notices.list_orphans, received_after=store.noon - timedelta(days=7), limit=limit
    )
    return found


async def test_notice_comes_back_byte_for_byte(store: Any) -> None:
    notice = _notice(store, "one")

    assert await _insert(store, notice) == {notice.notice_id}

    assert await _due(store) == [notice]


async def test_the_same_notice_twice_is_stored_once(store: Any) -> None:
    first, again, other = (_notice(store, name) for name in ("one", "one", "two"))

    fresh = await _insert(store, first, again, other)

    assert len(fresh & {first.notice_id, again.notice_id}) == 1
    assert other.notice_id in fresh
    assert await _insert(store, _notice(store, "one"), _notice(store, "two")) == set()


async def test_two_accounts_may_hear_the_same(store: Any, other_account: Any) -> None:
    mine = _notice(store, "one")

    assert len(await _insert(store, mine, _notice(store, "one", account_id=other_account))) == 2


async def test_groups_that_bring_the_same_in_crossed_order_wait_and_do_not_deadlock(
    store: Any, gate: Any
) -> None:
    """Both are stopped at one notice in the middle, with the rest of each still before it."""
    names = ["a", "b", "middle", "y", "z"]
    tries: list[int] = []

    async def hold_the_middle(tx: Transaction) -> None:
        await notices.insert_once(tx, _only_stored(_notice(store, "middle")))
        await gate.pass_through()

    async def bring(order: list[str]) -> set[UUID]:
        batch = [_notice(store, name) for name in order]

        async def step(tx: Transaction) -> set[UUID]:
            tries.append(1)
            return await notices.insert_once(tx, _only_stored(*batch))

        return set(await store.database.run(step, name="bring"))

    holding = asyncio.create_task(store.database.run(hold_the_middle, name="hold"))
    await gate.reached.wait()
    groups = [asyncio.create_task(bring(order)) for order in (names, names[::-1])]
    await store.until_somebody_waits(count=2)
    gate.opened.set()
    async with asyncio.timeout(30):
        await holding
        fresh = await asyncio.gather(*groups)

    assert sorted(map(len, fresh)) == [0, 4]
    assert len(tries) == 2  # nobody was sacrificed and ran again


async def test_group_waits_for_a_notice_that_is_just_being_stored(store: Any, gate: Any) -> None:
    """Whether it was there before is known when the other commits, and not sooner."""
    first = _notice(store, "one")

    async def insert_and_hold(tx: Transaction) -> None:
        await notices.insert_once(tx, _only_stored(first))
        await gate.pass_through()
        raise LookupError("rolled back")

    holding = asyncio.create_task(store.database.run(insert_and_hold, name="first"))
    await gate.reached.wait()
    again = _notice(store, "one")
    waiting = asyncio.create_task(_insert(store, again))
    await store.until_somebody_waits()
    gate.opened.set()

    with pytest.raises(LookupError):
        await holding
    assert await waiting == {again.notice_id}


@pytest.mark.parametrize("outcome", NoticeOutcome)
async def test_what_was_used_is_not_tried_again(store: Any, outcome: NoticeOutcome) -> None:
    notice = _notice(store, "one")
    await _insert(store, notice)
    await _mark(store, notice, outcome)

    assert await _due(store) == ([notice] if outcome is NoticeOutcome.STORED else [])
    orphans = await _orphans(store)
    assert orphans == ([notice] if outcome is NoticeOutcome.ORPHAN else [])
    (row,) = await store.sql("SELECT outcome, explanation, order_id, matched_at FROM notices")
    assert (row["outcome"], row["explanation"]) == (outcome, "because")
    assert row["order_id"] is not None
    assert row["matched_at"] == store.noon


async def test_match_is_dated_once_and_no_match_never(store: Any) -> None:
    orphan = _notice(store, "orphan")
    await _insert(store, orphan)
    nobodys = NoticeMark(
        account_id=store.account_id,
        notice_id=orphan.notice_id,
        outcome=NoticeOutcome.ORPHAN,
        explanation="no attempt of ours fits",
    )
    await store.run(notices.mark, [nobodys], now=store.noon)
    (unmatched,) = await store.sql("SELECT matched_at FROM notices")
    await _mark(store, orphan, NoticeOutcome.APPLIED)
    later = replace(nobodys, outcome=NoticeOutcome.APPLIED, order_id=uuid4(), attempt_id=uuid4())
    await store.run(notices.mark, [later], now=store.noon + timedelta(hours=1))

    (matched,) = await store.sql("SELECT matched_at FROM notices")

    assert (unmatched["matched_at"], matched["matched_at"]) == (None, store.noon)


async def test_old_orphans_are_left_to_a_person(store: Any) -> None:
    await _insert(store, _notice(store, "old", received_at=store.noon - timedelta(days=8)))

    assert await _due(store) == []


async def test_notices_nobody_knows_do_not_hide_one_that_can_be_used(store: Any) -> None:
    """Another shop on the same merchant account: its notices are orphans here, by the hundred."""
    orphans = [
        _notice(store, f"orphan {number}", received_at=store.noon + timedelta(seconds=number))
        for number in range(5)
    ]
    stored = _notice(store, "stored", received_at=store.noon + timedelta(seconds=3))
    await _insert(store, *orphans, stored)
    for orphan in orphans:
        await _mark(store, orphan, NoticeOutcome.ORPHAN)

    assert await _due(store, limit=3) == [stored]
    # What came last may just have its order.
    found = await _orphans(store, limit=2)
    assert [n.fingerprint for n in found] == [b"orphan 4", b"orphan 3"]


async def test_orphan_is_due_once_an_attempt_has_its_id(store: Any, other_account: Any) -> None:
    theirs = _notice(store, "theirs", biz_id="31", account_id=other_account)
    mine, other = _notice(store, "mine", biz_id="31"), _notice(store, "other", biz_id="32")
    payout = _notice(store, "payout", biz_id="31", biz_type="PAYOUT")
    early = _notice(store, "early", biz_id="31", received_at=store.noon - timedelta(hours=3))
    await _insert(store, mine, other, theirs, payout, early)
    for orphan in (mine, other, theirs, payout, early):
        await _mark(store, orphan, NoticeOutcome.ORPHAN)
    assert await _due(store) == []

    order = store.order()
    await store.write(order, store.attempt(order, status=AttemptStatus.OPEN, prepay_id="31"))

    assert await _due(store) == [mine]


async def test_known_notice_is_found_by_account_and_fingerprint(
    store: Any, other_account: Any
) -> None:
    notice = _notice(store, "one", own_path=False)
    await _insert(store, notice, _notice(store, "one", account_id=other_account))
    await _mark(store, notice, NoticeOutcome.HINT)
    key = (store.account_id, b"one")

    known = await store.run(notices.find_known, [key, (store.account_id, b"two")])

    assert set(known) == {key}
    assert (known[key].notice_id, known[key].own_path) == (notice.notice_id, False)
    assert known[key].outcome is NoticeOutcome.HINT


async def test_text_that_postgresql_cannot_hold_is_refused_alone(store: Any) -> None:
    odd = replace(_notice(store, "odd"), biz_status="with \x00 in it")

    with pytest.raises(asyncpg.DataError):
        await _insert(store, _notice(store, "fine"), odd)

    assert await _due(store) == []
