"""Recovery: begin it when the database was put back to an earlier point, follow it, end it.

While an account is in recovery orders are still opened and notices still taken, and Binance is
asked about every attempt and payment of the last days. Refunds, closes, deliveries and expiry by
the clock wait: each of them would act on what the database has forgotten. What Binance says moves
an order as ever, and nobody is told before the end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from checkstand.domain.account import Account
from checkstand.errors import Refused
from checkstand.operations.resources import Resources
from checkstand.storage import accounts, orphan_orders, recoveries
from checkstand.storage.database import Database, Transaction
from checkstand.storage.orphan_orders import OrphanOrder
from checkstand.storage.recoveries import Progress, Recovery

_log = structlog.get_logger()

#: Binance keeps telling of an order for hours, and shops settle theirs in days. More than backups
#: are usually apart.
ASK_ABOUT: Final = timedelta(days=14)

#: Attempts that are gone through in one transaction: some 50 ms.
_STRETCH: Final = 2_000
#: An attempt that is still to be asked about waits no longer than this.
_PUT_OFF: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryStatus:
    """Where an account's recovery stands; the recovery is None for one that never was restored."""

    account_id: UUID
    recovery: Recovery | None
    progress: Progress | None
    orphans: Sequence[OrphanOrder]

    @property
    def epoch(self) -> int:
        """Return how often the account's database began a history of its own."""
        return self.recovery.epoch if self.recovery else 1

    @property
    def is_open(self) -> bool:
        """Say whether it goes on."""
        return self.recovery is not None and self.recovery.finished_at is None


async def begin_recovery(
    database: Database, *, account_id: UUID, cause: str, restored_to: datetime | None, now: datetime
) -> None:
    """Raise an account's epoch and let it recover.

    `restored_to` is the moment that the database was put back to, if that is known: what was made
    in the days before it is asked about, however long ago that is.
    """
    made_since = min(restored_to or now, now) - ASK_ABOUT

    async def step(tx: Transaction) -> None:
        await begin_in(tx, account_id, cause=cause, made_since=made_since, now=now)

    await database.run(step, name="begin_recovery")


async def list_accounts(database: Database) -> list[Account]:
    """Read every account of a database that was just restored."""

    async def read(tx: Transaction) -> list[Account]:
        return await accounts.list_all(tx)

    return await database.read(read)


async def begin_in(
    tx: Transaction, account_id: UUID, *, cause: str, made_since: datetime, now: datetime
) -> None:
    """Begin a recovery in the caller's transaction; one that goes on gives way to it."""
    await recoveries.hold_account(tx, account_id)
    known = await recoveries.list_of(tx, account_id)
    if known and known[0].finished_at is None:
        progress = await recoveries.progress_of(tx, known[0])
        await recoveries.finish(
            tx,
            known[0],
            now=now,
            by="checkstand",
            reason="the database was restored again",
            unasked=progress.unasked,
        )
        made_since = min(made_since, known[0].made_since)
    epoch = known[0].epoch + 1 if known else 2
    await recoveries.begin(tx, account_id, epoch=epoch, cause=cause, made_since=made_since, now=now)
    await recoveries.witness(tx, account_id, now=now)
    _log.error("recovery begins", account_id=str(account_id), epoch=epoch, cause=cause)


async def gather_recoveries(resources: Resources, *, stretch: int = _STRETCH) -> None:
    """Find out what restored accounts have to ask about, and make it due. Safe to cut short.

    And again where it was put off: a recovery cannot end before.
    """

    async def step(tx: Transaction) -> bool:
        unfinished = await recoveries.list_gathering(tx)
        for recovery in unfinished:
            await recoveries.hold_account(tx, recovery.account_id)
            known = await recoveries.list_of(tx, recovery.account_id)
            if known[0].epoch == recovery.epoch and known[0].gathered_at is None:
                await recoveries.gather(tx, known[0], now=resources.clock.now(), limit=stretch)
        if not unfinished:
            now = resources.clock.now()
            await recoveries.ask_again(tx, now=now, put_off=now + _PUT_OFF)
        return bool(unfinished)

    while await resources.database.run(step, name="gather_recoveries"):
        resources.attempts_wake.up()


async def recovery_status(resources: Resources, *, account_id: UUID) -> RecoveryStatus:
    """Say where an account's recovery stands."""

    async def read(tx: Transaction) -> RecoveryStatus:
        return await _status(tx, account_id)

    return await resources.database.read(read, snapshot=True)


async def finish_recovery(
    resources: Resources, *, account_id: UUID, by: str, is_forced: bool, reason: str | None
) -> RecoveryStatus:
    """End a recovery by a person's word: refunds, closes and deliveries go on.

    Raises Refused while Binance was not asked about everything, unless it is forced with a reason.
    """
    await gather_recoveries(resources)
    now = resources.clock.now()

    async def step(tx: Transaction) -> RecoveryStatus:
        await recoveries.hold_account(tx, account_id)
        status = await _status(tx, account_id)
        recovery, progress = status.recovery, status.progress
        if recovery is None or progress is None or recovery.finished_at is not None:
            return status
        if (progress.unasked or not progress.is_gathered) and not is_forced:
            raise Refused(
                "recovery_unfinished",
                f"Binance has not been asked about {progress.unasked} of {progress.to_ask} "
                "attempts yet: let the worker go on, or say --force and --reason",
            )
        if is_forced and not (reason and reason.strip()):
            raise Refused(
                "reason_missing", "ending a recovery early needs a --reason", field="reason"
            )
        await recoveries.finish(
            tx, recovery, now=now, by=by, reason=reason, unasked=progress.unasked
        )
        return await _status(tx, account_id)

    status = await resources.database.run(step, name="finish_recovery")
    for wake in (resources.attempts_wake, resources.refunds_wake, resources.deliveries_wake):
        wake.up()
    return status


async def _status(tx: Transaction, account_id: UUID) -> RecoveryStatus:
    known = await recoveries.list_of(tx, account_id)
    recovery = known[0] if known else None
    return RecoveryStatus(
        account_id=account_id,
        recovery=recovery,
        progress=await recoveries.progress_of(tx, recovery) if recovery else None,
        orphans=await orphan_orders.list_of(tx, account_id),
    )
