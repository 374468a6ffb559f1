"""Webhook endpoints: add one with its secret, list them, remove one."""

from uuid import UUID

from checkstand.deliveries.signing import make_secret
from checkstand.deliveries.targets import parse_url
from checkstand.domain.endpoint import Endpoint
from checkstand.errors import Conflict, NotFound
from checkstand.operations.resources import Resources
from checkstand.storage import endpoints
from checkstand.storage.database import Transaction

_SECRET_BYTES = 32


async def add_endpoint(
    resources: Resources, *, account_id: UUID, url: str, fulfil_on_delivery: bool
) -> tuple[Endpoint, str]:
    """Register an address; return it with its signing secret, which is shown once.

    Kept in one spelling (lower-case host, no usual port), so that nobody is told twice.
    Raises Refused for an address that deliveries do not go to, Conflict for a known one.
    """
    target = parse_url(url, allow_private=resources.policy.allow_private_webhooks)
    secret = make_secret(random_bytes=resources.random.bytes(_SECRET_BYTES))
    endpoint_id = resources.ids.new()
    endpoint = Endpoint(
        account_id=account_id,
        endpoint_id=endpoint_id,
        url=f"{target.scheme}://{target.host_header}{target.path}",
        secret_ciphertext=resources.vault.encrypt(
            secret, account_id=account_id, row_id=endpoint_id, column="secret"
        ),
        fulfil_on_delivery=fulfil_on_delivery,
        created_at=resources.clock.now(),
    )

    async def step(tx: Transaction) -> bool:
        return await endpoints.insert(tx, endpoint)

    if not await resources.database.run(step, name="add_endpoint"):
        raise Conflict("endpoint_exists", f"{endpoint.url} is registered already", field="url")
    return endpoint, secret


async def list_endpoints(resources: Resources, *, account_id: UUID) -> list[Endpoint]:
    """Read the addresses that are told things."""

    async def step(tx: Transaction) -> list[Endpoint]:
        return await endpoints.list_enabled(tx, account_id)

    return await resources.database.read(step)


async def remove_endpoint(resources: Resources, *, account_id: UUID, endpoint_id: UUID) -> None:
    """Stop telling an address. Raises NotFound."""
    now = resources.clock.now()

    async def step(tx: Transaction) -> bool:
        return await endpoints.disable(tx, account_id, endpoint_id, now=now)

    if not await resources.database.run(step, name="remove_endpoint"):
        raise NotFound(
            "endpoint_not_found", f"there is no endpoint {endpoint_id}", field="endpoint_id"
        )
