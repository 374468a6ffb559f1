"""What must hold of reconciliation when the accountant has looked over every day at the end."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from checkstand.simulator.accounts import EntryKind
from checkstand.simulator.records import RefundStatus
from checkstand.simulator.server import DEFAULT_MERCHANT
from torture.ambient import BEGAN_AT
from torture.books import Books, Row

#: What may be open at the end, and must have a reason in Binance's books; all else would be wrong.
_PORTAL: Final = frozenset({"refunded_elsewhere"})
#: Wallets are emptied and filled by hand in some stories, which no file lists.
_BY_HAND: Final = frozenset({EntryKind.CORRECTION})
_PAID: Final = frozenset({EntryKind.PAYMENT, EntryKind.COMMISSION})
_DAY: Final = timedelta(days=1)
#: Until then nobody has looked at the wallet, which the world fills as it is made.
_BEGAN_MS: Final = int(BEGAN_AT.timestamp() * 1000)
#: A summary tells the moment to the millisecond, our rows know it better.
_TOLD_TO: Final = timedelta(milliseconds=1)


def every_payment_is_compared(books: Books) -> Iterator[str]:
    """Each payment and refund of Binance's books is matched, or differs with a reason."""
    until = books.world.desk.audited_until
    if until is None:
        return
    differing = {row["attempt_id"] for row in books.tables["discrepancies"]}
    for number, order in books.received.items():
        payment = order.payment
        if payment is None or _day(payment.paid_ms) > until:
            continue
        attempt = next(r for r in books.tables["attempts"] if r["attempt_id"].hex == number)
        lines = books.rows("report_lines", attempt_id=attempt["attempt_id"], kind="payment")
        if not lines and attempt["attempt_id"] not in differing:
            yield f"the payment of attempt {number} is neither matched nor a discrepancy"
        for refund in books.world.simulator.store.list_refunds(order.prepay_id):
            is_done = refund.status is RefundStatus.SUCCESS and _day(refund.requested_ms) <= until
            if is_done and not _is_explained(books, attempt, refund.refund_request_id):
                yield f"refund {refund.refund_request_id} is neither matched nor a discrepancy"


def _is_explained(books: Books, attempt: Row, number: str) -> bool:
    """Say whether a refund of Binance's is one of ours by a line, or a difference is written."""
    lines = books.rows("report_lines", refund_ref=number)
    if any(line["refund_id"] is not None and line["refund_id"].hex == number for line in lines):
        return True
    written = books.rows("discrepancies", attempt_id=attempt["attempt_id"])
    elsewhere = books.rows("refunds", attempt_id=attempt["attempt_id"], is_elsewhere=True)
    return bool(lines) and bool(elsewhere or any(row["kind"] in _PORTAL for row in written))


def discrepancies_are_true(books: Books) -> Iterator[str]:
    """What still differs when all is known differs in Binance's books too."""
    portal = {
        books.world.control.order(refund.prepay_id).merchant_trade_no
        for refund in books.world.control.refunds
        if refund.by_portal
    }
    orders = {
        row["attempt_id"].hex: str(row["order_id"])
        for row in books.tables["attempts"]
        if row["attempt_id"].hex in portal
    }
    for found in books.world.desk.open_at_end:
        kind = found["kind"]
        is_true = kind in _PORTAL and found["order_id"] in orders.values()
        if kind == "balance":
            is_true = _moved_unseen(books, date.fromisoformat(found["day"]))
        if not is_true and not _went_to_a_stranger(books, found):
            yield f"{kind} is no discrepancy: {found}"


def _moved_unseen(books: Books, day: date) -> bool:
    """Say whether the wallet moved, between two looks at it, in a way that we cannot know.

    It is looked at first thing on the day, and on the next as soon as somebody is up.
    """
    world = books.world
    forgotten = books.forgotten.attempts
    ours = {order.prepay_id for n, order in books.received.items() if n not in forgotten}
    unseen = [
        entry.at_ms
        for entry in world.simulator.store.entries
        if entry.owner == DEFAULT_MERCHANT.merchant_id
        and entry.at_ms > _BEGAN_MS
        and (entry.kind in _BY_HAND or (entry.kind in _PAID and entry.reference not in ours))
    ]
    # A person says what went back in the portal, or not; and when, or not.
    unseen += [
        refund.requested_ms for refund in world.control.refunds if books.is_elsewhere(refund)
    ]
    # With another merchant's keys in the place of ours it was his wallet that was looked at.
    unseen += [
        _BEGAN_MS + round((second + world.plan.database_skew) * 1000)
        for period in world.calamities.other_keys
        for second in period
    ]
    return any(day <= _day(moment) <= day + _DAY for moment in unseen) or _was_under_way(books, day)


def _was_under_way(books: Books, day: date) -> bool:
    """Say whether the wallet was looked at while money moved: that falls on either side of it.

    A refund leaves when Binance takes it on, and is known of when it has ended; a payment has
    Binance's time, and a look the database's.
    """
    off = timedelta(seconds=abs(books.world.plan.database_skew) + 2)
    looks = [
        row["taken_at"]
        for row in books.tables["balance_snapshots"]
        if row["day"] in {day, day + _DAY}
    ]
    moving = [(row["paid_at"] - off, row["paid_at"] + off) for row in books.tables["payments"]]
    moving += [
        (row["requested_at"] - off, (row["returned_at"] or row["ended_at"] or books.now) + off)
        for row in books.tables["refunds"]
    ]
    return any(began <= look <= ended for look in looks for began, ended in moving)


def _went_to_a_stranger(books: Books, found: Mapping[str, Any]) -> bool:
    """Say whether Binance's files lack a payment because it was made with another's keys."""
    attempts = {r["attempt_id"].hex for r in books.tables["attempts"]} & set(books.strays)
    rows = [r for r in books.tables["payments"] if r["attempt_id"].hex in attempts]
    missing = {f"payment:{row['payment_id']}" for row in rows}
    return found["kind"] == "not_listed" and found["subject"] in missing


def closed_days_stay(books: Books) -> Iterator[str]:
    """A closed day never changes, books each fact once, and hides nothing that was open."""
    kept = {row["day"].isoformat(): row["document"] for row in books.tables["closed_days"]}
    for day, heard in books.world.desk.summaries.items():
        if kept.get(day) != heard:
            yield f"the summary of {day} is not what was heard of it"
        yield from _hides(books, day, json.loads(heard)["summary"])
    until = books.world.desk.audited_until
    facts = books.tables["closed_facts"]
    booked = {row["fact_id"]: row for row in facts if row["kind"] == "payment"}
    if until is None:
        return
    for row in books.tables["payments"]:
        number = row["attempt_id"].hex
        payment = books.received[number].payment if number in books.received else None
        if payment is None or _day(payment.paid_ms) > until:
            continue
        fact = booked.get(row["payment_id"])
        if fact is None or (fact["amount"], fact["day"]) != (payment.amount, _day(payment.paid_ms)):
            yield f"payment {row['payment_id']} of {_day(payment.paid_ms)} is booked as {fact}"


def _hides(books: Books, day: str, summary: Mapping[str, Any]) -> Iterator[str]:
    """Say what was open when a day was closed, and its summary does not count."""
    closed_at = datetime.fromisoformat(summary["closed_at"])
    for row in books.tables["discrepancies"]:
        is_of_day = row["day"].isoformat() == day and row["found_at"] < closed_at
        was_open = row["resolved_at"] is None or row["resolved_at"] > closed_at + _TOLD_TO
        told = summary["discrepancies"].get(row["kind"], {"open": 0})
        if is_of_day and was_open and told["open"] < 1:
            yield f"{day} was closed with an open {row['kind']}, and its summary says nothing of it"


def _day(moment_ms: int) -> date:
    return datetime.fromtimestamp(moment_ms / 1000, UTC).date()


AUDIT_INVARIANTS: Final[Sequence[Callable[[Books], Iterator[str]]]] = (
    every_payment_is_compared,
    discrepancies_are_true,
    closed_days_stay,
)
