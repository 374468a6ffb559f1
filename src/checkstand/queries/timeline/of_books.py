"""What was booked of an order, what reconciliation found about it, and which days count it."""

import re
from typing import Final

from checkstand.queries.timeline.entry import Kind, TimelineEntry, money
from checkstand.storage.database import Row, statement

_TRANSFERS = statement(
    "timeline.transfers",
    """
    SELECT kind, fact, asset, amount, debit, credit, at FROM transfers
     WHERE account_id = $1 AND order_id = $2 ORDER BY at, kind, fact LIMIT $3
    """,
)
_DISCREPANCIES = statement(
    "timeline.discrepancies",
    """
    SELECT discrepancy_id, day, kind, subject, currency, ours, theirs, found_at, asked_at,
           resolved_at, resolved_by, resolution, reason
      FROM discrepancies
     WHERE account_id = $1 AND order_id = $2 ORDER BY found_at, discrepancy_id LIMIT $3
    """,
)
_DAYS = statement(
    "timeline.days",
    """
    WITH mine AS (
        SELECT p.account_id, p.payment_id AS fact_id FROM payments p
         WHERE p.account_id = $1 AND p.order_id = $2
         UNION ALL
        SELECT r.account_id, r.refund_id FROM refunds r
         WHERE r.account_id = $1 AND r.order_id = $2)
    SELECT f.kind, f.fact_id, f.day, f.closed_in, f.currency, f.amount, c.closed_at, c.closed_by
      FROM mine m
      JOIN closed_facts f ON f.account_id = m.account_id AND f.fact_id = m.fact_id
       AND f.kind IN ('payment', 'payment_corrected', 'fee', 'fee_corrected', 'refund',
                      'refund_corrected', 'fee_returned', 'fee_return_corrected')
      JOIN closed_days c ON (c.account_id, c.day) = (f.account_id, f.closed_in)
     ORDER BY c.closed_at, f.kind, f.fact_id LIMIT $3
    """,
)

_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?")
#: Kinds whose two sides are bare figures; of the others they are ids, states and times.
_OF_MONEY: Final = frozenset(
    {
        "amount",
        "fee",
        "fee_unknown",
        "refund_amount",
        "refund_fee",
        "refunded_elsewhere",
        "balance",
    }
)


def _transfer(row: Row) -> list[TimelineEntry]:
    fact, _, version = row["fact"].partition("@")
    about = f"refund:{fact} ended" if _is_of_refund(row["kind"]) else f"payment:{fact}"
    what = row["kind"].replace("_", " ")
    return [
        TimelineEntry(
            at=row["at"],
            actor="checkstand",
            kind=Kind.TRANSFER,
            summary=f"booked: {what}, {money(row['amount'], row['asset'])} "
            f"from {row['credit']} to {row['debit']}",
            ref=f"transfer:{row['kind']}/{row['fact']}",
            detail={
                "kind": row["kind"],
                "fact": row["fact"],
                "debit": row["debit"],
                "credit": row["credit"],
            },
            follows=(f"version:{version}",) if version else (about,),
        )
    ]


def _is_of_refund(kind: str) -> bool:
    return kind.startswith(("refund", "fee_return"))


def _discrepancy(row: Row) -> list[TimelineEntry]:
    ref = f"discrepancy:{row['discrepancy_id']}"
    found = TimelineEntry(
        at=row["found_at"],
        actor="checkstand",
        kind=Kind.DISCREPANCY,
        summary=f"{row['kind']} found in reconciling {row['day']}: ours {_side(row, 'ours')}, "
        f"theirs {_side(row, 'theirs')}",
        ref=ref,
        detail={"subject": row["subject"], "day": row["day"].isoformat()},
        fact=ref,
    )
    entries = [found]
    if row["asked_at"] is not None:
        entries.append(
            TimelineEntry(
                at=row["asked_at"],
                actor="checkstand",
                kind=Kind.DISCREPANCY,
                summary=f"Binance is asked about it: {row['kind']} of {row['day']}",
                ref=ref,
                follows=(ref,),
            )
        )
    if row["resolved_at"] is not None:
        by = row["resolved_by"]
        entries.append(
            TimelineEntry(
                at=row["resolved_at"],
                actor="checkstand" if by == "checkstand" else "person",
                kind=Kind.DISCREPANCY,
                summary=f"{row['kind']} of {row['day']} {row['resolution'].replace('_', ' ')}: "
                f"{row['reason']} (by {by})",
                ref=ref,
                detail={"by": by},
                follows=(ref,),
            )
        )
    return entries


def _side(row: Row, name: str) -> str:
    """Write what one side says; a bare figure with its currency."""
    said = row[name]
    if said is None:
        return "nothing"
    is_bare = row["kind"] in _OF_MONEY and row["currency"] and _NUMBER.fullmatch(said)
    return f"{said} {row['currency']}" if is_bare else str(said)


def _day(row: Row) -> list[TimelineEntry]:
    about = "refund" if _is_of_refund(row["kind"]) else "payment"
    late = "" if row["day"] == row["closed_in"] else f", which belongs to {row['day']}"
    return [
        TimelineEntry(
            at=row["closed_at"],
            actor="person",
            kind=Kind.DAY,
            summary=f"{row['closed_in']} was closed by {row['closed_by']} and counts the "
            f"{row['kind'].replace('_', ' ')}, {money(row['amount'], row['currency'])}{late}",
            ref=f"{about}:{row['fact_id']}",
            detail={"day": row["closed_in"].isoformat(), "by": row["closed_by"]},
        )
    ]


SOURCES: Final = {_TRANSFERS: _transfer, _DISCREPANCIES: _discrepancy, _DAYS: _day}
