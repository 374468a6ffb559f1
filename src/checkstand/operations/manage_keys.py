"""API keys: make one, and recognise one."""

import hashlib
from datetime import timedelta
from typing import Final
from uuid import UUID

from checkstand.ambient import Clock, Ids, Random
from checkstand.domain.account import ApiKey
from checkstand.errors import Refused
from checkstand.operations.open_account import REFERENCE_LENGTH
from checkstand.operations.resources import Resources
from checkstand.storage import accounts
from checkstand.storage.database import Database, Transaction

#: What a key may do, each with the words a refusal explains it by.
SCOPES: Final = {
    "orders:read": "read orders and their timelines",
    "orders:write": "create, refresh, cancel, renew and fulfil orders",
    "refunds:write": "return money",
    "refunds:approve": "approve or deny what another key wants returned",
    "events:read": "read events",
    "events:write": "deliver events again",
    "accounts:write": "stop the account's automatic moves, and let them go on",
    "endpoints:write": "read, add and remove webhook endpoints",
    "ledger:read": "read the books",
    "reconciliation:read": "read reconciled days and discrepancies",
    "reconciliation:write": "upload report files, resolve discrepancies and close days",
}

#: Long enough for any sentence; it is shown in lists and in refusals.
_NAME_LENGTH_MAX: Final = 100
_PREFIX: Final = "csk_"
_SECRET_LENGTH: Final = 32
#: Last use is for people who tidy up keys: to the minute is close enough, and spares a write.
_TOUCH_EVERY: Final = timedelta(minutes=1)


async def create_key(
    database: Database,
    *,
    account_id: UUID,
    reference: str,
    name: str,
    scopes: list[str] | None,
    clock: Clock,
    ids: Ids,
    random: Random,
) -> str:
    """Make an API key and return its text, which is shown once and stored hashed.

    Raises Refused for an unknown scope, and for a name that is taken or cannot be shown.
    """
    if not name.strip() or len(name) > _NAME_LENGTH_MAX or not name.isprintable():
        raise Refused(
            "invalid_request",
            f"a key's name is 1 to {_NAME_LENGTH_MAX} printable characters",
            field="name",
        )
    wanted = scopes or sorted(SCOPES)
    unknown = sorted(set(wanted) - set(SCOPES))
    if unknown:
        raise Refused(
            "scope_unknown",
            f"there is no scope {unknown[0]}; there are: {', '.join(SCOPES)}",
            field="scope",
        )
    secret = random.token(_SECRET_LENGTH)
    key_id = ids.new()

    async def step(tx: Transaction) -> bool:
        return await accounts.insert_api_key(
            tx,
            account_id=account_id,
            key_id=key_id,
            name=name,
            secret_hash=_hash(secret),
            scopes=wanted,
            created_at=clock.now(),
        )

    if not await database.run(step, name="create_key"):
        raise Refused("key_name_taken", f"there is a key called {name} already", field="name")
    return f"{_PREFIX}{reference}_{secret}"


async def find_key(resources: Resources, *, text: str) -> ApiKey | None:
    """Recognise an API key by its text; None when it is none of ours."""
    if not text.startswith(_PREFIX):
        return None
    reference, _, secret = text[len(_PREFIX) :].partition("_")
    if len(reference) != REFERENCE_LENGTH or len(secret) != _SECRET_LENGTH:
        return None

    async def read(tx: Transaction) -> ApiKey | None:
        return await accounts.find_api_key(tx, reference=reference, secret_hash=_hash(secret))

    key = await resources.database.read(read)
    now = resources.clock.now()
    if key and (key.last_used_at is None or now - key.last_used_at > _TOUCH_EVERY):

        async def touch(tx: Transaction) -> None:
            await accounts.touch_api_key(tx, key, now=now)

        await resources.database.run(touch, name="touch_key")
    return key


def _hash(secret: str) -> bytes:
    # The secret has 190 random bits: a slow hash would protect nothing more.
    return hashlib.sha256(secret.encode()).digest()
