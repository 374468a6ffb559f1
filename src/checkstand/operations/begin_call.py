"""Write down a call to Binance before it is sent, unless the account may send none any more."""

from datetime import datetime
from typing import Final
from uuid import UUID

from checkstand.errors import ProviderUnavailable
from checkstand.storage import calls
from checkstand.storage.database import Transaction

#: These change nothing there, and say whose account it is.
_QUESTIONS: Final = frozenset({"/v2/order/query", "/order/refund/query"})


class AccountHalted(ProviderUnavailable):
    """The account's moves are stopped. Nothing of the transaction may stay."""


async def begin_call(
    tx: Transaction,
    *,
    account_id: UUID,
    call_id: UUID,
    order_id: UUID,
    attempt_id: UUID,
    endpoint: str,
    now: datetime,
) -> bool:
    """Write down that a call is about to be sent; False when that is written already.

    Raises AccountHalted for one that has an effect there, from the moment that the halt is
    committed: with another merchant's key the shopper's money would go to him.
    """
    begun = await calls.begin(
        tx,
        account_id=account_id,
        call_id=call_id,
        order_id=order_id,
        attempt_id=attempt_id,
        endpoint=endpoint,
        started_at=now,
    )
    if begun.halted_reason is not None and endpoint not in _QUESTIONS:
        raise AccountHalted("account_halted", f"this account is stopped: {begun.halted_reason}")
    return begun.is_new
