"""Try again the notices that fitted nothing, or that were only stored."""

from datetime import datetime, timedelta
from typing import Final, Protocol

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

#: An orphan older than this is left to a person.
_GIVE_UP_AFTER: Final = timedelta(days=7)


async def retry_notices(resources: Resources, *, limit: int = 100) -> int:
    """Apply notices that were only stored, and orphans whose attempt is known now.

    Woken when a notice was only stored and when an attempt learns Binance's id; looks by itself
    too, since whoever woke it may have died. Returns how many were looked at.
    """
    return await _settle_again(resources, notices.list_due, limit=limit)


async def match_orphans(resources: Resources, *, limit: int = 100) -> int:
    """Match the newest orphans again by all that they say; return how many were looked at."""
    return await _settle_again(resources, notices.list_orphans, limit=limit)


class _List(Protocol):
    async def __call__(
        self, tx: Transaction, /, *, received_after: datetime, limit: int
    ) -> list[StoredNotice]: ...


async def _settle_again(resources: Resources, which: _List, *, limit: int) -> int:
    """Settle stored notices, each in a transaction of its own: one that cannot be applied must
    not hold back the others.
    """
    stored = await _list(resources, which, limit=limit)
    for again in stored:
        try:
            await settle_notices(resources, batch=[again], waits=True)
        except RowsHeld:
            continue  # somebody is at its order just now
        except DatabaseUnavailable:
            raise
        except Exception:  # noqa: BLE001  (whatever it is, the next one is another matter)
            _log.exception("a notice was not applied", notice_id=str(again.stored.notice_id))
    return len(stored)


async def list_orphans(resources: Resources, *, limit: int) -> list[VerifiedNotice]:
    """Read the newest notices that fitted nothing, as far as they could be understood."""
    return await _list(resources, notices.list_orphans, limit=limit)


async def _list(resources: Resources, which: _List, *, limit: int) -> list[VerifiedNotice]:
    received_after = resources.clock.now() - _GIVE_UP_AFTER

    async def read(tx: Transaction) -> list[StoredNotice]:
        return await which(tx, received_after=received_after, limit=limit)

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
