"""Try again the notices that fitted nothing, or that were only stored."""

from datetime import timedelta
from typing import Final

import structlog

from checkstand.binance import (
    Notification,
    SignedBytes,
    UnreadableNotification,
    parse_notification,
)
from checkstand.operations.resources import Resources
from checkstand.operations.settle_notices import settle_notices
from checkstand.operations.verify_notice import VerifiedNotice, is_storable
from checkstand.storage import notices
from checkstand.storage.database import Transaction
from checkstand.storage.notices import StoredNotice

_log = structlog.get_logger()

#: An orphan older than this is left to a person.
_GIVE_UP_AFTER: Final = timedelta(days=7)


async def retry_notices(resources: Resources, *, limit: int = 100) -> int:
    """Match unmatched notices again; return how many were looked at.

    Each in a transaction of its own: one that cannot be applied must not hold back the others.
    """
    unmatched = await list_unmatched(resources, limit=limit)
    for again in unmatched:
        try:
            await settle_notices(resources, batch=[again], is_stored=True)
        except Exception:  # noqa: BLE001  (whatever it is, the next one is another matter)
            _log.exception("a notice was not applied", notice_id=str(again.stored.notice_id))
    return len(unmatched)


async def list_unmatched(resources: Resources, *, limit: int) -> list[VerifiedNotice]:
    """Read the notices that fitted nothing, or were only stored, of the last days."""
    received_after = resources.clock.now() - _GIVE_UP_AFTER

    async def read(tx: Transaction) -> list[StoredNotice]:
        return await notices.list_unmatched(tx, received_after=received_after, limit=limit)

    stored = await resources.database.read(read)
    return [VerifiedNotice(stored=notice, notification=_parse(notice)) for notice in stored]


def _parse(stored: StoredNotice) -> Notification | None:
    """Read again what was verified when it came in; None for what cannot be read or stored."""
    if not is_storable(stored.raw):
        return None
    signed = SignedBytes(stored.raw, stored.serial, "", stored.signed_at)
    try:
        return parse_notification(signed)
    except UnreadableNotification:
        return None
