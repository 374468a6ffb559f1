"""Events and the deliveries they owe, written in the transaction that made the fact."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from checkstand.domain.case import Decision
from checkstand.domain.event import URGENT
from checkstand.domain.view import render_event
from checkstand.storage.database import Transaction, render_rows, statement

#: The events, and a delivery of each to every endpoint of its account.
_APPEND = statement(
    "events.append",
    """
    WITH told AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset($1::jsonb) AS n (
            account_id uuid, event_id uuid, order_id uuid, order_version int, type text,
            created_at timestamptz, body text, urgent bool)
    ), written AS (
        INSERT INTO events (account_id, event_id, order_id, order_version, type, created_at, body)
        SELECT account_id, event_id, order_id, order_version, type, created_at, body FROM told)
    INSERT INTO deliveries (
        account_id, event_id, endpoint_id, order_id, order_version, urgent, status, lets_next_go,
        tries, created_at, due_at
    )
    SELECT n.account_id, n.event_id, e.endpoint_id, n.order_id, n.order_version, n.urgent,
           'pending', false, 0, n.created_at, n.created_at
      FROM told n
      JOIN webhook_endpoints e ON e.account_id = n.account_id AND e.disabled_at IS NULL
    """,
)

#: Deliveries of one order to one endpoint go one after the other: the earlier one is still
#: pending while it is under way, so the later one is not claimed beside it.
_CLAIM = statement(
    "deliveries.claim",
    """
    WITH due AS MATERIALIZED (
        SELECT c.account_id, c.event_id, c.endpoint_id
          FROM deliveries c
         WHERE c.status = 'pending' AND c.due_at <= $2
           AND (c.lease_until IS NULL OR c.lease_until <= $2)
           AND EXISTS (
               SELECT 1 FROM webhook_endpoints w
                WHERE (w.account_id, w.endpoint_id) = (c.account_id, c.endpoint_id)
                  AND w.disabled_at IS NULL)
           AND NOT EXISTS (
               SELECT 1 FROM recoveries v
                WHERE v.account_id = c.account_id AND v.finished_at IS NULL)
           AND ((c.urgent AND c.created_at <= $4)
                OR NOT EXISTS (
                    SELECT 1 FROM deliveries p
                     WHERE (p.account_id, p.order_id, p.endpoint_id)
                         = (c.account_id, c.order_id, c.endpoint_id)
                       AND p.status = 'pending' AND NOT p.lets_next_go
                       AND p.order_version < c.order_version))
         ORDER BY c.due_at, c.account_id, c.event_id, c.endpoint_id
         LIMIT $5
           FOR UPDATE OF c SKIP LOCKED)
    UPDATE deliveries d
       SET lease_owner = $1, lease_until = $3, tries = d.tries + 1
      FROM due, events v, webhook_endpoints e
     WHERE (d.account_id, d.event_id, d.endpoint_id)
           = (due.account_id, due.event_id, due.endpoint_id)
       AND (v.account_id, v.event_id) = (d.account_id, d.event_id)
       AND (e.account_id, e.endpoint_id) = (d.account_id, d.endpoint_id)
    RETURNING d.account_id, d.event_id, d.endpoint_id, d.order_id, d.tries, d.created_at, v.type,
              v.body, e.url, e.secret_ciphertext, e.fulfil_on_delivery
    """,
)

_END = statement(
    "deliveries.end",
    """
    UPDATE deliveries
       SET status = $5, due_at = $6, ended_at = $7, lets_next_go = $8, lease_owner = NULL,
           lease_until = NULL
     WHERE account_id = $1 AND event_id = $2 AND endpoint_id = $3 AND lease_owner = $4
       AND status = 'pending'
    RETURNING event_id
    """,
)

_INSERT_TRY = statement(
    "delivery_tries.insert",
    """
    INSERT INTO delivery_tries (
        account_id, event_id, endpoint_id, number, order_id, at, status_code, summary
    )
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT DO NOTHING
    RETURNING number
    """,
)

_REDELIVER = statement(
    "deliveries.redeliver",
    """
    WITH told AS MATERIALIZED (
        SELECT d.account_id, d.event_id, d.endpoint_id, d.status FROM deliveries d
         WHERE d.account_id = $1 AND d.event_id = $2
           AND (d.lease_until IS NULL OR d.lease_until <= $3)
           AND d.endpoint_id IN (
               SELECT e.endpoint_id FROM webhook_endpoints e
                WHERE e.account_id = $1 AND e.disabled_at IS NULL)
         ORDER BY d.account_id, d.event_id, d.endpoint_id
           FOR UPDATE OF d)
    UPDATE deliveries u
       SET status = 'pending', due_at = $3, ended_at = NULL
      FROM told
     WHERE (u.account_id, u.event_id, u.endpoint_id)
           = (told.account_id, told.event_id, told.endpoint_id)
    RETURNING u.order_id, told.status = 'given_up' AS was_given_up
    """,
)


#: Deliveries that are on their way already come without this.
_OFFER_AGAIN = statement(
    "deliveries.offer_again",
    """
    UPDATE deliveries
       SET status = 'pending', due_at = $3, ended_at = NULL
     WHERE account_id = $1 AND event_id = $2 AND status <> 'pending'
       AND endpoint_id IN (
           SELECT endpoint_id FROM webhook_endpoints WHERE account_id = $1 AND disabled_at IS NULL)
    """,
)

#: A delivery that has to wait was none: it is not counted among the tries.
_POSTPONE = statement(
    "deliveries.postpone",
    """
    UPDATE deliveries
       SET due_at = $5, tries = tries - 1, lets_next_go = true, lease_owner = NULL,
           lease_until = NULL
     WHERE account_id = $1 AND event_id = $2 AND endpoint_id = $3 AND lease_owner = $4
       AND status = 'pending'
    """,
)


@dataclass(frozen=True, slots=True)
class Redelivered:
    """An event that is told again: of which order, and whether anybody had given it up."""

    order_id: UUID
    was_given_up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """One delivery under lease: what to send, where, and for the how-manieth time."""

    account_id: UUID
    event_id: UUID
    endpoint_id: UUID
    order_id: UUID
    type: str
    body: str
    url: str
    secret_ciphertext: bytes
    fulfil_on_delivery: bool
    tries: int  # this one included
    created_at: datetime


async def append(tx: Transaction, decisions: Sequence[Decision], *, public_url: str) -> None:
    """Write the events of decisions, and a delivery to every endpoint of their account."""
    told = [
        {
            "account_id": event.account_id,
            "event_id": event.event_id,
            "order_id": event.order_id,
            "order_version": event.order_version,
            "type": event.type,
            "created_at": event.created_at,
            "body": render_event(event, d.case, public_url=public_url),
            "urgent": event.type in URGENT,
        }
        for d in decisions
        for event in d.events
    ]
    if told:
        await tx.run(_APPEND, render_rows(told))


async def claim_due(
    tx: Transaction,
    *,
    owner: UUID,
    now: datetime,
    until: datetime,
    urgent_before: datetime,
    limit: int,
) -> list[Owed]:
    """Take leases on deliveries whose time and turn have come."""
    rows = await tx.rows(_CLAIM, owner, now, until, urgent_before, limit)
    return [Owed(**dict(row)) for row in rows]


async def record_try(
    tx: Transaction, owed: Owed, *, at: datetime, status_code: int | None, summary: str
) -> None:
    """Write down one sending and what came of it."""
    await tx.run(
        _INSERT_TRY,
        owed.account_id,
        owed.event_id,
        owed.endpoint_id,
        owed.tries,
        owed.order_id,
        at,
        status_code,
        summary,
    )


async def end_try(
    tx: Transaction,
    owed: Owed,
    *,
    owner: UUID,
    status: str,
    due_at: datetime | None,
    ended_at: datetime | None,
    lets_next_go: bool,
) -> bool:
    """Settle a delivery's fate if the lease is still ours; say whether it was."""
    row = await tx.row(
        _END,
        owed.account_id,
        owed.event_id,
        owed.endpoint_id,
        owner,
        status,
        due_at,
        ended_at,
        lets_next_go,
    )
    return row is not None


async def redeliver(
    tx: Transaction, account_id: UUID, event_id: UUID, *, now: datetime
) -> Redelivered | None:
    """Send an event again to every endpoint it was owed to; None when there is none."""
    rows = await tx.rows(_REDELIVER, account_id, event_id, now)
    if not rows:
        return None
    return Redelivered(rows[0]["order_id"], any(row["was_given_up"] for row in rows))


async def offer_again(tx: Transaction, account_id: UUID, event_id: UUID, *, now: datetime) -> None:
    """Send an event again to every endpoint that has answered it, or was given up."""
    await tx.run(_OFFER_AGAIN, account_id, event_id, now)


async def postpone(tx: Transaction, owed: Owed, *, owner: UUID, due_at: datetime) -> None:
    """Put a delivery off without a try, if the lease is still ours; later ones may overtake it."""
    await tx.run(_POSTPONE, owed.account_id, owed.event_id, owed.endpoint_id, owner, due_at)
