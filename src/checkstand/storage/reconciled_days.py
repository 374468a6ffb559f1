"""Days: what their comparison came to, what wallets held, and the ones that are closed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from checkstand.domain.reconciliation import Booked, DayRow, Movements, Span, Total
from checkstand.storage.database import Transaction, statement
from checkstand.storage.discrepancies import WITH_LESS

_PAID_AT = "coalesce(p.paid_at, p.received_at)"
_RETURNED_AT = "coalesce(r.returned_at, r.ended_at, r.requested_at)"

_OPEN = statement(
    "reconciled_days.insert",
    "INSERT INTO reconciled_days (account_id, day) VALUES ($1, $2) ON CONFLICT DO NOTHING",
)
_LOCK = statement(
    "reconciled_days.lock",
    "SELECT day FROM reconciled_days WHERE account_id = $1 AND day = $2 FOR UPDATE",
)
_SAVE = statement(
    "reconciled_days.save",
    """
    UPDATE reconciled_days SET reconciled_at = $3, result = $4
     WHERE account_id = $1 AND day = $2
    """,
)
_LIST = statement(
    "reconciled_days.list",
    """
    SELECT o.day, o.reconciled_at, o.result, c.closed_at, c.closed_by, c.document
      FROM reconciled_days o
      LEFT JOIN closed_days c ON (c.account_id, c.day) = (o.account_id, o.day)
     WHERE o.account_id = $1 AND o.day >= $2 AND o.day <= $3
     ORDER BY o.day
    """,
)

#: What a run has ended differs no more; what a person has settled does.
_COUNTS = "coalesce({}resolution, '') NOT IN ('agreed', 'withdrawn')"

#: Facts of ours of a day by bucket. A discrepancy that a person settled still differs.
_PAYMENT_TOTALS = statement(
    "reconcile.payment_totals",
    f"""
    SELECT t.bucket, t.currency, count(*) AS facts, sum(t.amount) AS amount, sum(t.fee) AS fee,
           count(*) FILTER (WHERE t.fee IS NULL) AS fees_unknown,
           count(*) FILTER (WHERE t.asked) AS asked
      FROM (
        SELECT coalesce(
                 (SELECT min(d.bucket) FROM discrepancies d
                   WHERE (d.account_id, d.day, d.subject)
                         = (p.account_id, $4, 'payment:' || p.payment_id)
                     AND {_COUNTS.format("d.")}),
                 CASE WHEN EXISTS (
                   SELECT 1 FROM report_lines l
                     JOIN report_files f ON (f.account_id, f.file_id) = (l.account_id, l.file_id)
                      AND f.taken_at IS NOT NULL
                    WHERE (l.account_id, l.attempt_id) = (p.account_id, p.attempt_id)
                      AND l.kind = 'payment' AND l.settled)
                 THEN 'matched' ELSE 'waiting' END) AS bucket,
               p.currency, p.amount, p.fee,
               EXISTS (SELECT 1 FROM calls c
                        WHERE (c.account_id, c.order_id, c.attempt_id)
                              = (p.account_id, p.order_id, p.attempt_id)
                          AND c.endpoint = '/v2/order/query' AND c.outcome = 'accepted') AS asked
          FROM payments p
         WHERE p.account_id = $1 AND {_PAID_AT} >= $2 AND {_PAID_AT} < $3) AS t
     GROUP BY t.bucket, t.currency
     ORDER BY t.bucket, t.currency
    """,
)
#: A line without a number may be any refund's of its payment, unless less is listed than went back
#: on the day: that differs where files cover it, and is waited for where they do not.
_REFUND_TOTALS = statement(
    "reconcile.refund_totals",
    f"""{WITH_LESS}
    SELECT t.bucket, t.currency, count(*) AS facts, sum(t.amount) AS amount, sum(t.fee) AS fee,
           0 AS fees_unknown, 0 AS asked
      FROM (
        SELECT coalesce(
                 (SELECT min(d.bucket) FROM discrepancies d
                   WHERE (d.account_id, d.day) = (r.account_id, $4)
                     AND d.subject IN ('refund:' || r.refund_id, 'attempt:' || r.attempt_id)
                     AND d.kind LIKE 'refund%' AND {_COUNTS.format("d.")}),
                 CASE WHEN EXISTS (
                   SELECT 1 FROM report_lines l
                     JOIN report_files f ON (f.account_id, f.file_id) = (l.account_id, l.file_id)
                      AND f.taken_at IS NOT NULL
                    WHERE (l.account_id, l.attempt_id) = (r.account_id, r.attempt_id)
                      AND l.kind = 'refund' AND l.settled AND l.refund_id IS NULL
                      AND (r.is_elsewhere OR l.refund_ref IS NULL)
                      AND (r.attempt_id, r.currency) NOT IN (
                           SELECT m.attempt_id, m.currency FROM less m)
                    UNION ALL
                   SELECT 1 FROM report_lines l
                     JOIN report_files f ON (f.account_id, f.file_id) = (l.account_id, l.file_id)
                      AND f.taken_at IS NOT NULL
                    WHERE (l.account_id, l.refund_id) = (r.account_id, r.refund_id)
                      AND l.kind = 'refund' AND l.settled)
                 THEN 'matched' ELSE 'waiting' END) AS bucket,
               r.currency, coalesce(r.returned, r.amount) AS amount, r.fee_returned AS fee
          FROM refunds r
         WHERE r.account_id = $1 AND {_RETURNED_AT} >= $2 AND {_RETURNED_AT} < $3
           AND r.status = 'SUCCEEDED') AS t
     GROUP BY t.bucket, t.currency
     ORDER BY t.bucket, t.currency
    """,
)
#: What differs and is no fact of ours: listed payments and refunds that we do not have.
_OTHER_TOTALS = statement(
    "reconcile.other_totals",
    f"""
    SELECT t.kind, t.bucket, t.currency, count(*) AS facts, coalesce(sum(t.amount), 0) AS amount,
           NULL::numeric AS fee, 0 AS fees_unknown, 0 AS asked
      FROM (
        SELECT CASE WHEN kind LIKE 'refund%' THEN 'refunds'
                    WHEN kind = 'orphan_notice' THEN 'notices' ELSE 'payments' END AS kind,
               bucket, coalesce(currency, '') AS currency, subject, max(amount) AS amount
          FROM discrepancies
         WHERE account_id = $1 AND day = $2 AND {_COUNTS.format("")}
           AND kind IN ('status', 'not_ours', 'refund_not_ours', 'refund_status',
                        'refunded_elsewhere', 'orphan_notice')
         GROUP BY 1, 2, 3, 4) AS t
     GROUP BY t.kind, t.bucket, t.currency
     ORDER BY t.kind, t.bucket, t.currency
    """,
)
_OPEN_COUNTS = statement(
    "reconcile.discrepancy_counts",
    f"""
    SELECT kind, count(*) AS found, count(*) FILTER (WHERE resolved_at IS NULL) AS open
      FROM discrepancies
     WHERE account_id = $1 AND day = $2 AND {_COUNTS.format("")}
     GROUP BY kind ORDER BY kind
    """,
)

_SNAPSHOT = statement(
    "balance_snapshots.insert",
    """
    INSERT INTO balance_snapshots (account_id, day, wallet, taken_at, balances)
    VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT DO NOTHING
    """,
)
_SNAPSHOTS = statement(
    "balance_snapshots.list",
    """
    SELECT day, taken_at, balances FROM balance_snapshots
     WHERE account_id = $1 AND wallet = $2 AND day >= $3 AND day <= $4
     ORDER BY day
    """,
)
#: Before this there was nothing to compare: no account here, nothing brought along from before, and
#: no file that lists something older.
_FIRST_DAY = statement(
    "reconcile.first_day",
    """
    SELECT (least(
               (SELECT created_at FROM accounts WHERE account_id = $1),
               (SELECT min(created_at) FROM orders WHERE account_id = $1),
               (SELECT min(coalesce(paid_at, received_at)) FROM payments WHERE account_id = $1),
               (SELECT min(first_at) FROM report_files
                 WHERE account_id = $1 AND taken_at IS NOT NULL)
           ) AT TIME ZONE 'UTC')::date AS day
    """,
)
_WAS_EVER_PAID = statement(
    "reconcile.was_ever_paid",
    "SELECT EXISTS (SELECT 1 FROM payments WHERE account_id = $1) AS paid",
)
_CAME = statement(
    "reconcile.money_came",
    f"""
    SELECT p.currency, sum(p.amount) AS payments, coalesce(sum(p.fee), 0) AS fees,
           count(*) FILTER (WHERE p.fee IS NULL) AS fees_unknown
      FROM payments p
     WHERE p.account_id = $1 AND {_PAID_AT} >= $2 AND {_PAID_AT} < $3
     GROUP BY p.currency ORDER BY p.currency
    """,
)
_WENT_BACK = statement(
    "reconcile.money_went_back",
    f"""
    SELECT r.currency, sum(coalesce(r.returned, r.amount)) AS refunds,
           coalesce(sum(r.fee_returned), 0) AS fees_returned
      FROM refunds r
     WHERE r.account_id = $1 AND {_RETURNED_AT} >= $2 AND {_RETURNED_AT} < $3
       AND r.status = 'SUCCEEDED'
     GROUP BY r.currency ORDER BY r.currency
    """,
)
_PAID_OUT = statement(
    "reconcile.money_paid_out",
    """
    SELECT t.currency, sum(t.amount) AS payouts
      FROM (
        SELECT DISTINCT l.currency, l.amount,
               coalesce(l.transaction_id, l.trade_no, l.prepay_id) AS ref
          FROM report_lines l
          JOIN report_files f ON (f.account_id, f.file_id) = (l.account_id, l.file_id)
           AND f.taken_at IS NOT NULL
         WHERE l.account_id = $1 AND l.at >= $2 AND l.at < $3 AND l.kind = 'payout'
           AND l.settled) AS t
     GROUP BY t.currency ORDER BY t.currency
    """,
)

_FIND_CLOSED = statement(
    "closed_days.find",
    """
    SELECT day, closed_at, closed_by, document FROM closed_days
     WHERE account_id = $1 AND day = $2
    """,
)
_NEWEST_CLOSED = statement(
    "closed_days.newest",
    """
    SELECT c.number, c.document FROM closed_days c
     WHERE c.account_id = $1
       AND c.number = (SELECT max(number) FROM closed_days WHERE account_id = $1)
    """,
)
#: Of two that close days on the same snapshot the second meets the first one's number, and its
#: transaction is run again: that is what keeps the chain, and the booking of facts, in one line.
_CLOSE = statement(
    "closed_days.insert",
    """
    INSERT INTO closed_days (account_id, day, closed_at, closed_by, document, number)
    VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT DO NOTHING
    RETURNING day
    """,
)
#: Facts of this day, and facts of closed days that nobody had told us of when they were closed.
_BOOK_PAYMENTS = statement(
    "closed_facts.book_payments",
    f"""
    INSERT INTO closed_facts (account_id, kind, fact_id, day, closed_in, currency, amount, fee)
    SELECT p.account_id, 'payment', p.payment_id, d.day, $2, p.currency, p.amount, p.fee
      FROM payments p
     CROSS JOIN LATERAL (
           SELECT ({_PAID_AT} AT TIME ZONE 'UTC')::date AS day) AS d
     WHERE p.account_id = $1 AND {_PAID_AT} >= $3 AND {_PAID_AT} < $4
       AND (d.day = $2 OR EXISTS (
            SELECT 1 FROM closed_days c WHERE (c.account_id, c.day) = (p.account_id, d.day)))
       AND NOT EXISTS (
            SELECT 1 FROM closed_facts b
             WHERE (b.account_id, b.kind, b.fact_id) = (p.account_id, 'payment', p.payment_id))
    ON CONFLICT DO NOTHING
    """,
)
_BOOK_REFUNDS = statement(
    "closed_facts.book_refunds",
    f"""
    INSERT INTO closed_facts (account_id, kind, fact_id, day, closed_in, currency, amount, fee)
    SELECT r.account_id, 'refund', r.refund_id, d.day, $2, r.currency,
           coalesce(r.returned, r.amount), r.fee_returned
      FROM refunds r
     CROSS JOIN LATERAL (
           SELECT ({_RETURNED_AT} AT TIME ZONE 'UTC')::date AS day) AS d
     WHERE r.account_id = $1 AND {_RETURNED_AT} >= $3 AND {_RETURNED_AT} < $4
       AND r.status = 'SUCCEEDED'
       AND (d.day = $2 OR EXISTS (
            SELECT 1 FROM closed_days c WHERE (c.account_id, c.day) = (r.account_id, d.day)))
       AND NOT EXISTS (
            SELECT 1 FROM closed_facts b
             WHERE (b.account_id, b.kind, b.fact_id) = (r.account_id, 'refund', r.refund_id))
    ON CONFLICT DO NOTHING
    """,
)


def _book_change(*, of: str, first: str, corrected: str, now: str, figure: str) -> str:
    """Write the SQL that books what a figure of booked facts has changed by since.

    `now` tells each fact's figure as it stands, `figure` how a booked row adds to it; one that was
    never told is booked as the first.
    """
    return f"""
    INSERT INTO closed_facts (account_id, kind, fact_id, day, closed_in, currency, amount)
    SELECT b.account_id, CASE WHEN b.told IS NULL THEN '{first}' ELSE '{corrected}' END,
           b.fact_id, b.day, $2, b.currency, n.figure - coalesce(b.told, 0)
      FROM (SELECT account_id, fact_id, min(day) AS day, min(currency) AS currency,
                   sum({figure}) AS told
              FROM closed_facts
             WHERE account_id = $1 AND kind IN ('{of}', '{first}', '{corrected}') AND day >= $3
             GROUP BY account_id, fact_id) AS b
      JOIN ({now}) AS n ON (n.account_id, n.fact_id) = (b.account_id, b.fact_id)
     WHERE n.figure IS DISTINCT FROM b.told AND n.figure IS NOT NULL
    ON CONFLICT DO NOTHING
    """


_PAID_NOW = """
    SELECT account_id, payment_id AS fact_id, {} AS figure FROM payments WHERE account_id = $1
"""
_RETURNED_NOW = """
    SELECT account_id, refund_id AS fact_id, {} AS figure FROM refunds WHERE account_id = $1
"""
#: After the facts themselves, so that what this day has just booked is seen to stand as it is.
_BOOK_CHANGES: Final = (
    statement(
        "closed_facts.book_payments_corrected",
        _book_change(
            of="payment",
            first="payment",
            corrected="payment_corrected",
            now=_PAID_NOW.format("amount"),
            figure="amount",
        ),
    ),
    statement(
        "closed_facts.book_fees",
        _book_change(
            of="payment",
            first="fee",
            corrected="fee_corrected",
            now=_PAID_NOW.format("fee"),
            figure="CASE WHEN kind = 'payment' THEN fee ELSE amount END",
        ),
    ),
    statement(
        "closed_facts.book_refunds_corrected",
        _book_change(
            of="refund",
            first="refund",
            corrected="refund_corrected",
            now=_RETURNED_NOW.format("coalesce(returned, amount)"),
            figure="amount",
        ),
    ),
    statement(
        "closed_facts.book_fees_returned",
        _book_change(
            of="refund",
            first="fee_returned",
            corrected="fee_return_corrected",
            now=_RETURNED_NOW.format("fee_returned"),
            figure="CASE WHEN kind = 'refund' THEN fee ELSE amount END",
        ),
    ),
)
_BOOKED = statement(
    "closed_facts.sums",
    """
    SELECT kind, day, currency, count(*) AS facts, sum(amount) AS amount, sum(fee) AS fee,
           count(*) FILTER (WHERE fee IS NULL AND kind IN ('payment', 'refund')) AS fees_unknown
      FROM closed_facts WHERE account_id = $1 AND closed_in = $2
     GROUP BY kind, day, currency ORDER BY day, kind, currency
    """,
)
_LATE_DISCREPANCIES = statement(
    "discrepancies.close",
    """
    UPDATE discrepancies d SET closed_in = $2
     WHERE d.account_id = $1 AND d.closed_in IS NULL
       AND (d.day = $2 OR EXISTS (
            SELECT 1 FROM closed_days c WHERE (c.account_id, c.day) = (d.account_id, d.day)))
    RETURNING d.day, d.kind
    """,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedDay:
    """A day that never changes any more."""

    day: date
    closed_at: datetime
    closed_by: str
    document: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a wallet held at one moment."""

    taken_at: datetime
    balances: Mapping[str, Decimal]


async def lock(tx: Transaction, account_id: UUID, day: date) -> None:
    """Hold a day: one run at a time compares it."""
    await tx.run(_OPEN, account_id, day)
    await tx.run(_LOCK, account_id, day)


async def save(
    tx: Transaction, account_id: UUID, day: date, result: Mapping[str, Any], *, now: datetime
) -> None:
    """Write what a run of an open day came to."""
    await tx.run(_SAVE, account_id, day, now, json.dumps(result))


async def list_days(tx: Transaction, account_id: UUID, first: date, last: date) -> list[DayRow]:
    """Return the days that were ever reconciled, oldest first."""
    rows = await tx.rows(_LIST, account_id, first, last)
    return [
        DayRow(**dict(row) | {"result": json.loads(row["result"]) if row["result"] else None})
        for row in rows
    ]


async def totals(tx: Transaction, account_id: UUID, day: date, span: Span) -> list[Total]:
    """Count and add up a day, by kind, bucket and asset."""
    found = []
    for kind, sql in (("payments", _PAYMENT_TOTALS), ("refunds", _REFUND_TOTALS)):
        rows = await tx.rows(sql, account_id, span.start, span.end, day)
        found += [Total(kind=kind, **dict(row)) for row in rows]
    return found + [Total(**dict(row)) for row in await tx.rows(_OTHER_TOTALS, account_id, day)]


async def discrepancy_counts(
    tx: Transaction, account_id: UUID, day: date
) -> dict[str, tuple[int, int]]:
    """Return how many discrepancies of each kind a day has, and how many are open."""
    rows = await tx.rows(_OPEN_COUNTS, account_id, day)
    return {row["kind"]: (row["found"], row["open"]) for row in rows}


async def store_snapshot(
    tx: Transaction,
    account_id: UUID,
    day: date,
    *,
    wallet: str,
    taken_at: datetime,
    balances: Mapping[str, Decimal],
) -> None:
    """Keep what a wallet holds, unless that was done today."""
    text = json.dumps({asset: f"{amount:f}" for asset, amount in sorted(balances.items())})
    await tx.run(_SNAPSHOT, account_id, day, wallet, taken_at, text)


async def snapshots(
    tx: Transaction, account_id: UUID, wallet: str, first: date, last: date
) -> dict[date, Snapshot]:
    """Return what a wallet held at the first look on each day."""
    rows = await tx.rows(_SNAPSHOTS, account_id, wallet, first, last)
    return {
        row["day"]: Snapshot(
            taken_at=row["taken_at"],
            balances={a: Decimal(text) for a, text in json.loads(row["balances"]).items()},
        )
        for row in rows
    }


async def first_day(tx: Transaction, account_id: UUID) -> date:
    """Return the day of the account's first fact, by our rows or by a report file."""
    (row,) = await tx.rows(_FIRST_DAY, account_id)
    day: date = row["day"]
    return day


async def was_ever_paid(tx: Transaction, account_id: UUID) -> bool:
    """Say whether any payment arrived for the account."""
    row = await tx.row(_WAS_EVER_PAID, account_id)
    return bool(row and row["paid"])


async def movements(tx: Transaction, account_id: UUID, span: Span) -> dict[str, Movements]:
    """Add up what our rows, and files of payouts, say moved in a stretch of time, by asset."""
    sums: dict[str, dict[str, Any]] = {}
    for sql in (_CAME, _WENT_BACK, _PAID_OUT):
        for row in await tx.rows(sql, account_id, span.start, span.end):
            values = dict(row)
            sums.setdefault(values.pop("currency"), {}).update(values)
    return {asset: Movements(**values) for asset, values in sums.items()}


async def find_closed(tx: Transaction, account_id: UUID, day: date) -> ClosedDay | None:
    """Return a closed day."""
    row = await tx.row(_FIND_CLOSED, account_id, day)
    return ClosedDay(**dict(row)) if row else None


async def newest_closed(tx: Transaction, account_id: UUID) -> tuple[int, str | None]:
    """Return the number and the summary of the day that was closed last; 0 and None at first."""
    row = await tx.row(_NEWEST_CLOSED, account_id)
    return (row["number"], row["document"]) if row else (0, None)


async def book(tx: Transaction, account_id: UUID, day: date, lookback: Span) -> list[Booked]:
    """Book the day's facts in it, and those that came too late for days closed before.

    A fact that any day has booked is not booked again; where its figure is another one by now, the
    difference is.
    """
    await tx.run(_BOOK_PAYMENTS, account_id, day, lookback.start, lookback.end)
    await tx.run(_BOOK_REFUNDS, account_id, day, lookback.start, lookback.end)
    for sql in _BOOK_CHANGES:
        await tx.run(sql, account_id, day, lookback.start.date())
    return [Booked(**dict(row)) for row in await tx.rows(_BOOKED, account_id, day)]


async def close_discrepancies(
    tx: Transaction, account_id: UUID, day: date
) -> Sequence[tuple[date, str]]:
    """Count discrepancies in the day: its own, and those found too late for closed days."""
    rows = await tx.rows(_LATE_DISCREPANCIES, account_id, day)
    return [(row["day"], row["kind"]) for row in rows]


async def close(
    tx: Transaction,
    account_id: UUID,
    day: date,
    *,
    number: int,
    by: str,
    document: str,
    now: datetime,
) -> bool:
    """Close a day for ever, under its number in the chain; False when it is closed already."""
    return await tx.row(_CLOSE, account_id, day, now, by, document, number) is not None
