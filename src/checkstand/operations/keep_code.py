"""Draw an attempt's payment code once, off the loop, and keep it for every viewer."""

from collections.abc import Callable
from uuid import UUID

from checkstand.operations.resources import Resources
from checkstand.storage import attempts
from checkstand.storage.database import Transaction


async def keep_code(
    resources: Resources, *, account_id: UUID, attempt_id: UUID, draw: Callable[[], str]
) -> str:
    """Return the drawn code of an attempt, drawing it if nobody has. Safe to repeat."""

    async def find(tx: Transaction) -> str | None:
        return await attempts.find_qr(tx, account_id, attempt_id)

    known = await resources.database.read(find)
    if known is not None:
        return known
    svg: str = await resources.run_in_thread(draw)

    async def store(tx: Transaction) -> None:
        await attempts.store_qr(tx, account_id, attempt_id, svg)

    await resources.database.run(store, name="keep_code")
    return svg
