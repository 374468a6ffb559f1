"""A database as it was at one moment, and what is forgotten when it is put back.

Kept as rows: the tables are small, and making tables anew would cost more than the whole plan.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Backup:
    """Every row of every table."""

    made_at: datetime
    tables: Mapping[str, Rows]


@dataclass(slots=True)
class Forgotten:
    """What restored databases do not know, though Binance or the shop may."""

    orders: set[str] = field(default_factory=set)
    attempts: dict[str, str] = field(default_factory=dict)  # their numbers, with the order's id
    refunds: set[str] = field(default_factory=set)  # their numbers
    notices: set[bytes] = field(default_factory=set)
    restored_ms: int | None = None  # when it happened the last time

    def learn(self, before: Backup, after: Mapping[str, Rows], *, now_ms: int) -> None:
        """Take in what is in the rows now and was not in the backup."""
        self.restored_ms = now_ms
        self.orders |= {str(row["order_id"]) for row in _newer("order_id", "orders", before, after)}
        for row in _newer("attempt_id", "attempts", before, after):
            self.attempts[row["attempt_id"].hex] = str(row["order_id"])
        refunds = _newer("refund_id", "refunds", before, after)
        self.refunds |= {row["refund_id"].hex for row in refunds if not row["is_elsewhere"]}
        self.notices |= {bytes(row["raw"]) for row in _newer("raw", "notices", before, after)}


def _newer(key: str, table: str, before: Backup, after: Mapping[str, Rows]) -> Rows:
    known = {row[key] for row in before.tables[table]}
    return [row for row in after[table] if row[key] not in known]


async def read_tables(owner: Any, tables: Sequence[str]) -> dict[str, Rows]:
    """Read everything, in one order, whatever the heap looks like by now."""
    return {name: sorted(await owner.fetch(f"SELECT * FROM {name}"), key=str) for name in tables}


async def put_back(owner: Any, backup: Backup) -> None:
    """Make the database what it was. The owner's session checks no references meanwhile."""
    async with owner.transaction():
        await owner.execute(";".join(f"DELETE FROM {name}" for name in backup.tables))
        for name, rows in backup.tables.items():
            if rows:
                columns = list(rows[0].keys())
                records = [tuple(row.values()) for row in rows]
                await owner.copy_records_to_table(name, records=records, columns=columns)
