"""Try again the notices that fitted nothing, or that were only stored."""

from datetime import timedelta
from typing import Final

from checkstand.binance import (
    Notification,
    SignedBytes,
    UnreadableNotification,
    parse_notification,
)
from checkstand.operations.resources import Resources
from checkstand.operations.settle_notices import settle_notices
from checkstand.operations.verify_notice import VerifiedNotice
from checkstand.storage import notices
from checkstand.storage.database import Transaction
from checkstand.storage.notices import StoredNotice

#: An orphan older than this is left to a person.
_GIVE_UP_AFTER: Final = timedelta(days=7)


async def retry_notices(resources: Resources, *, limit: int = 100) -> int:
    """Match unmatched notices again; return how many were looked at."""
    received_after = resources.clock.now() - _GIVE_UP_AFTER

    async def read(tx: Transaction) -> list[StoredNotice]:
        return await notices.list_unmatched(tx, received_after=received_after, limit=limit)

    stored = await resources.database.read(read)
    if stored:
        batch = [VerifiedNotice(stored=notice, notification=_parse(notice)) for notice in stored]
        await settle_notices(resources, batch=batch, is_stored=True)
    return len(stored)


def _parse(stored: StoredNotice) -> Notification | None:
    """Read again what was verified when it came in."""
    signed = SignedBytes(stored.raw, stored.serial, "", stored.signed_at)
    try:
        return parse_notification(signed)
    except UnreadableNotification:
        return None
