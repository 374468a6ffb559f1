"""The books as people read them: balances, transfers, seals, and what nobody could book yet."""

from dataclasses import dataclass

from checkstand.domain.seal import Seal
from checkstand.storage import accounts, ledger
from checkstand.storage.database import Database, Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """The end of one account's chain of seals, to be kept outside the database."""

    account: str  # the account's reference
    seal: Seal


async def list_anchors(database: Database) -> list[Anchor]:
    """Read the newest seal of every account that has one."""

    async def read(tx: Transaction) -> list[Anchor]:
        found = []
        for account in await accounts.list_all(tx):
            seal = await ledger.find_newest_seal(tx, account.account_id)
            if seal is not None:
                found.append(Anchor(account=account.reference, seal=seal))
        return found

    return await database.read(read)
