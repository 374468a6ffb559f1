"""Recoveries: what a restored database holds back, and what it still has to ask.

While one is not finished the claims of refunds and deliveries, the list of orders to expire and
the plan of a close read its row themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from checkstand.storage.database import Transaction, statement

_NEWEST = statement(
    "recoveries.newest",
    """
    SELECT account_id, epoch, began_at, cause, made_since, gathered_to, gathered_at, finished_at,
           finished_by, reason
      FROM recoveries WHERE account_id = $1 ORDER BY epoch DESC
    """,
)
_LOCK_ACCOUNT = statement(
    "recoveries.lock_account",
    "SELECT account_id FROM accounts WHERE account_id = $1 ORDER BY account_id FOR NO KEY UPDATE",
)
_INSERT = statement(
    "recoveries.insert",
    """
    INSERT INTO recoveries (account_id, epoch, began_at, cause, made_since)
    VALUES ($1, $2, $3, $4, $5)
    """,
)
_FINISH = statement(
    "recoveries.finish",
    """
    UPDATE recoveries SET finished_at = $3, finished_by = $4, reason = $5, unasked = $6
     WHERE account_id = $1 AND epoch = $2 AND finished_at IS NULL
    RETURNING epoch
    """,
)
_IS_OPEN = statement(
    "recoveries.is_open",
    "SELECT 1 FROM recoveries WHERE account_id = $1 AND finished_at IS NULL",
)
#: It may have been sent after the backup: only asking tells. Under the same number a second send
#: at most repeats the first.
_DOUBT_ATTEMPTS = statement(
    "recoveries.doubt_attempts",
    """
    UPDATE attempts SET status = 'SUBMITTING', sends = sends + 1, last_sent_at = $2
     WHERE account_id = $1 AND status = 'PREPARED'
    """,
)
#: A stretch of the account's attempts, and of these what has to be asked about. Ends that nothing
#: can come after are left out: Binance refused it, or never had it.
_GATHER = statement(
    "recovery_attempts.gather",
    """
    WITH stretch AS MATERIALIZED (
        SELECT a.attempt_id, a.order_id, a.status, a.created_at
          FROM attempts a
         WHERE a.account_id = $1 AND ($5::uuid IS NULL OR a.attempt_id > $5)
         ORDER BY a.account_id, a.attempt_id
         LIMIT $6),
    wanted AS MATERIALIZED (
        SELECT s.attempt_id, s.order_id
          FROM stretch s
         WHERE s.status NOT IN ('REJECTED', 'NEVER_EXISTED') AND s.created_at < $4
           AND (s.created_at >= $3
                OR s.status IN ('SUBMITTING', 'OPEN', 'CLOSING')
                OR EXISTS (
                    SELECT 1 FROM payments p
                     WHERE (p.account_id, p.attempt_id) = ($1, s.attempt_id)
                       AND p.received_at >= $3))),
    added AS (
        INSERT INTO recovery_attempts (account_id, epoch, attempt_id, order_id)
        SELECT $1, $2, w.attempt_id, w.order_id FROM wanted w
        ON CONFLICT DO NOTHING),
    due AS (
        UPDATE attempts a SET due_at = $4, lease_owner = NULL, lease_until = NULL
          FROM wanted w
         WHERE (a.account_id, a.attempt_id) = ($1, w.attempt_id))
    SELECT attempt_id FROM stretch ORDER BY attempt_id
    """,
)
_NOTE_GATHERED = statement(
    "recoveries.note_gathered",
    """
    UPDATE recoveries SET gathered_to = $3, gathered_at = $4
     WHERE account_id = $1 AND epoch = $2
    """,
)
#: A notice may have put off a question that Binance has not answered yet, by days.
_ASK_AGAIN = statement(
    "recovery_attempts.ask_again",
    """
    WITH unasked AS MATERIALIZED (
        SELECT r.account_id, r.attempt_id
          FROM recoveries v
          JOIN recovery_attempts r ON (r.account_id, r.epoch) = (v.account_id, v.epoch)
         WHERE v.finished_at IS NULL AND v.gathered_at IS NOT NULL
           AND NOT EXISTS (
               SELECT 1 FROM calls c
                WHERE (c.account_id, c.order_id, c.attempt_id)
                    = (r.account_id, r.order_id, r.attempt_id)
                  AND c.started_at >= v.began_at AND c.outcome IN ('accepted', 'rejected')))
    UPDATE attempts a SET due_at = $1
      FROM unasked u
     WHERE (a.account_id, a.attempt_id) = (u.account_id, u.attempt_id)
       AND (a.due_at IS NULL OR a.due_at > $2)
    """,
)
_LIST_GATHERING = statement(
    "recoveries.list_gathering",
    """
    SELECT account_id, epoch, began_at, cause, made_since, gathered_to, gathered_at, finished_at,
           finished_by, reason
      FROM recoveries WHERE gathered_at IS NULL AND finished_at IS NULL ORDER BY account_id
    """,
)
_DOUBT_REFUNDS = statement(
    "recoveries.doubt_refunds",
    """
    UPDATE refunds
       SET in_doubt = true, sends = greatest(sends, 1), checked_at = NULL, compared_at = NULL,
           last_sent_at = coalesce(last_sent_at, $2), lease_owner = NULL, lease_until = NULL
     WHERE account_id = $1 AND status IN ('REQUESTED', 'SENT', 'UNKNOWN') AND NOT is_elsewhere
    """,
)
#: The one whose turn it is may be on its way: it is asked about before it is sent again. So may one
#: that waits for a second person, who may have approved it since.
_ASK_REFUNDS = statement(
    "recoveries.ask_refunds",
    """
    UPDATE refunds r SET status = 'UNKNOWN', due_at = $2
     WHERE r.account_id = $1 AND r.status = 'REQUESTED'
       AND (r.due_at IS NOT NULL OR (r.approval_reason IS NOT NULL AND r.approved_at IS NULL))
       AND NOT EXISTS (
           SELECT 1 FROM refunds o
            WHERE (o.account_id, o.payment_id) = (r.account_id, r.payment_id)
              AND o.refund_id <> r.refund_id
              AND (o.status IN ('SENT', 'UNKNOWN')
                   OR (o.status = 'REQUESTED' AND o.refund_id < r.refund_id
                       AND (o.due_at IS NOT NULL
                            OR (o.approval_reason IS NOT NULL AND o.approved_at IS NULL)))))
    """,
)
_PROGRESS = statement(
    "recovery_attempts.progress",
    """
    SELECT count(*) AS number,
           count(*) FILTER (WHERE EXISTS (
               SELECT 1 FROM calls c
                WHERE (c.account_id, c.order_id, c.attempt_id)
                    = (r.account_id, r.order_id, r.attempt_id)
                  AND c.started_at >= $3 AND c.outcome IN ('accepted', 'rejected'))) AS asked
      FROM recovery_attempts r
     WHERE r.account_id = $1 AND r.epoch = $2
    """,
)
_HELD = statement(
    "recoveries.held",
    """
    SELECT (SELECT count(*) FROM deliveries
             WHERE account_id = $1 AND status = 'pending') AS deliveries,
           (SELECT count(*) FROM refunds
             WHERE account_id = $1 AND due_at IS NOT NULL) AS refunds
    """,
)
_FIND_WITNESS = statement("witnesses.find", "SELECT seen_at FROM witnesses WHERE account_id = $1")
_INSERT_WITNESS = statement(
    "witnesses.insert",
    """
    INSERT INTO witnesses (account_id, seen_at) VALUES ($1, $2)
    ON CONFLICT DO NOTHING
    RETURNING account_id
    """,
)
_UPDATE_WITNESS = statement(
    "witnesses.update",
    "UPDATE witnesses SET seen_at = $2 WHERE account_id = $1 AND seen_at < $2",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """One time an account's database was put back to an earlier point."""

    account_id: UUID
    epoch: int
    began_at: datetime
    cause: str
    made_since: datetime
    gathered_to: UUID | None
    gathered_at: datetime | None
    finished_at: datetime | None
    finished_by: str | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a recovery is, and what it holds back."""

    to_ask: int
    asked: int
    deliveries_held: int
    refunds_held: int
    is_gathered: bool  # all that is to be asked about is known

    @property
    def unasked(self) -> int:
        """Return how many attempts Binance has not been asked about."""
        return self.to_ask - self.asked


async def hold_account(tx: Transaction, account_id: UUID) -> None:
    """Let one at a time begin or finish a recovery."""
    await tx.row(_LOCK_ACCOUNT, account_id)


async def list_of(tx: Transaction, account_id: UUID) -> Sequence[Recovery]:
    """Read an account's recoveries, newest first."""
    return [Recovery(**dict(row)) for row in await tx.rows(_NEWEST, account_id)]


async def is_open(tx: Transaction, account_id: UUID) -> bool:
    """Say whether an account is in recovery."""
    return await tx.row(_IS_OPEN, account_id) is not None


async def begin(
    tx: Transaction,
    account_id: UUID,
    *,
    epoch: int,
    cause: str,
    made_since: datetime,
    now: datetime,
) -> None:
    """Write a recovery, and doubt what may have been sent since."""
    await tx.run(_INSERT, account_id, epoch, now, cause, made_since)
    await tx.run(_DOUBT_ATTEMPTS, account_id, now)
    await tx.run(_DOUBT_REFUNDS, account_id, now)
    await tx.run(_ASK_REFUNDS, account_id, now)


async def list_gathering(tx: Transaction) -> Sequence[Recovery]:
    """List the recoveries whose attempts were not all gone through."""
    return [Recovery(**dict(row)) for row in await tx.rows(_LIST_GATHERING)]


async def ask_again(tx: Transaction, *, now: datetime, put_off: datetime) -> None:
    """Make due what restored accounts still have to ask, where that was put off until later."""
    await tx.run(_ASK_AGAIN, now, put_off)


async def gather(tx: Transaction, recovery: Recovery, *, now: datetime, limit: int) -> None:
    """Go through the next attempts, note which are to be asked about, and make them due."""
    rows = await tx.rows(
        _GATHER,
        recovery.account_id,
        recovery.epoch,
        recovery.made_since,
        recovery.began_at,
        recovery.gathered_to,
        limit,
    )
    gathered_to = rows[-1]["attempt_id"] if rows else recovery.gathered_to
    gathered_at = now if len(rows) < limit else None
    await tx.run(_NOTE_GATHERED, recovery.account_id, recovery.epoch, gathered_to, gathered_at)


async def progress_of(tx: Transaction, recovery: Recovery) -> Progress:
    """Count what was asked and what is held."""
    (asked,) = await tx.rows(_PROGRESS, recovery.account_id, recovery.epoch, recovery.began_at)
    (held,) = await tx.rows(_HELD, recovery.account_id)
    return Progress(
        to_ask=asked["number"],
        asked=asked["asked"],
        deliveries_held=held["deliveries"],
        refunds_held=held["refunds"],
        is_gathered=recovery.gathered_at is not None,
    )


async def finish(
    tx: Transaction,
    recovery: Recovery,
    *,
    now: datetime,
    by: str,
    reason: str | None,
    unasked: int,
) -> bool:
    """End a recovery; False when it was over."""
    place = (recovery.account_id, recovery.epoch)
    return await tx.row(_FINISH, *place, now, by, reason, unasked) is not None


async def find_witness(tx: Transaction, account_id: UUID) -> datetime | None:
    """Return when a gateway was last here, as the database has it."""
    row = await tx.row(_FIND_WITNESS, account_id)
    return row["seen_at"] if row else None


async def witness(tx: Transaction, account_id: UUID, *, now: datetime) -> None:
    """Write down that a gateway was here now."""
    if await tx.row(_INSERT_WITNESS, account_id, now) is None:
        await tx.run(_UPDATE_WITNESS, account_id, now)
