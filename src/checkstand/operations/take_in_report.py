"""Take in a report file: read all of it first, then write its lines down by parts.

A file is known by its content, so the same file again changes nothing, and one whose taking in was
cut short is gone on with. Its lines count once all of them are in. Nothing is booked from them.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, tzinfo
from itertools import islice
from pathlib import Path
from typing import Final
from uuid import UUID

from checkstand.domain.reconciliation import DAY, Span, days_between, span_of
from checkstand.domain.report_line import LineKind, ReportLine, StoredFile
from checkstand.errors import Conflict, NotFound, Refused
from checkstand.operations.resources import Resources
from checkstand.provider.report_files.columns import ColumnMap, parse_map
from checkstand.provider.report_files.reading import (
    ReportReader,
    Survey,
    TableSurvey,
    opening_report,
)
from checkstand.provider.report_listing import kind_and_day_of
from checkstand.storage import report_files
from checkstand.storage.database import Patience, Transaction

#: Lines in one transaction: a tenth of a second, and some megabytes while it lasts.
#: One part of a large file is written in one statement.
_PATIENCE: Final = Patience(statement_ms=120_000)
_PART: Final = 10_000

#: Told how far a piece of work has come: what, done, of how many.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenIn:
    """A file that is in."""

    file: StoredFile
    was_known: bool
    days: list[date]  # on which it has lines


@dataclass(frozen=True, slots=True)
class _Coverage:
    """Of what, and for which time, a file lists everything."""

    kinds: set[LineKind]
    span: Span


def nobody_watches(_what: str, _done: int, _total: int) -> None:
    """Take no interest in how far the work has come."""


async def take_in_report(
    resources: Resources,
    *,
    account_id: UUID,
    path: Path,
    name: str,
    source: str = "upload",
    days: tuple[date, date] | None = None,
    progress: Progress = nobody_watches,
) -> TakenIn:
    """Take in one file; with `days`, whoever brings it says that it lists all of these.

    Without, each of its sheets covers the days from its first to its last line. Raises Refused for
    a file that cannot be read whole, and Conflict when somebody else is taking it in.
    """
    sha256 = await resources.run_in_thread(_hash_of, path)
    known = await _find(resources, account_id, sha256)
    stated = None if days is None else Span(span_of(days[0]).start, span_of(days[1]).end)
    if known is not None and known.taken_at is not None:
        if source == "upload" and known.format.startswith("xls"):
            await _check_all_is_in(resources, known, path)
        if stated is not None:
            await _cover(resources, known, path, stated)
        return TakenIn(file=known, was_known=True, days=_days_of(known))
    maps = await list_maps(resources, account_id=account_id)
    with contextlib.ExitStack() as stack:
        opening = opening_report(path, maps)
        reader = await resources.run_in_thread(stack.enter_context, opening)
        survey = await resources.run_in_thread(reader.survey)
        file = known or await _write_down(
            resources, account_id, sha256, name=name, source=source, survey=survey
        )
        _check_same(file, survey)
        coverage = (
            _own_coverage(survey)
            if stated is None
            else [_Coverage(_listed(survey.kinds, reader), stated)]
        )
        await _take_lines(resources, file, reader, coverage, progress=progress)
    return TakenIn(file=file, was_known=False, days=_days_of(file))


async def withdraw_report(resources: Resources, *, account_id: UUID, file_id: UUID) -> None:
    """Let a file count no more, so that it may come again, read otherwise. Raises NotFound.

    Where Binance's list was said to be seen in full, it was seen through this file, too: that is
    believed again once its files are fetched again.
    """
    now = resources.clock.now()

    async def step(tx: Transaction) -> bool:
        file = await report_files.withdraw(tx, account_id, file_id, now=now)
        if file is None:
            return False
        kind, day = kind_and_day_of(file.name)
        kinds = await report_files.kinds_of(tx, account_id, file_id) | ({kind} if kind else set())
        for span in _spans_of(file, day):
            await report_files.uncover_listed(tx, account_id, kinds or LineKind, span, now=now)
        return True

    if not await resources.database.run(step, name="withdraw_report"):
        raise NotFound("report_not_found", f"there is no report file {file_id}", field="file_id")


def _spans_of(file: StoredFile, day: date | None) -> list[Span]:
    """Return the days that a file is about: those of its lines, and the one in its name."""
    spans = [] if day is None else [span_of(day)]
    if file.first_at is not None and file.last_at is not None:
        spans.append(Span(span_of(file.first_at.date()).start, span_of(file.last_at.date()).end))
    return spans


async def list_maps(resources: Resources, *, account_id: UUID) -> list[ColumnMap]:
    """Return the merchant's own column maps."""

    async def read(tx: Transaction) -> list[ColumnMap]:
        stored = await report_files.list_maps(tx, account_id)
        return [parse_map(name, document) for name, document in stored.items()]

    return await resources.database.read(read)


async def _find(resources: Resources, account_id: UUID, sha256: bytes) -> StoredFile | None:
    async def read(tx: Transaction) -> StoredFile | None:
        return await report_files.find(tx, account_id, sha256)

    return await resources.database.read(read)


async def _write_down(
    resources: Resources, account_id: UUID, sha256: bytes, *, name: str, source: str, survey: Survey
) -> StoredFile:
    file = StoredFile(
        account_id=account_id,
        file_id=resources.ids.new(),
        sha256=sha256,
        name=_printable(name),
        source=source,
        format=survey.format,
        map_name=survey.map_name,
        lines=survey.lines,
        first_at=survey.first_at,
        last_at=survey.last_at,
        notes=survey.notes,
        received_at=resources.clock.now(),
    )

    async def step(tx: Transaction) -> StoredFile | None:
        await report_files.insert(tx, file)
        return await report_files.find(tx, account_id, sha256)

    found = await resources.database.run(step, name="write_down_report")
    if found is None:  # withdrawn within the same moment
        raise _somebody_else(file)
    return found


def _check_same(file: StoredFile, survey: Survey) -> None:
    """Refuse to go on by another map with a file that was begun by one."""
    if (file.map_name, file.lines) != (survey.map_name, survey.lines):
        raise Conflict(
            "report_begun_otherwise",
            f"this file was begun by the column map {file.map_name}; withdraw it first: "
            f"checkstand reconcile withdraw {file.file_id}",
            facts={"file_id": str(file.file_id)},
        )


async def _check_all_is_in(resources: Resources, known: StoredFile, path: Path) -> None:
    """Tell whoever gives a workbook again that versions before this one read a single sheet of it.

    To them its other payments are "not listed", and giving it again is what they try.
    """
    maps = await list_maps(resources, account_id=known.account_id)
    with contextlib.ExitStack() as stack:
        opening = opening_report(path, maps)
        reader = await resources.run_in_thread(stack.enter_context, opening)
        survey = await resources.run_in_thread(reader.survey)
    if survey.lines != known.lines:
        raise Conflict(
            "report_begun_otherwise",
            f"this file is in with {known.lines} of its {survey.lines} lines: it was read by "
            "another column map, or by a version that read one sheet alone. Withdraw it, then give "
            f"it again: checkstand reconcile withdraw {known.file_id}",
            facts={"file_id": str(known.file_id)},
        )


async def _take_lines(
    resources: Resources,
    file: StoredFile,
    reader: ReportReader,
    coverage: Sequence[_Coverage],
    *,
    progress: Progress,
) -> None:
    taken = file.lines_taken
    lines = islice(reader.lines(), taken, None)
    progress(file.name, taken, file.lines)
    while True:
        part = await resources.run_in_thread(_next_part, lines)
        await _take_part(resources, file, part, coverage, taken=taken)
        taken += len(part)
        progress(file.name, taken, file.lines)
        if taken >= file.lines:
            return


async def _take_part(
    resources: Resources,
    file: StoredFile,
    part: list[ReportLine],
    coverage: Sequence[_Coverage],
    *,
    taken: int,
) -> None:
    """Write a part down; with the last one, what the file covers. Raises Conflict."""
    now, to = resources.clock.now(), taken + len(part)

    async def step(tx: Transaction) -> bool:
        if not await report_files.move_on(tx, file, taken=taken, to=to, now=now):
            return False
        matches = await report_files.match(tx, file.account_id, part)
        await report_files.insert_lines(tx, file, part, matches)
        rests_on = report_files.rests_on_file(file.file_id)
        for each in coverage if to == file.lines else ():
            await report_files.cover(
                tx, file.account_id, each.kinds, each.span, rests_on=rests_on, now=now
            )
        return True

    if not await resources.database.run(step, name="take_in_report", patience=_PATIENCE):
        raise _somebody_else(file)


async def _cover(resources: Resources, file: StoredFile, path: Path, span: Span) -> None:
    """Write down that a known file lists all of some days, as somebody says now."""
    now = resources.clock.now()
    maps = await list_maps(resources, account_id=file.account_id)
    with contextlib.ExitStack() as stack:
        opening = opening_report(path, maps)
        reader = await resources.run_in_thread(stack.enter_context, opening)

    async def step(tx: Transaction) -> None:
        if not await report_files.lock_taken(tx, file.account_id, [file.file_id]):
            raise _somebody_else(file)  # it was withdrawn within the same moment
        found = await report_files.kinds_of(tx, file.account_id, file.file_id)
        await report_files.cover(
            tx,
            file.account_id,
            _listed(found, reader),
            span,
            rests_on=report_files.rests_on_file(file.file_id),
            now=now,
        )

    await resources.database.run(step, name="cover_report")


def _listed(found: set[LineKind], reader: ReportReader) -> set[LineKind]:
    """Return the kinds that a file lists in full: a sheet of refunds may be empty, and says so."""
    return found | reader.kinds_listed or {LineKind.PAYMENT}


def _own_coverage(survey: Survey) -> list[_Coverage]:
    """Return what each sheet covers by itself. January and March in one workbook leave out
    February, and a sheet of payments says nothing of refunds.
    """
    coverage = []
    for table in survey.tables:
        span = _own_span(table)
        if span is not None:
            coverage.append(_Coverage(set(table.kinds), span))
    return coverage


def _own_span(table: TableSurvey) -> Span | None:
    """Return the days from the first to the last line, in the file's own zone."""
    if table.first_at is None or table.last_at is None:
        return None
    first, last = (at.astimezone(table.zone).date() for at in (table.first_at, table.last_at))
    return Span(_midnight(first, table.zone), _midnight(last + DAY, table.zone))


def _midnight(day: date, zone: tzinfo) -> datetime:
    """Return when a day begins; days are not counted in hours, some have 23 or 25."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _days_of(file: StoredFile) -> list[date]:
    if file.first_at is None or file.last_at is None:
        return []
    return days_between(file.first_at.date(), file.last_at.date())


def _next_part(lines: Iterator[ReportLine]) -> list[ReportLine]:
    return list(islice(lines, _PART))


def _hash_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise Refused("report_unreadable", f"{path} cannot be read: {error.strerror}") from error


def _printable(name: str) -> str:
    return "".join(sign for sign in name if sign.isprintable())[:255] or "report"


def _somebody_else(file: StoredFile) -> Conflict:
    return Conflict(
        "report_being_taken_in",
        f"somebody else is taking in or withdrawing {file.name} just now; try again",
    )
