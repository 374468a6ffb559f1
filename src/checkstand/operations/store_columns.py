"""Column maps of a merchant: how its report files are to be read."""

from typing import Any
from uuid import UUID

from checkstand.errors import NotFound
from checkstand.operations.resources import Resources
from checkstand.provider.report_files.columns import BUILT_IN, parse_map
from checkstand.storage import report_files
from checkstand.storage.database import Transaction


async def store_columns(
    resources: Resources, *, account_id: UUID, name: str, document: Any
) -> None:
    """Keep a map, in the place of an older one of that name. Raises Refused."""
    parse_map(name, document)
    now = resources.clock.now()

    async def step(tx: Transaction) -> None:
        await report_files.store_map(tx, account_id, name, document, now=now)

    await resources.database.run(step, name="store_columns")


async def remove_columns(resources: Resources, *, account_id: UUID, name: str) -> None:
    """Use a map no more. Raises NotFound."""
    now = resources.clock.now()

    async def step(tx: Transaction) -> bool:
        return await report_files.remove_map(tx, account_id, name, now=now)

    if not await resources.database.run(step, name="remove_columns"):
        raise NotFound("column_map_not_found", f"there is no column map {name!r}", field="name")


async def list_columns(resources: Resources, *, account_id: UUID) -> dict[str, Any]:
    """Return the merchant's maps as they were stored."""

    async def read(tx: Transaction) -> dict[str, Any]:
        return await report_files.list_maps(tx, account_id)

    return await resources.database.read(read)


def built_in_columns() -> dict[str, Any]:
    """Return the headers that are known without a map, field → headers."""
    return {
        column_map.name: {name: list(headers) for name, headers in column_map.columns.items()}
        for column_map in BUILT_IN
    }
