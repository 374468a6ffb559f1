"""A closed day never changes; what is learnt of it later is booked once, and never lost."""

import asyncio
import hashlib
import json
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from checkstand.domain.retention import Kept
from checkstand.errors import Conflict, Refused
from checkstand.operations.close_day import close_day, verify_summary
from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID
from checkstand.operations.prune_records import count_prunable
from checkstand.operations.recover import begin_recovery
from checkstand.queries.verify_ledger import verify_ledger
from tests.operations import test_reconcile_days as shop
from tests.operations.test_reconcile_days import DAY, Books

books = shop.books


async def _close(books: Books, day: date) -> dict[str, Any]:
    closed = await close_day(books.resources, account_id=DEFAULT_ACCOUNT_ID, day=day, by="Ada")
    return verify_summary(books.resources.vault, closed.document)


async def _booked_late(books: Books, day: date) -> dict[str, tuple[str, str]]:
    """Close a day and return what it books of others: day and amount, by kind."""
    late = (await _close(books, day))["booked_late"]
    assert all(each["fees_unknown"] == 0 for each in late if "fee" in each["kind"])
    return {each["kind"]: (each["belongs_to"], each["amount"]) for each in late}


async def test_fee_that_changes_after_its_day_was_closed_is_booked_as_the_difference(
    books: Books,
) -> None:
    await _close(books, books.day)
    await books.sql("UPDATE payments SET fee = 0.2")
    assert await _booked_late(books, books.day + DAY) == {"fee_corrected": ("2031-01-11", "0.075")}

    await books.gateway.simulator.control.advance(86_400)
    await books.sql("UPDATE payments SET fee = 0.1")

    assert await _booked_late(books, books.day + 2 * DAY) == {
        "fee_corrected": ("2031-01-11", "-0.1")
    }
    await books.gateway.simulator.control.advance(86_400)
    assert await _booked_late(books, books.day + 3 * DAY) == {}


async def test_late_fee_that_changes_once_more_is_booked_once_more(books: Books) -> None:
    await books.sql("UPDATE payments SET fee = NULL")
    await _close(books, books.day)
    await books.sql("UPDATE payments SET fee = 0.125")
    assert await _booked_late(books, books.day + DAY) == {"fee": ("2031-01-11", "0.125")}
    await books.sql("UPDATE payments SET fee = 0.2")
    await books.gateway.simulator.control.advance(86_400)

    late = await _booked_late(books, books.day + 2 * DAY)

    assert late == {"fee_corrected": ("2031-01-11", "0.075")}


async def test_refund_whose_figures_change_is_booked_by_the_differences(books: Books) -> None:
    await shop._refund(books, fee_returned=None)
    await _close(books, books.day)
    await books.sql("UPDATE refunds SET returned = 4.5, fee_returned = 0.05")
    assert await _booked_late(books, books.day + DAY) == {
        "refund_corrected": ("2031-01-11", "-0.5"),
        "fee_returned": ("2031-01-11", "0.05"),
    }
    await books.sql("UPDATE refunds SET fee_returned = 0.04")
    await books.gateway.simulator.control.advance(86_400)

    late = await _booked_late(books, books.day + 2 * DAY)

    assert late == {"fee_return_corrected": ("2031-01-11", "-0.01")}


async def test_summaries_of_all_days_add_up_to_the_facts_as_they_stand(books: Books) -> None:
    """Whatever changed in between, and whichever day was closed first."""
    await shop._refund(books)
    await _close(books, books.day + DAY)
    for day, fee in ((books.day, "0.3"), (books.day - DAY, "0.01"), (books.day - 2 * DAY, "0.7")):
        await books.sql("UPDATE payments SET fee = $1::text::numeric", fee)
        await books.sql("UPDATE refunds SET returned = $1::text::numeric + 3", fee)
        await _close(books, day)

    rows = await books.sql("SELECT kind, amount, fee FROM closed_facts")

    fees = [row["fee"] for row in rows if row["kind"] == "payment"]
    fees += [row["amount"] for row in rows if row["kind"] in {"fee", "fee_corrected"}]
    refunded = [row["amount"] for row in rows if row["kind"] in {"refund", "refund_corrected"}]
    assert (sum(fees), sum(refunded)) == (Decimal("0.7"), Decimal("3.7"))


async def test_days_closed_at_once_follow_one_another(books: Books) -> None:
    """Neither names the same summary as the one before, nor books the same fact."""
    days = [books.day + n * DAY for n in (-3, -2, -1, 0)]
    await books.sql("UPDATE payments SET fee = NULL")
    await _close(books, books.day + DAY)
    await books.sql("UPDATE payments SET fee = 0.125")

    await asyncio.gather(*(_close(books, day) for day in days))

    rows = await books.sql("SELECT document FROM closed_days ORDER BY number")
    hashes = [hashlib.sha256(row["document"].encode()).hexdigest() for row in rows]
    named = [json.loads(row["document"])["summary"]["previous"] for row in rows]
    assert named == [None, *hashes[:-1]]
    facts = await books.sql("SELECT kind FROM closed_facts")
    assert sorted(row["kind"] for row in facts) == ["payment"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("UPDATE closed_days SET document = document || ' ' WHERE number = 1", "day_chain_broken"),
        ("UPDATE closed_days SET number = number + 1 WHERE number = 2", "day_chain_broken"),
        ("DELETE FROM closed_days WHERE number = 1", "day_chain_broken"),
        ("UPDATE closed_days SET document = 'x' WHERE number = 2", "day_unreadable"),
    ],
)
async def test_chain_of_summaries_is_verified_with_the_books(
    books: Books, change: str, says: str
) -> None:
    for n in (-1, 0, 1):
        await _close(books, books.day + n * DAY)
    database, now = books.resources.database, books.resources.clock.now()
    verdict = await verify_ledger(database, now=now)
    assert [flaw.kind for flaw in verdict.flaws if "day" in flaw.kind] == []
    assert verdict.days == 3

    if "number + 1" in change:
        await books.sql("UPDATE closed_days SET number = 9 WHERE number = 3")
    await books.sql(change)

    verdict = await verify_ledger(database, now=now)
    assert says in {flaw.kind for flaw in verdict.flaws}


async def test_day_before_anything_happened_is_not_closed(books: Books) -> None:
    with pytest.raises(Refused, match="the first day that can be closed is") as caught:
        await _close(books, date(2019, 1, 31))

    assert caught.value.code == "day_before_first"
    answer = await books.gateway.request("POST", "/api/reconciliation/days/2019-01-31/close")
    assert (answer.status, answer.json["code"]) == (409, "day_before_first")


async def test_day_that_was_closed_by_a_slip_long_ago_keeps_nothing_for_ever(
    books: Books,
) -> None:
    """As an older version let it happen: raw bodies go by their age again."""
    await books.sql(
        "INSERT INTO closed_days (account_id, day, closed_at, closed_by, document, number)"
        " VALUES ($1, '2019-01-31', $2, 'typo', '{}', 1)",
        DEFAULT_ACCOUNT_ID,
        books.resources.clock.now(),
    )
    await books.gateway.simulator.control.advance(int(timedelta(days=300).total_seconds()))

    assert (await count_prunable(books.resources))[Kept.NOTICES] == 1


async def test_no_day_is_closed_while_a_restored_database_is_still_learning(
    books: Books,
) -> None:
    resources = books.resources
    await begin_recovery(
        resources.database,
        account_id=DEFAULT_ACCOUNT_ID,
        cause="restored",
        restored_to=None,
        now=resources.clock.now(),
    )

    with pytest.raises(Conflict, match="recover --finish") as caught:
        await _close(books, books.day)

    assert caught.value.code == "recovery_unfinished"
    answer = await books.gateway.request("POST", f"/api/reconciliation/days/{books.day}/close")
    assert (answer.status, answer.json["code"]) == (409, "recovery_unfinished")
    assert await books.sql("SELECT 1 FROM closed_days") == []
