"""Stop an account's automatic moves on a person's word, and let them go on again."""

from uuid import UUID

from checkstand.domain.account import Account
from checkstand.domain.act import Act, Doer
from checkstand.operations.resources import Resources
from checkstand.storage import accounts, acts
from checkstand.storage.database import Transaction


async def halt_account(
    resources: Resources, *, account_id: UUID, reason: str, doer: Doer
) -> Account:
    """Stop an account: nothing is sent to Binance for it. Said again it changes nothing.

    Notices are still taken in: what Binance says unasked is never refused.
    """
    act = _act(resources, account_id, doer, what="halt account", reason=reason)

    async def step(tx: Transaction) -> Account:
        if await accounts.halt(tx, account_id, reason=reason, now=act.at):
            await acts.record(tx, act)
        return await accounts.get(tx, account_id)

    return _published(resources, await resources.database.run(step, name="halt_account"))


async def resume_account(
    resources: Resources, *, account_id: UUID, reason: str, forget_merchant: bool, doer: Doer
) -> Account:
    """Let an account move again, with what is due by then. Said again it changes nothing.

    With `forget_merchant` the next query says anew whose account this is.
    """
    act = _act(resources, account_id, doer, what="resume account", reason=reason)

    async def step(tx: Transaction) -> Account:
        if await accounts.resume(tx, account_id, now=act.at, forget_merchant=forget_merchant):
            await acts.record(tx, act)
        return await accounts.get(tx, account_id)

    account = _published(resources, await resources.database.run(step, name="resume_account"))
    await resources.accounts.reload(
        resources.database, resources.provider, resources.vault, now=act.at
    )
    resources.attempts_wake.up()
    return account


def _act(resources: Resources, account_id: UUID, doer: Doer, *, what: str, reason: str) -> Act:
    return Act(
        account_id=account_id,
        act_id=resources.ids.new(),
        order_id=None,
        doer=doer,
        what=what,
        subject=f"account:{account_id}",
        reason=reason,
        at=resources.clock.now(),
    )


def _published(resources: Resources, account: Account) -> Account:
    resources.accounts.replace_account(account)
    return account


async def get_account(resources: Resources, *, account_id: UUID) -> Account:
    """Read one account as it stands now, whatever this process remembers."""

    async def read(tx: Transaction) -> Account:
        return await accounts.get(tx, account_id)

    return _published(resources, await resources.database.read(read))
