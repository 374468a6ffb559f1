"""Accounts with their credentials, certificates and API keys."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from checkstand.domain.account import Account, ApiKey
from checkstand.storage.database import Row, Transaction, statement

_INSERT = statement(
    "accounts.insert",
    """
    INSERT INTO accounts (account_id, reference, name, notice_path, created_at)
    VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT DO NOTHING
    RETURNING account_id
    """,
)
_EXISTS = statement("accounts.exists", "SELECT 1 FROM accounts WHERE account_id = $1")
_LIST = statement(
    "accounts.list",
    """
    SELECT account_id, reference, name, notice_path, merchant_id, halted_reason, halted_at
      FROM accounts ORDER BY created_at, account_id
    """,
)
_HALT = statement(
    "accounts.halt",
    """
    UPDATE accounts SET halted_reason = $2, halted_at = $3
     WHERE account_id = $1 AND halted_reason IS NULL
    RETURNING account_id
    """,
)
#: With $3 the pinned merchant is forgotten: the next query pins the one it is answered for.
_RESUME = statement(
    "accounts.resume",
    """
    UPDATE accounts
       SET halted_reason = NULL, halted_at = NULL, resumed_at = $2,
           merchant_id = CASE WHEN $3 THEN NULL ELSE merchant_id END
     WHERE account_id = $1 AND halted_reason IS NOT NULL
    RETURNING account_id
    """,
)
_GET = statement(
    "accounts.get",
    """
    SELECT account_id, reference, name, notice_path, merchant_id, halted_reason, halted_at
      FROM accounts WHERE account_id = $1
    """,
)
_INSERT_CREDENTIAL = statement(
    "credentials.insert",
    """
    INSERT INTO credentials (
        account_id, credential_id, api_key, secret_ciphertext, base_url, valid_from
    )
    VALUES ($1, $2, $3, $4, $5, $6)
    """,
)
_LIST_CREDENTIALS = statement(
    "credentials.list",
    """
    SELECT c.account_id, c.credential_id, c.api_key, c.secret_ciphertext, c.base_url,
           a.merchant_id, c.valid_from, c.valid_until
      FROM credentials c JOIN accounts a ON a.account_id = c.account_id
     ORDER BY c.account_id, c.valid_from, c.credential_id
    """,
)
_PIN_MERCHANT = statement(
    "accounts.pin_merchant",
    """
    UPDATE accounts SET merchant_id = $2 WHERE account_id = $1 AND merchant_id IS NULL
    RETURNING merchant_id
    """,
)
_STORE_CERTIFICATES = statement(
    "certificates.store",
    """
    INSERT INTO certificates (account_id, serial, public_key, first_seen_at, last_seen_at)
    SELECT $1, n.serial, n.public_key, $4, $4
      FROM unnest($2::text[], $3::text[]) AS n (serial, public_key)
    ON CONFLICT DO NOTHING
    """,
)
_SEE_CERTIFICATES = statement(
    "certificates.see",
    "UPDATE certificates SET last_seen_at = $3 WHERE account_id = $1 AND serial = ANY($2)",
)
_LIST_CERTIFICATES = statement(
    "certificates.list",
    """
    SELECT account_id, serial, public_key, last_seen_at,
           max(last_seen_at) OVER (PARTITION BY account_id) AS newest_list_at
      FROM certificates ORDER BY account_id, serial
    """,
)
_INSERT_API_KEY = statement(
    "api_keys.insert",
    """
    INSERT INTO api_keys (account_id, key_id, name, secret_hash, scopes, created_at)
    VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT DO NOTHING
    RETURNING key_id
    """,
)
_FIND_API_KEY = statement(
    "api_keys.find",
    """
    SELECT k.account_id, k.key_id, k.name, k.scopes, k.last_used_at
      FROM api_keys k JOIN accounts a ON a.account_id = k.account_id
     WHERE a.reference = $1 AND k.secret_hash = $2 AND k.revoked_at IS NULL
    """,
)
_TOUCH_API_KEY = statement(
    "api_keys.touch",
    "UPDATE api_keys SET last_used_at = $3 WHERE account_id = $1 AND key_id = $2",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """One set of keys of an account; the secret is still encrypted."""

    account_id: UUID
    credential_id: UUID
    api_key: str
    secret_ciphertext: bytes
    base_url: str
    merchant_id: str | None  # the account's, pinned
    valid_from: datetime
    valid_until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCertificate:
    """One of Binance's public keys, as fetched with an account's credentials."""

    account_id: UUID
    serial: str
    public_key: str
    last_seen_at: datetime
    newest_list_at: datetime  # when the newest list came: older than that, it is gone from it


async def exists(tx: Transaction, account_id: UUID) -> bool:
    """Say whether there is such an account."""
    return await tx.row(_EXISTS, account_id) is not None


async def insert(tx: Transaction, account: Account, *, created_at: datetime) -> bool:
    """Write a new account; False when it is there already."""
    row = await tx.row(
        _INSERT,
        account.account_id,
        account.reference,
        account.name,
        account.notice_path,
        created_at,
    )
    return row is not None


async def list_all(tx: Transaction) -> list[Account]:
    """Read every account, oldest first."""
    return [Account(**dict(row)) for row in await tx.rows(_LIST)]


async def get(tx: Transaction, account_id: UUID) -> Account:
    """Read one account that is there."""
    row = await tx.row(_GET, account_id)
    if row is None:
        raise LookupError(f"no account {account_id}")
    return Account(**dict(row))


async def halt(tx: Transaction, account_id: UUID, *, reason: str, now: datetime) -> bool:
    """Stop the automatic moves of an account; False when they are stopped already."""
    return await tx.row(_HALT, account_id, reason, now) is not None


async def resume(
    tx: Transaction, account_id: UUID, *, now: datetime, forget_merchant: bool
) -> bool:
    """Let an account move again; False when nothing had stopped it."""
    return await tx.row(_RESUME, account_id, now, forget_merchant) is not None


async def insert_credential(tx: Transaction, credential: Credential) -> None:
    """Write new credentials of an account."""
    await tx.run(
        _INSERT_CREDENTIAL,
        credential.account_id,
        credential.credential_id,
        credential.api_key,
        credential.secret_ciphertext,
        credential.base_url,
        credential.valid_from,
    )


async def list_credentials(tx: Transaction) -> list[Credential]:
    """Read every credential, oldest first within its account."""
    return [Credential(**dict(row)) for row in await tx.rows(_LIST_CREDENTIALS)]


async def pin_merchant(tx: Transaction, account_id: UUID, merchant_id: str) -> str:
    """Keep the merchantId that the account's first query returned; return the one that is kept."""
    row = await tx.row(_PIN_MERCHANT, account_id, merchant_id)
    if row is not None:
        return merchant_id
    return (await get(tx, account_id)).merchant_id or merchant_id


async def store_certificates(
    tx: Transaction, account_id: UUID, keys: Mapping[str, str], *, now: datetime
) -> None:
    """Keep a fetched list (serial → PEM). An empty list changes nothing."""
    serials = sorted(keys)
    if serials:
        await tx.run(
            _STORE_CERTIFICATES, account_id, serials, [keys[serial] for serial in serials], now
        )
        await tx.run(_SEE_CERTIFICATES, account_id, serials, now)


async def list_certificates(tx: Transaction) -> list[StoredCertificate]:
    """Read every certificate we ever saw."""
    return [StoredCertificate(**dict(row)) for row in await tx.rows(_LIST_CERTIFICATES)]


async def insert_api_key(
    tx: Transaction,
    *,
    account_id: UUID,
    key_id: UUID,
    name: str,
    secret_hash: bytes,
    scopes: Sequence[str],
    created_at: datetime,
) -> bool:
    """Write a new API key; False when the name is taken."""
    row = await tx.row(
        _INSERT_API_KEY, account_id, key_id, name, secret_hash, list(scopes), created_at
    )
    return row is not None


async def find_api_key(tx: Transaction, *, reference: str, secret_hash: bytes) -> ApiKey | None:
    """Look an API key up by its account's reference and the hash of its random part."""
    row = await tx.row(_FIND_API_KEY, reference, secret_hash)
    return _parse_api_key(row) if row else None


async def touch_api_key(tx: Transaction, key: ApiKey, *, now: datetime) -> None:
    """Write down that a key was used."""
    await tx.run(_TOUCH_API_KEY, key.account_id, key.key_id, now)


def _parse_api_key(row: Row) -> ApiKey:
    return ApiKey(
        account_id=row["account_id"],
        key_id=row["key_id"],
        name=row["name"],
        scopes=frozenset(row["scopes"]),
        last_used_at=row["last_used_at"],
    )
