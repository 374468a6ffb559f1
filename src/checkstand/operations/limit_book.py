"""The limits of every account, as of a few seconds ago: creates need not read them each time."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from checkstand.domain import limits
from checkstand.domain.limits import Exceeded, Limits
from checkstand.domain.order import Terms
from checkstand.errors import Refused
from checkstand.storage import limits as stored
from checkstand.storage.database import Transaction

#: A changed limit holds everywhere within this time.
_FRESH_FOR: Final = timedelta(seconds=10)


class LimitBook:
    """Limits as they were read last."""

    def __init__(self) -> None:
        self._read: dict[UUID, tuple[datetime, Limits]] = {}

    async def limits_of(self, tx: Transaction, account_id: UUID, *, now: datetime) -> Limits:
        """Return an account's limits, read again when they are no longer fresh."""
        read_at, found = self._read.get(account_id, (None, None))
        if found is not None and read_at is not None and abs(now - read_at) < _FRESH_FOR:
            return found
        found = await stored.list_of(tx, account_id)
        self._read[account_id] = (now, found)
        return found


async def check_new_order(
    tx: Transaction, book: LimitBook, account_id: UUID, terms: Terms, *, now: datetime
) -> None:
    """Raise Refused when an order that was just written is against a limit; nothing stays then.

    Counted after the order is written and under a gate that is held until the commit, so of any
    number of requests at once exactly as many pass as there is room for.
    """
    found = await book.limits_of(tx, account_id, now=now)
    exceeded = limits.amount_exceeded(found, terms)
    if exceeded is None and limits.counts_open_orders(found, terms):
        open_orders = await stored.count_open_orders(tx, account_id, terms)
        exceeded = limits.open_orders_exceeded(found, open_orders)
    if exceeded is not None:
        raise _refusal(exceeded)


def _refusal(exceeded: Exceeded) -> Refused:
    return Refused(
        "limit_exceeded",
        exceeded.sentence,
        field=exceeded.field,
        facts={"limit": str(exceeded.kind)},
    )
