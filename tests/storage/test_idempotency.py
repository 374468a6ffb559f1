"""One answer to one request, however often and wherever it arrives."""

import asyncio
import contextlib
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

from checkstand.storage import idempotency
from checkstand.storage.database import STATEMENTS, Transaction
from checkstand.storage.idempotency import Claim, ClaimOutcome, KeyedRequest


def _request(store: Any, **changes: Any) -> KeyedRequest:
    fields: dict[str, Any] = {
        "account_id": store.account_id,
        "route": "create",
        "key": "key-1",
        "request_hash": b"hash",
        "owner": uuid4(),
    }
    return KeyedRequest(**fields | changes)


async def _claim(store: Any, request: KeyedRequest, *, after: float = 0) -> Claim:
    now = store.noon + timedelta(seconds=after)
    claim: Claim = await store.run(
        idempotency.claim, request, now=now, until=now + timedelta(seconds=30)
    )
    return claim


async def _finish(store: Any, request: KeyedRequest, answer: str = "{}") -> None:
    await store.run(idempotency.finish, request, status=201, answer=answer)


async def test_new_key_is_ours(store: Any) -> None:
    claim = await _claim(store, _request(store))

    assert claim == Claim(outcome=ClaimOutcome.OURS)


async def test_key_that_somebody_is_at_is_running_until_the_lease_is_over(store: Any) -> None:
    await _claim(store, _request(store))

    running = await _claim(store, _request(store), after=29.9)
    assert running.outcome is ClaimOutcome.RUNNING
    assert running.lease_until == store.noon + timedelta(seconds=30)

    assert (await _claim(store, _request(store), after=30)).outcome is ClaimOutcome.OURS


async def test_successor_is_told_which_order_its_predecessor_made(store: Any) -> None:
    dead, order_id = _request(store), uuid4()
    await _claim(store, dead)
    await store.run(idempotency.concern, dead, order_id)

    taken = await _claim(store, _request(store), after=30)

    assert (taken.outcome, taken.order_id) == (ClaimOutcome.OURS, order_id)


async def test_step_that_runs_again_finds_its_own_lease(store: Any) -> None:
    request = _request(store)
    await _claim(store, request)

    assert (await _claim(store, request, after=1)).outcome is ClaimOutcome.OURS


async def test_answer_is_kept_word_for_word(store: Any) -> None:
    request, order_id = _request(store), uuid4()
    answer = '{"b": "12.50", "a": "Thé ☕"}'
    await _claim(store, request)
    await store.run(idempotency.concern, request, order_id)
    await _finish(store, request, answer)

    replayed = await _claim(store, _request(store), after=10**6)

    assert replayed == Claim(
        outcome=ClaimOutcome.FINISHED, order_id=order_id, answer_status=201, answer=answer
    )


async def test_key_used_for_another_request_is_reused_running_or_not(store: Any) -> None:
    request = _request(store)
    other = _request(store, request_hash=b"another")
    await _claim(store, request)

    assert (await _claim(store, other)).outcome is ClaimOutcome.REUSED
    assert (await _claim(store, other, after=100)).outcome is ClaimOutcome.REUSED
    await _finish(store, request)
    assert (await _claim(store, other)).outcome is ClaimOutcome.REUSED


async def test_keys_of_other_routes_and_accounts_are_other_keys(
    store: Any, other_account: Any
) -> None:
    await _claim(store, _request(store))

    for other in (
        _request(store, route="renew"),
        _request(store, account_id=other_account),
        _request(store, key="KEY-1"),
        _request(store, key="key-1 "),
    ):
        assert (await _claim(store, other)).outcome is ClaimOutcome.OURS


async def test_late_holder_cannot_overwrite_its_successor_s_answer(store: Any) -> None:
    late, successor = _request(store), _request(store)
    await _claim(store, late)
    await _claim(store, successor, after=30)
    await _finish(store, late, "late")
    assert (await _claim(store, _request(store), after=31)).outcome is ClaimOutcome.RUNNING

    await _finish(store, successor, "right")
    await _finish(store, late, "later still")

    assert (await _claim(store, _request(store), after=32)).answer == "right"


async def test_of_two_at_once_one_goes_on_and_the_other_sees_what_it_did(
    store: Any, gate: Any
) -> None:
    first, order_id = _request(store), uuid4()

    async def claim_and_hold(tx: Transaction) -> Claim:
        claim = await idempotency.claim(
            tx, first, now=store.noon, until=store.noon + timedelta(seconds=30)
        )
        await idempotency.concern(tx, first, order_id)
        await gate.pass_through()
        return claim

    holding = asyncio.create_task(store.database.run(claim_and_hold, name="first"))
    await gate.reached.wait()
    waiting = asyncio.create_task(_claim(store, _request(store)))
    await store.until_somebody_waits()  # for the first one's row
    assert not waiting.done()
    gate.opened.set()

    assert (await holding).outcome is ClaimOutcome.OURS
    second = await waiting
    assert (second.outcome, second.order_id) == (ClaimOutcome.RUNNING, order_id)


async def test_of_many_at_once_exactly_one_goes_on(store: Any) -> None:
    claims = await asyncio.gather(*(_claim(store, _request(store)) for _ in range(8)))

    outcomes = [claim.outcome for claim in claims]
    assert outcomes.count(ClaimOutcome.OURS) == 1
    assert outcomes.count(ClaimOutcome.RUNNING) == 7


async def test_of_two_that_find_a_dead_holder_one_takes_over(store: Any, gate: Any) -> None:
    """Both have seen that the key is there before either has taken it."""
    dead = _request(store)
    await _claim(store, dead)
    lock = STATEMENTS["idempotency_keys.lock"]

    async def hold(tx: Transaction) -> None:
        await tx.row(lock, dead.account_id, dead.route, dead.key)
        await gate.pass_through()

    holding = asyncio.create_task(store.database.run(hold, name="hold"))
    await gate.reached.wait()
    both = [asyncio.create_task(_claim(store, _request(store), after=60)) for _ in range(2)]
    await store.until_somebody_waits(count=2)
    gate.opened.set()
    await holding

    outcomes = sorted(claim.outcome for claim in await asyncio.gather(*both))
    assert outcomes == [ClaimOutcome.OURS, ClaimOutcome.RUNNING]


async def test_holder_that_goes_away_before_it_commits_leaves_the_key_free(store: Any) -> None:
    request = _request(store)

    async def claim_and_fail(tx: Transaction) -> None:
        await idempotency.claim(tx, request, now=store.noon, until=store.noon)
        raise LookupError("no")

    with contextlib.suppress(LookupError):
        await store.database.run(claim_and_fail, name="fail")

    assert (await _claim(store, _request(store))).outcome is ClaimOutcome.OURS


async def test_old_keys_are_forgotten_oldest_first(store: Any) -> None:
    for number in range(4):
        await _claim(store, _request(store, key=f"key-{number}"), after=number)

    async def prune(limit: int) -> int:
        before = store.noon + timedelta(seconds=3)
        pruned: int = await store.run(idempotency.prune, before=before, limit=limit)
        return pruned

    assert [await prune(2), await prune(2), await prune(2)] == [2, 1, 0]
    rows = await store.sql("SELECT key FROM idempotency_keys")
    assert [row["key"] for row in rows] == ["key-3"]
    assert (await _claim(store, replace(_request(store), key="key-0"))).outcome is ClaimOutcome.OURS
