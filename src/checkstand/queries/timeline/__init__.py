"""The timeline: everything that happened to one order, by everybody, in causal order.

It is not kept: it is read from the rows that the facts left, so it cannot disagree with them.
Every table with an order's id has a source here (a test walks them). Bodies and links stay out of
it; payer data never comes near it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from checkstand.domain.view import render_time
from checkstand.queries.timeline import of_account, of_binance, of_books, of_order, of_shop
from checkstand.queries.timeline.causal_order import in_causal_order
from checkstand.queries.timeline.entry import Kind, TimelineEntry
from checkstand.storage.database import Database, Row, Statement, Transaction

__all__ = ["Kind", "TimelineEntry", "list_timeline", "render_timeline"]

Render = Callable[[Row], list[TimelineEntry]]

_SOURCES: Final[Mapping[Statement, Render]] = {
    **of_order.SOURCES,
    **of_binance.SOURCES,
    **of_books.SOURCES,
    **of_shop.SOURCES,
}

#: Rows of one source that are read. Ten renewals with a shopper who keeps asking make hundreds; one
#: who sends signed nonsense for days must not fill the memory.
ROWS_MAX: Final = 5_000


async def list_timeline(
    database: Database, account_id: UUID, order_id: UUID, *, rows_max: int = ROWS_MAX
) -> Sequence[TimelineEntry]:
    """Read an order's timeline, oldest first; empty when there is no such order."""

    async def read(tx: Transaction) -> list[TimelineEntry]:
        entries: list[TimelineEntry] = []
        for sql, render in _SOURCES.items():
            entries += await _read(tx, sql, render, (account_id, order_id), rows_max)
            if not entries:
                return []  # the first source is the order itself
        last_at = max(entry.at for entry in entries)
        for sql, render in of_account.SOURCES.items():
            key = (account_id, order_id, last_at)
            entries += await _read(tx, sql, render, key, rows_max)
        return entries

    # One snapshot: an event is not seen without the step that it tells of.
    return in_causal_order(await database.read(read, snapshot=True))


async def _read(
    tx: Transaction, sql: Statement, render: Render, key: tuple[Any, ...], rows_max: int
) -> list[TimelineEntry]:
    """Read the rows of one source, oldest first, and say so where there are more than it takes."""
    rows = await tx.rows(sql, *key, rows_max + 1)
    entries = [entry for row in rows[:rows_max] for entry in render(row)]
    if len(rows) > rows_max:
        what = sql.name.removeprefix("timeline.")
        entries.append(
            TimelineEntry(
                at=max(entry.at for entry in entries),
                actor="checkstand",
                kind=Kind.OMITTED,
                summary=f"only the first {rows_max} {what} of this order are shown",
                detail={"what": what, "shown": rows_max},
            )
        )
    return entries


def render_timeline(entries: Sequence[TimelineEntry]) -> list[dict[str, Any]]:
    """Write a timeline as the API and the command line tell it."""
    return [
        {
            "at": render_time(entry.at),
            "seq": seq,
            "actor": entry.actor,
            "kind": entry.kind,
            "summary": entry.summary,
            "from": entry.status_before,
            "to": entry.status_after,
            "ref": entry.ref,
            "detail": entry.detail,
        }
        for seq, entry in enumerate(entries, 1)
    ]
