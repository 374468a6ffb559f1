"""Make sure that the account exists for which this installation was set up.

The settings fill its row at the first start. From then on the row counts, and a difference is an
error: a rotation that pastes another shop's key must not go unnoticed.
"""

from dataclasses import dataclass, field
from uuid import UUID

from checkstand.ambient import Clock, Ids, Random
from checkstand.domain.account import Account
from checkstand.errors import Refused
from checkstand.operations.account_book import open_credential
from checkstand.storage import accounts
from checkstand.storage.accounts import Credential
from checkstand.storage.database import Database, Transaction
from checkstand.vault import Vault

REFERENCE_LENGTH = 8
_PATH_LENGTH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class MerchantKeys:
    """What the settings say about the default account."""

    name: str
    base_url: str
    api_key: str = field(repr=False)
    api_secret: str = field(repr=False)


async def open_default_account(
    database: Database,
    *,
    keys: MerchantKeys | None,
    vault: Vault,
    clock: Clock,
    ids: Ids,
    random: Random,
) -> UUID:
    """Return the default account, made from the settings when there is none. Safe to repeat.

    Raises Refused when there are no keys at all, or others than the stored ones.
    """
    account = Account(
        account_id=DEFAULT_ACCOUNT_ID,
        reference=random.token(REFERENCE_LENGTH),
        name=keys.name if keys else "",
        notice_path=random.token(_PATH_LENGTH),
    )
    credential_id = ids.new()

    async def step(tx: Transaction) -> UUID:
        if not await accounts.exists(tx, DEFAULT_ACCOUNT_ID):
            if keys is None:
                raise Refused(
                    "merchant_keys_missing",
                    "set BINANCE_PAY_API_KEY and BINANCE_PAY_API_SECRET "
                    "(for a try without a merchant account: checkstand demo)",
                )
            # Two processes that start together: the second finds the first one's row.
            if await accounts.insert(tx, account, created_at=clock.now()):
                await _insert_credential(tx, keys)
                return account.account_id
        await _check_same(tx, keys)
        return DEFAULT_ACCOUNT_ID

    async def _insert_credential(tx: Transaction, keys: MerchantKeys) -> None:
        sealed = vault.encrypt(
            keys.api_secret,
            account_id=DEFAULT_ACCOUNT_ID,
            row_id=credential_id,
            column="api_secret",
        )
        credential = Credential(
            account_id=DEFAULT_ACCOUNT_ID,
            credential_id=credential_id,
            api_key=keys.api_key,
            secret_ciphertext=sealed,
            base_url=keys.base_url,
            merchant_id=None,
            valid_from=clock.now(),
            valid_until=None,
        )
        await accounts.insert_credential(tx, credential)

    async def _check_same(tx: Transaction, keys: MerchantKeys | None) -> None:
        if keys is None:
            return
        stored = [
            open_credential(credential, vault)
            for credential in await accounts.list_credentials(tx)
            if credential.account_id == DEFAULT_ACCOUNT_ID and credential.valid_until is None
        ]
        wanted = (keys.base_url, keys.api_key, keys.api_secret)
        if all((c.base_url, c.api_key, c.api_secret) != wanted for c in stored):
            raise Refused(
                "merchant_keys_differ",
                "BINANCE_PAY_API_KEY, _API_SECRET or _BASE_URL differ from the stored account; "
                "unset them to go on with the stored ones",
            )

    return await database.run(step, name="open_default_account")


#: One account comes with every installation; its id is the same everywhere.
DEFAULT_ACCOUNT_ID = UUID("c0ffee00-0000-4000-8000-000000000001")
