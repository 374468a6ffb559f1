"""Reconcile days: lay ours and theirs side by side, write down what differs, ask about what
Binance's answer will settle, and tell the shop the rest.

Nothing is booked here. Where a file says "paid" and we do not, the attempt is made due, and the
ordinary path settles it: there is one answer to "how does an order become paid?".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from checkstand.domain.case import Decision
from checkstand.domain.event import Event, EventType, event_id_of
from checkstand.domain.reconciliation import (
    DAY,
    BalanceLine,
    Span,
    balance_findings,
    balance_lines,
    is_covered,
    may_say_only_ours,
    render_balance,
    render_total,
    span_of,
)
from checkstand.domain.report_line import LineKind
from checkstand.domain.view import render_time
from checkstand.operations.resources import Resources
from checkstand.operations.take_in_report import Progress, nobody_watches
from checkstand.storage import cases, discrepancies, events, reconciled_days, report_files
from checkstand.storage.database import Patience, Transaction

#: Where payments arrive and refunds are taken from (reference 2.8).
WALLET: Final = "FUNDING_WALLET"
#: Rows of a comparison that are in memory at once.
_PART: Final = 2_000
#: One statement over a day of a million orders takes a while, and nobody waits at a page for it.
_PATIENCE: Final = Patience(statement_ms=900_000)
#: Asked again after this long, if that settled nothing.
_ASK_AGAIN: Final = timedelta(hours=1)
_HEAL_PART: Final = 500
#: A thousand discrepancies at once are one mistake, such as a wrong column: the shop is told of the
#: first ones, the list has all.
_TOLD_MAX: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """What reconciling some days came to."""

    results: Mapping[date, Mapping[str, Any]]
    asked: int  # discrepancies whose attempt or refund Binance is asked about now

    @property
    def open(self) -> int:
        """Return how many discrepancies of these days are open."""
        return sum(
            counts["open"]
            for result in self.results.values()
            for counts in result["discrepancies"].values()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A day laid side by side, in the transaction that did it."""

    result: dict[str, Any]
    is_closed: bool


async def reconcile_days(
    resources: Resources,
    *,
    account_id: UUID,
    days: Sequence[date],
    progress: Progress = nobody_watches,
) -> Reconciled:
    """Reconcile some days, each in a transaction of its own. Safe to repeat at any time."""
    results = {}
    for number, day in enumerate(sorted(days), 1):
        results[day] = await _reconcile_day(resources, account_id, day)
        progress("days", number, len(days))
    asked = await _heal(resources, account_id)
    await _tell_shop(resources, account_id)
    resources.attempts_wake.up()
    resources.deliveries_wake.up()
    return Reconciled(results=results, asked=asked)


async def _reconcile_day(resources: Resources, account_id: UUID, day: date) -> Mapping[str, Any]:
    now = resources.clock.now()

    async def step(tx: Transaction) -> Mapping[str, Any]:
        compared = await compare_day(tx, account_id, day, now=now)
        if not compared.is_closed:
            await reconciled_days.save(tx, account_id, day, compared.result, now=now)
        return compared.result

    return await resources.database.run(step, name="reconcile_day", patience=_PATIENCE)


async def compare_day(tx: Transaction, account_id: UUID, day: date, *, now: datetime) -> Compared:
    """Lay a day side by side and write down what differs; the day's row is held meanwhile."""
    span = span_of(day)
    await reconciled_days.lock(tx, account_id, day)
    closed = await reconciled_days.find_closed(tx, account_id, day)
    around = Span(span.start - DAY, span.end + DAY)
    await report_files.match_again(tx, account_id, around, size=_PART)
    covered, may_say = await _coverage(tx, account_id, day, around)
    async for findings in discrepancies.find(
        tx, account_id, span, with_only_ours=may_say, size=_PART
    ):
        await discrepancies.write(tx, account_id, day, findings, now=now)
    balance, lines = await _balance(tx, account_id, day)
    if lines:
        await discrepancies.write(tx, account_id, day, balance_findings(lines), now=now)
    await discrepancies.agree(
        tx,
        account_id,
        day,
        span,
        with_balance=bool(lines),
        with_unlisted_refunds=may_say[1],
        now=now,
    )
    totals = await reconciled_days.totals(tx, account_id, day, span)
    counts = await reconciled_days.discrepancy_counts(tx, account_id, day)
    files = await report_files.list_of_day(tx, account_id, span)
    result = {
        "day": day.isoformat(),
        "sources": {
            "queries": sum(total.asked for total in totals),
            "orphan_notices": counts.get("orphan_notice", (0, 0))[0],
            "files": [
                {"name": f.name, "sha256": f.sha256.hex(), "lines": f.lines, "map": f.map_name}
                for f in files
            ],
            "covered": {str(kind): is_in for kind, is_in in covered.items()},
            "neighbour_days_in": {"payment": may_say[0], "refund": may_say[1]},
            "balances": balance,
        },
        "totals": [render_total(total) for total in totals],
        "discrepancies": {
            kind: {"found": found, "open": is_open} for kind, (found, is_open) in counts.items()
        },
    }
    return Compared(result=result, is_closed=closed is not None)


async def _coverage(
    tx: Transaction, account_id: UUID, day: date, around: Span
) -> tuple[dict[LineKind, bool], tuple[bool, bool]]:
    """Say which kinds the files of a day list in full, and whether "only ours" may be said."""
    spans = {kind: await report_files.coverage(tx, account_id, kind, around) for kind in LineKind}
    covered = {kind: is_covered(day, spans[kind]) for kind in LineKind}
    payments_too = may_say_only_ours(day, spans[LineKind.PAYMENT])
    return covered, (payments_too, may_say_only_ours(day, spans[LineKind.REFUND]))


async def _balance(
    tx: Transaction, account_id: UUID, day: date
) -> tuple[dict[str, Any] | None, list[BalanceLine]]:
    """Lay out the balance equation between the first look on the day and the first on the next."""
    found = await reconciled_days.snapshots(tx, account_id, WALLET, day, day + DAY)
    opening, closing = found.get(day), found.get(day + DAY)
    if opening is None or closing is None:
        return None, []
    between = Span(opening.taken_at, closing.taken_at)
    moved = await reconciled_days.movements(tx, account_id, between)
    lines = balance_lines(opening.balances, closing.balances, moved)
    described = {
        "wallet": WALLET,
        "opened_at": render_time(opening.taken_at),
        "closed_at": render_time(closing.taken_at),
        "assets": [render_balance(line) for line in lines],
    }
    return described, lines


async def _heal(resources: Resources, account_id: UUID) -> int:
    """Let a worker ask Binance about every attempt and refund whose truth it knows for certain."""
    now, asked = resources.clock.now(), 0

    async def step(tx: Transaction) -> int:
        return await discrepancies.heal(
            tx, account_id, asked_before=now - _ASK_AGAIN, now=now, limit=_HEAL_PART
        )

    while part := await resources.database.run(step, name="heal_discrepancies"):
        asked += part
    return asked


async def _tell_shop(resources: Resources, account_id: UUID) -> None:
    """Write an event for what concerns an order of ours and no query has settled."""
    now = resources.clock.now()

    async def step(tx: Transaction) -> None:
        found = await discrepancies.list_untold(
            tx, account_id, asked_before=now - _ASK_AGAIN, limit=_TOLD_MAX
        )
        told = await discrepancies.mark_told(
            tx, account_id, [each.discrepancy_id for each in found], now=now
        )
        wanted = [each for each in found if each.discrepancy_id in told]
        keys = [(account_id, each.finding.order_id) for each in wanted if each.finding.order_id]
        held = await cases.lock(tx, keys)
        by_order = {order_id: case for (_, order_id), case in held.items()}
        decisions = []
        for each in wanted:
            case = by_order.get(each.finding.order_id) if each.finding.order_id else None
            if case is not None:
                event = Event(
                    account_id=account_id,
                    order_id=case.order.order_id,
                    event_id=event_id_of(
                        case.order.order_id,
                        EventType.RECONCILIATION_DISCREPANCY,
                        str(each.discrepancy_id),
                    ),
                    type=EventType.RECONCILIATION_DISCREPANCY,
                    order_version=case.order.version,
                    created_at=now,
                    discrepancy=each,
                )
                decisions.append(Decision(before=case, case=case, events=(event,)))
        await events.append(tx, decisions, public_url=resources.policy.public_url)

    await resources.database.run(step, name="tell_discrepancies")
