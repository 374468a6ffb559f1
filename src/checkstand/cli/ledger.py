"""`checkstand ledger`: the books, checked, read and taken along."""

import contextlib
import os
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Literal

from cyclopts import App, Parameter

from checkstand.cli.house import DONE, FOUND_PROBLEMS, read_environment, run_work
from checkstand.errors import Refused

if TYPE_CHECKING:
    from checkstand.queries.verify_ledger import Verdict


app = App(name="ledger", help="The books: check them, read them, take them along.")


def _check_hash(_: Any, text: str | None) -> None:
    """Refuse what is no hash; an argument's validator raises ValueError."""
    if text is not None and (len(text) != 64 or set(text) - set("0123456789abcdef")):
        raise ValueError("takes the 64 hexadecimal digits that `checkstand ledger anchor` prints")


@app.command
def verify(*, anchor: Annotated[str | None, Parameter(validator=_check_hash)] = None) -> int:
    """Check the books: seals, balance, closed days, and every payment, refund and fee.

    Prints what cannot be right and then exits with 3.

    Parameters
    ----------
    anchor
        A hash that `ledger anchor` printed, or the log said, some time ago: it must still be
        there.
    """
    from checkstand.queries.verify_ledger import verify_ledger

    wanted = None if anchor is None else bytes.fromhex(anchor)

    async def go() -> int:
        async with _opening() as (database, clock):
            verdict = await verify_ledger(database, now=clock.now(), anchor=wanted)
        return _tell(verdict, anchor)

    return run_work(go())


@app.command
def anchor() -> int:
    """Print the newest seal's number and hash, to keep where nobody can change them."""
    from checkstand.queries.ledger import list_anchors

    async def go() -> int:
        async with _opening() as (database, _):
            for found in await list_anchors(database):
                print(f"{found.account} {found.seal.number} {found.seal.hash.hex()}")
        return DONE

    return run_work(go())


@app.command
def balances(*, at: str | None = None, asset: str | None = None) -> int:
    """Print what stands on every account of the books: debits less credits.

    Parameters
    ----------
    at
        The day (UTC, such as 2026-11-25) at whose end; now when it is not given.
    asset
        Those of one asset alone.
    """
    from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID
    from checkstand.queries.ledger import end_of, get_balances

    day = _parse_day(at, "at")

    async def go() -> int:
        async with _opening() as (database, clock):
            before = clock.now() if day is None else end_of(day)
            found = await get_balances(database, DEFAULT_ACCOUNT_ID, before=before)
        shown = [
            (account, f"{amount:f}", held)
            for (held, account), amount in found.items()
            if asset in {None, held}
        ]
        widths = [max((len(row[n]) for row in shown), default=0) for n in (0, 1)]
        for account, amount, held in shown:
            print(f"{account:<{widths[0]}}  {amount:>{widths[1]}} {held}")
        return DONE

    return run_work(go())


@app.command
def export(
    *,
    output: Path,
    format: Literal["csv", "beancount", "xlsx"],  # noqa: A002  (the option's name)
    from_: Annotated[str | None, Parameter(name="--from")] = None,
    to: str | None = None,
) -> int:
    """Write what was booked to a file for another program.

    Parameters
    ----------
    output
        The file; one that is there is replaced once the new one is complete.
    format
        csv, beancount or xlsx.
    from_
        The first day (UTC, such as 2026-11-25); from the beginning when it is not given.
    to
        The last day; until now when it is not given.
    """
    from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID
    from checkstand.queries.ledger import end_of, start_of
    from checkstand.queries.ledger_files import FORMATS, write_ledger

    first, last = _parse_day(from_, "from"), _parse_day(to, "to")
    if first is not None and last is not None and last < first:
        raise Refused("invalid_request", f"--to {last} comes before --from {first}", field="to")
    _check_output(output)

    async def go() -> int:
        draft = output.with_name(f".{output.name}.{os.getpid()}")
        async with _opening() as (database, clock):
            file = _create(draft, output)
            try:
                with file:
                    count = await write_ledger(
                        database,
                        DEFAULT_ACCOUNT_ID,
                        FORMATS[format](file),
                        since=None if first is None else start_of(first),
                        before=clock.now() if last is None else end_of(last),
                    )
                draft.replace(output)
            finally:
                draft.unlink(missing_ok=True)
        print(f"{count} transfers written to {output}")
        return DONE

    return run_work(go())


def _parse_day(text: str | None, option: str) -> date | None:
    from checkstand.operations.parse_day import parse_day

    return None if text is None else parse_day(text, called=f"--{option}", field=option)


def _check_output(output: Path) -> None:
    """Refuse what cannot become a file, before anything is read. Raises Refused."""
    if output.is_dir():
        raise _unwritable(f"{output} is a folder; name a file in it")
    if not output.parent.is_dir():
        raise _unwritable(f"there is no folder {output.parent}; make it first")


def _create(draft: Path, output: Path) -> BinaryIO:
    try:
        return draft.open("xb")
    except OSError as error:
        raise _unwritable(f"{output} cannot be written: {error.strerror}") from None


def _unwritable(why: str) -> Refused:
    return Refused("invalid_request", f"--output: {why}", field="output")


def _tell(verdict: "Verdict", anchor: str | None) -> int:
    for flaw in verdict.flaws:
        print(f"{flaw.kind}: {flaw.detail}")
    if verdict.flaws_more:
        print(f"and {verdict.flaws_more} more")
    is_lost = anchor is not None and not verdict.anchor_found
    if is_lost:
        print(f"anchor_missing: no seal has the hash {anchor}")
    print(
        f"{verdict.transfers} transfers, {verdict.seals} seals, {verdict.orders} orders and "
        f"{verdict.days} closed days checked"
    )
    return FOUND_PROBLEMS if verdict.flaws or is_lost else DONE


@contextlib.asynccontextmanager
async def _opening() -> AsyncIterator[tuple[Any, Any]]:  # the database is not ours to know
    """Open the database that the settings name, with a clock that is set by it."""
    from checkstand.ambient import HostClock
    from checkstand.app import observer_of, opening_database

    settings = read_environment()
    clock = HostClock()
    async with opening_database(settings, observer=observer_of(settings)) as database:
        await database.learn_time(clock)
        yield database, clock
