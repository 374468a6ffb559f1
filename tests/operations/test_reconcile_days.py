"""Ours and theirs are laid side by side: each difference is found, once, under its name."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from checkstand.errors import Conflict, Refused
from checkstand.operations.advance_attempt import advance_attempt
from checkstand.operations.claim_due_attempts import claim_due_attempts
from checkstand.operations.close_day import close_day, verify_summary
from checkstand.operations.fetch_reports import (
    fetch_reports,
    reconcile_recent_days,
    take_balances,
)
from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID
from checkstand.operations.reconcile_days import Reconciled, reconcile_days
from checkstand.operations.resolve_discrepancy import resolve_discrepancy
from checkstand.operations.store_columns import store_columns
from checkstand.operations.take_in_report import TakenIn, take_in_report, withdraw_report
from checkstand.queries.list_days import list_days
from checkstand.queries.list_discrepancies import DiscrepancyFilter, list_discrepancies
from checkstand.storage import report_files
from tests.provider.files import Number, write_xls_sheets, write_xlsx_sheets

PAYMENTS = ["Time (UTC)", "Transaction ID", "Prepay ID", "Merchant Trade No", "Currency"]
PAYMENTS += ["Amount", "Commission"]
REFUNDS = ["Time (UTC)", "Refund Request ID", "Prepay ID", "Merchant Trade No", "Currency"]
REFUNDS += ["Amount", "Commission"]
DAY = timedelta(days=1)


@dataclass
class Books:
    """A shop with one paid order on a day that is long over, and files to write about it."""

    gateway: Any
    database_url: str
    folder: Path
    day: date
    order_id: str
    paid: dict[str, str]  # the one line that agrees
    count: int = 0

    @property
    def resources(self) -> Any:
        """What the operations work with."""
        return self.gateway.resources

    async def take(
        self,
        rows: list[dict[str, str]],
        *,
        header: list[str] | None = None,
        stated: tuple[date, date] | None = None,
        around: bool = False,
    ) -> TakenIn:
        """Take in a file of these lines; `around` says that it lists the neighbour days too."""
        header = header or PAYMENTS
        self.count += 1
        path = self.folder / f"{self.count}.csv"
        lines = [header, *([row.get(name, "") for name in header] for row in rows)]
        path.write_text("\n".join(",".join(line) for line in lines) + "\n")
        days = (self.day - DAY, self.day + DAY) if around else stated
        return await take_in_report(
            self.resources, account_id=DEFAULT_ACCOUNT_ID, path=path, name=path.name, days=days
        )

    async def reconcile(self, *days: date) -> Reconciled:
        """Reconcile the day, or others, a little later than the last time."""
        await self.gateway.simulator.control.advance(1)
        wanted = list(days) or [self.day]
        return await reconcile_days(self.resources, account_id=DEFAULT_ACCOUNT_ID, days=wanted)

    async def found(
        self, *, is_open: bool | None = True
    ) -> list[tuple[str, str | None, str | None]]:
        """Return kind, ours and theirs of every discrepancy, sorted."""
        page, _ = await list_discrepancies(
            self.resources.database,
            DEFAULT_ACCOUNT_ID,
            wanted=DiscrepancyFilter(is_open=is_open),
            starting_after=None,
            limit=100,
        )
        return sorted((str(d.finding.kind), d.finding.ours, d.finding.theirs) for d in page)

    async def sql(self, text: str, *values: Any) -> list[Any]:
        """Ask or change the database as its owner."""
        connection = await asyncpg.connect(self.database_url)
        try:
            return list(await connection.fetch(text, *values))
        finally:
            await connection.close()


@pytest.fixture
async def books(run_gateway: Any, empty_database_url: str, tmp_path: Path) -> AsyncIterator[Books]:
    """One order of 12.50 USDT, paid at noon, two days ago.

    Some tests change its rows past every door, so at the end its books need not hold.
    """
    async with run_gateway(with_worker=False, books_hold=False) as gateway:
        control = gateway.simulator.control
        control.clock.set(datetime(2031, 1, 11, 12, tzinfo=UTC))
        order = (await gateway.create()).json
        control.pay(gateway.trade_numbers()[0])
        await control.settle()
        await gateway.until(order["order_id"], "PAID")
        await control.advance(2 * 86_400)
        there = control.orders[0]
        paid = {
            "Time (UTC)": "2031-01-11 12:00:00",
            "Transaction ID": there.payment.transaction_id,
            "Prepay ID": there.prepay_id,
            "Merchant Trade No": there.merchant_trade_no,
            "Currency": "USDT",
            "Amount": "12.50000000",
            "Commission": f"{there.payment.commission:f}",
        }
        day = date(2031, 1, 11)
        yield Books(gateway, empty_database_url, tmp_path, day, order["order_id"], paid)


async def test_day_that_agrees_has_no_discrepancy(books: Books) -> None:
    await books.take([books.paid], around=True)

    result = (await books.reconcile()).results[books.day]

    (total,) = result["totals"]
    assert (total["kind"], total["bucket"], total["count"]) == ("payments", "matched", 1)
    assert (total["amount"], total["fee"], total["currency"]) == ("12.5", "0.125", "USDT")
    assert await books.found(is_open=None) == []


DIFFERENCES: dict[str, tuple[dict[str, str], str | None, str]] = {
    "amount": ({"Amount": "12.51"}, "12.5", "12.51"),
    "currency": ({"Currency": "USDC"}, "USDT", "USDC"),
    "fee": ({"Commission": "0.12500001"}, "0.125", "0.12500001"),
    "transaction_id": ({"Transaction ID": "P_OTHER"}, "", "P_OTHER"),
    "time": ({"Time (UTC)": "2031-01-12 12:00:02"}, "", "2031-01-12 12:00:02+00"),
}


@pytest.mark.parametrize("kind", DIFFERENCES)
async def test_line_that_differs_is_found_under_its_kind(books: Books, kind: str) -> None:
    change, ours, theirs = DIFFERENCES[kind]
    await books.take([books.paid | change], around=True)

    result = (await books.reconcile()).results[books.day]

    ((found, said, told),) = await books.found()
    assert (found, told) == (kind, theirs)
    assert ours in {"", said}
    assert [(t["bucket"], t["count"]) for t in result["totals"]] == [("differing", 1)]


async def test_same_line_twice_in_one_file_differs_and_in_two_files_does_not(
    books: Books,
) -> None:
    await books.take([books.paid], around=True)
    await books.take([books.paid | {"Commission": ""}])
    await books.reconcile()
    assert await books.found() == []

    await books.take([books.paid, books.paid])
    await books.reconcile()

    assert await books.found() == [("listed_twice", "1", "2")]


async def test_only_ours_is_said_when_the_neighbour_days_are_in_and_no_sooner(
    books: Books,
) -> None:
    day, waiting = books.day, [("waiting", 1)]

    async def buckets() -> list[tuple[str, int]]:
        result = (await books.reconcile()).results[day]
        return [(total["bucket"], total["count"]) for total in result["totals"]]

    assert await buckets() == waiting
    await books.take([], stated=(day, day))
    assert await buckets() == waiting
    await books.take([{"Prepay ID": ""}], stated=(day - DAY, day - DAY))
    assert await buckets() == waiting
    assert await books.found() == []

    await books.take([], header=[*PAYMENTS, "Net"], stated=(day + DAY, day + DAY))

    assert await buckets() == [("only_ours", 1)]
    assert await books.found() == [("not_listed", "12.5 USDT", None)]


async def test_payment_listed_across_midnight_is_matched(books: Books) -> None:
    await books.take([books.paid | {"Time (UTC)": "2031-01-12 11:59:59"}], around=True)

    await books.reconcile(books.day, books.day + DAY)

    assert await books.found() == []


async def test_line_of_nobody_is_only_theirs_whatever_file_repeats_it(books: Books) -> None:
    foreign = books.paid | {"Prepay ID": "999", "Transaction ID": "X", "Merchant Trade No": "y"}
    await books.take([books.paid, foreign], around=True)
    await books.take([foreign])

    result = (await books.reconcile()).results[books.day]

    assert await books.found() == [("not_ours", None, "12.5 USDT")]
    assert {(t["bucket"], t["count"]) for t in result["totals"]} == {
        ("matched", 1),
        ("only_theirs", 1),
    }


async def test_payment_we_never_heard_of_is_asked_about_and_the_ordinary_path_settles_it(
    books: Books,
) -> None:
    control, resources = books.gateway.simulator.control, books.resources
    order_id = (await books.gateway.create()).json["order_id"]
    there = control.orders[-1]
    control.pay(there.merchant_trade_no, webhook=False)
    now = resources.clock.now()
    line = books.paid | {
        "Time (UTC)": f"{now:%Y-%m-%d %H:%M:%S}",
        "Transaction ID": "",
        "Prepay ID": there.prepay_id,
        "Merchant Trade No": "",
    }
    await books.take([line])

    found = await books.reconcile(now.date())

    assert await books.found() == [("status", "OPEN", "PAID")]
    assert found.asked == 1
    assert (await books.gateway.order(order_id))["status"] == "PENDING_PAYMENT"  # nothing is booked
    for lease in await claim_due_attempts(resources, limit=10):
        await advance_attempt(resources, lease=lease)
    assert (await books.gateway.order(order_id))["status"] == "PAID"
    await books.reconcile(now.date())
    assert await books.found() == []
    assert [kind for kind, _, _ in await books.found(is_open=None)] == ["status"]


async def test_fee_we_were_not_told_is_learnt_by_asking(books: Books) -> None:
    await books.sql("UPDATE payments SET fee = NULL")
    await books.take([books.paid], around=True)

    await books.reconcile()

    assert await books.found() == [("fee_unknown", None, "0.125")]
    for lease in await claim_due_attempts(books.resources, limit=10):
        await advance_attempt(books.resources, lease=lease)
    assert (await books.gateway.order(books.order_id))["payments"][0]["fee"] is not None
    await books.reconcile()
    assert await books.found() == []


async def test_ids_that_name_two_orders_are_not_believed_in_silence(books: Books) -> None:
    await books.gateway.create()
    other = books.gateway.simulator.control.orders[-1]
    await books.take([books.paid | {"Prepay ID": other.prepay_id}], around=True)

    await books.reconcile()

    assert [kind for kind, _, _ in await books.found()] == ["ids"]


async def _refund(books: Books, *, status: str = "SUCCEEDED", **changes: Any) -> str:
    """Write a refund of ours down as it would stand after Binance's answer; return its number."""
    row = {"amount": "5.00", "returned": "5.00", "fee_returned": "0.05", "elsewhere": False}
    row |= changes
    (found,) = await books.sql(
        """
        INSERT INTO refunds (
            account_id, order_id, attempt_id, payment_id, refund_id, merchant_refund_id, amount,
            currency, requested_at, requested_by, status, is_elsewhere, sends, in_doubt, absences,
            returned, fee_returned, ended_at, asks)
        SELECT account_id, order_id, attempt_id, payment_id, gen_random_uuid(), 'shop-refund',
               $1::text::numeric, currency, paid_at, 'merchant', $2, $3, 1, false, 0,
               $4::text::numeric, $5::text::numeric, paid_at, 0
          FROM payments RETURNING refund_id
        """,
        row["amount"],
        status,
        row["elsewhere"],
        row["returned"],
        row["fee_returned"],
    )
    return str(found["refund_id"].hex)


def _refund_line(books: Books, reference: str, **changes: str) -> dict[str, str]:
    return {
        **books.paid,
        "Refund Request ID": reference,
        "Amount": "5",
        "Commission": "0.05",
        **changes,
    }


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (None, {}),
        ("refund_amount", {"Amount": "5.01"}),
        ("refund_currency", {"Currency": "USDC"}),
        ("refund_fee", {"Commission": "0.06"}),
    ],
)
async def test_refund_is_laid_beside_ours_by_our_own_number(
    books: Books, kind: str | None, changes: dict[str, str]
) -> None:
    reference = await _refund(books)
    await books.take([books.paid], around=True)
    await books.take([_refund_line(books, reference, **changes)], header=REFUNDS, around=True)

    result = (await books.reconcile()).results[books.day]

    assert [found for found, _, _ in await books.found()] == ([kind] if kind else [])
    buckets = {total["kind"]: total["bucket"] for total in result["totals"]}
    assert buckets == {"payments": "matched", "refunds": "differing" if kind else "matched"}


async def test_refund_missing_on_either_side_is_found(books: Books) -> None:
    await books.take([books.paid], around=True)
    await _refund(books)
    await books.take([], header=REFUNDS, around=True)
    nobody = {"Prepay ID": "9", "Merchant Trade No": "z"}
    await books.take([_refund_line(books, "portal-1", **nobody)], header=REFUNDS, around=True)

    await books.reconcile()

    assert await books.found() == [
        ("refund_not_listed", "5 USDT", None),
        ("refund_not_ours", None, "5 USDT"),
    ]


async def test_refund_that_went_through_there_is_asked_about(books: Books) -> None:
    reference = await _refund(books, status="PENDING", returned=None, fee_returned=None)
    await books.take([_refund_line(books, reference)], header=REFUNDS)

    await books.reconcile()

    assert await books.found() == [("refund_status", "PENDING", "SUCCEEDED")]
    (refund,) = await books.sql("SELECT due_at FROM refunds")
    assert refund["due_at"] is not None


async def test_refund_made_in_the_portal_is_found_until_ours_explain_it(books: Books) -> None:
    await books.take([_refund_line(books, "portal-1")], header=REFUNDS)
    repeated = [_refund_line(books, "portal-1", Net="4.95")]
    await books.take(repeated, header=[*REFUNDS, "Net"])  # one refund, whatever lists it
    await books.reconcile()
    assert await books.found() == [("refunded_elsewhere", "0", "5")]

    await _refund(books, elsewhere=True)
    await books.reconcile()

    assert await books.found() == []


async def test_orphan_notice_of_money_is_only_theirs(books: Books) -> None:
    await books.sql("UPDATE notices SET outcome = 'orphan'")

    await books.reconcile()

    ((kind, _, theirs),) = await books.found()
    assert kind == "orphan_notice"
    assert theirs is not None
    assert theirs.startswith("PAY PAY_SUCCESS ")


async def test_same_file_again_changes_nothing(books: Books) -> None:
    path = books.folder / "file.csv"
    rows = [PAYMENTS, [books.paid[name] for name in PAYMENTS]]
    path.write_text("\n".join(",".join(row) for row in rows))
    taken = [
        await take_in_report(books.resources, account_id=DEFAULT_ACCOUNT_ID, path=path, name=name)
        for name in ("first.csv", "second.csv")
    ]

    lines = await books.sql("SELECT count(*) AS count FROM report_lines")

    assert [each.was_known for each in taken] == [False, True]
    assert taken[0].file.file_id == taken[1].file.file_id
    assert lines[0]["count"] == 1


async def test_file_cut_short_counts_for_nothing_and_is_gone_on_with(books: Books) -> None:
    """As a process leaves it that was killed between two parts of a file."""
    wrong = books.paid | {"Amount": "99"}
    taken = await books.take([wrong, books.paid | {"Prepay ID": "9"}], around=True)
    await books.sql("UPDATE report_files SET lines_taken = 1, taken_at = NULL")
    await books.sql("DELETE FROM report_lines WHERE number > 2")
    await books.sql("DELETE FROM report_coverage")
    await books.reconcile()
    assert await books.found() == []

    again = await take_in_report(
        books.resources,
        account_id=DEFAULT_ACCOUNT_ID,
        path=books.folder / "1.csv",
        name="1.csv",
    )

    assert again.file.file_id == taken.file.file_id
    numbers = await books.sql("SELECT number FROM report_lines ORDER BY number")
    assert [row["number"] for row in numbers] == [2, 3]
    assert len(await books.sql("SELECT 1 FROM report_coverage")) == 1


async def test_file_begun_by_another_map_is_not_gone_on_with_in_silence(books: Books) -> None:
    await books.take([books.paid])
    await books.sql(
        "UPDATE report_files SET lines_taken = 0, taken_at = NULL, map_name = 'another'"
    )

    with pytest.raises(Conflict) as caught:
        await take_in_report(
            books.resources, account_id=DEFAULT_ACCOUNT_ID, path=books.folder / "1.csv", name="x"
        )

    assert caught.value.code == "report_begun_otherwise"


async def test_withdrawn_file_counts_no_more_and_may_come_again(books: Books) -> None:
    taken = await books.take([books.paid | {"Amount": "1"}], around=True)
    await books.reconcile()
    assert [kind for kind, _, _ in await books.found()] == ["amount"]

    await withdraw_report(
        books.resources, account_id=DEFAULT_ACCOUNT_ID, file_id=taken.file.file_id
    )
    await books.reconcile()

    assert await books.found() == []
    again = await take_in_report(
        books.resources, account_id=DEFAULT_ACCOUNT_ID, path=books.folder / "1.csv", name="x"
    )
    assert not again.was_known


async def test_withdrawn_file_of_binance_s_list_takes_the_list_s_word_for_its_days(
    books: Books,
) -> None:
    """Only ours is said again once the list was fetched again, and its file with it."""
    span: dict[str, Any] = {"first": books.day - 3 * DAY, "last": books.day + 3 * DAY}
    await books.gateway.simulator.control.advance(6 * 86_400)
    await fetch_reports(books.resources, account_id=DEFAULT_ACCOUNT_ID, **span)
    (file,) = await books.sql("SELECT file_id FROM report_files")

    await withdraw_report(books.resources, account_id=DEFAULT_ACCOUNT_ID, file_id=file["file_id"])

    without = (await books.reconcile()).results[books.day]
    assert await books.found() == []
    assert [(t["bucket"], t["count"]) for t in without["totals"]] == [("waiting", 1)]
    assert without["sources"]["covered"] == {"payment": False, "refund": True, "payout": True}
    for beside in (books.day - DAY, books.day + DAY):  # its other days stand
        result = (await books.reconcile(beside)).results[beside]
        assert result["sources"]["covered"]["payment"]

    again = await fetch_reports(books.resources, account_id=DEFAULT_ACCOUNT_ID, **span)

    assert again.taken_in == ["T_Payment_20310111.csv"]
    back = (await books.reconcile()).results[books.day]
    assert back["sources"]["covered"]["payment"]
    assert back["sources"]["neighbour_days_in"]["payment"]
    assert [(t["bucket"], t["count"]) for t in back["totals"]] == [("matched", 1)]
    assert await books.sql(
        "SELECT 1 FROM report_coverage WHERE rests_on = 'list of files' AND kind = 'payment'"
        " AND withdrawn_at IS NULL AND covers_from <= $1 AND covers_until > $1",
        datetime(2031, 1, 11, 12, tzinfo=UTC),
    )


async def test_file_given_by_hand_that_the_list_has_too_is_withdrawn_from_both(
    books: Books,
) -> None:
    span: dict[str, Any] = {"first": books.day - DAY, "last": books.day + DAY}
    taken = await books.take([books.paid])
    await books.gateway.simulator.control.advance(5 * 86_400)
    await fetch_reports(books.resources, account_id=DEFAULT_ACCOUNT_ID, **span)

    for file in await books.sql("SELECT file_id FROM report_files"):
        await withdraw_report(
            books.resources, account_id=DEFAULT_ACCOUNT_ID, file_id=file["file_id"]
        )
    await books.reconcile()

    assert taken.file.source == "upload"
    assert await books.found() == []


async def test_file_withdrawn_within_the_moment_covers_nothing(books: Books) -> None:
    taken = await books.take([books.paid])
    file_id = taken.file.file_id

    async def step(tx: Any) -> bool:
        return await report_files.lock_taken(tx, DEFAULT_ACCOUNT_ID, [file_id])

    assert await books.resources.database.run(step, name="look")
    await withdraw_report(books.resources, account_id=DEFAULT_ACCOUNT_ID, file_id=file_id)
    assert not await books.resources.database.run(step, name="look")


async def test_file_of_one_kind_says_nothing_of_the_others(books: Books) -> None:
    """A payment's file of yesterday does not say that no refund and no payout was made."""
    gateway, control = books.gateway, books.gateway.simulator.control
    await gateway.create()
    control.pay(gateway.trade_numbers()[-1])
    await control.settle()
    today = books.resources.clock.now().date()
    await control.advance(86_400)

    await fetch_reports(
        books.resources, account_id=DEFAULT_ACCOUNT_ID, first=today - DAY, last=today
    )

    result = (await books.reconcile(today)).results[today]
    assert result["sources"]["covered"] == {"payment": True, "refund": False, "payout": False}


async def test_settlement_that_comes_late_by_contract_is_waited_for(books: Books) -> None:
    policy = replace(books.resources.policy, settlement_days=7)
    resources = replace(books.resources, policy=policy)
    span: dict[str, Any] = {"first": books.day, "last": books.day}
    await books.gateway.simulator.control.advance(4 * 86_400)

    covered = []
    for _ in range(2):
        await fetch_reports(resources, account_id=DEFAULT_ACCOUNT_ID, **span)
        result = (await books.reconcile()).results[books.day]
        covered.append(result["sources"]["covered"])
        await books.gateway.simulator.control.advance(86_400)

    assert covered == [
        {"payment": True, "refund": False, "payout": True},
        {"payment": True, "refund": True, "payout": True},
    ]


async def test_workbook_s_second_sheet_counts_and_each_covers_its_own_days(books: Books) -> None:
    path = books.folder / "two.xlsx"
    foreign = books.paid | {"Time (UTC)": "2031-01-09 09:00:00", "Prepay ID": "zz"}
    foreign |= {"Transaction ID": "P_X", "Merchant Trade No": "no"}
    refund = books.paid | {"Time (UTC)": "2031-01-10 09:00:00", "Refund Request ID": "r-1"}
    sheets = {
        "Old": [PAYMENTS, [foreign[name] for name in PAYMENTS]],
        "New": [PAYMENTS, [books.paid[name] for name in PAYMENTS]],
        "Refunds": [REFUNDS, [refund[name] for name in REFUNDS]],
    }

    await take_in_report(
        books.resources,
        account_id=DEFAULT_ACCOUNT_ID,
        path=write_xlsx_sheets(path, sheets),
        name="two.xlsx",
    )

    days = [books.day - 2 * DAY, books.day - DAY, books.day]
    results = (await books.reconcile(*days)).results
    covered = [results[day]["sources"]["covered"] for day in days]
    assert [(each["payment"], each["refund"]) for each in covered] == [
        (True, False),
        (False, True),
        (True, False),
    ]
    assert [t["bucket"] for t in results[books.day]["totals"]] == ["matched"]


async def test_workbook_that_an_older_version_read_in_part_is_not_known_in_silence(
    books: Books,
) -> None:
    row = [books.paid[name] for name in PAYMENTS]
    path = write_xlsx_sheets(
        books.folder / "two.xlsx", {"One": [PAYMENTS, row], "Two": [PAYMENTS, row]}
    )

    async def take() -> TakenIn:
        return await take_in_report(
            books.resources, account_id=DEFAULT_ACCOUNT_ID, path=path, name="two.xlsx"
        )

    taken = await take()
    assert (await take()).was_known
    await books.sql("UPDATE report_files SET lines = 1, lines_taken = 1")

    with pytest.raises(Conflict) as caught:
        await take()

    assert caught.value.code == "report_begun_otherwise"
    assert "is in with 1 of its 2 lines" in caught.value.message
    await withdraw_report(
        books.resources, account_id=DEFAULT_ACCOUNT_ID, file_id=taken.file.file_id
    )
    assert (await take()).file.lines == 2


async def test_file_without_a_refund_lists_refunds_and_no_payments(books: Books) -> None:
    await books.take([], header=REFUNDS, stated=(books.day, books.day))
    once = (await books.reconcile()).results[books.day]["sources"]
    books.count = 0  # the second time its content is known
    again = await books.take([], header=REFUNDS, around=True)

    twice = (await books.reconcile()).results[books.day]["sources"]

    assert again.was_known
    assert once["covered"] == {"payment": False, "refund": True, "payout": False}
    assert once["neighbour_days_in"] == {"payment": False, "refund": False}
    assert twice["neighbour_days_in"] == {"payment": False, "refund": True}
    assert await books.found() == []


@pytest.mark.parametrize(
    ("last", "until"),
    [
        ("2031-03-29 23:30:00", datetime(2031, 3, 29, 23, tzinfo=UTC)),  # 30 March has 23 hours
        ("2031-03-30 23:30:00", datetime(2031, 3, 30, 22, tzinfo=UTC)),
        ("2031-10-26 00:30:00", datetime(2031, 10, 26, 23, tzinfo=UTC)),  # and this one 25
    ],
)
async def test_days_of_a_zone_are_covered_by_its_calendar(
    books: Books, last: str, until: datetime
) -> None:
    document = {
        "columns": {"time": "Moment", "prepay_id": "Prepay ID", "amount": "Amount"},
        "zone": "Europe/Berlin",
    }
    await store_columns(
        books.resources, account_id=DEFAULT_ACCOUNT_ID, name="berlin", document=document
    )
    await books.gateway.simulator.control.advance(300 * 86_400)
    line = {"Prepay ID": "x", "Amount": "1 USDT"}

    await books.take(
        [line | {"Moment": "2031-03-29 10:00:00"}, line | {"Moment": last}],
        header=["Moment", "Prepay ID", "Amount"],
    )

    (row,) = await books.sql("SELECT covers_from, covers_until FROM report_coverage")
    assert (row["covers_from"], row["covers_until"]) == (
        datetime(2031, 3, 28, 23, tzinfo=UTC),
        until,
    )


async def test_amount_of_many_digits_is_no_difference_for_being_a_number_cell(
    books: Books,
) -> None:
    await books.sql("UPDATE payments SET amount = 12345678.12345678")
    row = [books.paid[name] for name in PAYMENTS]
    row[PAYMENTS.index("Amount")] = Number("12345678.12345678")
    for number, write in enumerate((write_xlsx_sheets, write_xls_sheets)):
        await take_in_report(
            books.resources,
            account_id=DEFAULT_ACCOUNT_ID,
            path=write(books.folder / f"long.{number}", {"Report": [PAYMENTS, row]}),
            name="long",
        )

    await books.reconcile()

    assert await books.found() == []


async def test_fee_in_another_coin_is_no_difference_but_a_note(books: Books) -> None:
    taken = await books.take([books.paid | {"Commission": "0.0002 BNB"}], around=True)

    await books.reconcile()

    assert await books.found() == []
    assert "0.0002 BNB of a line in USDT" in taken.file.notes[0]


async def test_person_s_word_stands_and_what_is_gone_comes_back_as_the_same(
    books: Books,
) -> None:
    await books.take([books.paid | {"Amount": "12.51"}], around=True)
    await books.reconcile()
    page, _ = await list_discrepancies(
        books.resources.database,
        DEFAULT_ACCOUNT_ID,
        wanted=DiscrepancyFilter(),
        starting_after=None,
        limit=1,
    )
    await books.sql("UPDATE payments SET amount = 12.51")
    await books.reconcile()
    assert await books.found() == []
    await books.sql("UPDATE payments SET amount = 12.50")
    await books.reconcile()
    assert len(await books.found()) == 1

    word: dict[str, Any] = {
        "account_id": DEFAULT_ACCOUNT_ID,
        "discrepancy_id": page[0].discrepancy_id,
        "resolution": "explained",
        "reason": "they rounded",
        "by": "Ada",
    }
    resolved = await resolve_discrepancy(books.resources, **word)
    await books.reconcile()

    assert (resolved.resolved_by, resolved.reason) == ("Ada", "they rounded")
    assert await books.found() == []
    assert len(await books.found(is_open=None)) == 1
    with pytest.raises(Conflict, match="they rounded"):
        await resolve_discrepancy(books.resources, **word)


async def test_shop_is_told_once_of_what_concerns_its_order(books: Books) -> None:
    await books.take([books.paid | {"Amount": "12.51"}], around=True)
    await books.reconcile()
    await books.reconcile()

    told = [e for e in await books.gateway.events() if e["type"] == "reconciliation.discrepancy"]

    (event,) = told
    assert event["data"]["order"]["order_id"] == books.order_id
    discrepancy = event["data"]["discrepancy"]
    assert (discrepancy["kind"], discrepancy["ours"], discrepancy["theirs"]) == (
        "amount",
        "12.5",
        "12.51",
    )


async def test_files_of_binance_s_own_list_agree_with_what_it_told_us(books: Books) -> None:
    """A quiet day has no file; that its list is written is believed only some days later."""
    span: dict[str, Any] = {"first": books.day - DAY, "last": books.day + DAY}
    fetched = await fetch_reports(books.resources, account_id=DEFAULT_ACCOUNT_ID, **span)
    early = (await books.reconcile()).results[books.day]
    await books.gateway.simulator.control.advance(2 * 86_400)

    again = await fetch_reports(books.resources, account_id=DEFAULT_ACCOUNT_ID, **span)
    late = (await books.reconcile()).results[books.day]

    assert (fetched.refusal, again.refusal) == (None, None)
    assert (fetched.taken_in, again.taken_in) == (["T_Payment_20310111.csv"], [])
    assert [(t["bucket"], t["count"]) for t in early["totals"]] == [("matched", 1)]
    assert early["sources"]["covered"]["payment"]
    assert not early["sources"]["neighbour_days_in"]["payment"]
    assert late["sources"]["neighbour_days_in"] == {"payment": True, "refund": True}


async def test_worker_s_rounds_find_what_asking_has_settled(books: Books) -> None:
    """Also on days that are older than those it looks at anyway."""
    await books.sql("UPDATE payments SET fee = NULL")
    await books.take([books.paid], around=True)
    await books.reconcile()
    await books.gateway.simulator.control.advance(10 * 86_400)
    assert [kind for kind, _, _ in await books.found()] == ["fee_unknown"]
    for lease in await claim_due_attempts(books.resources, limit=10):
        await advance_attempt(books.resources, lease=lease)

    await reconcile_recent_days(books.resources)

    assert await books.found() == []


async def test_halted_account_s_files_are_not_asked_for(books: Books) -> None:
    await books.sql("UPDATE accounts SET halted_reason = 'another merchant answers'")
    resources = books.resources
    await resources.accounts.reload(
        resources.database, resources.provider, resources.vault, now=resources.clock.now()
    )

    fetched = await fetch_reports(
        resources, account_id=DEFAULT_ACCOUNT_ID, first=books.day, last=books.day
    )

    assert fetched.refusal == "the account is halted: another merchant answers"


async def test_key_that_may_not_have_reports_is_an_ordinary_answer(books: Books) -> None:
    books.gateway.simulator.control.set_key("simulator", features=[])

    fetched = await fetch_reports(
        books.resources, account_id=DEFAULT_ACCOUNT_ID, first=books.day, last=books.day
    )

    assert fetched.taken_in == []
    assert fetched.refusal is not None
    assert "400606" in fetched.refusal


async def test_balance_that_does_not_add_up_is_found_to_the_last_digit(books: Books) -> None:
    control = books.gateway.simulator.control
    await take_balances(books.resources)
    today = books.resources.clock.now().date()
    await books.gateway.create()
    control.pay(books.gateway.trade_numbers()[-1])
    await control.settle()
    await control.advance(86_400)
    await take_balances(books.resources)
    agreed = (await books.reconcile(today)).results[today]
    assert [line["difference"] for line in agreed["sources"]["balances"]["assets"]] == ["0"]

    await books.sql("UPDATE payments SET amount = amount - 0.00000001")
    differs = (await books.reconcile(today)).results[today]

    (line,) = differs["sources"]["balances"]["assets"]
    assert line["difference"] == "0.00000001"
    assert [kind for kind, _, _ in await books.found()] == ["balance"]


async def test_closed_day_is_signed_and_never_changes(books: Books) -> None:
    await books.take([books.paid], around=True)
    closed = await close_day(
        books.resources, account_id=DEFAULT_ACCOUNT_ID, day=books.day, by="Ada"
    )
    summary = verify_summary(books.resources.vault, closed.document)
    assert summary["closed_by"] == "Ada"
    (booked,) = summary["booked"]
    assert (booked["kind"], booked["count"], booked["amount"]) == ("payment", 1, "12.5")
    assert summary["sources"]["files"][0]["lines"] == 1

    await books.take([books.paid | {"Amount": "99"}])
    await books.reconcile()
    again = await close_day(books.resources, account_id=DEFAULT_ACCOUNT_ID, day=books.day, by="Eve")

    assert again == closed
    (row,) = await list_days(
        books.resources.database, DEFAULT_ACCOUNT_ID, first=books.day, last=books.day
    )
    assert row.document == closed.document
    assert row.result is not None
    assert row.result["discrepancies"] == {}
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await _as_the_application(books, "UPDATE closed_days SET closed_by = 'Eve'")


async def _as_the_application(books: Books, text: str) -> None:
    connection = await asyncpg.connect(books.database_url)
    try:
        await connection.execute("SET ROLE checkstand_app")
        await connection.execute(text)
    finally:
        await connection.close()


async def test_what_comes_late_for_a_closed_day_is_booked_in_the_next_with_a_pointer(
    books: Books,
) -> None:
    await books.sql("UPDATE payments SET fee = NULL")
    await close_day(books.resources, account_id=DEFAULT_ACCOUNT_ID, day=books.day, by="Ada")
    await books.sql("UPDATE payments SET fee = 0.125")
    await _refund(books)
    await books.take([books.paid | {"Amount": "99"}])
    await books.reconcile()

    closed = await close_day(
        books.resources, account_id=DEFAULT_ACCOUNT_ID, day=books.day + DAY, by="Ada"
    )

    summary = verify_summary(books.resources.vault, closed.document)
    assert summary["booked"] == []
    late = {each["kind"]: (each["belongs_to"], each["amount"]) for each in summary["booked_late"]}
    assert late == {"fee": ("2031-01-11", "0.125"), "refund": ("2031-01-11", "5")}
    assert summary["late_discrepancies"] == [
        {"belongs_to": "2031-01-11", "kind": "amount", "count": 1}
    ]
    assert summary["previous"] is not None


async def test_day_that_is_not_over_is_not_closed(books: Books) -> None:
    today = books.resources.clock.now().date()

    with pytest.raises(Refused, match="not over"):
        await close_day(books.resources, account_id=DEFAULT_ACCOUNT_ID, day=today, by="Ada")


@pytest.mark.parametrize(
    "change", [('"Ada"', '"Eve"'), ("12.5", "12.4"), ('"value":"', '"value":"A')]
)
async def test_summary_that_somebody_changed_is_not_genuine(
    books: Books, change: tuple[str, str]
) -> None:
    closed = await close_day(
        books.resources, account_id=DEFAULT_ACCOUNT_ID, day=books.day, by="Ada"
    )
    changed = closed.document.replace(*change)
    assert changed != closed.document

    with pytest.raises(Refused) as caught:
        verify_summary(books.resources.vault, changed)

    assert caught.value.code == "summary_not_genuine"
