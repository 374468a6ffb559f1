"""`checkstand backup`, `restore` and `recover`: a database from the past, and the way back."""

import getpass
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App

from checkstand.cli.house import read_environment, run_work

if TYPE_CHECKING:
    from checkstand.operations.recover import RecoveryStatus

app = App(name="recover", help="Follow and end the recovery of a restored database.")


def backup(directory: Path, /) -> int:
    """Write a backup into a new directory, while everything runs.

    It holds the generated secret key where there is one, so keep it as safe as the key itself.

    Parameters
    ----------
    directory
        A new or empty directory.
    """
    settings = read_environment()
    from checkstand.ambient import HostClock
    from checkstand.app import back_up

    async def go() -> int:
        await back_up(settings, directory, now=HostClock().now())
        print(f"backed up to {directory}")
        if settings.secret_keys:
            print("without CHECKSTAND_SECRET_KEY: keep that one, too")
        return 0

    return run_work(go())


def restore(directory: Path, /) -> int:
    """Fill an empty database from a backup. It starts in recovery: see `checkstand recover`.

    Parameters
    ----------
    directory
        What `checkstand backup` wrote.
    """
    settings = read_environment()
    from checkstand.app import restore as fill

    async def go() -> int:
        made_at = await fill(settings, directory)
        print(
            f"restored to {made_at.isoformat()}; start the gateway, then: checkstand recover status"
        )
        return 0

    return run_work(go())


@app.command
def status() -> int:
    """Say how far the recovery is, what is held, and what only Binance knows."""
    settings = read_environment()
    from checkstand.app import building_house
    from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID
    from checkstand.operations.recover import recovery_status

    async def go() -> int:
        async with building_house(settings) as house:
            _print(await recovery_status(house, account_id=DEFAULT_ACCOUNT_ID))
        return 0

    return run_work(go())


@app.default
def finish(
    *, finish: bool = False, force: bool = False, reason: str | None = None, by: str | None = None
) -> int:
    """Without options the same as `status`.

    Parameters
    ----------
    finish
        End the recovery: refunds, closes and deliveries go on.
    force
        End it although Binance was not asked about everything; needs a reason.
    reason
        Why; kept with the recovery.
    by
        Who ends it; your login name otherwise.
    """
    if not finish:
        return status()
    settings = read_environment()
    from checkstand.app import building_house
    from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID
    from checkstand.operations.recover import finish_recovery

    async def go() -> int:
        async with building_house(settings) as house:
            ended = await finish_recovery(
                house,
                account_id=DEFAULT_ACCOUNT_ID,
                by=by or getpass.getuser(),
                is_forced=force,
                reason=reason,
            )
            _print(ended)
        return 0

    return run_work(go())


def _print(status: "RecoveryStatus") -> None:
    recovery, progress = status.recovery, status.progress
    if recovery is None or progress is None:
        print("epoch 1: never restored")
        return
    print(f"epoch {recovery.epoch}: {recovery.cause}")
    if recovery.finished_at is None:
        print(f"in recovery since {recovery.began_at.isoformat()}")
        so_far = "" if progress.is_gathered else " found so far; the worker finds out"
        print(f"asked about {progress.asked} of {progress.to_ask} attempts{so_far}")
        print(f"held: {progress.refunds_held} refunds, {progress.deliveries_held} deliveries")
    else:
        print(f"finished at {recovery.finished_at.isoformat()} by {recovery.finished_by}")
    for orphan in status.orphans:
        money = "" if orphan.amount is None else f" {orphan.amount:f} {orphan.currency}"
        print(f"only theirs: {orphan.merchant_trade_no}{money}: {orphan.explanation}")
