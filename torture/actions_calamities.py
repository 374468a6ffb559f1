"""What befalls the installation itself, and the person who puts it right.

The database is put back to an earlier point; another merchant's keys are put in the place of ours.
"""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from checkstand.domain.act import Doer
from checkstand.errors import CheckstandError
from checkstand.operations.halt_account import get_account, resume_account
from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID, MerchantKeys
from checkstand.operations.recover import begin_recovery, finish_recovery
from checkstand.operations.resources import Resources
from checkstand.simulator.server import DEFAULT_MERCHANT
from checkstand.storage.database import Database
from torture.ambient import SkewedClock
from torture.backups import Backup, put_back, read_tables
from torture.gate import GatedPool
from torture.hosts import BINANCE_URL, OUR_KEYS
from torture.network import Unanswered, Unreached
from torture.world import STRANGER, World

Args = Mapping[str, Any]

OTHER_KEYS: Final = MerchantKeys(
    name="Teahouse",
    base_url=BINANCE_URL,
    api_key=STRANGER.api_key,
    api_secret=STRANGER.api_secret,
)
_OPERATOR: Final = Doer(actor="person", who="operator")


# The database is put back to an earlier point.


async def back_up(world: World, _: Args) -> None:
    """Keep the database as it is now."""
    async with world.alone_at_database("backup") as owner:
        tables = await read_tables(owner, world.tables)
        world.calamities.backup = Backup(world.database_now(), tables)


async def restore(world: World, args: Args) -> None:
    """Kill both gateways, put the database back as it was kept, and start them again."""
    calamities = world.calamities
    backup = calamities.backup
    if backup is None or calamities.is_busy:
        return
    calamities.is_busy = True
    for host in world.hosts.values():
        await host.kill()
    await asyncio.sleep(float(args["down"]))
    async with world.alone_at_database("restore") as owner:
        after = await read_tables(owner, world.tables)
        await put_back(owner, backup)
    calamities.forgotten.learn(backup, after, now_ms=world.time.now_ms())
    await _paste_keys(world, OUR_KEYS)
    database = _open_database(world)
    clock = SkewedClock(world.time, skew=timedelta(seconds=world.plan.skews[0]))
    await database.learn_time(clock)
    await begin_recovery(
        database,
        account_id=DEFAULT_ACCOUNT_ID,
        cause="restored from a backup",
        restored_to=backup.made_at,
        now=clock.now(),
    )
    world.struck["database put back"] += 1
    for host in world.hosts.values():
        host.revive()
    calamities.is_busy = False


async def end_recovery(world: World, _: Args) -> None:
    """Have a person end the recovery, if everything was asked by now."""
    await attempt(world, _finish)


async def _finish(resources: Resources) -> None:
    await finish_recovery(
        resources, account_id=DEFAULT_ACCOUNT_ID, by="operator", is_forced=False, reason=None
    )


def _open_database(world: World) -> Database:
    """Open the database as a command does that is no gateway."""
    console = _Console()
    console.pool = GatedPool(
        world.connection,
        gate=world.gate,
        host="console",
        database_now=world.database_now,
        check=_never_away,
    )
    return Database(console.pool, console, {}, session_has_limits=True)


class _Console:
    """Hears of commits, so that the world looks at what is in the rows then."""

    pool: GatedPool

    def before(self, point: str) -> None:
        """Let everything pass."""

    def after(self, point: str) -> None:
        """Note a commit."""
        self.pool.is_dirty |= point.startswith("commit ")


async def _never_away() -> None:
    """Let a person wait until the database is there before the command is given."""


# Another merchant's keys are put in the place of ours.


async def use_other_keys(world: World, args: Args) -> None:
    """Paste the stranger's keys, and restart some of the gateways with them.

    Not before Binance has said once whose keys ours are: until then nobody could tell.
    """
    if world.calamities.is_busy or not await _is_pinned(world):
        return
    world.calamities.is_busy = True
    await _paste_keys(world, OTHER_KEYS)
    await _restart(world, [name for name in world.hosts if name in args["hosts"]])
    world.calamities.is_busy = False
    world.struck["other keys"] += 1


async def use_our_keys(world: World, _: Args) -> None:
    """Paste the right keys, restart who has others, and let the account move again."""
    if world.calamities.is_busy or not world.calamities.other_keys:
        return
    world.calamities.is_busy = True
    await _paste_keys(world, OUR_KEYS)
    await _restart(world, [n for n, host in world.hosts.items() if host.runs_with != OUR_KEYS])
    world.calamities.is_busy = False
    await asyncio.sleep(5.0)
    await attempt(world, _resume)


async def _is_pinned(world: World) -> bool:
    async with world.alone_at_database("keys") as owner:
        return await owner.fetchval("SELECT merchant_id FROM accounts") is not None


async def _paste_keys(world: World, keys: MerchantKeys) -> None:
    vault = next(host.resources for host in world.hosts.values() if host.resources).vault
    async with world.alone_at_database("keys") as owner:
        for row in await owner.fetch("SELECT credential_id FROM credentials ORDER BY 1"):
            sealed = vault.encrypt(
                keys.api_secret,
                account_id=DEFAULT_ACCOUNT_ID,
                row_id=row["credential_id"],
                column="api_secret",
            )
            await owner.execute(
                "UPDATE credentials SET api_key = $2, secret_ciphertext = $3"
                " WHERE credential_id = $1",
                row["credential_id"],
                keys.api_key,
                sealed,
            )
    for host in world.hosts.values():
        host.keys = keys
    world.calamities.note_keys(are_ours=keys is OUR_KEYS, at=world.loop.time())


async def _restart(world: World, names: list[str]) -> None:
    for name in names:
        await world.hosts[name].kill()
    await asyncio.sleep(1.0)
    for name in names:
        world.hosts[name].revive()


async def _resume(resources: Resources) -> None:
    account = await get_account(resources, account_id=DEFAULT_ACCOUNT_ID)
    if account.halted_reason is None:
        return
    await resume_account(
        resources,
        account_id=DEFAULT_ACCOUNT_ID,
        reason="the right keys are back",
        forget_merchant=account.merchant_id != DEFAULT_MERCHANT.merchant_id,
        doer=_OPERATOR,
    )


async def attempt(world: World, work: Any) -> None:
    """Have a command done, if it can be done now; it says so if not."""
    try:
        await world.operate(work)
    except (CheckstandError, Unreached, Unanswered, OSError) as error:
        world.trace.note("operator", f"was refused: {error}")
