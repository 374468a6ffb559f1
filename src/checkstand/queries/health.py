"""Whether the database answers."""

from checkstand.storage.database import Database, Transaction, statement

_PING = statement("health.ping", "SELECT 1 AS answer")


async def is_ready(database: Database) -> bool:
    """Ask the database anything. Raises DatabaseUnavailable."""

    async def read(tx: Transaction) -> bool:
        return await tx.row(_PING) is not None

    return await database.read(read)
