"""Report files, their lines, and what they cover: taken in by parts that a crash cannot double."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid5

from checkstand.domain.reconciliation import Span
from checkstand.domain.report_line import LineKind, ReportLine, StoredFile
from checkstand.storage.database import Row, Statement, Transaction, statement

_FILE_COLUMNS = """
    account_id, file_id, sha256, name, source, format, map_name, lines, lines_taken, first_at,
    last_at, notes, received_at, taken_at, withdrawn_at
"""

_INSERT = statement(
    "report_files.insert",
    """
    INSERT INTO report_files (
        account_id, file_id, sha256, name, source, format, map_name, lines, lines_taken, first_at,
        last_at, notes, received_at
    )
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, $10, $11, $12)
    ON CONFLICT DO NOTHING
    RETURNING file_id
    """,
)
_FIND = statement(
    "report_files.find",
    f"SELECT {_FILE_COLUMNS} FROM report_files"
    " WHERE account_id = $1 AND sha256 = $2 AND withdrawn_at IS NULL",
)
_LIST = statement(
    "report_files.list",
    f"""
    SELECT {_FILE_COLUMNS} FROM report_files WHERE account_id = $1
     ORDER BY received_at DESC, file_id DESC LIMIT $2
    """,
)
_OF_DAY = statement(
    "report_files.of_day",
    f"""
    SELECT {_FILE_COLUMNS} FROM report_files
     WHERE account_id = $1 AND taken_at IS NOT NULL AND first_at < $3 AND last_at >= $2
     ORDER BY received_at, file_id
    """,
)
#: The one guard against two who take in one file, and against doing a part twice.
_MOVE_ON = statement(
    "report_files.move_on",
    """
    UPDATE report_files
       SET lines_taken = $4, taken_at = CASE WHEN $4 = lines THEN $5::timestamptz END
     WHERE account_id = $1 AND file_id = $2 AND lines_taken = $3
       AND taken_at IS NULL AND withdrawn_at IS NULL
    RETURNING file_id
    """,
)

_WITHDRAW = statement(
    "report_files.withdraw",
    """
    UPDATE report_files SET taken_at = NULL, withdrawn_at = $3
     WHERE account_id = $1 AND file_id = $2 AND withdrawn_at IS NULL
    RETURNING account_id, file_id, sha256, name, source, format, map_name, lines, lines_taken,
              first_at, last_at, notes, received_at, taken_at, withdrawn_at
    """,
)
#: Held until the end of the transaction: whoever withdraws one of them comes before or after.
_LOCK_TAKEN = statement(
    "report_files.lock_taken",
    """
    SELECT file_id FROM report_files
     WHERE account_id = $1 AND file_id = ANY($2) AND taken_at IS NOT NULL
     ORDER BY file_id
       FOR UPDATE
    """,
)
_UNCOVER = statement(
    "report_coverage.withdraw",
    "UPDATE report_coverage SET withdrawn_at = $3 WHERE account_id = $1 AND rests_on = $2",
)

_BY_TRANSACTION = statement(
    "report_lines.find_by_transaction_id",
    """
    SELECT transaction_id AS id, min(attempt_id::text)::uuid AS attempt_id FROM payments
     WHERE account_id = $1 AND transaction_id = ANY($2) GROUP BY transaction_id
    """,
)
_BY_PREPAY_ID = statement(
    "report_lines.find_by_prepay_id",
    """
    SELECT prepay_id AS id, min(attempt_id::text)::uuid AS attempt_id FROM attempts
     WHERE account_id = $1 AND prepay_id = ANY($2) GROUP BY prepay_id
    """,
)
_BY_TRADE_NO = statement(
    "report_lines.find_by_trade_no",
    """
    SELECT merchant_trade_no AS id, attempt_id FROM attempts
     WHERE account_id = $1 AND merchant_trade_no = ANY($2)
    """,
)
_BY_REFUND_ID = statement(
    "report_lines.find_by_refund_id",
    "SELECT refund_id FROM refunds WHERE account_id = $1 AND refund_id = ANY($2)",
)
#: Lines that named nothing of ours when they came: a prepay id or transaction id may be learnt.
_UNMATCHED = statement(
    "report_lines.unmatched",
    """
    SELECT account_id, file_id, number, kind, at, transaction_id, prepay_id, trade_no, refund_ref,
           currency, amount, fee, status, settled
      FROM report_lines
     WHERE account_id = $1 AND at >= $2 AND at < $3 AND attempt_id IS NULL AND refund_id IS NULL
       AND kind <> 'payout'
     ORDER BY file_id, number
    """,
)
_MATCH = statement(
    "report_lines.match",
    """
    UPDATE report_lines l
       SET attempt_id = n.attempt_id, refund_id = n.refund_id, ids_agree = n.ids_agree
      FROM unnest($2::uuid[], $3::int[], $4::uuid[], $5::uuid[], $6::bool[])
           AS n (file_id, number, attempt_id, refund_id, ids_agree)
     WHERE l.account_id = $1 AND (l.file_id, l.number) = (n.file_id, n.number)
    """,
)

_KINDS = statement(
    "report_lines.kinds",
    "SELECT DISTINCT kind FROM report_lines WHERE account_id = $1 AND file_id = $2",
)

_COVER = statement(
    "report_coverage.insert",
    """
    INSERT INTO report_coverage (
        account_id, coverage_id, kind, covers_from, covers_until, rests_on, recorded_at
    )
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT DO NOTHING
    """,
)
#: The list of files may be asked again after a file that it rested on was withdrawn.
_COVER_AGAIN = statement(
    "report_coverage.renew",
    """
    UPDATE report_coverage SET withdrawn_at = NULL
     WHERE account_id = $1 AND coverage_id = $2 AND withdrawn_at IS NOT NULL
    """,
)
_CUT = statement(
    "report_coverage.cut",
    """
    UPDATE report_coverage SET withdrawn_at = $6
     WHERE account_id = $1 AND kind = ANY($2) AND covers_until > $3 AND covers_from < $4
       AND rests_on = $5 AND withdrawn_at IS NULL
    RETURNING kind, covers_from, covers_until
    """,
)
_COVERAGE = statement(
    "report_coverage.list",
    """
    SELECT covers_from, covers_until FROM report_coverage
     WHERE account_id = $1 AND kind = $2 AND covers_until > $3 AND covers_from < $4
       AND withdrawn_at IS NULL
     ORDER BY covers_from, coverage_id
    """,
)

_STORE_MAP = statement(
    "column_maps.insert",
    """
    INSERT INTO column_maps (account_id, name, document, stored_at) VALUES ($1, $2, $3, $4)
    ON CONFLICT DO NOTHING
    RETURNING name
    """,
)
_CHANGE_MAP = statement(
    "column_maps.change",
    """
    UPDATE column_maps SET document = $3, stored_at = $4, removed_at = NULL
     WHERE account_id = $1 AND name = $2
    """,
)
_REMOVE_MAP = statement(
    "column_maps.remove",
    """
    UPDATE column_maps SET removed_at = $3
     WHERE account_id = $1 AND name = $2 AND removed_at IS NULL
    RETURNING name
    """,
)
_MAPS = statement(
    "column_maps.list",
    """
    SELECT name, document FROM column_maps WHERE account_id = $1 AND removed_at IS NULL
     ORDER BY name
    """,
)

_LINE_COLUMNS: Final = (
    "account_id",
    "file_id",
    "number",
    "kind",
    "at",
    "transaction_id",
    "prepay_id",
    "trade_no",
    "refund_ref",
    "currency",
    "amount",
    "fee",
    "status",
    "settled",
    "attempt_id",
    "refund_id",
    "ids_agree",
)


@dataclass(frozen=True, slots=True)
class Match:
    """What of ours a line is about."""

    attempt_id: UUID | None
    refund_id: UUID | None
    ids_agree: bool


async def insert(tx: Transaction, file: StoredFile) -> bool:
    """Write a file down before its lines; False when its content is known already."""
    row = await tx.row(
        _INSERT,
        file.account_id,
        file.file_id,
        file.sha256,
        file.name,
        file.source,
        file.format,
        file.map_name,
        file.lines,
        file.first_at,
        file.last_at,
        list(file.notes),
        file.received_at,
    )
    return row is not None


async def find(tx: Transaction, account_id: UUID, sha256: bytes) -> StoredFile | None:
    """Return the file with this content, if it ever came."""
    row = await tx.row(_FIND, account_id, sha256)
    return StoredFile(**dict(row)) if row else None


async def list_newest(tx: Transaction, account_id: UUID, *, limit: int) -> list[StoredFile]:
    """Return the files that came last."""
    return [StoredFile(**dict(row)) for row in await tx.rows(_LIST, account_id, limit)]


async def list_of_day(tx: Transaction, account_id: UUID, span: Span) -> list[StoredFile]:
    """Return the files that have lines around a stretch of time."""
    rows = await tx.rows(_OF_DAY, account_id, span.start, span.end)
    return [StoredFile(**dict(row)) for row in rows]


async def move_on(tx: Transaction, file: StoredFile, *, taken: int, to: int, now: datetime) -> bool:
    """Say that lines are in up to `to`; False when they were not at `taken` any more."""
    row = await tx.row(_MOVE_ON, file.account_id, file.file_id, taken, to, now)
    return row is not None


async def withdraw(
    tx: Transaction, account_id: UUID, file_id: UUID, *, now: datetime
) -> StoredFile | None:
    """Let a file and what it covers count no more; None when there is none that does."""
    row = await tx.row(_WITHDRAW, account_id, file_id, now)
    if row is None:
        return None
    await tx.run(_UNCOVER, account_id, rests_on_file(file_id), now)
    return StoredFile(**dict(row))


async def lock_taken(tx: Transaction, account_id: UUID, file_ids: Collection[UUID]) -> bool:
    """Hold files as they are; False when one of them is not in, or was withdrawn."""
    rows = await tx.rows(_LOCK_TAKEN, account_id, list(file_ids))
    return len(rows) == len(set(file_ids))


#: What a coverage rests on that no single file gives: days on which Binance's list has none.
THE_LIST: Final = "list of files"


def rests_on_file(file_id: UUID) -> str:
    """Say that a coverage is known from one file."""
    return f"file:{file_id}"


async def match(tx: Transaction, account_id: UUID, lines: Sequence[ReportLine]) -> list[Match]:
    """Find what of ours lines are about: by transaction id, then prepay id, then trade number."""
    by_transaction = await _look_up(
        tx, _BY_TRANSACTION, account_id, {line.transaction_id for line in lines}
    )
    by_prepay = await _look_up(tx, _BY_PREPAY_ID, account_id, {line.prepay_id for line in lines})
    by_trade = await _look_up(tx, _BY_TRADE_NO, account_id, {line.trade_no for line in lines})
    refunds = await _known_refunds(tx, account_id, lines)
    matches = []
    for line in lines:
        named = [
            attempt_id
            for attempt_id in (
                by_transaction.get(line.transaction_id),
                by_prepay.get(line.prepay_id),
                by_trade.get(line.trade_no),
            )
            if attempt_id is not None
        ]
        refund_id = refunds.get(line.refund_ref) if line.refund_ref else None
        first = named[0] if named and line.kind is not LineKind.PAYOUT else None
        matches.append(Match(first, refund_id, len(set(named)) < 2))
    return matches


async def insert_lines(
    tx: Transaction, file: StoredFile, lines: Sequence[ReportLine], matches: Sequence[Match]
) -> None:
    """Write lines of a file with what they are about."""
    await tx.copy("report_lines", _LINE_COLUMNS, _rows(file, lines, matches))


def _rows(
    file: StoredFile, lines: Sequence[ReportLine], matches: Sequence[Match]
) -> Iterable[tuple[Any, ...]]:
    for line, found in zip(lines, matches, strict=True):
        yield (
            file.account_id,
            file.file_id,
            line.number,
            line.kind,
            line.at,
            line.transaction_id,
            line.prepay_id,
            line.trade_no,
            line.refund_ref,
            line.currency,
            line.amount,
            line.fee,
            line.status,
            line.settled,
            found.attempt_id,
            found.refund_id,
            found.ids_agree,
        )


async def match_again(tx: Transaction, account_id: UUID, span: Span, *, size: int) -> None:
    """Look again for what the unmatched lines of a stretch of time are about."""
    async for rows in tx.parts(_UNMATCHED, account_id, span.start, span.end, size=size):
        found = await match(tx, account_id, [_parse_line(row) for row in rows])
        better = [
            (row, each)
            for row, each in zip(rows, found, strict=True)
            if each.attempt_id or each.refund_id
        ]
        if better:
            await tx.run(
                _MATCH,
                account_id,
                [row["file_id"] for row, _ in better],
                [row["number"] for row, _ in better],
                [each.attempt_id for _, each in better],
                [each.refund_id for _, each in better],
                [each.ids_agree for _, each in better],
            )


async def kinds_of(tx: Transaction, account_id: UUID, file_id: UUID) -> set[LineKind]:
    """Return what a file lists."""
    return {LineKind(row["kind"]) for row in await tx.rows(_KINDS, account_id, file_id)}


async def cover(
    tx: Transaction,
    account_id: UUID,
    kinds: Iterable[LineKind],
    span: Span,
    *,
    rests_on: str,
    now: datetime,
) -> None:
    """Say that everything Binance lists of some kinds in a stretch of time has been seen."""
    end = min(span.end, now)  # what is still to come is in no file
    if span.start >= end:
        return
    for kind in sorted(kinds):
        coverage_id = uuid5(account_id, f"coverage:{rests_on}:{kind}:{span.start}:{end}")
        await tx.run(_COVER, account_id, coverage_id, kind, span.start, end, rests_on, now)
        if rests_on == THE_LIST:
            await tx.run(_COVER_AGAIN, account_id, coverage_id)


async def uncover_listed(
    tx: Transaction, account_id: UUID, kinds: Iterable[LineKind], span: Span, *, now: datetime
) -> None:
    """Believe no more, of a stretch of time, that everything which Binance's list has was seen."""
    rows = await tx.rows(_CUT, account_id, sorted(kinds), span.start, span.end, THE_LIST, now)
    for row in rows:
        left = Span(row["covers_from"], min(row["covers_until"], span.start))
        right = Span(max(row["covers_from"], span.end), row["covers_until"])
        for rest in (left, right):
            await cover(tx, account_id, [row["kind"]], rest, rests_on=THE_LIST, now=now)


async def coverage(tx: Transaction, account_id: UUID, kind: LineKind, span: Span) -> list[Span]:
    """Return what was seen of a kind around a stretch of time."""
    rows = await tx.rows(_COVERAGE, account_id, kind, span.start, span.end)
    return [Span(row["covers_from"], row["covers_until"]) for row in rows]


async def store_map(
    tx: Transaction, account_id: UUID, name: str, document: Mapping[str, Any], *, now: datetime
) -> None:
    """Keep a merchant's column map, in the place of an older one of that name."""
    text = json.dumps(document)
    if await tx.row(_STORE_MAP, account_id, name, text, now) is None:
        await tx.run(_CHANGE_MAP, account_id, name, text, now)


async def remove_map(tx: Transaction, account_id: UUID, name: str, *, now: datetime) -> bool:
    """Use a column map no more; False when there is none of that name."""
    return await tx.row(_REMOVE_MAP, account_id, name, now) is not None


async def list_maps(tx: Transaction, account_id: UUID) -> dict[str, Any]:
    """Return the merchant's column maps, name to document."""
    rows = await tx.rows(_MAPS, account_id)
    return {row["name"]: json.loads(row["document"]) for row in rows}


async def _look_up(
    tx: Transaction, sql: Statement, account_id: UUID, ids: set[str | None]
) -> dict[str | None, UUID]:
    ids.discard(None)
    if not ids:
        return {}
    rows = await tx.rows(sql, account_id, list(ids))
    return {row["id"]: row["attempt_id"] for row in rows}


async def _known_refunds(
    tx: Transaction, account_id: UUID, lines: Sequence[ReportLine]
) -> dict[str, UUID]:
    wanted: dict[str, UUID] = {}
    for line in lines:
        if line.refund_ref and len(line.refund_ref) == 32:
            try:
                wanted[line.refund_ref] = UUID(hex=line.refund_ref)
            except ValueError:
                continue  # the portal's own, or another system's
    if not wanted:
        return {}
    rows = await tx.rows(_BY_REFUND_ID, account_id, list(wanted.values()))
    known = {row["refund_id"] for row in rows}
    return {ref: refund_id for ref, refund_id in wanted.items() if refund_id in known}


def _parse_line(row: Row) -> ReportLine:
    values = {name: row[name] for name in ReportLine.__slots__}
    return ReportLine(**values | {"kind": LineKind(row["kind"])})
