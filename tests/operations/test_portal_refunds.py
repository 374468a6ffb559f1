"""A refund made in Binance's portal belongs to the day it was made, whenever a person books it."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from checkstand.domain.view import render_time
from checkstand.operations.advance_attempt import advance_attempt
from checkstand.operations.claim_due_attempts import claim_due_attempts
from checkstand.operations.close_day import close_day, verify_summary
from checkstand.operations.fetch_reports import take_balances
from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID
from checkstand.queries.verify_ledger import verify_ledger
from tests.operations import test_reconcile_days as shop
from tests.operations.test_reconcile_days import DAY, Books

books = shop.books


class Portal:
    """The one order's money, of which 5 went back in the portal today at one o'clock."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.control = books.gateway.simulator.control
        self.resources = books.resources
        self.day = self.resources.clock.now().date()
        self.went_at: datetime = self.resources.clock.now()
        self.url = f"/api/payments/binance/orders/{books.order_id}"

    async def go_back(self) -> None:
        """Let it go back, and two days go by with a look at the wallet each."""
        await take_balances(self.resources)
        await self.control.advance(3_600)
        self.went_at = self.resources.clock.now()
        self.control.refund(self.books.gateway.trade_numbers()[0], amount=Decimal(5))
        await self.control.advance(86_400 - 3_600)
        await take_balances(self.resources)
        await self.control.advance(86_400)
        await take_balances(self.resources)

    async def accept(self, **said: Any) -> Any:
        """Let Binance be asked, and a person say what went back; return the answer."""
        await self.books.gateway.request("POST", f"{self.url}/refresh", body={})
        for lease in await claim_due_attempts(self.resources, limit=10):
            await advance_attempt(self.resources, lease=lease)
        listed = await self.books.gateway.request("GET", f"{self.url}/anomalies")
        (anomaly,) = listed.json["data"]
        body = {"resolution": "accept", "reason": "made in the portal", "amount": "5"} | said
        where = f"{self.url}/anomalies/{anomaly['anomaly_id']}/resolve"
        return await self.books.gateway.request("POST", where, body=body)

    async def refund(self) -> dict[str, Any]:
        """Return the refund as the shop sees it."""
        answer = await self.books.gateway.request("GET", f"{self.url}/refunds")
        (refund,) = answer.json["data"]
        return dict(refund)

    async def balances(self) -> list[str]:
        """Return what the wallet's days differ by, once the last of them is over."""
        await self.control.advance(86_400)
        await take_balances(self.resources)
        days = [self.day, self.day + DAY, self.day + 2 * DAY]
        results = (await self.books.reconcile(*days)).results
        return [results[d]["sources"]["balances"]["assets"][0]["difference"] for d in days]


@pytest.fixture
def portal(books: Books) -> Portal:
    return Portal(books)


async def test_balance_goes_by_when_the_money_left(portal: Portal) -> None:
    await portal.go_back()

    said = await portal.accept(returned_at=render_time(portal.went_at), fee_returned="0.05")

    assert said.status == 200, said.content
    refund = await portal.refund()
    assert refund["returned_at"] == render_time(portal.went_at)
    assert refund["ended_at"] > refund["returned_at"]
    entries = await portal.books.gateway.timeline(portal.books.order_id)
    left = f"5 USDT went back, on {portal.went_at:%Y-%m-%d %H:%M} UTC"
    assert any(left in entry["summary"] for entry in entries), entries
    assert await portal.balances() == ["0", "0", "0"]
    booked = await portal.books.sql(
        "SELECT kind, amount, at FROM transfers WHERE kind IN ('refund', 'fee_returned')"
    )
    assert {(row["kind"], row["amount"]) for row in booked} == {
        ("refund", Decimal(5)),
        ("fee_returned", Decimal("0.05")),
    }
    assert all(row["at"] - portal.went_at > timedelta(days=1) for row in booked)


async def test_nothing_of_the_fee_coming_back_can_be_said(portal: Portal) -> None:
    """Which is not the same as not saying."""
    await portal.go_back()

    said = await portal.accept(returned_at=render_time(portal.went_at), fee_returned="0")

    assert said.status == 200, said.content
    (row,) = await portal.books.sql("SELECT fee_returned, fee_return_learnt_at FROM refunds")
    assert row["fee_returned"] == 0
    assert row["fee_return_learnt_at"] is not None
    moved = await portal.books.sql("SELECT kind FROM transfers WHERE kind LIKE 'fee_return%'")
    assert moved == []  # nothing moved, so nothing is booked
    resources = portal.resources
    verdict = await verify_ledger(resources.database, now=resources.clock.now())
    assert {flaw.kind for flaw in verdict.flaws} <= {"unsealed"}


async def test_time_that_is_not_said_is_the_file_s(portal: Portal) -> None:
    await portal.go_back()
    line = shop._refund_line(
        portal.books, "portal-1", **{"Time (UTC)": f"{portal.went_at:%Y-%m-%d %H:%M:%S}"}
    )
    await portal.books.take([line], header=shop.REFUNDS)
    await portal.books.take([line], header=[*shop.REFUNDS, "Net"])

    said = await portal.accept(fee_returned="0.05")

    assert said.status == 200, said.content
    assert (await portal.refund())["returned_at"] == render_time(
        portal.went_at.replace(microsecond=0)
    )
    assert await portal.balances() == ["0", "0", "0"]
    assert await portal.books.found() == []


@pytest.mark.parametrize("other", ["another amount", "two of them"])
async def test_file_that_cannot_say_when_leaves_it_at_now(portal: Portal, other: str) -> None:
    await portal.go_back()
    line = shop._refund_line(portal.books, "portal-1")
    lines = [line | {"Amount": "4"}]
    if other == "two of them":
        lines = [line, line | {"Refund Request ID": "x", "Time (UTC)": "2031-01-12 12:00:00"}]
    await portal.books.take(lines, header=shop.REFUNDS)

    await portal.accept()

    refund = await portal.refund()
    assert refund["returned_at"] == refund["ended_at"]


async def test_return_to_a_day_that_was_closed_is_booked_late(portal: Portal) -> None:
    await portal.go_back()
    resources = portal.resources
    await close_day(resources, account_id=DEFAULT_ACCOUNT_ID, day=portal.day, by="Ada")
    await portal.accept(returned_at=render_time(portal.went_at))

    closed = await close_day(
        resources, account_id=DEFAULT_ACCOUNT_ID, day=portal.day + DAY, by="Ada"
    )

    (late,) = verify_summary(resources.vault, closed.document)["booked_late"]
    assert (late["kind"], late["belongs_to"], late["amount"]) == (
        "refund",
        portal.day.isoformat(),
        "5",
    )


@pytest.mark.parametrize(
    ("said", "field", "words"),
    [
        ({"returned_at": "2031-01-13T12:00:00"}, "returned_at", "with its zone"),
        ({"returned_at": 1_926_000_000}, "returned_at", "with its zone"),
        ({"returned_at": "2041-01-13T12:00:00Z"}, "returned_at", "still to come"),
        ({"returned_at": "2031-01-11T11:00:00Z"}, "returned_at", "came only at 2031-01-11T12:00"),
        ({"fee_returned": "-0.1"}, "fee_returned", "no sign"),
        ({"fee_returned": "0.2"}, "fee_returned", "no more than 0.125"),
        ({"fee_returned": "0.05", "amount": None}, "amount", "say that, too"),
    ],
)
async def test_return_that_cannot_be_is_refused_in_a_sentence(
    portal: Portal, said: dict[str, Any], field: str, words: str
) -> None:
    await portal.go_back()

    answer = await portal.accept(**said)

    assert (answer.status, answer.json["field"]) == (422, field)
    assert words in answer.content.decode()
    assert await portal.books.sql("SELECT 1 FROM refunds") == []
