"""Fetch what Binance offers by API: the report files of some days, and what the wallet holds.

Reports need a permission that most keys lack, so a refusal is an ordinary answer: files can be
uploaded by hand instead, and the balance equation needs none.
"""

import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog

from checkstand.binance import BinancePayError
from checkstand.domain.reconciliation import DAY, Span, days_between, span_of
from checkstand.domain.report_line import LineKind
from checkstand.errors import CheckstandError, NotFound, Refused
from checkstand.operations.reconcile_days import WALLET, reconcile_days
from checkstand.operations.resources import Resources
from checkstand.operations.take_in_report import Progress, nobody_watches, take_in_report
from checkstand.provider.report_listing import ListedFile
from checkstand.storage import discrepancies, reconciled_days, report_files
from checkstand.storage.database import Transaction

_log = structlog.get_logger()

#: The longest stretch that one call may ask for (reference 2.13).
_SPAN_MAX: Final = timedelta(days=89)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What came of asking Binance for report files."""

    taken_in: Sequence[str]  # names of files that are new
    refusal: str | None  # why Binance gave none, or one could not be had


async def fetch_reports(
    resources: Resources,
    *,
    account_id: UUID,
    first: date,
    last: date,
    progress: Progress = nobody_watches,
) -> Fetched:
    """Take in every report file that Binance lists for some days that are over."""
    halted = resources.accounts.get(account_id).halted_reason
    if halted is not None:  # keys of another merchant list its payments
        return Fetched(taken_in=(), refusal=f"the account is halted: {halted}")
    last = min(last, resources.clock.now().date() - DAY)
    taken: list[str] = []
    while first <= last:
        until = min(last, first + _SPAN_MAX)
        refusal = await _fetch(resources, account_id, first, until, taken, progress)
        if refusal is not None:
            return Fetched(taken_in=taken, refusal=refusal)
        first = until + DAY
    return Fetched(taken_in=taken, refusal=None)


async def take_balances(resources: Resources) -> None:
    """Look into each account's wallet, once a day, as early on it as a worker comes by."""
    now = resources.clock.now()
    for account in resources.accounts.list_all():
        account_id = account.account_id
        if account.halted_reason or not await _wants_balance(resources, account_id, now.date()):
            continue
        try:
            credential_id = resources.accounts.credential_for(account_id)
            held = await resources.provider.read_balances(credential_id, wallet=WALLET)
        except (BinancePayError, NotFound) as error:
            _log.warning("balance not read", account_id=str(account_id), error=str(error))
            continue
        taken_at = resources.clock.now()

        async def step(tx: Transaction) -> None:
            await reconciled_days.store_snapshot(
                tx,
                account_id,  # noqa: B023  (run before the loop goes on)
                taken_at.date(),  # noqa: B023
                wallet=WALLET,
                taken_at=taken_at,  # noqa: B023
                balances=held,  # noqa: B023
            )

        await resources.database.run(step, name="take_balances")


async def reconcile_recent_days(resources: Resources) -> None:
    """Fetch and reconcile the last days that are over, where anything moved on them.

    Older ones too where Binance was asked about something: its answer may have settled it.
    """
    yesterday = resources.clock.now().date() - DAY
    # A day's files are looked for until its list counts as complete without one.
    first = yesterday - DAY * (max(_patience(resources, kind) for kind in LineKind) - 1)
    for account in resources.accounts.list_all():
        account_id = account.account_id
        days = await _moved_days(resources, account_id, first, yesterday)
        if not days:
            continue
        try:
            fetched = await fetch_reports(
                resources, account_id=account_id, first=first - DAY, last=yesterday
            )
            if fetched.refusal:
                _log.info("no report files", account_id=str(account_id), why=fetched.refusal)
        except CheckstandError as error:
            _log.warning("report not taken in", account_id=str(account_id), why=error.message)
        await reconcile_days(resources, account_id=account_id, days=days)


async def _fetch(
    resources: Resources,
    account_id: UUID,
    first: date,
    last: date,
    taken: list[str],
    progress: Progress,
) -> str | None:
    """Take in what is listed, then say that it is all there is; return what was in the way."""
    credential_id = resources.accounts.credential_for(account_id)
    listing = await resources.provider.list_report_files(credential_id, first, last)
    if listing.refusal is not None:
        return listing.refusal
    seen: set[UUID] = set()
    with tempfile.TemporaryDirectory() as folder:
        for listed in listing.files:
            name, path = listed.name, Path(folder) / "report"
            why = await resources.provider.download_report(credential_id, listed.url, path)
            if why is not None:
                return f"{name}: {why}"
            try:
                came = await take_in_report(
                    resources,
                    account_id=account_id,
                    path=path,
                    name=name,
                    source="api",
                    progress=progress,
                )
            except Refused as error:
                return f"{name}: {error.message}"
            seen.add(came.file.file_id)
            if not came.was_known:
                taken.append(came.file.name)
    await _cover_listed(
        resources, account_id, Span(span_of(first).start, span_of(last).end), listing.files, seen
    )
    return None


async def _cover_listed(
    resources: Resources,
    account_id: UUID,
    asked: Span,
    listed: Sequence[ListedFile],
    seen: Collection[UUID],
) -> None:
    """Write down for which days everything that Binance lists was seen, a kind at a time."""
    now = resources.clock.now()
    ends = {
        kind: span_of(_written_until(resources, kind, listed, today=now.date())).end
        for kind in LineKind
    }

    async def step(tx: Transaction) -> None:
        if not await report_files.lock_taken(tx, account_id, seen):
            return  # one was withdrawn meanwhile: the next round takes it in again
        for kind, end in ends.items():
            span = Span(asked.start, min(asked.end, end))
            await report_files.cover(
                tx, account_id, [kind], span, rests_on=report_files.THE_LIST, now=now
            )

    await resources.database.run(step, name="cover_listed")


def _written_until(
    resources: Resources, kind: LineKind, listed: Sequence[ListedFile], *, today: date
) -> date:
    """Say up to which day Binance's list of a kind is written, its quiet days having no file.

    A day's file may still be to come: it is there once one of that kind and of that day or a later
    one is listed, or when days have gone by. Refunds are listed on the day of their settlement,
    whose timetable is the contract's: of them only time says it.
    """
    waited = today - DAY * _patience(resources, kind)
    if kind is LineKind.REFUND:
        return waited
    return max([waited, *(f.day for f in listed if f.kind is kind and f.day is not None)])


def _patience(resources: Resources, kind: LineKind) -> int:
    """Say after how many days a kind's list is written; how late that is, nobody documents."""
    policy = resources.policy
    return policy.settlement_days if kind is LineKind.REFUND else policy.report_days


async def _wants_balance(resources: Resources, account_id: UUID, today: date) -> bool:
    """Say whether today's look is still to come, for an account that ever took a payment."""

    async def read(tx: Transaction) -> bool:
        found = await reconciled_days.snapshots(tx, account_id, WALLET, today, today)
        return not found and await reconciled_days.was_ever_paid(tx, account_id)

    return await resources.database.read(read)


async def _moved_days(
    resources: Resources, account_id: UUID, first: date, last: date
) -> list[date]:
    async def read(tx: Transaction) -> list[date]:
        moved = [
            day
            for day in days_between(first, last)
            if await reconciled_days.movements(tx, account_id, span_of(day))
        ]
        asked = await discrepancies.list_asked_days(tx, account_id)
        return sorted({*moved, *(day for day in asked if day <= last)})

    return await resources.database.read(read)
