"""`checkstand ledger`: the books, checked, read and taken along."""

import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import App, Parameter

if TYPE_CHECKING:
    from checkstand.queries.verify_ledger import Verdict

DONE: Final = 0
FOUND: Final = 3

app = App(name="ledger", help="The books: check them, read them, take them along.")


def _check_hash(_: Any, text: str | None) -> None:
    """Refuse what is no hash; an argument's validator raises ValueError."""
    if text is not None and (len(text) != 64 or set(text) - set("0123456789abcdef")):
        raise ValueError("takes the 64 hexadecimal digits that `checkstand ledger anchor` prints")


@app.command
def verify(*, anchor: Annotated[str | None, Parameter(validator=_check_hash)] = None) -> int:
    """Check the books: seals, balance, and every payment, refund and fee against its transfers.

    Prints what cannot be right and then exits with 3.

    Parameters
    ----------
    anchor
        A hash that `ledger anchor` printed, or the log said, some time ago: it must still be
        there.
    """
    from checkstand.cli.commands import _run
    from checkstand.queries.verify_ledger import verify_ledger

    wanted = None if anchor is None else bytes.fromhex(anchor)

    async def go() -> int:
        async with _opening() as (database, clock):
            verdict = await verify_ledger(database, now=clock.now(), anchor=wanted)
        return _tell(verdict, anchor)

    return _run(go())


@app.command
def anchor() -> int:
    """Print the newest seal's number and hash, to keep where nobody can change them."""
    from checkstand.cli.commands import _run
    from checkstand.queries.ledger import list_anchors

    async def go() -> int:
        async with _opening() as (database, _):
            for found in await list_anchors(database):
                print(f"{found.account} {found.seal.number} {found.seal.hash.hex()}")
        return DONE

    return _run(go())


def _tell(verdict: "Verdict", anchor: str | None) -> int:
    for flaw in verdict.flaws:
        print(f"{flaw.kind}: {flaw.detail}")
    if verdict.flaws_more:
        print(f"and {verdict.flaws_more} more")
    is_lost = anchor is not None and not verdict.anchor_found
    if is_lost:
        print(f"anchor_missing: no seal has the hash {anchor}")
    print(
        f"{verdict.transfers} transfers, {verdict.seals} seals and {verdict.orders} orders checked"
    )
    return FOUND if verdict.flaws or is_lost else DONE


@contextlib.asynccontextmanager
async def _opening() -> AsyncIterator[tuple[Any, Any]]:  # the database is not ours to know
    """Open the database that the settings name, with a clock that is set by it."""
    from checkstand.ambient import HostClock
    from checkstand.app import observer_of, opening_database
    from checkstand.cli.commands import _settings

    settings = _settings()
    clock = HostClock()
    async with opening_database(settings, observer=observer_of(settings)) as database:
        await database.learn_time(clock)
        yield database, clock
