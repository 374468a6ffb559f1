"""Webhook endpoints: where the shop wants to be told."""

from datetime import datetime
from uuid import UUID

from checkstand.domain.endpoint import Endpoint
from checkstand.storage.database import Transaction, statement

_INSERT = statement(
    "webhook_endpoints.insert",
    """
    INSERT INTO webhook_endpoints (
        account_id, endpoint_id, url, secret_ciphertext, fulfil_on_delivery, created_at
    )
    VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT DO NOTHING
    RETURNING endpoint_id
    """,
)
_LIST = statement(
    "webhook_endpoints.list",
    """
    SELECT account_id, endpoint_id, url, secret_ciphertext, fulfil_on_delivery, created_at
      FROM webhook_endpoints
     WHERE account_id = $1 AND disabled_at IS NULL
     ORDER BY created_at, endpoint_id
    """,
)
_DISABLE = statement(
    "webhook_endpoints.disable",
    """
    UPDATE webhook_endpoints SET disabled_at = $3
     WHERE account_id = $1 AND endpoint_id = $2 AND disabled_at IS NULL
    RETURNING endpoint_id
    """,
)

_GIVE_UP_DELIVERIES = statement(
    "deliveries.give_up",
    """
    UPDATE deliveries
       SET status = 'given_up', lets_next_go = true, due_at = NULL, ended_at = $3
     WHERE account_id = $1 AND endpoint_id = $2 AND status = 'pending'
    """,
)


async def insert(tx: Transaction, endpoint: Endpoint) -> bool:
    """Write a new endpoint; False when its address is registered already."""
    row = await tx.row(
        _INSERT,
        endpoint.account_id,
        endpoint.endpoint_id,
        endpoint.url,
        endpoint.secret_ciphertext,
        endpoint.fulfil_on_delivery,
        endpoint.created_at,
    )
    return row is not None


async def list_enabled(tx: Transaction, account_id: UUID) -> list[Endpoint]:
    """Read the endpoints of an account that are told things."""
    return [Endpoint(**dict(row)) for row in await tx.rows(_LIST, account_id)]


async def disable(tx: Transaction, account_id: UUID, endpoint_id: UUID, *, now: datetime) -> bool:
    """Stop telling an endpoint, even what it was still owed; its address becomes free.

    False when there is none.
    """
    if await tx.row(_DISABLE, account_id, endpoint_id, now) is None:
        return False
    await tx.run(_GIVE_UP_DELIVERIES, account_id, endpoint_id, now)
    return True
