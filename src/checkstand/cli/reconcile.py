"""`checkstand reconcile`: lay report files beside our rows, close days, work off differences."""

import contextlib
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

from cyclopts import App, Parameter

from checkstand.cli.house import DONE, FOUND_PROBLEMS, read_environment, run_work
from checkstand.errors import Refused

if TYPE_CHECKING:
    from checkstand.operations.reconcile_days import Reconciled
    from checkstand.operations.resources import Resources
    from checkstand.operations.take_in_report import Progress

app = App(name="reconcile", help="Compare what Binance lists with what we know, and close days.")
columns = App(name="columns", help="How the headers of your report files are to be read.")
app.command(columns)

#: Open discrepancies that are printed; the list has all.
_SHOWN_MAX: Final = 20

#: More than anybody reads, and less than a database's number for rows.
_LISTED_MAX: Final = 1_000_000
_NOTHING_LISTED: Final = (
    "the files list nothing, so no day was reconciled; say with --from and --to which days they "
    "are of"
)

_Day = Annotated[str, Parameter(help="Such as 2026-01-31. Days are UTC.")]


@app.default
def reconcile(
    *,
    first: Annotated[str | None, Parameter(name="--from")] = None,
    last: Annotated[str | None, Parameter(name="--to")] = None,
    file: Annotated[tuple[Path, ...], Parameter(negative=())] = (),
    complete: Annotated[bool, Parameter(negative=())] = False,
    fetch: bool | None = None,
) -> int:
    """Reconcile some days. Exit code 0 when all agrees, 3 when discrepancies are open.

    Parameters
    ----------
    first
        The first day, such as 2026-01-31 (UTC). Without: those of the files.
    last
        The last day. Without: the first.
    file
        A report file to take in: XLSX, XLS or CSV; may be repeated.
    complete
        The files list everything from --from to --to, and not only from their first to their last
        line.
    fetch
        Ask Binance for its report files; that is done when no file is given.
    """
    _check_together(first, last, file, is_complete=complete)
    asked = _days(first, last)
    settings = read_environment()

    async def work(house: "Resources", account_id: UUID) -> int:
        days = list(asked)
        with _showing_progress() as progress:
            days += await _take_in(house, account_id, file, days if complete else [], progress)
            if not days:
                print(_NOTHING_LISTED, file=sys.stderr)
                return DONE
            if fetch or (fetch is None and not file):
                await _fetch(house, account_id, days, progress)
            from checkstand.operations.reconcile_days import reconcile_days

            wanted = asked or sorted(set(days))
            found = await reconcile_days(
                house, account_id=account_id, days=wanted, progress=progress
            )
        await _print_found(house, account_id, found)
        return FOUND_PROBLEMS if found.open else DONE

    return _run(settings, work)


@app.command
def close(
    day: _Day | None = None,
    /,
    *,
    first: Annotated[str | None, Parameter(name="--from")] = None,
    last: Annotated[str | None, Parameter(name="--to")] = None,
    by: str = "command line",
) -> int:
    """Close a day for ever and print its signed summary; or several, in order, one a line.

    Parameters
    ----------
    first
        The first of several days; those that are closed already stay as they are.
    last
        The last of them. Without: the first.
    by
        Who closes it, for the summary.
    """
    if (day is None) == (first is None) or (first is None and last is not None):
        raise Refused("invalid_request", "say one day, or --from and --to", field="date")
    days = [_parse_day(day, "DAY", "day")] if day is not None else _days(first, last)
    settings = read_environment()

    async def work(house: "Resources", account_id: UUID) -> int:
        from checkstand.operations.close_day import close_day

        for each in days:
            closed = await close_day(house, account_id=account_id, day=each, by=by)
            print(closed.document, flush=True)
        return DONE

    return _run(settings, work)


@app.command
def verify(file: Path, /) -> int:
    """Check that the summary of a closed day is as we signed it, and as it stands here."""
    text = _read(file)
    settings = read_environment()

    async def work(house: "Resources", account_id: UUID) -> int:
        from checkstand.operations.close_day import verify_summary
        from checkstand.queries.list_days import list_days

        try:
            summary = verify_summary(house.vault, text)
        except Refused as error:
            print(f"checkstand: {error.message}", file=sys.stderr)
            return FOUND_PROBLEMS
        day = _parse_day(str(summary["day"]), "the summary's day", "file")
        stored = await list_days(house.database, account_id, first=day, last=day)
        if not any(row.document == text.strip() for row in stored):
            print(f"genuine, but {day} is not closed so in this database", file=sys.stderr)
            return FOUND_PROBLEMS
        print(f"genuine: {day}, closed {summary['closed_at']} by {summary['closed_by']}")
        return DONE

    return _run(settings, work)


@app.command(name="list")
def list_(*, kind: str | None = None, limit: int = 100) -> int:
    """Print open discrepancies, newest first.

    Parameters
    ----------
    kind
        One kind alone, such as amount or not_listed.
    limit
        How many at most.
    """
    _check_kind(kind)
    if not 1 <= limit <= _LISTED_MAX:
        raise Refused(
            "invalid_request",
            f"--limit: {limit} is not between 1 and {_LISTED_MAX}",
            field="limit",
        )
    settings = read_environment()

    async def work(house: "Resources", account_id: UUID) -> int:
        await _print_open(house, account_id, kind=kind, limit=limit)
        return DONE

    return _run(settings, work)


@app.command
def resolve(
    discrepancy_id: UUID, /, *, resolution: str = "explained", reason: str, by: str = "command line"
) -> int:
    """Say how a discrepancy ended, and why.

    Parameters
    ----------
    resolution
        accepted, explained or written_off.
    reason
        Why.
    by
        Who says so.
    """
    settings = read_environment()

    async def work(house: "Resources", account_id: UUID) -> int:
        from checkstand.operations.resolve_discrepancy import resolve_discrepancy

        await resolve_discrepancy(
            house,
            account_id=account_id,
            discrepancy_id=discrepancy_id,
            resolution=resolution,
            reason=reason,
            by=by,
        )
        return DONE

    return _run(settings, work)


@app.command
def files() -> int:
    """Print the report files that were taken in, newest first."""
    settings = read_environment()

    async def work(house: "Resources", account_id: UUID) -> int:
        from checkstand.queries.list_days import list_report_files

        for file in await list_report_files(house.database, account_id):
            state = "withdrawn" if file.withdrawn_at else f"{file.lines_taken} of {file.lines}"
            print(f"{file.file_id}  {file.received_at:%Y-%m-%d %H:%M}  {state}  {file.name}")
            for note in file.notes:
                print(f"    {note}")
        return DONE

    return _run(settings, work)


@app.command
def withdraw(file_id: UUID, /) -> int:
    """Let a report file count no more, so that it may be taken in again by another column map."""
    settings = read_environment()

    async def work(house: "Resources", account_id: UUID) -> int:
        from checkstand.operations.take_in_report import withdraw_report

        await withdraw_report(house, account_id=account_id, file_id=file_id)
        return DONE

    return _run(settings, work)


@columns.command(name="set")
def set_columns(name: str, file: Path, /) -> int:
    """Store a column map from a JSON file, in the place of an older one of that name."""
    document = _parse_json(_read(file))
    settings = read_environment()

    async def work(house: "Resources", account_id: UUID) -> int:
        from checkstand.operations.store_columns import store_columns

        await store_columns(house, account_id=account_id, name=name, document=document)
        return DONE

    return _run(settings, work)


@columns.command(name="list")
def list_columns() -> int:
    """Print your column maps, and the headers that are known without one, as JSON."""
    settings = read_environment()

    async def work(house: "Resources", account_id: UUID) -> int:
        from checkstand.operations.store_columns import built_in_columns
        from checkstand.operations.store_columns import list_columns as list_stored

        stored = await list_stored(house, account_id=account_id)
        print(json.dumps({"yours": stored, "built_in": built_in_columns()}, indent=2))
        return DONE

    return _run(settings, work)


@columns.command(name="remove")
def remove_columns(name: str, /) -> int:
    """Use a column map no more."""
    settings = read_environment()

    async def work(house: "Resources", account_id: UUID) -> int:
        from checkstand.operations.store_columns import remove_columns as remove

        await remove(house, account_id=account_id, name=name)
        return DONE

    return _run(settings, work)


def _run(settings: Any, work: Callable[["Resources", UUID], Awaitable[int]]) -> int:
    """Do something with the house and the default account, and take the house apart again."""

    async def go() -> int:
        from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID

        async with _house(settings) as house:
            return await work(house, DEFAULT_ACCOUNT_ID)

    return run_work(go())


@contextlib.asynccontextmanager
async def _house(settings: Any) -> AsyncIterator["Resources"]:
    from checkstand.app import building_house

    async with building_house(settings) as house:
        yield house


async def _take_in(
    house: "Resources",
    account_id: UUID,
    paths: Sequence[Path],
    stated: Sequence[date],
    progress: "Progress",
) -> list[date]:
    """Take in files and return the days on which they have lines."""
    from checkstand.operations.take_in_report import take_in_report

    days: list[date] = []
    for path in paths:
        taken = await take_in_report(
            house,
            account_id=account_id,
            path=path,
            name=path.name,
            days=(stated[0], stated[-1]) if stated else None,
            progress=progress,
        )
        days += taken.days
        for note in taken.file.notes:
            print(f"{path.name}: {note}", file=sys.stderr)
    return days


async def _fetch(
    house: "Resources", account_id: UUID, days: Sequence[date], progress: "Progress"
) -> None:
    """Ask Binance for its files of these days and of their neighbours."""
    from checkstand.domain.reconciliation import DAY
    from checkstand.operations.fetch_reports import fetch_reports

    fetched = await fetch_reports(
        house,
        account_id=account_id,
        first=min(days) - DAY,
        last=max(days) + DAY,
        progress=progress,
    )
    if fetched.refusal is not None:
        print(
            f"Binance gave no report files ({fetched.refusal}); take them from its portal and "
            "give them with --file",
            file=sys.stderr,
        )


async def _print_found(house: "Resources", account_id: UUID, found: "Reconciled") -> None:
    for day, result in found.results.items():
        for total in result["totals"]:
            amount = f"{total['amount']} {total['currency'] or ''}".strip()
            print(f"{day}  {total['kind']:9} {total['bucket']:12} {total['count']:>9}  {amount}")
        if not result["totals"]:
            print(f"{day}  nothing on either side")
    kinds: dict[str, int] = {}
    for result in found.results.values():
        for kind, counts in result["discrepancies"].items():
            kinds[kind] = kinds.get(kind, 0) + counts["open"]
    for kind, count in sorted(kinds.items()):
        print(f"open: {count:>9} {kind}")
    if found.asked:
        print(f"Binance is asked about {found.asked} of them; reconcile again when that is done")
    if found.open:
        await _print_open(house, account_id, kind=None, limit=_SHOWN_MAX)


async def _print_open(
    house: "Resources", account_id: UUID, *, kind: str | None, limit: int
) -> None:
    from checkstand.queries.list_discrepancies import DiscrepancyFilter, list_discrepancies

    page, has_more = await list_discrepancies(
        house.database,
        account_id,
        wanted=DiscrepancyFilter(is_open=True, kind=kind),
        starting_after=None,
        limit=limit,
    )
    for each in page:
        finding = each.finding
        print(
            f"{each.discrepancy_id}  {each.day}  {finding.kind}  {finding.subject}  "
            f"ours {finding.ours or '-'}, theirs {finding.theirs or '-'}"
        )
    if has_more:
        print("… and more: checkstand reconcile list --limit 100000")


@contextlib.contextmanager
def _showing_progress() -> Iterator["Progress"]:
    """Show how far the work has come, on stderr, where somebody looks at it."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    bars: dict[str, TaskID] = {}
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as shown:

        def progress(what: str, done: int, total: int) -> None:
            if what not in bars:
                bars[what] = shown.add_task(what, total=total)
            shown.update(bars[what], completed=done, total=total)

        yield progress


def _check_together(
    first: str | None, last: str | None, files: Sequence[Path], *, is_complete: bool
) -> None:
    """Refuse options that would say nothing without another. Raises Refused."""
    if first is None and last is not None:
        raise Refused("invalid_request", "--to needs --from: say the first day, too", field="from")
    if is_complete and not files:
        raise Refused(
            "invalid_request",
            "--complete is about files: give the --file that lists everything of these days",
            field="file",
        )
    if is_complete and first is None:
        raise Refused(
            "invalid_request",
            "--complete needs --from and --to: of which days do the files list everything?",
            field="from",
        )
    if first is None and not files:
        raise Refused("invalid_request", "say --from and --to, or give a --file", field="from")


def _days(first: str | None, last: str | None) -> list[date]:
    if first is None:
        return []
    from checkstand.domain.reconciliation import days_between

    begin = _parse_day(first, "--from", "from")
    end = begin if last is None else _parse_day(last, "--to", "to")
    if end < begin:
        raise Refused("invalid_request", f"--to {end} comes before --from {begin}", field="to")
    return days_between(begin, end)


def _parse_day(text: str, called: str, field: str) -> date:
    from checkstand.operations.parse_day import parse_day

    return parse_day(text, called=called, field=field)


def _check_kind(kind: str | None) -> None:
    from checkstand.domain.reconciliation import DiscrepancyKind

    if kind is not None and kind not in set(DiscrepancyKind):
        kinds = ", ".join(DiscrepancyKind)
        raise Refused(
            "invalid_request",
            f"--kind: there is no kind {kind[:64]!r}; there are {kinds}",
            field="kind",
        )


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError:
        raise Refused("invalid_request", f"{path} is not UTF-8 text", field="file") from None
    except OSError as error:
        raise Refused(
            "invalid_request", f"{path} cannot be read: {error.strerror}", field="file"
        ) from None


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise Refused("column_map_invalid", f"the file is not JSON: {error}") from None
