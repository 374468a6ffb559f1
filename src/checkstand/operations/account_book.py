"""The accounts as every request needs them: by path, by reference, with Binance's public keys.

Read from the database and kept in memory; `reload` brings it up to date. What changes behind
its back (another process adds an account) is found by the reload on a timer.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from checkstand.domain.account import Account
from checkstand.errors import NotFound
from checkstand.provider.gateway import Provider, ProviderCredential
from checkstand.storage import accounts
from checkstand.storage.accounts import Credential, StoredCertificate
from checkstand.storage.database import Database, Transaction
from checkstand.vault import Vault

#: A key that Binance's list no longer holds is trusted this much longer: notices it signed may
#: still be on their way.
KEY_GRACE: Final = timedelta(hours=24)

Snapshot = tuple[list[Account], list[Credential], list[StoredCertificate]]


@dataclass(slots=True)
class CertificateFlight:
    """When an account's keys were last asked for, and what makes it one at a time."""

    asked_at: datetime | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    under_way: asyncio.Task[bool] | None = None  # for an unknown serial


class AccountBook:
    """A snapshot of accounts, credentials and certificates."""

    def __init__(self) -> None:
        self._by_id: dict[UUID, Account] = {}
        self._by_path: dict[str, Account] = {}
        self._by_reference: dict[str, Account] = {}
        self._credential_of: dict[UUID, UUID] = {}
        self._keys: dict[UUID, dict[str, str]] = {}
        # In this process alone: that is enough for a limit on calls.
        self._flights: dict[UUID, CertificateFlight] = {}

    async def reload(
        self, database: Database, provider: Provider, vault: Vault, *, now: datetime
    ) -> None:
        """Read everything again and publish it at once, never half."""

        async def step(tx: Transaction) -> Snapshot:
            return (
                await accounts.list_all(tx),
                await accounts.list_credentials(tx),
                await accounts.list_certificates(tx),
            )

        found, credentials, certificates = await database.read(step)
        for credential in credentials:
            provider.use(open_credential(credential, vault))
        keys: dict[UUID, dict[str, str]] = {account.account_id: {} for account in found}
        for certificate in certificates:
            gone_for = certificate.newest_list_at - certificate.last_seen_at
            if gone_for <= KEY_GRACE:
                keys[certificate.account_id][certificate.serial] = certificate.public_key
        self._credential_of = {
            c.account_id: c.credential_id
            for c in credentials
            if c.valid_from <= now and (c.valid_until is None or now < c.valid_until)
        }
        self._by_id = {account.account_id: account for account in found}
        self._by_path = {account.notice_path: account for account in found}
        self._by_reference = {account.reference: account for account in found}
        self._keys = keys

    def list_all(self) -> list[Account]:
        """Return every account."""
        return list(self._by_id.values())

    def get(self, account_id: UUID) -> Account:
        """Return one account. Raises NotFound."""
        account = self._by_id.get(account_id)
        if account is None:
            raise NotFound("account_not_found", "there is no such account")
        return account

    def replace_account(self, account: Account) -> None:
        """Take over what was just written about an account, without waiting for the timer."""
        self._by_id[account.account_id] = account
        self._by_path[account.notice_path] = account
        self._by_reference[account.reference] = account

    def find_by_path(self, notice_path: str) -> Account | None:
        """Return the account whose notices come on this path."""
        return self._by_path.get(notice_path)

    def find_by_reference(self, reference: str) -> Account | None:
        """Return the account whose tokens and keys begin with this reference."""
        return self._by_reference.get(reference)

    def credential_for(self, account_id: UUID) -> UUID:
        """Return the credential that new attempts of an account are made with."""
        credential_id = self._credential_of.get(account_id)
        if credential_id is None:
            raise NotFound("credential_not_found", "the account has no valid Binance Pay keys")
        return credential_id

    def keys_of(self, account_id: UUID) -> Mapping[str, str]:
        """Return Binance's public keys as this account fetched them, serial to PEM."""
        return self._keys.get(account_id, {})

    def certificate_flight(self, account_id: UUID) -> CertificateFlight:
        """Return what keeps the fetches of an account's keys one at a time, and seldom."""
        return self._flights.setdefault(account_id, CertificateFlight())

    def holders_of(self, serial: str) -> list[Account]:
        """Return the accounts that fetched a key with this serial."""
        return [self._by_id[key] for key, keys in self._keys.items() if serial in keys]


def open_credential(credential: Credential, vault: Vault) -> ProviderCredential:
    """Decrypt a stored credential for the provider's door."""
    secret = vault.decrypt(
        credential.secret_ciphertext,
        account_id=credential.account_id,
        row_id=credential.credential_id,
        column="api_secret",
    )
    return ProviderCredential(
        account_id=credential.account_id,
        credential_id=credential.credential_id,
        base_url=credential.base_url,
        merchant_id=credential.merchant_id,
        api_key=credential.api_key,
        api_secret=secret,
    )
