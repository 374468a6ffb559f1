"""Explain notices that fit nothing of ours although the order carries our own mark.

There is no list of orders at Binance, so what a restored database has forgotten is learnt from the
notices alone. `passThroughInfo` says which account, order and attempt it was made for; a query by
its number, with our own keys, says whether that is so and what became of it. Nothing is booked:
the order is "only theirs" until a person settles it.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from checkstand.binance import BinancePayError, Notification, PayNotice
from checkstand.operations.resources import Resources
from checkstand.operations.retry_notices import list_orphans
from checkstand.operations.verify_notice import VerifiedNotice
from checkstand.provider.gateway import FoundOrder
from checkstand.provider.translation import Mark, parse_pass_through
from checkstand.storage import cases, orphan_orders
from checkstand.storage.database import Transaction
from checkstand.storage.orphan_orders import OrphanOrder

_log = structlog.get_logger()

#: What Binance did not know may have been asked with keys that were not ours.
_AGAIN: Final = timedelta(hours=1)


async def explain_orphans(resources: Resources, *, limit: int = 500) -> int:
    """Ask about orders that orphan notices tell of and that carry our mark; return how many."""
    explained = 0
    for notice in await list_orphans(resources, limit=limit):
        mark = _mark_of(notice.notification)
        if mark is None or mark.account_id != notice.stored.account_id:
            continue
        try:
            explained += await _explain(resources, notice, mark)
        except BinancePayError as error:
            _log.warning("an orphan was not explained", code=error.code, detail=str(error))
        except Exception:  # noqa: BLE001  (whatever it is, the next one is another matter)
            _log.exception("an orphan was not explained", notice_id=str(notice.stored.notice_id))
    return explained


async def _explain(resources: Resources, notice: VerifiedNotice, mark: Mark) -> bool:
    account_id, number = mark.account_id, mark.attempt_id.hex

    async def known(tx: Transaction) -> OrphanOrder | None:
        return await orphan_orders.find(tx, account_id, number)

    before = await resources.database.read(known)
    now = resources.clock.now()
    if before is not None and not _is_worth_asking(before, notice, now=now):
        return False
    rate = resources.policy.call_rate
    if not resources.budget.allowances([account_id], rate=rate, now=now)[account_id]:
        return False  # at the next round
    resources.budget.spend_on_poll(account_id, rate=rate, now=now)
    credential_id = resources.accounts.credential_for(account_id)
    found = await resources.provider.find_order(credential_id, merchant_trade_no=number)
    if found is not None and parse_pass_through(found.pass_through_info) != mark:
        return False  # somebody else's order, which only says that it is ours
    key = (account_id, mark.order_id)

    async def step(tx: Transaction) -> None:
        is_known = key in await cases.get_many(tx, [key])
        orphan = _orphan_of(notice, mark, found, is_known=is_known)
        first = replace(orphan, found_at=now, asked_at=now)
        if before is not None:
            first = replace(first, notice_id=before.notice_id, found_at=before.found_at)
        await orphan_orders.put(tx, first)

    await resources.database.run(step, name="explain_orphan")
    return True


def _is_worth_asking(known: OrphanOrder, notice: VerifiedNotice, *, now: datetime) -> bool:
    """Say whether there is news since an order was asked about, or it was not found then."""
    is_news = notice.stored.received_at > known.asked_at
    return is_news or (known.status is None and now - known.asked_at >= _AGAIN)


def _mark_of(notification: Notification | None) -> Mark | None:
    data = notification.data if notification else None
    return parse_pass_through(data.pass_through_info) if isinstance(data, PayNotice) else None


def _orphan_of(
    notice: VerifiedNotice, mark: Mark, found: FoundOrder | None, *, is_known: bool
) -> OrphanOrder:
    stored = notice.stored
    order = "an order of ours" if is_known else "an order that our rows do not know"
    made = f"attempt {mark.attempt_id} of {order}, {mark.order_id}, made after the last backup"
    theirs = f"Binance says {found.status}" if found else "Binance knows no such order"
    return OrphanOrder(
        account_id=mark.account_id,
        merchant_trade_no=mark.attempt_id.hex,
        notice_id=stored.notice_id,
        order_id=mark.order_id,
        attempt_id=mark.attempt_id,
        prepay_id=found.prepay_id if found else None,
        status=found.status if found else None,
        amount=found.amount if found else None,
        currency=found.currency if found else None,
        transaction_id=found.transaction_id if found else None,
        explanation=f"{made}; {theirs}",
        found_at=stored.received_at,
        asked_at=stored.received_at,
    )
