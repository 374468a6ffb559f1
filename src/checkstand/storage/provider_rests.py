"""Rests from calling Binance: an account that was told "too many" is left in peace by everybody.

When Binance fails by itself only polls rest. The claims of attempts and refunds read the row
themselves, in the statement that claims.
"""

from datetime import datetime
from uuid import UUID

from checkstand.domain.budget import Trouble
from checkstand.storage.database import Transaction, statement

_INSERT = statement(
    "provider_rests.insert",
    """
    INSERT INTO provider_rests (account_id, trouble, rest_until, reason, began_at)
    VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT DO NOTHING
    RETURNING account_id
    """,
)
_LENGTHEN = statement(
    "provider_rests.lengthen",
    """
    UPDATE provider_rests SET rest_until = $3, reason = $4, began_at = $5
     WHERE account_id = $1 AND trouble = $2 AND rest_until < $3
    """,
)
_FIND = statement(
    "provider_rests.find",
    """
    SELECT max(rest_until) AS rest_until FROM provider_rests
     WHERE account_id = $1 AND rest_until > $2
    """,
)


async def begin(
    tx: Transaction,
    account_id: UUID,
    trouble: Trouble,
    *,
    until: datetime,
    reason: str,
    now: datetime,
) -> None:
    """Let an account's calls rest until a moment; a longer rest stays as it is."""
    if await tx.row(_INSERT, account_id, trouble, until, reason, now) is None:
        await tx.run(_LENGTHEN, account_id, trouble, until, reason, now)


async def find(tx: Transaction, account_id: UUID, *, now: datetime) -> datetime | None:
    """Return until when an account's calls rest, if they do."""
    row = await tx.row(_FIND, account_id, now)
    return row["rest_until"] if row else None
