"""What Binance was asked and what it told, by whatever channel: calls, notices, files, orphans."""

from typing import Final

from checkstand.queries.timeline.entry import Kind, TimelineEntry, money
from checkstand.storage.database import Row, statement

_CALLS = statement(
    "timeline.calls",
    """
    SELECT c.call_id, c.attempt_id, c.endpoint, c.started_at, c.ended_at, c.outcome, c.code,
           c.summary, a.number
      FROM calls c JOIN attempts a
        ON (a.account_id, a.attempt_id) = (c.account_id, c.attempt_id)
     WHERE c.account_id = $1 AND c.order_id = $2 ORDER BY c.started_at, c.call_id LIMIT $3
    """,
)
_NOTICES = statement(
    "timeline.notices",
    """
    SELECT notice_id, biz_type, biz_status, serial, signed_at, received_at, own_path, outcome,
           explanation, matched_at, raw_pruned_at, encode(raw_sha256, 'hex') AS raw_sha256
      FROM notices
     WHERE account_id = $1 AND order_id = $2 ORDER BY received_at, notice_id LIMIT $3
    """,
)
#: A file that is still being taken in counts for nothing; a withdrawn one is told of as such.
_LINES = statement(
    "timeline.reports",
    """
    WITH mine AS (
        SELECT l.account_id, l.file_id, l.number
          FROM attempts a
          JOIN report_lines l ON (l.account_id, l.attempt_id) = (a.account_id, a.attempt_id)
         WHERE a.account_id = $1 AND a.order_id = $2
         UNION
        SELECT l.account_id, l.file_id, l.number
          FROM refunds r
          JOIN report_lines l ON (l.account_id, l.refund_id) = (r.account_id, r.refund_id)
         WHERE r.account_id = $1 AND r.order_id = $2)
    SELECT l.file_id, l.number, l.kind, l.amount, l.currency, l.fee, l.status, f.source,
           coalesce(f.taken_at, f.received_at) AS at, f.withdrawn_at
      FROM mine m
      JOIN report_lines l
        ON (l.account_id, l.file_id, l.number) = (m.account_id, m.file_id, m.number)
      JOIN report_files f ON (f.account_id, f.file_id) = (l.account_id, l.file_id)
     WHERE f.taken_at IS NOT NULL OR f.withdrawn_at IS NOT NULL
     ORDER BY coalesce(f.taken_at, f.received_at), l.number, l.file_id LIMIT $3
    """,
)
_ORPHANS = statement(
    "timeline.orphans",
    """
    SELECT merchant_trade_no, notice_id, status, amount, currency, explanation, found_at
      FROM orphan_orders
     WHERE account_id = $1 AND order_id = $2
     ORDER BY found_at, merchant_trade_no, attempt_id LIMIT $3
    """,
)


def _call(row: Row) -> list[TimelineEntry]:
    ref = f"call:{row['call_id']}"
    sent = TimelineEntry(
        at=row["started_at"],
        actor="checkstand",
        kind=Kind.CALL,
        summary=f"asking Binance {row['endpoint']} for attempt {row['number']}",
        ref=ref,
        detail={"endpoint": row["endpoint"], "attempt": row["number"]},
        fact=f"{ref} sent",
        follows=(f"attempt:{row['attempt_id']}",),
    )
    if row["ended_at"] is None:
        return [sent]
    answered = TimelineEntry(
        at=row["ended_at"],
        actor="binance",
        kind=Kind.CALL,
        summary=f"{row['endpoint']} {row['outcome']}: {row['summary']}",
        ref=ref,
        detail={"outcome": row["outcome"], "code": row["code"]},
        fact=ref,
        follows=(f"{ref} sent",),
    )
    return [sent, answered]


def _notice(row: Row) -> list[TimelineEntry]:
    ref = f"notice:{row['notice_id']}"
    address = "the account's own address" if row["own_path"] else "the shared address"
    said = f"{row['outcome']}: {row['explanation']}"
    signed = f"signature verified with certificate {row['serial']}"
    matched_at = row["matched_at"]
    entries = [
        TimelineEntry(
            at=row["received_at"],
            actor="binance",
            kind=Kind.NOTICE,
            summary=f"{row['biz_type']} {row['biz_status']} came to {address}",
            ref=ref,
            detail={"signed_at": row["signed_at"].isoformat()},
            fact=f"{ref} came",
        ),
        TimelineEntry(
            at=row["received_at"],
            actor="checkstand",
            kind=Kind.CHECK,
            summary=f"{signed}; kept, and not matched with this order yet"
            if matched_at
            else f"{signed}; {said}",
            ref=ref,
            detail={"outcome": row["outcome"], "serial": row["serial"]},
            fact=f"{ref} kept" if matched_at else ref,
            follows=(f"{ref} came",),
        ),
    ]
    if matched_at is not None:
        entries.append(
            TimelineEntry(
                at=matched_at,
                actor="checkstand",
                kind=Kind.CHECK,
                summary=f"{row['biz_type']} {row['biz_status']} matched with this order; {said}",
                ref=ref,
                detail={"outcome": row["outcome"]},
                fact=ref,
                follows=(f"{ref} kept",),
            )
        )
    if row["raw_pruned_at"] is not None:
        entries.append(
            TimelineEntry(
                at=row["raw_pruned_at"],
                actor="checkstand",
                kind=Kind.RETENTION,
                summary=f"the raw bytes of {row['biz_type']} {row['biz_status']} were forgotten "
                f"by policy; their SHA-256 is {row['raw_sha256']}",
                ref=ref,
                follows=(ref,),
            )
        )
    return entries


def _line(row: Row) -> list[TimelineEntry]:
    ref = f"report:{row['file_id']}"
    fee = "" if row["fee"] is None else f", fee {money(row['fee'], row['currency'])}"
    state = f", {row['status']}" if row["status"] else ""
    source = "had by API" if row["source"] == "api" else "that was uploaded"
    detail = {"file_id": str(row["file_id"]), "row": row["number"]}
    listed = TimelineEntry(
        at=row["at"],
        actor="binance",
        kind=Kind.REPORT,
        summary=f"row {row['number']} of a report file {source} lists a {row['kind']} of "
        f"{money(row['amount'], row['currency'])}{fee}{state}",
        ref=ref,
        detail=detail,
        fact=f"{ref} {row['number']}",
    )
    if row["withdrawn_at"] is None:
        return [listed]
    withdrawn = TimelineEntry(
        at=row["withdrawn_at"],
        actor="merchant",
        kind=Kind.REPORT,
        summary=f"that file was withdrawn: its row {row['number']} counts no more",
        ref=ref,
        detail=detail,
        follows=(f"{ref} {row['number']}",),
    )
    return [listed, withdrawn]


def _orphan(row: Row) -> list[TimelineEntry]:
    worth = "" if row["amount"] is None else f" ({money(row['amount'], row['currency'])})"
    return [
        TimelineEntry(
            at=row["found_at"],
            actor="binance",
            kind=Kind.ORPHAN,
            summary=f"only theirs: {row['explanation']}{worth}",
            ref=f"notice:{row['notice_id']}",
            detail={"merchant_trade_no": row["merchant_trade_no"], "status": row["status"]},
        )
    ]


SOURCES: Final = {_CALLS: _call, _NOTICES: _notice, _LINES: _line, _ORPHANS: _orphan}
