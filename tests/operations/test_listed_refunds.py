"""Refunds that files list without a number of ours, overlapping files, and files withdrawn."""

from typing import Any

import pytest

from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID
from checkstand.operations.take_in_report import withdraw_report
from tests.operations import test_reconcile_days as shop
from tests.operations.test_reconcile_days import REFUNDS, Books

books = shop.books

#: As of a portal's export: what kind a line is, and no number of the merchant's.
TYPED = ["Time (UTC)", "Type", "Transaction ID", "Prepay ID", "Currency", "Amount", "Commission"]


def _listed(books: Books, *refunds: dict[str, str]) -> list[dict[str, str]]:
    """The payment, and refunds of 5.00 an hour after it."""
    line = {
        "Time (UTC)": "2031-01-11 13:00:00",
        "Type": "Refund",
        "Transaction ID": "P_REFUND",
        "Prepay ID": books.paid["Prepay ID"],
        "Currency": "USDT",
        "Amount": "5.00",
        "Commission": "0.05",
    }
    return [books.paid | {"Type": "Payment"}, *(line | changes for changes in refunds)]


async def _refunds_of_day(books: Books) -> list[tuple[str, int, str]]:
    """Reconcile and return what the day's totals say of refunds: bucket, count and amount."""
    totals = (await books.reconcile()).results[books.day]["totals"]
    return [(t["bucket"], t["count"], t["amount"]) for t in totals if t["kind"] == "refunds"]


async def test_own_refund_that_is_listed_without_our_number_is_matched(books: Books) -> None:
    reference = await shop._refund(books)
    await books.take(_listed(books, {}), header=TYPED, around=True)

    assert await _refunds_of_day(books) == [("matched", 1, "5")]
    assert await books.found(is_open=None) == []

    numbered = shop._refund_line(books, reference, **{"Time (UTC)": "2031-01-11 13:00:30"})
    await books.take([numbered], header=REFUNDS, around=True)
    await books.take([numbered], header=[*(h for h in REFUNDS if h != "Prepay ID")])

    assert await _refunds_of_day(books) == [("matched", 1, "5")]
    assert await books.found(is_open=None) == []


async def test_portal_refund_beside_an_own_one_is_found_and_counted_once(books: Books) -> None:
    await shop._refund(books)
    portal = {"Transaction ID": "P_PORTAL", "Time (UTC)": "2031-01-11 14:00:00", "Amount": "2.50"}
    await books.take(_listed(books, {}, portal), header=TYPED, around=True)

    totals = await _refunds_of_day(books)

    assert await books.found() == [("refunded_elsewhere", "5", "7.5")]
    assert totals == [("differing", 1, "5"), ("differing", 1, "2.5")]


async def test_portal_refund_in_exports_that_overlap_is_one(books: Books) -> None:
    await shop._refund(books, elsewhere=True)
    header = ["Time (UTC)", "Type", "Prepay ID", "Currency", "Amount"]
    await books.take(_listed(books, {}), header=header, around=True)
    await books.take(_listed(books, {})[1:], header=header)
    await books.take(_listed(books, {"Time (UTC)": "2031-01-11 13:00:07"}), header=TYPED)

    assert await _refunds_of_day(books) == [("matched", 1, "5")]
    assert await books.found(is_open=None) == []


async def test_refunds_that_look_alike_in_one_file_are_as_many(books: Books) -> None:
    await shop._refund(books, elsewhere=True)
    header = ["Time (UTC)", "Type", "Prepay ID", "Currency", "Amount"]
    await books.take(_listed(books, {}, {}), header=header, around=True)
    await books.take(_listed(books, {}), header=header)

    await books.reconcile()

    assert await books.found() == [("refunded_elsewhere", "5", "10")]


async def test_refunds_of_one_payment_on_two_days_in_two_files_add_up(books: Books) -> None:
    await shop._refund(books)
    await books.sql("UPDATE refunds SET merchant_refund_id = 'first'")
    await shop._refund(books)
    late = {"Time (UTC)": "2031-01-12 13:00:00"}
    await books.sql(
        "UPDATE refunds SET ended_at = '2031-01-12 13:00Z' WHERE merchant_refund_id = 'first'"
    )
    await books.take(_listed(books, {}), header=TYPED)
    await books.reconcile(books.day, books.day + shop.DAY)
    assert await books.found() == []  # the other one's file is still to come

    await books.take(_listed(books, late)[1:], header=TYPED)
    await books.reconcile(books.day, books.day + shop.DAY)

    assert await books.found(is_open=None) == []


async def test_amounts_of_another_currency_are_not_added_up(books: Books) -> None:
    await shop._refund(books, elsewhere=True)
    await books.take(_listed(books, {}, {"Currency": "USDC"}), header=TYPED, around=True)

    await books.reconcile()

    assert await books.found() == [("refunded_elsewhere", "0 USDC", "5 USDC")]


async def test_own_refund_that_complete_files_without_numbers_lack_is_only_ours(
    books: Books,
) -> None:
    await shop._refund(books)
    smaller = {"Amount": "3.00"}
    await books.take(_listed(books, smaller), header=TYPED)
    await books.reconcile()
    assert await books.found() == []  # the files may list the rest tomorrow

    await books.take(_listed(books, smaller), header=[*TYPED, "Net"], around=True)

    assert await _refunds_of_day(books) == [("only_ours", 1, "5")]
    assert await books.found() == [("refund_not_listed", "5 USDT", "3 USDT")]


async def _endings(books: Books) -> list[Any]:
    rows = await books.sql("SELECT kind, resolution, reason FROM discrepancies ORDER BY kind")
    return [tuple(row) for row in rows]


async def test_what_a_withdrawn_file_showed_is_not_said_to_agree(books: Books) -> None:
    foreign = books.paid | {"Prepay ID": "999", "Transaction ID": "X", "Merchant Trade No": "y"}
    taken = await books.take([books.paid | {"Amount": "1"}, foreign], around=True)
    await books.reconcile()
    file_id = taken.file.file_id

    await withdraw_report(books.resources, account_id=DEFAULT_ACCOUNT_ID, file_id=file_id)
    await books.reconcile()

    reason = "no report file that counts shows it now: whether they agree is not known"
    assert await _endings(books) == [
        ("amount", "withdrawn", reason),
        ("not_ours", "withdrawn", reason),
    ]
    totals = (await books.reconcile()).results[books.day]["totals"]
    assert [(t["kind"], t["bucket"], t["count"]) for t in totals] == [("payments", "waiting", 1)]
    await books.take([books.paid | {"Amount": "1"}], header=[*shop.PAYMENTS, "Net"])
    await books.reconcile()
    assert [kind for kind, _, _ in await books.found()] == ["amount"]  # the same one again


async def test_what_another_file_refutes_agrees(books: Books) -> None:
    wrong = await books.take([books.paid | {"Amount": "1"}], around=True)
    await books.reconcile()
    await books.take([books.paid], around=True)
    await withdraw_report(
        books.resources, account_id=DEFAULT_ACCOUNT_ID, file_id=wrong.file.file_id
    )

    await books.reconcile()

    assert await _endings(books) == [("amount", "agreed", "ours and theirs agree now")]


async def test_what_only_coverage_showed_is_let_go_with_it(books: Books) -> None:
    empty = await books.take([{"Prepay ID": ""}], around=True)
    await books.reconcile()
    assert [kind for kind, _, _ in await books.found()] == ["not_listed"]

    await withdraw_report(
        books.resources, account_id=DEFAULT_ACCOUNT_ID, file_id=empty.file.file_id
    )
    await books.reconcile()

    ((kind, resolution, _),) = await _endings(books)
    assert (kind, resolution) == ("not_listed", "withdrawn")


UNNUMBERED = ["Time (UTC)", "Type", "Prepay ID", "Currency", "Amount"]


async def _refunds_at(books: Books, *moments: str) -> None:
    """Let refunds of 5.00 go back at these moments, each asked for then, and ten days go by."""
    for number, moment in enumerate(moments):
        await shop._refund(books)
        await books.sql(
            "UPDATE refunds SET merchant_refund_id = $1, requested_at = $2::text::timestamptz,"
            " ended_at = $2::text::timestamptz WHERE merchant_refund_id = 'shop-refund'",
            f"refund-{number}",
            f"{moment}Z",
        )
    await books.gateway.simulator.control.advance(10 * 86_400)


async def _list_at(books: Books, *moments: str) -> None:
    """Take in files of the payment and of ten days that list refunds of 5.00 at these moments."""
    lines = _listed(books, *({"Time (UTC)": moment} for moment in moments))
    await books.take(
        lines, header=UNNUMBERED, stated=(books.day - shop.DAY, books.day + 9 * shop.DAY)
    )


async def _buckets(books: Books, *days: int) -> list[list[tuple[str, int]]]:
    """Reconcile days of January and return what the totals of each say of refunds."""
    dates = [books.day.replace(day=day) for day in days]
    results = (await books.reconcile(*dates)).results
    return [
        [(t["bucket"], t["count"]) for t in results[day]["totals"] if t["kind"] == "refunds"]
        for day in dates
    ]


async def test_refund_listed_nowhere_is_not_explained_by_an_older_one_s_line(books: Books) -> None:
    await _refunds_at(books, "2031-01-11 13:00", "2031-01-16 13:00")
    await books.take(_listed(books, {}), header=UNNUMBERED, around=True)
    assert await _buckets(books, 11, 16) == [[("matched", 1)], [("waiting", 1)]]
    assert await books.found() == []  # its file may still come

    await _list_at(books, "2031-01-11 13:00:00")

    assert await _buckets(books, 11, 16) == [[("matched", 1)], [("only_ours", 1)]]
    assert await books.found() == [("refund_not_listed", "5 USDT", "0 USDT")]
    await books.take(
        _listed(books, {"Time (UTC)": "2031-01-16 13:00:10"})[1:], header=[*UNNUMBERED, "Net"]
    )
    assert await _buckets(books, 11, 16) == [[("matched", 1)], [("matched", 1)]]
    assert await books.found() == []


async def test_refund_listed_nowhere_is_not_hidden_by_lines_around_it(books: Books) -> None:
    """Neither by those of the same day nor by those of the day before."""
    await _refunds_at(books, "2031-01-15 13:00", "2031-01-16 13:00")
    await _list_at(books, "2031-01-15 13:00:00")

    assert await _buckets(books, 15, 16, 17) == [[("matched", 1)], [("only_ours", 1)], []]
    assert await books.found() == [("refund_not_listed", "5 USDT", "0 USDT")]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (["2031-01-15 23:59"], ["2031-01-16 00:01:00"]),
        (["2031-01-16 00:01"], ["2031-01-15 23:59:00"]),
        (
            ["2031-01-14 00:01", "2031-01-15 12:00"],
            ["2031-01-13 23:59:00", "2031-01-15 12:00:00"],
        ),
        (
            ["2031-01-15 12:00", "2031-01-16 23:59"],
            ["2031-01-15 12:00:00", "2031-01-17 00:01:00"],
        ),
    ],
)
async def test_refund_listed_beyond_midnight_is_matched(
    books: Books, ours: list[str], theirs: list[str]
) -> None:
    await _refunds_at(books, *ours)
    await _list_at(books, *theirs)

    buckets = await _buckets(books, 13, 14, 15, 16, 17)

    assert await books.found(is_open=None) == []
    assert [bucket for day in buckets for bucket, _ in day] == ["matched"] * len(ours)


async def test_refund_listed_when_it_was_asked_for_is_matched_however_late_it_ended(
    books: Books,
) -> None:
    await _refunds_at(books, "2031-01-13 13:00")
    await books.sql("UPDATE refunds SET ended_at = '2031-01-18 13:00Z'")
    await _list_at(books, "2031-01-13 13:00:00")

    assert await _buckets(books, 13, 18) == [[], [("matched", 1)]]
    assert await books.found(is_open=None) == []


async def test_portal_refund_whose_time_nobody_knows_is_not_called_unlisted(books: Books) -> None:
    await _refunds_at(books, "2031-01-18 13:00")  # when a person said so
    await books.sql("UPDATE refunds SET is_elsewhere = true")
    await _list_at(books, "2031-01-13 13:00:00")

    assert await _buckets(books, 13, 18) == [[], [("matched", 1)]]
    assert await books.found(is_open=None) == []


async def test_unlisted_refund_is_not_said_to_agree_when_its_days_are_covered_no_more(
    books: Books,
) -> None:
    await _refunds_at(books, "2031-01-11 13:00", "2031-01-16 13:00")
    await books.take(_listed(books, {}), header=UNNUMBERED, around=True)
    days = (books.day + 4 * shop.DAY, books.day + 6 * shop.DAY)
    empty = await books.take([], header=REFUNDS, stated=days)
    assert await _buckets(books, 16) == [[("only_ours", 1)]]

    await withdraw_report(
        books.resources, account_id=DEFAULT_ACCOUNT_ID, file_id=empty.file.file_id
    )

    assert await _buckets(books, 16) == [[("waiting", 1)]]
    ((kind, resolution, _),) = await _endings(books)
    assert (kind, resolution) == ("refund_not_listed", "withdrawn")


async def test_refund_listed_by_its_number_is_matched_however_far_from_its_day(
    books: Books,
) -> None:
    """Beside a line without a number, which is another one's."""
    await _refunds_at(books, "2031-01-11 13:00", "2031-01-16 13:00")
    (late,) = await books.sql("SELECT refund_id FROM refunds WHERE merchant_refund_id = 'refund-1'")
    await _list_at(books, "2031-01-11 13:00:00")
    line = shop._refund_line(books, late["refund_id"].hex, **{"Time (UTC)": "2031-01-19 13:00:00"})
    await books.take([line], header=REFUNDS)

    assert await _buckets(books, 11, 16, 19) == [[("matched", 1)], [("matched", 1)], []]
    assert await books.found(is_open=None) == []
