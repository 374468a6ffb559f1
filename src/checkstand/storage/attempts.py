"""Attempts: rows in, domain values out, and the claim of those that are due."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Final
from uuid import UUID

from checkstand.domain.attempt import Attempt, AttemptStatus, CloseReason, Links
from checkstand.domain.case import Decision
from checkstand.domain.money import Money
from checkstand.storage.database import Row, Transaction, render_rows, statement

_COLUMNS = """
    account_id, order_id, attempt_id, number, status, credential_id, prepay_id, expected_amount,
    expected_currency, created_at, expires_at, links, payer_active, sends, last_sent_at, absences,
    last_absent_at, close_reason, close_requested_at, closes, close_accepted_at, ended_at,
    hinted_at, asks, due_at, lease_owner, lease_until
"""
_TYPES = """
    $1::uuid[], $2::uuid[], $3::uuid[], $4::int[], $5::text[], $6::uuid[], $7::text[],
    $8::numeric[], $9::text[], $10::timestamptz[], $11::timestamptz[], $12::jsonb[], $13::bool[],
    $14::int[], $15::timestamptz[], $16::int[], $17::timestamptz[], $18::text[],
    $19::timestamptz[], $20::int[], $21::timestamptz[], $22::timestamptz[], $23::timestamptz[],
    $24::int[], $25::timestamptz[], $26::uuid[], $27::timestamptz[]
"""

_INSERT = statement(
    "attempts.insert",
    f"""
    INSERT INTO attempts ({_COLUMNS}, merchant_trade_no)
    SELECT {_COLUMNS}, merchant_trade_no
      FROM unnest({_TYPES}, $28::text[]) AS n ({_COLUMNS}, merchant_trade_no)
    """,
)

#: Written only under the lock on the attempt's order, so no version of its own is needed.
_UPDATE = statement(
    "attempts.update",
    """
    UPDATE attempts a
       SET status = n.status, prepay_id = n.prepay_id,
           expected_amount = (n.expected ->> 'amount')::numeric,
           expected_currency = n.expected ->> 'currency', expires_at = n.expires_at,
           links = n.links, payer_active = n.payer_active, sends = n.sends,
           last_sent_at = n.last_sent_at, absences = n.absences,
           last_absent_at = n.last_absent_at, close_reason = n.close_reason,
           close_requested_at = n.close_requested_at, closes = n.closes,
           close_accepted_at = n.close_accepted_at, ended_at = n.ended_at,
           hinted_at = n.hinted_at, asks = n.asks, due_at = n.due_at,
           lease_owner = n.lease_owner, lease_until = n.lease_until
      FROM jsonb_to_recordset($1::jsonb) AS n (
               account_id uuid, attempt_id uuid, status text, prepay_id text, expected jsonb,
               expires_at timestamptz, links jsonb, payer_active bool, sends int,
               last_sent_at timestamptz, absences int, last_absent_at timestamptz,
               close_reason text, close_requested_at timestamptz, closes int,
               close_accepted_at timestamptz, ended_at timestamptz, hinted_at timestamptz,
               asks int, due_at timestamptz, lease_owner uuid, lease_until timestamptz)
     WHERE (a.account_id, a.attempt_id) = (n.account_id, n.attempt_id)
    """,
)

#: Beside each attempt: how many its order has, and whether there is more to read of the order.
#: Most orders have no payment and no anomaly yet, and each question spared is a round trip.
_OF_ORDERS_COLUMNS = f"""
    {_COLUMNS},
    (SELECT count(*) FROM attempts s
      WHERE (s.account_id, s.order_id) = (a.account_id, a.order_id)) AS of_order,
    EXISTS (SELECT 1 FROM payments p
             WHERE (p.account_id, p.order_id) = (a.account_id, a.order_id)) AS has_payments,
    EXISTS (SELECT 1 FROM anomalies y
             WHERE (y.account_id, y.order_id) = (a.account_id, a.order_id)) AS has_anomalies
"""

_OF_ORDERS = statement(
    "attempts.of_orders",
    f"""
    SELECT {_OF_ORDERS_COLUMNS} FROM attempts a
     WHERE (account_id, order_id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[]))
     ORDER BY account_id, order_id, number
    """,
)

#: Read again by whoever claims, once it holds the order.
_LOCK_OF_ORDERS = statement(
    "attempts.lock_of_orders",
    f"""
    SELECT {_OF_ORDERS_COLUMNS} FROM attempts a
     WHERE (account_id, order_id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[]))
     ORDER BY account_id, order_id, number
       FOR UPDATE OF a
    """,
)

#: For a group: whoever claims attempts just now must not hold up the others.
_LOCK_FREE_OF_ORDERS = statement(
    "attempts.lock_free_of_orders",
    f"""
    SELECT {_OF_ORDERS_COLUMNS} FROM attempts a
     WHERE (account_id, order_id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[]))
     ORDER BY account_id, order_id, number
       FOR UPDATE OF a SKIP LOCKED
    """,
)

#: The lease is taken on the attempt alone and in a transaction of its own: nothing else is held.
#: Materialized, since a plan may run an IN's subquery once for each row: locked rows are skipped
#: then, and every run brings other rows, past the limit.
_CLAIM = """
    WITH due AS MATERIALIZED (
        SELECT a.account_id, a.attempt_id
          FROM attempts a
         WHERE a.due_at <= $2 AND (a.lease_until IS NULL OR a.lease_until <= $2)
           AND {which}
           AND NOT EXISTS (
               SELECT 1 FROM accounts c
                WHERE c.account_id = a.account_id AND c.halted_reason IS NOT NULL)
           AND NOT EXISTS (
               SELECT 1 FROM provider_rests p
                WHERE p.account_id = a.account_id AND p.rest_until > $2 AND {rests})
         ORDER BY a.due_at, a.account_id, a.attempt_id
         LIMIT $4
           FOR UPDATE OF a SKIP LOCKED)
    UPDATE attempts u
       SET lease_owner = $1, lease_until = $3
      FROM due
     WHERE (u.account_id, u.attempt_id) = (due.account_id, due.attempt_id)
    RETURNING u.account_id, u.order_id, u.attempt_id
"""

#: What somebody waits for: an order to be made, its fate to be known, a code to be closed. When
#: Binance fails by itself, their own schedules are patient enough.
_CLAIM_FIRST = statement(
    "attempts.claim_first",
    _CLAIM.format(
        which="a.status IN ('PREPARED', 'SUBMITTING', 'CLOSING')", rests="p.trouble = 'too_many'"
    ),
)

#: Everything else is a poll, and waits while its account has no call left for it.
_CLAIM_POLLS = statement(
    "attempts.claim_polls",
    _CLAIM.format(
        which="a.status NOT IN ('PREPARED', 'SUBMITTING', 'CLOSING')"
        " AND a.account_id <> ALL ($5::uuid[])",
        rests="true",
    ),
)

#: One question for both ways of finding, since it is asked for every group of notices.
_FIND_NAMED = statement(
    "attempts.find_named",
    """
    SELECT n.account_id, n.order_id, n.attempt_id, n.merchant_trade_no, n.prepay_id,
           c.halted_reason IS NOT NULL AS is_halted
      FROM (SELECT a.account_id, a.order_id, a.attempt_id, a.merchant_trade_no, a.prepay_id
              FROM attempts a
             WHERE (a.account_id, a.prepay_id) IN (SELECT * FROM unnest($1::uuid[], $2::text[]))
             UNION ALL
            SELECT a.account_id, a.order_id, a.attempt_id, a.merchant_trade_no, a.prepay_id
              FROM attempts a
             WHERE (a.account_id, a.merchant_trade_no)
                   IN (SELECT * FROM unnest($3::uuid[], $4::text[]))) AS n
      JOIN accounts c ON c.account_id = n.account_id
    """,
)

_MAKE_DUE = statement(
    "attempts.make_due",
    """
    UPDATE attempts SET due_at = least(coalesce(due_at, $3), $3), hinted_at = $3
     WHERE account_id = $1 AND order_id = $2
       AND status IN ('SUBMITTING', 'OPEN', 'CLOSING', 'CLOSED', 'LAPSED')
       AND number = (
           SELECT max(number) FROM attempts WHERE account_id = $1 AND order_id = $2)
       AND (hinted_at IS NULL OR hinted_at <= $4)
    RETURNING attempt_id
    """,
)

#: For one order, whenever it is due: its newest attempt, unless somebody is at it.
_TAKE_LEASE = statement(
    "attempts.take_lease",
    """
    WITH newest AS MATERIALIZED (
        SELECT account_id, attempt_id FROM attempts
         WHERE account_id = $1 AND order_id = $2
           AND status NOT IN ('REJECTED', 'NEVER_EXISTED')
         ORDER BY number DESC
         LIMIT 1
           FOR UPDATE)
    UPDATE attempts u SET lease_owner = $3, lease_until = $5
      FROM newest
     WHERE (u.account_id, u.attempt_id) = (newest.account_id, newest.attempt_id)
       AND (u.lease_until IS NULL OR u.lease_until <= $4)
    RETURNING u.attempt_id
    """,
)

#: Since when, as the domain's doubts count it; only live attempts are looked at.
_LIST_IN_DOUBT = statement(
    "attempts.list_in_doubt",
    """
    SELECT a.account_id, a.order_id FROM attempts a
     WHERE a.status IN ('SUBMITTING', 'OPEN', 'CLOSING')
       AND (CASE a.status
                WHEN 'SUBMITTING' THEN a.created_at
                WHEN 'CLOSING' THEN a.close_requested_at
                ELSE a.expires_at END <= $1
            OR (a.payer_active AND a.created_at <= $2))
       AND NOT EXISTS (
           SELECT 1 FROM anomalies y
            WHERE (y.account_id, y.order_id) = (a.account_id, a.order_id)
              AND y.attempt_id = a.attempt_id AND y.kind = 'unknown_too_long'
              AND y.resolved_at IS NULL)
       AND NOT EXISTS (
           SELECT 1 FROM accounts c
            WHERE c.account_id = a.account_id AND c.halted_reason IS NOT NULL)
     ORDER BY a.created_at, a.account_id, a.attempt_id
     LIMIT $3
    """,
)

_STORE_QR = statement(
    "attempts.store_qr",
    "UPDATE attempts SET qr_svg = $3 WHERE account_id = $1 AND attempt_id = $2",
)

_FIND_QR = statement(
    "attempts.find_qr",
    "SELECT qr_svg FROM attempts WHERE account_id = $1 AND attempt_id = $2",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PollAllowance:
    """How many polls may be claimed in all, and of which accounts none."""

    most: int
    none_of: Sequence[UUID] = ()


async def list_in_doubt(
    tx: Transaction, *, unknown_before: datetime, paying_before: datetime, limit: int
) -> list[tuple[UUID, UUID]]:
    """List the orders, as (account_id, order_id), of attempts whose fate stays unknown.

    Those that somebody was told of and has not settled are left out, and so are those of an
    account whose moves are stopped: there nobody asks.
    """
    rows = await tx.rows(_LIST_IN_DOUBT, unknown_before, paying_before, limit)
    return [(row["account_id"], row["order_id"]) for row in rows]


async def claim_due(
    tx: Transaction, *, owner: UUID, now: datetime, until: datetime, limit: int
) -> list[tuple[UUID, UUID, UUID]]:
    """Take leases on attempts whose time has come and that somebody waits for.

    Return (account_id, order_id, attempt_id).
    """
    rows = await tx.rows(_CLAIM_FIRST, owner, now, until, limit)
    return [(row["account_id"], row["order_id"], row["attempt_id"]) for row in rows]


async def claim_polls(
    tx: Transaction, *, owner: UUID, now: datetime, until: datetime, allowed: PollAllowance
) -> list[tuple[UUID, UUID, UUID]]:
    """Take leases on attempts that are asked about from time to time, as far as is allowed."""
    rows = await tx.rows(_CLAIM_POLLS, owner, now, until, allowed.most, list(allowed.none_of))
    return [(row["account_id"], row["order_id"], row["attempt_id"]) for row in rows]


class Holding(Enum):
    """How attempts are read."""

    NOTHING = "nothing"  # as they stand
    ALL = "all"  # held, after waiting for whoever holds them
    FREE = "free"  # held, without those that somebody else holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An attempt with what its order has besides."""

    attempt: Attempt
    of_order: int  # how many attempts its order has
    has_payments: bool
    has_anomalies: bool


_READS: Final = {
    Holding.NOTHING: _OF_ORDERS,
    Holding.ALL: _LOCK_OF_ORDERS,
    Holding.FREE: _LOCK_FREE_OF_ORDERS,
}


async def of_orders(
    tx: Transaction, keys: Sequence[tuple[UUID, UUID]], *, holding: Holding
) -> list[Found]:
    """Read the attempts of orders, oldest first; hold them too when the order is held."""
    rows = await tx.rows(_READS[holding], [k[0] for k in keys], [k[1] for k in keys])
    return [
        Found(
            attempt=parse(row),
            of_order=row["of_order"],
            has_payments=row["has_payments"],
            has_anomalies=row["has_anomalies"],
        )
        for row in rows
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """Which attempt, with the names that it has at Binance: ours and theirs."""

    account_id: UUID
    order_id: UUID
    attempt_id: UUID
    merchant_trade_no: str
    prepay_id: str | None
    is_halted: bool  # the account's moves are stopped


async def find_named(
    tx: Transaction,
    *,
    prepay_ids: Sequence[tuple[UUID, str]],
    trade_numbers: Sequence[tuple[UUID, str]],
) -> list[Named]:
    """Look attempts up by Binance's ids and by our numbers, each given as (account, name)."""
    rows = await tx.rows(
        _FIND_NAMED,
        [k[0] for k in prepay_ids],
        [k[1] for k in prepay_ids],
        [k[0] for k in trade_numbers],
        [k[1] for k in trade_numbers],
    )
    return [Named(**dict(row)) for row in rows]


async def make_due(
    tx: Transaction, account_id: UUID, order_id: UUID, *, now: datetime, last_before: datetime
) -> bool:
    """Let the newest attempt of an order be asked about now, unless that was so just before.

    One that ended unpaid too: who paid in its last second finds the page saying so.
    """
    return await tx.row(_MAKE_DUE, account_id, order_id, now, last_before) is not None


async def take_lease(
    tx: Transaction,
    account_id: UUID,
    order_id: UUID,
    *,
    owner: UUID,
    now: datetime,
    until: datetime,
) -> UUID | None:
    """Take the lease on an order's newest attempt; None when somebody has it or there is none."""
    row = await tx.row(_TAKE_LEASE, account_id, order_id, owner, now, until)
    return row["attempt_id"] if row else None


async def store_qr(tx: Transaction, account_id: UUID, attempt_id: UUID, svg: str) -> None:
    """Keep the drawn code of an attempt."""
    await tx.run(_STORE_QR, account_id, attempt_id, svg)


async def find_qr(tx: Transaction, account_id: UUID, attempt_id: UUID) -> str | None:
    """Return the drawn code of an attempt, if it was drawn before."""
    row = await tx.row(_FIND_QR, account_id, attempt_id)
    return row["qr_svg"] if row else None


async def save(tx: Transaction, decisions: Sequence[Decision]) -> None:
    """Write new and changed attempts. The caller holds their orders.

    Changed ones go first: a new attempt is live, and the old one must have ended by then.
    """
    known = {a.attempt_id: a for d in decisions for a in d.before.attempts}
    after = [a for d in decisions for a in d.case.attempts]
    changed = [a for a in after if a.attempt_id in known and a != known[a.attempt_id]]
    if changed:
        await tx.run(_UPDATE, render_rows(changed))
    await insert(tx, [a for a in after if a.attempt_id not in known])


async def insert(tx: Transaction, attempts: Sequence[Attempt]) -> None:
    """Write new attempts."""
    if attempts:
        await tx.run(_INSERT, *_columns(attempts), [a.merchant_trade_no for a in attempts])


def _columns(attempts: Sequence[Attempt]) -> list[list[object]]:
    """Turn attempts into one array a column, in the order of _COLUMNS."""
    rows = [
        (
            a.account_id,
            a.order_id,
            a.attempt_id,
            a.number,
            a.status,
            a.credential_id,
            a.prepay_id,
            a.expected.amount if a.expected else None,
            a.expected.currency if a.expected else None,
            a.created_at,
            a.expires_at,
            json.dumps(asdict(a.links)) if a.links else None,
            a.payer_active,
            a.sends,
            a.last_sent_at,
            a.absences,
            a.last_absent_at,
            a.close_reason,
            a.close_requested_at,
            a.closes,
            a.close_accepted_at,
            a.ended_at,
            a.hinted_at,
            a.asks,
            a.due_at,
            a.lease_owner,
            a.lease_until,
        )
        for a in attempts
    ]
    return [list(column) for column in zip(*rows, strict=True)]


def parse(row: Row) -> Attempt:
    """Make an attempt of its row."""
    return Attempt(
        account_id=row["account_id"],
        order_id=row["order_id"],
        attempt_id=row["attempt_id"],
        number=row["number"],
        status=AttemptStatus(row["status"]),
        credential_id=row["credential_id"],
        prepay_id=row["prepay_id"],
        expected=_parse_money(row["expected_amount"], row["expected_currency"]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        links=Links(**json.loads(row["links"])) if row["links"] else None,
        payer_active=row["payer_active"],
        sends=row["sends"],
        last_sent_at=row["last_sent_at"],
        absences=row["absences"],
        last_absent_at=row["last_absent_at"],
        close_reason=CloseReason(row["close_reason"]) if row["close_reason"] else None,
        close_requested_at=row["close_requested_at"],
        closes=row["closes"],
        close_accepted_at=row["close_accepted_at"],
        ended_at=row["ended_at"],
        hinted_at=row["hinted_at"],
        asks=row["asks"],
        due_at=row["due_at"],
        lease_owner=row["lease_owner"],
        lease_until=row["lease_until"],
    )


def _parse_money(amount: Decimal | None, currency: str | None) -> Money | None:
    return None if amount is None or currency is None else Money(amount, currency)
