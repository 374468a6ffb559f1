"""Seal what was booked since the last time, so that it cannot be changed without showing.

Off the hot path: a transfer is booked first and sealed some seconds later. Each seal's hash goes
into the log as well, which is kept elsewhere: an anchor outside the database.
"""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from checkstand.domain.seal import Seal, digest_of, make_seal
from checkstand.operations.resources import Resources
from checkstand.storage import ledger
from checkstand.storage.database import Transaction

_log = structlog.get_logger()

#: A transfer is committed some time after the moment it bears: the step may have waited for
#: locks, and its host's clock may be behind.
_LOOKS_BACK: Final = timedelta(hours=1)

#: What one seal holds at most: a transaction of some milliseconds.
BATCH_MAX: Final = 1000


async def seal_new_transfers(resources: Resources, *, batch: int = BATCH_MAX) -> int:
    """Seal what was booked lately; return how many transfers. Any number of hosts may do it."""
    return await _seal(resources, looks_back=_LOOKS_BACK, batch=batch)


async def seal_all_transfers(resources: Resources, *, batch: int = BATCH_MAX) -> int:
    """Seal whatever is unsealed, however old; return how many transfers."""
    return await _seal(resources, looks_back=None, batch=batch)


async def _seal(resources: Resources, *, looks_back: timedelta | None, batch: int) -> int:
    sealed = 0
    for account in resources.accounts.list_all():
        # Oldest first: what lies before the last of a batch need not be looked at again.
        since: datetime | None = None
        while made := await _seal_once(
            resources, account.account_id, since=since, looks_back=looks_back, batch=batch
        ):
            seal, since = made
            sealed += seal.count
            _log.info(
                "transfers sealed",
                account_id=str(account.account_id),
                number=seal.number,
                count=seal.count,
                hash=seal.hash.hex(),
            )
            if seal.count < batch:
                break
    return sealed


async def _seal_once(
    resources: Resources,
    account_id: UUID,
    *,
    since: datetime | None,
    looks_back: timedelta | None,
    batch: int,
) -> tuple[Seal, datetime] | None:
    """Make one link of an account's chain; return it with the time of the last it holds.

    None when there is nothing to seal, or a rival did.
    """
    now = resources.clock.now()

    async def step(tx: Transaction) -> tuple[Seal, datetime] | None:
        # First the chain's end, then what is unsealed: if nobody else makes the next link, that
        # was read when every earlier link could be seen, and so nothing is sealed twice.
        previous = await ledger.find_newest_seal(tx, account_id)
        begin = since
        if begin is None and previous and looks_back:
            begin = previous.newest_at - looks_back
        transfers = await ledger.list_unsealed(tx, account_id, since=begin, limit=batch)
        if not transfers:
            return None
        digests = [digest_of(transfer) for transfer in transfers]
        seal = make_seal(account_id, transfers, digests, previous=previous, at=now)
        pairs = list(zip(transfers, digests, strict=True))
        is_ours = await ledger.insert_seal(tx, account_id, seal, pairs)
        return (seal, transfers[-1].at) if is_ours else None

    return await resources.database.run(step, name="seal_transfers")
