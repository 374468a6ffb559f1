"""Find out that the database was put back to an earlier point, whoever did it.

Once a minute the database is told "a gateway was here", and then a file outside of it. A database
that remembers an earlier visit than the file does has lost something: a backup was put in its
place, or a replica took over that had not heard everything. It recovers then.
"""

from datetime import datetime
from uuid import UUID

import structlog

from checkstand.operations.recover import ASK_ABOUT, begin_in
from checkstand.operations.resources import Resources
from checkstand.storage import recoveries
from checkstand.storage.database import Transaction

_log = structlog.get_logger()


async def witness_database(resources: Resources) -> None:
    """Compare the two, begin recoveries where they differ, and bring both up to date."""
    file = resources.witness
    seen = await resources.run_in_thread(file.read) if file else {}
    moments = {
        account.reference: await _witness(
            resources, account.account_id, seen.get(account.reference)
        )
        for account in resources.accounts.list_all()
    }
    if file is None:
        return
    try:
        # Accounts of another database that shares the directory keep their own line.
        await resources.run_in_thread(file.write, seen | moments)
    except OSError as error:
        _log.warning("no witness can be kept", reason=str(error))


async def _witness(resources: Resources, account_id: UUID, seen: datetime | None) -> datetime:
    now = resources.clock.now()

    async def step(tx: Transaction) -> datetime:
        known = await recoveries.find_witness(tx, account_id)
        if seen is not None and (known is None or known < seen):
            was = "knows of no visit" if known is None else f"was last visited at {known}"
            cause = f"a gateway visited this database at {seen}, and it {was}: it was put back"
            made_since = min(known or now, now) - ASK_ABOUT
            await begin_in(tx, account_id, cause=cause, made_since=made_since, now=now)
        await recoveries.witness(tx, account_id, now=now)
        # What was written is read again: another host may have been here later.
        return await recoveries.find_witness(tx, account_id) or now

    return await resources.database.run(step, name="witness_database")
