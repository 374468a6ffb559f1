"""Fetch Binance's public keys for an account: on a timer, and once for an unknown serial."""

import asyncio
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog

from checkstand.binance import BinancePayError
from checkstand.operations.resources import Resources
from checkstand.storage import accounts
from checkstand.storage.database import Transaction

_log = structlog.get_logger()

#: An unknown serial costs at most one fetch a minute, however many notices carry it.
_UNKNOWN_SERIAL_EVERY: Final = timedelta(minutes=1)
#: Of the three seconds in which Binance is answered, so much is for learning its key.
_NOTICE_WAITS_SECONDS: Final = 1.5


async def refresh_certificates(
    resources: Resources, *, account_id: UUID, at_most_every: timedelta = _UNKNOWN_SERIAL_EVERY
) -> bool:
    """Fetch and keep an account's keys, unless that was done just before; say whether it was.

    A failure changes nothing: what was known stays known.
    """
    flight = resources.accounts.certificate_flight(account_id)
    async with flight.lock:
        now = resources.clock.now()
        if flight.asked_at is not None and now - flight.asked_at < at_most_every:
            return False
        flight.asked_at = now
        try:
            keys = await resources.provider.list_certificates(
                resources.accounts.credential_for(account_id)
            )
        except BinancePayError as error:
            _log.warning("certificates not fetched", account_id=str(account_id), error=str(error))
            return False

        async def step(tx: Transaction) -> None:
            await accounts.store_certificates(tx, account_id, keys, now=now)

        await resources.database.run(step, name="refresh_certificates")
        await resources.accounts.reload(
            resources.database, resources.provider, resources.vault, now=now
        )
        return bool(keys)


async def fetch_unknown_certificate(resources: Resources, *, account_id: UUID) -> None:
    """Fetch an account's keys for a serial that nobody knows, as long as a notice can wait.

    All who wait share one fetch. It goes on when they have left: the notice comes again.
    """
    flight = resources.accounts.certificate_flight(account_id)
    if flight.under_way is None or flight.under_way.done():
        flight.under_way = asyncio.create_task(
            refresh_certificates(resources, account_id=account_id)
        )
        flight.under_way.add_done_callback(_note_failure)
    await asyncio.wait({flight.under_way}, timeout=_NOTICE_WAITS_SECONDS)


def _note_failure(fetch: asyncio.Task[bool]) -> None:
    if not fetch.cancelled() and (error := fetch.exception()) is not None:
        _log.warning("certificates not kept", error=str(error))


async def refresh_all_certificates(resources: Resources) -> None:
    """Fetch the keys of every account, and reread the accounts themselves."""
    await resources.accounts.reload(
        resources.database, resources.provider, resources.vault, now=resources.clock.now()
    )
    for account in resources.accounts.list_all():
        await refresh_certificates(resources, account_id=account.account_id)
