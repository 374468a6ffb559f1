"""Discrepancies: found by comparing a day, written once, resolved by a later run or a person.

The comparison itself is SQL over sets, so that a day of any size costs no memory here.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from checkstand.domain.reconciliation import (
    Bucket,
    Discrepancy,
    DiscrepancyKind,
    DiscrepancyResolution,
    Finding,
    Span,
    discrepancy_id_of,
)
from checkstand.storage.database import Row, Statement, Transaction, statement

#: Lines count once all of their file are in, and only where the money moved.
_LINES = """
    report_lines l JOIN report_files f
      ON (f.account_id, f.file_id) = (l.account_id, l.file_id) AND f.taken_at IS NOT NULL
"""
#: The same as a condition of one line. Counts of one refund's lines are found by their index: just
#: after a large file came the server still takes the table for empty, and would join all with all.
_TAKEN = """
    (SELECT f.taken_at FROM report_files f
      WHERE (f.account_id, f.file_id) = (l.account_id, l.file_id)) IS NOT NULL
"""
#: What a line that is about nothing of ours is called.
_NAME_OF_LINE = """
    coalesce('refund ' || l.refund_ref, 'prepay ' || l.prepay_id,
             'transaction ' || l.transaction_id, 'trade ' || l.trade_no)
"""
#: Ended by a run and by no person's word: it may come back.
_IS_GONE = "resolution IN ('agreed', 'withdrawn')"
_PAID_AT = "coalesce(p.paid_at, p.received_at)"
_RETURNED_AT = "coalesce(r.returned_at, r.ended_at, r.requested_at)"

_PAYMENTS_DIFFER = statement(
    "reconcile.payments_differ",
    f"""
    SELECT DISTINCT 'differing' AS bucket, d.kind, 'payment:' || p.payment_id AS subject,
           p.order_id, p.attempt_id, NULL::uuid AS refund_id, p.currency, p.amount,
           d.ours, d.theirs, d.can_heal
      FROM payments p
      JOIN {_LINES} ON (l.account_id, l.attempt_id) = (p.account_id, p.attempt_id)
     CROSS JOIN LATERAL (VALUES
           ('currency', p.currency, l.currency, p.currency <> l.currency, false),
           ('amount', trim_scale(p.amount)::text, trim_scale(l.amount)::text,
            p.currency = l.currency AND p.amount <> l.amount, false),
           ('fee', trim_scale(p.fee)::text, trim_scale(l.fee)::text, p.fee <> l.fee, false),
           ('fee_unknown', NULL, trim_scale(l.fee)::text,
            p.fee IS NULL AND l.fee IS NOT NULL, true),
           ('transaction_id', p.transaction_id, l.transaction_id,
            p.transaction_id <> l.transaction_id, false),
           ('time', {_PAID_AT}::text, l.at::text,
            l.at > {_PAID_AT} + interval '1 day' OR l.at < {_PAID_AT} - interval '1 day', false),
           ('ids', NULL, concat_ws(' ', l.transaction_id, l.prepay_id, l.trade_no),
            NOT l.ids_agree, false)
           ) AS d (kind, ours, theirs, differs, can_heal)
     WHERE p.account_id = $1 AND {_PAID_AT} >= $2 AND {_PAID_AT} < $3
       AND l.kind = 'payment' AND l.settled AND d.differs
    """,
)
_LISTED_TWICE = statement(
    "reconcile.listed_twice",
    f"""
    SELECT DISTINCT 'differing' AS bucket, 'listed_twice' AS kind,
           'payment:' || p.payment_id AS subject, p.order_id, p.attempt_id,
           NULL::uuid AS refund_id, p.currency, p.amount, '1' AS ours, t.times::text AS theirs,
           false AS can_heal
      FROM payments p
     CROSS JOIN LATERAL (
           SELECT count(*) AS times FROM {_LINES}
            WHERE (l.account_id, l.attempt_id) = (p.account_id, p.attempt_id)
              AND l.kind = 'payment' AND l.settled
            GROUP BY l.file_id HAVING count(*) > 1) AS t
     WHERE p.account_id = $1 AND {_PAID_AT} >= $2 AND {_PAID_AT} < $3
    """,
)
_PAID_THERE = statement(
    "reconcile.paid_there",
    f"""
    SELECT DISTINCT 'differing' AS bucket, 'status' AS kind, 'attempt:' || a.attempt_id AS subject,
           a.order_id, a.attempt_id, NULL::uuid AS refund_id, l.currency, l.amount,
           a.status AS ours, 'PAID' AS theirs, true AS can_heal
      FROM {_LINES}
      JOIN attempts a ON (a.account_id, a.attempt_id) = (l.account_id, l.attempt_id)
     WHERE l.account_id = $1 AND l.at >= $2 AND l.at < $3 AND l.kind = 'payment' AND l.settled
       AND NOT EXISTS (
           SELECT 1 FROM payments p
            WHERE (p.account_id, p.attempt_id) = (a.account_id, a.attempt_id))
    """,
)
_NOT_OURS = statement(
    "reconcile.not_ours",
    f"""
    SELECT DISTINCT 'only_theirs' AS bucket,
           CASE l.kind WHEN 'payment' THEN 'not_ours' ELSE 'refund_not_ours' END AS kind,
           {_NAME_OF_LINE} AS subject,
           NULL::uuid AS order_id, NULL::uuid AS attempt_id, NULL::uuid AS refund_id,
           l.currency, trim_scale(l.amount) AS amount, NULL AS ours,
           trim_scale(l.amount) || ' ' || l.currency AS theirs, false AS can_heal
      FROM {_LINES}
     WHERE l.account_id = $1 AND l.at >= $2 AND l.at < $3 AND l.kind <> 'payout' AND l.settled
       AND l.attempt_id IS NULL AND l.refund_id IS NULL
    """,
)
_NOT_LISTED = statement(
    "reconcile.not_listed",
    f"""
    SELECT 'only_ours' AS bucket, 'not_listed' AS kind, 'payment:' || p.payment_id AS subject,
           p.order_id, p.attempt_id, NULL::uuid AS refund_id, p.currency, p.amount,
           trim_scale(p.amount) || ' ' || p.currency AS ours, NULL AS theirs, false AS can_heal
      FROM payments p
     WHERE p.account_id = $1 AND {_PAID_AT} >= $2 AND {_PAID_AT} < $3
       AND NOT EXISTS (
           SELECT 1 FROM {_LINES}
            WHERE (l.account_id, l.attempt_id) = (p.account_id, p.attempt_id)
              AND l.kind = 'payment' AND l.settled)
    """,
)
_REFUNDS_DIFFER = statement(
    "reconcile.refunds_differ",
    f"""
    SELECT DISTINCT 'differing' AS bucket, d.kind, 'refund:' || r.refund_id AS subject,
           r.order_id, r.attempt_id, r.refund_id, r.currency,
           coalesce(r.returned, r.amount) AS amount, d.ours, d.theirs, false AS can_heal
      FROM refunds r
      JOIN {_LINES} ON (l.account_id, l.refund_id) = (r.account_id, r.refund_id)
     CROSS JOIN LATERAL (VALUES
           ('refund_currency', r.currency, l.currency, r.currency <> l.currency),
           ('refund_amount', trim_scale(coalesce(r.returned, r.amount))::text,
            trim_scale(l.amount)::text,
            r.currency = l.currency AND coalesce(r.returned, r.amount) <> l.amount),
           ('refund_fee', trim_scale(r.fee_returned)::text, trim_scale(l.fee)::text,
            r.fee_returned <> l.fee)
           ) AS d (kind, ours, theirs, differs)
     WHERE r.account_id = $1 AND {_RETURNED_AT} >= $2 AND {_RETURNED_AT} < $3
       AND r.status = 'SUCCEEDED' AND l.kind = 'refund' AND l.settled AND d.differs
    """,
)
_RETURNED_THERE = statement(
    "reconcile.returned_there",
    f"""
    SELECT DISTINCT 'differing' AS bucket, 'refund_status' AS kind,
           'refund:' || r.refund_id AS subject, r.order_id, r.attempt_id, r.refund_id, l.currency,
           l.amount, r.status AS ours, 'SUCCEEDED' AS theirs, true AS can_heal
      FROM {_LINES}
      JOIN refunds r ON (r.account_id, r.refund_id) = (l.account_id, l.refund_id)
     WHERE l.account_id = $1 AND l.at >= $2 AND l.at < $3 AND l.kind = 'refund' AND l.settled
       AND r.status <> 'SUCCEEDED'
    """,
)
#: What files list as returned, of two sorts of attempts: those with a line without a number of ours
#: on the day, and those of which something of ours went back on it, where a line of whichever day
#: has no number at all. Where every line has a number, those of refunds made in the portal are laid
#: beside what we have recorded of such. Where one has none, it may be any refund of the attempt:
#: then all are laid beside all, and one refund in several files is told by its minute and amount.
#: Each is counted in each file, and the file that has most of it counts: an export that overlaps
#: another doubles nothing, and two alike in one file are two.
_LISTED = f"""
    WITH wanted AS MATERIALIZED (
        SELECT attempt_id, bool_or(is_here) AS is_here
          FROM (
            SELECT x.attempt_id, true AS is_here FROM report_lines x
             WHERE x.account_id = $1 AND x.at >= $2 AND x.at < $3 AND x.kind = 'refund'
               AND x.refund_id IS NULL AND x.attempt_id IS NOT NULL
            UNION ALL
            SELECT r.attempt_id, false FROM refunds r
             WHERE r.account_id = $1 AND {_RETURNED_AT} >= $2 AND {_RETURNED_AT} < $3
               AND r.status = 'SUCCEEDED'
               AND (SELECT count(*) FROM report_lines l
                     WHERE (l.account_id, l.attempt_id) = (r.account_id, r.attempt_id)
                       AND l.kind = 'refund' AND l.settled AND l.refund_ref IS NULL
                       AND {_TAKEN}) > 0) AS t
         GROUP BY attempt_id),
    lines AS (
        SELECT w.is_here, l.attempt_id, l.file_id, l.number, l.at, l.currency, l.amount,
               l.refund_ref, l.refund_id,
               (SELECT ({_RETURNED_AT} AT TIME ZONE 'UTC')::date FROM refunds r
                 WHERE (r.account_id, r.refund_id) = (l.account_id, l.refund_id)) AS of_day
          FROM wanted w
         CROSS JOIN LATERAL (
               SELECT l.* FROM {_LINES}
                WHERE (l.account_id, l.attempt_id) = ($1, w.attempt_id)
                  AND l.kind = 'refund' AND l.settled OFFSET 0) AS l
        UNION ALL
        SELECT w.is_here, r.attempt_id, l.file_id, l.number, l.at, l.currency, l.amount,
               l.refund_ref, l.refund_id, ({_RETURNED_AT} AT TIME ZONE 'UTC')::date
          FROM wanted w
          JOIN attempts a ON (a.account_id, a.attempt_id) = ($1, w.attempt_id)
          JOIN refunds r ON (r.account_id, r.order_id, r.attempt_id)
                            = (a.account_id, a.order_id, a.attempt_id)
         CROSS JOIN LATERAL (
               SELECT l.* FROM {_LINES}
                WHERE (l.account_id, l.refund_id) = (r.account_id, r.refund_id)
                  AND l.attempt_id IS NULL AND l.kind = 'refund' AND l.settled OFFSET 0) AS l),
    told AS (
        SELECT *, bool_or(refund_ref IS NULL) OVER (PARTITION BY attempt_id) AS is_unnumbered
          FROM lines),
    counted AS (
        SELECT attempt_id, is_here, is_unnumbered, currency, amount, file_id,
               CASE WHEN is_unnumbered THEN date_trunc('minute', at)::text
                    ELSE refund_ref END AS one,
               min(of_day) AS of_day, min((at AT TIME ZONE 'UTC')::date) AS at_day,
               count(DISTINCT coalesce(refund_ref, number::text)) AS times
          FROM told WHERE is_unnumbered OR refund_id IS NULL
         GROUP BY 1, 2, 3, 4, 5, 6, 7),
    listed AS (
        SELECT attempt_id, is_here, is_unnumbered, currency, amount * max(times) AS amount,
               coalesce(min(of_day), min(at_day)) AS day
          FROM counted
         GROUP BY attempt_id, is_here, is_unnumbered, currency, counted.amount, one)
"""
#: Its amount is what nothing of ours explains, so that totals count no refund twice.
_RETURNED_ELSEWHERE = statement(
    "reconcile.returned_elsewhere",
    f"""{_LISTED},
    sums AS (
        SELECT attempt_id, is_unnumbered, currency, sum(amount) AS theirs
          FROM listed WHERE is_here
         GROUP BY 1, 2, 3),
    beside AS (
        SELECT a.account_id, a.order_id, a.attempt_id, s.is_unnumbered, s.currency, s.theirs,
               o.ours, CASE WHEN s.currency <> coalesce(p.currency, a.expected_currency)
                            THEN ' ' || s.currency ELSE '' END AS coin
          FROM sums s
          JOIN attempts a ON (a.account_id, a.attempt_id) = ($1, s.attempt_id)
          LEFT JOIN payments p ON (p.account_id, p.attempt_id) = (a.account_id, a.attempt_id)
         CROSS JOIN LATERAL (
               SELECT coalesce(sum(coalesce(r.returned, r.amount)), 0) AS ours
                 FROM refunds r
                WHERE (r.account_id, r.order_id) = (a.account_id, a.order_id)
                  AND r.attempt_id = a.attempt_id AND r.currency = s.currency
                  AND r.status = 'SUCCEEDED' AND (s.is_unnumbered OR r.is_elsewhere)) AS o)
    SELECT 'differing' AS bucket, 'refunded_elsewhere' AS kind,
           'attempt:' || b.attempt_id AS subject, b.order_id, b.attempt_id,
           NULL::uuid AS refund_id, b.currency, greatest(b.theirs - b.ours, 0) AS amount,
           trim_scale(b.ours) || b.coin AS ours, trim_scale(b.theirs) || b.coin AS theirs,
           true AS can_heal
      FROM beside b
     WHERE b.theirs > b.ours OR (b.theirs < b.ours AND NOT b.is_unnumbered)
    """,
)
#: What of ours went back on the day and no line can be, of attempts with one without a number. A
#: day's lines are of that day's refunds first (one with a number is of its refund's day); what they
#: have over may be of a neighbour's, where clocks differ near midnight, or of a later one's that
#: was asked for by then: some ended here days after they left. When a refund in the portal was made
#: is known only where somebody, or a file, has said it.
WITH_LESS: Final = f"""{_LISTED},
    sides AS (
        SELECT attempt_id, currency, day, amount AS theirs, 0 AS ours, NULL::date AS since
          FROM listed WHERE is_unnumbered
        UNION ALL
        SELECT r.attempt_id, r.currency, ({_RETURNED_AT} AT TIME ZONE 'UTC')::date, 0,
               coalesce(r.returned, r.amount),
               (least(r.requested_at, {_RETURNED_AT}) AT TIME ZONE 'UTC')::date
          FROM (SELECT DISTINCT attempt_id FROM listed WHERE is_unnumbered) AS u
          JOIN attempts a ON (a.account_id, a.attempt_id) = ($1, u.attempt_id)
          JOIN refunds r ON (r.account_id, r.order_id, r.attempt_id)
                            = (a.account_id, a.order_id, a.attempt_id)
         WHERE r.status = 'SUCCEEDED' AND (r.returned_at IS NOT NULL OR NOT r.is_elsewhere)),
    days AS (
        SELECT attempt_id, currency, day, sum(theirs) AS theirs, sum(ours) AS ours,
               day = ($2 AT TIME ZONE 'UTC')::date AS is_asked,
               min(min(since)) FILTER (WHERE day = ($2 AT TIME ZONE 'UTC')::date)
                   OVER (PARTITION BY attempt_id, currency) AS since
          FROM sides GROUP BY 1, 2, 3),
    less AS (
        SELECT attempt_id, currency, sum(ours) FILTER (WHERE is_asked) AS ours,
               sum(CASE WHEN is_asked THEN theirs ELSE greatest(theirs - ours, 0) END) AS theirs
          FROM days
         WHERE day >= since - 1 AND day <= ($2 AT TIME ZONE 'UTC')::date + 1
         GROUP BY 1, 2
        HAVING sum(ours) FILTER (WHERE is_asked)
               > sum(CASE WHEN is_asked THEN theirs ELSE greatest(theirs - ours, 0) END))
"""
#: Lines without a number may be any refund's, so which one is missing cannot be said.
_RETURNED_LESS = statement(
    "reconcile.returned_less",
    f"""{WITH_LESS}
    SELECT 'only_ours' AS bucket, 'refund_not_listed' AS kind,
           'attempt:' || a.attempt_id AS subject, a.order_id, a.attempt_id,
           NULL::uuid AS refund_id, m.currency, m.ours - m.theirs AS amount,
           trim_scale(m.ours) || ' ' || m.currency AS ours,
           trim_scale(m.theirs) || ' ' || m.currency AS theirs, false AS can_heal
      FROM less m
      JOIN attempts a ON (a.account_id, a.attempt_id) = ($1, m.attempt_id)
    """,
)
_REFUNDS_NOT_LISTED = statement(
    "reconcile.refunds_not_listed",
    f"""
    SELECT 'only_ours' AS bucket, 'refund_not_listed' AS kind, 'refund:' || r.refund_id AS subject,
           r.order_id, r.attempt_id, r.refund_id, r.currency,
           coalesce(r.returned, r.amount) AS amount,
           trim_scale(coalesce(r.returned, r.amount)) || ' ' || r.currency AS ours,
           NULL AS theirs, false AS can_heal
      FROM refunds r
     WHERE r.account_id = $1 AND {_RETURNED_AT} >= $2 AND {_RETURNED_AT} < $3
       AND r.status = 'SUCCEEDED' AND NOT r.is_elsewhere
       AND (SELECT count(*) FROM report_lines l
             WHERE (l.account_id, l.refund_id) = (r.account_id, r.refund_id)
               AND l.kind = 'refund' AND l.settled AND {_TAKEN}) = 0
       AND (SELECT count(*) FROM report_lines l
             WHERE (l.account_id, l.attempt_id) = (r.account_id, r.attempt_id)
               AND l.kind = 'refund' AND l.settled AND l.refund_ref IS NULL AND {_TAKEN}) = 0
    """,
)
#: Binance signed it and it is about no order of ours. An end without payment moves no money.
_ORPHANS = statement(
    "reconcile.orphans",
    """
    SELECT 'only_theirs' AS bucket, 'orphan_notice' AS kind, 'notice:' || n.notice_id AS subject,
           n.order_id, n.attempt_id, NULL::uuid AS refund_id, NULL AS currency,
           NULL::numeric AS amount, NULL AS ours,
           n.biz_type || ' ' || n.biz_status || ' ' || n.biz_id AS theirs, false AS can_heal
      FROM notices n
     WHERE n.account_id = $1 AND n.received_at >= $2 AND n.received_at < $3
       AND n.outcome IN ('orphan', 'stored') AND n.biz_type IN ('PAY', 'PAY_REFUND')
       AND n.biz_status <> 'PAY_CLOSED'
    """,
)

_ALWAYS: Final = (
    _PAYMENTS_DIFFER,
    _LISTED_TWICE,
    _PAID_THERE,
    _NOT_OURS,
    _REFUNDS_DIFFER,
    _RETURNED_THERE,
    _RETURNED_ELSEWHERE,
    _ORPHANS,
)

_COLUMNS = """
    account_id, discrepancy_id, day, bucket, kind, subject, order_id, attempt_id, refund_id,
    currency, amount, ours, theirs, can_heal, found_at, seen_at, asked_at, told_at, resolved_at,
    resolved_by, resolution, reason, closed_in
"""
_INSERT = statement(
    "discrepancies.insert",
    """
    INSERT INTO discrepancies (
        account_id, day, found_at, seen_at, discrepancy_id, bucket, kind, subject, order_id,
        attempt_id, refund_id, currency, amount, ours, theirs, can_heal
    )
    SELECT $1, $2, $3, $3, n.*
      FROM unnest(
               $4::uuid[], $5::text[], $6::text[], $7::text[], $8::uuid[], $9::uuid[],
               $10::uuid[], $11::text[], $12::numeric[], $13::text[], $14::text[], $15::bool[]
           ) AS n
    ON CONFLICT DO NOTHING
    """,
)
#: What a run had called gone and another finds again is open again; a person's word stands.
_SEE = statement(
    "discrepancies.see",
    f"""
    UPDATE discrepancies
       SET seen_at = greatest(seen_at, $3),
           resolved_at = CASE WHEN {_IS_GONE} THEN NULL ELSE resolved_at END,
           resolved_by = CASE WHEN {_IS_GONE} THEN NULL ELSE resolved_by END,
           reason = CASE WHEN {_IS_GONE} THEN NULL ELSE reason END,
           resolution = CASE WHEN {_IS_GONE} THEN NULL ELSE resolution END
     WHERE account_id = $1 AND discrepancy_id = ANY($2)
    """,
)
#: Ours and theirs are the same only where theirs is still there to be laid beside. That a refund is
#: listed after all is shown by a line of its number, or by looking for it on covered days: another
#: refund's line shows nothing.
_AGREE = statement(
    "discrepancies.agree",
    f"""
    UPDATE discrepancies d
       SET resolved_at = $3, resolved_by = 'checkstand', resolution = 'agreed',
           reason = 'ours and theirs agree now'
     WHERE d.account_id = $1 AND d.day = $2 AND d.resolved_at IS NULL AND d.seen_at < $3
       AND CASE
           WHEN d.kind = 'balance' THEN $4
           WHEN d.kind = 'orphan_notice' THEN true
           WHEN d.kind IN ('not_ours', 'refund_not_ours') THEN EXISTS (
               SELECT 1 FROM {_LINES}
                WHERE l.account_id = d.account_id AND l.at >= $5 AND l.at < $6 AND l.settled
                  AND {_NAME_OF_LINE} = d.subject)
           ELSE EXISTS (
               SELECT 1 FROM {_LINES}
                WHERE (l.account_id, l.attempt_id) = (d.account_id, d.attempt_id) AND l.settled
                  AND l.kind = CASE WHEN d.kind LIKE 'refund%' THEN 'refund' ELSE 'payment' END
                  AND (d.kind <> 'refund_not_listed' OR $7))
             OR EXISTS (
               SELECT 1 FROM {_LINES}
                WHERE (l.account_id, l.refund_id) = (d.account_id, d.refund_id) AND l.settled)
           END
    """,
)
#: A file withdrawn, a day covered no more, a line or a row of ours that is about something else by
#: now: which it was is not asked.
_LET_GO = statement(
    "discrepancies.let_go",
    """
    UPDATE discrepancies
       SET resolved_at = $3, resolved_by = 'checkstand', resolution = 'withdrawn',
           reason = 'no report file that counts shows it now: whether they agree is not known'
     WHERE account_id = $1 AND day = $2 AND resolved_at IS NULL AND seen_at < $3
       AND kind <> 'balance'
    """,
)
_RESOLVE = statement(
    "discrepancies.resolve",
    f"""
    UPDATE discrepancies
       SET resolved_at = $3, resolved_by = $4, resolution = $5, reason = $6
     WHERE account_id = $1 AND discrepancy_id = $2 AND resolved_at IS NULL
    RETURNING {_COLUMNS}
    """,
)
_GET = statement(
    "discrepancies.get",
    f"SELECT {_COLUMNS} FROM discrepancies WHERE account_id = $1 AND discrepancy_id = $2",
)

#: Held in the order in which everybody holds attempts; those that somebody holds are left out.
_HEAL_ATTEMPTS = statement(
    "discrepancies.heal_attempts",
    """
    WITH due AS MATERIALIZED (
        SELECT a.account_id, a.attempt_id
          FROM attempts a
         WHERE a.account_id = $1 AND a.attempt_id = ANY($2) AND a.status <> 'PREPARED'
         ORDER BY a.account_id, a.attempt_id
           FOR UPDATE OF a SKIP LOCKED)
    UPDATE attempts u
       SET due_at = least(coalesce(u.due_at, $3), $3), hinted_at = $3
      FROM due
     WHERE (u.account_id, u.attempt_id) = (due.account_id, due.attempt_id)
    RETURNING u.attempt_id
    """,
)
_HEAL_REFUNDS = statement(
    "discrepancies.heal_refunds",
    """
    WITH due AS MATERIALIZED (
        SELECT r.account_id, r.refund_id
          FROM refunds r
         WHERE r.account_id = $1 AND r.refund_id = ANY($2) AND r.sends > 0
         ORDER BY r.account_id, r.refund_id
           FOR UPDATE OF r SKIP LOCKED)
    UPDATE refunds u
       SET due_at = least(coalesce(u.due_at, $3), $3)
      FROM due
     WHERE (u.account_id, u.refund_id) = (due.account_id, due.refund_id)
    RETURNING u.refund_id
    """,
)
_TO_HEAL = statement(
    "discrepancies.to_heal",
    """
    SELECT discrepancy_id, attempt_id, refund_id FROM discrepancies
     WHERE account_id = $1 AND resolved_at IS NULL AND can_heal
       AND (asked_at IS NULL OR asked_at < $2)
     ORDER BY found_at, discrepancy_id LIMIT $3
    """,
)
_ASKED = statement(
    "discrepancies.asked",
    "UPDATE discrepancies SET asked_at = $3 WHERE account_id = $1 AND discrepancy_id = ANY($2)",
)

_ASKED_DAYS = statement(
    "discrepancies.asked_days",
    """
    SELECT DISTINCT day FROM discrepancies
     WHERE account_id = $1 AND resolved_at IS NULL AND asked_at IS NOT NULL
     ORDER BY day
    """,
)

#: The shop is told of what no query can heal, or has not healed.
_UNTOLD = statement(
    "discrepancies.untold",
    f"""
    SELECT {_COLUMNS} FROM discrepancies
     WHERE account_id = $1 AND resolved_at IS NULL AND told_at IS NULL AND order_id IS NOT NULL
       AND (NOT can_heal OR asked_at < $2)
     ORDER BY found_at, discrepancy_id LIMIT $3
    """,
)
_TELL = statement(
    "discrepancies.tell",
    """
    UPDATE discrepancies SET told_at = $3
     WHERE account_id = $1 AND discrepancy_id = ANY($2) AND told_at IS NULL
    RETURNING discrepancy_id
    """,
)


async def find(
    tx: Transaction,
    account_id: UUID,
    span: Span,
    *,
    with_only_ours: tuple[bool, bool],
    size: int,
) -> AsyncIterator[list[Finding]]:
    """Lay ours and theirs of a day side by side and yield what differs, a part at a time.

    `with_only_ours` says whether payments, and whether refunds, that no file lists may be told.
    """
    payments_too, refunds_too = with_only_ours
    wanted: list[Statement] = [*_ALWAYS]
    wanted += [_NOT_LISTED] if payments_too else []
    wanted += [_REFUNDS_NOT_LISTED, _RETURNED_LESS] if refunds_too else []
    for sql in wanted:
        async for rows in tx.parts(sql, account_id, span.start, span.end, size=size):
            yield [_parse_finding(row) for row in rows]


async def write(
    tx: Transaction, account_id: UUID, day: date, findings: Sequence[Finding], *, now: datetime
) -> None:
    """Write down what a run found: once each, and seen again where it was known."""
    by_id = {discrepancy_id_of(account_id, day, each): each for each in findings}
    ids = sorted(by_id)
    found = [by_id[each] for each in ids]
    await tx.run(
        _INSERT,
        account_id,
        day,
        now,
        ids,
        [f.bucket for f in found],
        [f.kind for f in found],
        [f.subject for f in found],
        [f.order_id for f in found],
        [f.attempt_id for f in found],
        [f.refund_id for f in found],
        [f.currency for f in found],
        [f.amount for f in found],
        [f.ours for f in found],
        [f.theirs for f in found],
        [f.can_heal for f in found],
    )
    await tx.run(_SEE, account_id, ids, now)


async def agree(
    tx: Transaction,
    account_id: UUID,
    day: date,
    span: Span,
    *,
    with_balance: bool,
    with_unlisted_refunds: bool,
    now: datetime,
) -> None:
    """Resolve what the run of `now` did not find any more, and say why it is gone.

    `with_…`: whether that run could look for it.
    """
    await tx.run(
        _AGREE, account_id, day, now, with_balance, span.start, span.end, with_unlisted_refunds
    )
    await tx.run(_LET_GO, account_id, day, now)


async def resolve(
    tx: Transaction,
    account_id: UUID,
    discrepancy_id: UUID,
    *,
    by: str,
    resolution: DiscrepancyResolution,
    reason: str,
    now: datetime,
) -> Discrepancy | None:
    """Write down a person's word; None when there is no such discrepancy that is open."""
    row = await tx.row(_RESOLVE, account_id, discrepancy_id, now, by, resolution, reason)
    return parse(row) if row else None


async def find_one(tx: Transaction, account_id: UUID, discrepancy_id: UUID) -> Discrepancy | None:
    """Return one discrepancy."""
    row = await tx.row(_GET, account_id, discrepancy_id)
    return parse(row) if row else None


async def heal(
    tx: Transaction, account_id: UUID, *, asked_before: datetime, now: datetime, limit: int
) -> int:
    """Make due the attempts and refunds that Binance's answer will settle; return how many rows."""
    rows = await tx.rows(_TO_HEAL, account_id, asked_before, limit)
    attempts = sorted({r["attempt_id"] for r in rows if r["attempt_id"] and not r["refund_id"]})
    refunds = sorted({r["refund_id"] for r in rows if r["refund_id"]})
    await tx.run(_HEAL_ATTEMPTS, account_id, attempts, now)
    await tx.run(_HEAL_REFUNDS, account_id, refunds, now)
    await tx.run(_ASKED, account_id, [r["discrepancy_id"] for r in rows], now)
    return len(rows)


async def list_asked_days(tx: Transaction, account_id: UUID) -> list[date]:
    """Return the days with something that Binance was asked about and that is still open."""
    return [row["day"] for row in await tx.rows(_ASKED_DAYS, account_id)]


async def list_untold(
    tx: Transaction, account_id: UUID, *, asked_before: datetime, limit: int
) -> list[Discrepancy]:
    """Return open ones about an order of ours that the shop has not heard of."""
    return [parse(row) for row in await tx.rows(_UNTOLD, account_id, asked_before, limit)]


async def mark_told(
    tx: Transaction, account_id: UUID, ids: Sequence[UUID], *, now: datetime
) -> set[UUID]:
    """Say that the shop is told; return those that nobody had told it of."""
    rows = await tx.rows(_TELL, account_id, sorted(ids), now)
    return {row["discrepancy_id"] for row in rows}


def parse(row: Row) -> Discrepancy:
    """Make a discrepancy of its row."""
    return Discrepancy(
        account_id=row["account_id"],
        discrepancy_id=row["discrepancy_id"],
        day=row["day"],
        finding=_parse_finding(row),
        found_at=row["found_at"],
        asked_at=row["asked_at"],
        resolved_at=row["resolved_at"],
        resolved_by=row["resolved_by"],
        resolution=DiscrepancyResolution(row["resolution"]) if row["resolution"] else None,
        reason=row["reason"],
        closed_in=row["closed_in"],
    )


def _parse_finding(row: Row) -> Finding:
    values: dict[str, Any] = {name: row[name] for name in Finding.__slots__}
    values |= {"bucket": Bucket(row["bucket"]), "kind": DiscrepancyKind(row["kind"])}
    return Finding(**values)
