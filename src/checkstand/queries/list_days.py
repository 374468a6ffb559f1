"""Reconciled days, and the report files that they rest on."""

from datetime import date
from uuid import UUID

from checkstand.domain.reconciliation import DayRow
from checkstand.domain.report_line import StoredFile
from checkstand.storage import reconciled_days, report_files
from checkstand.storage.database import Database, Transaction


async def list_days(
    database: Database, account_id: UUID, *, first: date, last: date
) -> list[DayRow]:
    """Read the days that were ever reconciled, oldest first."""

    async def read(tx: Transaction) -> list[DayRow]:
        return await reconciled_days.list_days(tx, account_id, first, last)

    return await database.read(read)


async def list_report_files(
    database: Database, account_id: UUID, *, limit: int = 100
) -> list[StoredFile]:
    """Read the report files that came last."""

    async def read(tx: Transaction) -> list[StoredFile]:
        return await report_files.list_newest(tx, account_id, limit=limit)

    return await database.read(read)
