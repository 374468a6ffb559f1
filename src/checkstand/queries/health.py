"""Whether the database answers, and how old the oldest unknown outcome is."""

from datetime import datetime

from checkstand.storage import doubts
from checkstand.storage.database import Database, Transaction, statement

_PING = statement("health.ping", "SELECT 1 AS answer")


async def is_ready(database: Database) -> bool:
    """Ask the database anything. Raises DatabaseUnavailable."""

    async def read(tx: Transaction) -> bool:
        return await tx.row(_PING) is not None

    return await database.read(read)


async def oldest_doubt(database: Database, *, now: datetime) -> datetime | None:
    """Say since when the oldest unknown outcome has been unknown; None when there is none."""

    async def read(tx: Transaction) -> datetime | None:
        return await doubts.oldest(tx, now=now)

    return await database.read(read)
