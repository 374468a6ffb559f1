"""Try again the notices that fitted nothing, or that were only stored."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import structlog

from checkstand.binance import (
    Notification,
    SignedBytes,
    UnreadableNotification,
    parse_notification,
)
from checkstand.errors import DatabaseUnavailable, RowsHeld
from checkstand.operations.resources import Resources
from checkstand.operations.settle_notices import settle_notices
from checkstand.operations.verify_notice import VerifiedNotice, is_storable
from checkstand.storage import notices
from checkstand.storage.database import Transaction
from checkstand.storage.notices import StoredNotice

_log = structlog.get_logger()

#: An attempt learns its name at Binance within its own hour, and a lost answer soon after. Those
#: are looked for every few seconds, and strangers can make any number of orphans.
_NAMED_WITHIN: Final = timedelta(hours=2)
#: An orphan older than this is left to a person.
_GIVE_UP_AFTER: Final = timedelta(days=7)


async def retry_notices(resources: Resources, *, limit: int = 100) -> int:
    """Apply notices that were only stored, and orphans whose attempt is known now.

    Woken when a notice was only stored and when an attempt learns Binance's id; looks by itself
    too, since whoever woke it may have died. Returns how many were looked at.
    """
    now = resources.clock.now()

    async def read(tx: Transaction) -> list[StoredNotice]:
        return await notices.list_due(
            tx,
            received_after=now - _GIVE_UP_AFTER,
            orphans_after=now - _NAMED_WITHIN,
            limit=limit,
        )

    return await _settle_again(resources, await resources.database.read(read))


async def match_orphans(resources: Resources, *, limit: int = 100) -> int:
    """Match the newest orphans again by all that they say; return how many were looked at."""
    return await _settle_again(resources, await _stored_orphans(resources, limit=limit))


async def list_orphans(resources: Resources, *, limit: int) -> list[VerifiedNotice]:
    """Read the newest notices that fitted nothing, as far as they could be understood."""
    stored = await _stored_orphans(resources, limit=limit)
    return [VerifiedNotice(stored=notice, notification=_parse(notice)) for notice in stored]


async def _stored_orphans(resources: Resources, *, limit: int) -> list[StoredNotice]:
    received_after = resources.clock.now() - _GIVE_UP_AFTER

    async def read(tx: Transaction) -> list[StoredNotice]:
        return await notices.list_orphans(tx, received_after=received_after, limit=limit)

    return await resources.database.read(read)


async def _settle_again(resources: Resources, stored: Sequence[StoredNotice]) -> int:
    """Settle each in a transaction of its own: one that fails must not hold back the others."""
    for notice in stored:
        again = VerifiedNotice(stored=notice, notification=_parse(notice))
        try:
            await settle_notices(resources, batch=[again], waits=True)
        except RowsHeld:
            continue  # somebody is at its order just now
        except DatabaseUnavailable:
            raise
        except Exception as error:  # noqa: BLE001  (whatever it is, the next one is another matter)
            # In full it was logged when it came in.
            _log.warning("notice not applied", notice_id=str(notice.notice_id), error=repr(error))
    return len(stored)


def _parse(stored: StoredNotice) -> Notification | None:
    """Read again what was verified when it came in; None for what cannot be read or stored."""
    if not is_storable(stored.raw):
        return None
    signed = SignedBytes(stored.raw, stored.serial, "", stored.signed_at)
    try:
        return parse_notification(signed)
    except UnreadableNotification:
        return None
