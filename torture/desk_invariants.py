"""What must hold of limits, approvals and goods in hand, by Binance's and people's memory."""

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from checkstand.domain.limits import LimitKind
from checkstand.simulator.records import Refund, RefundStatus
from checkstand.simulator.server import DEFAULT_MERCHANT
from torture.books import CLOCKS_AGREE, Books, Row
from torture.desk import Hand

#: A host writes the moment at which it began, and a slow database may hold it up afterwards.
_SLACK: Final = timedelta(seconds=10)
_HELD_UP: Final = timedelta(seconds=60)
_WRITTEN: Final = timedelta(seconds=15)  # after which a refund that was taken on is in the rows
#: When the first offer and the second should long have been made.
_OFFERED_BY: Final = timedelta(days=1)


def refused_orders_left_nothing(books: Books) -> Iterator[str]:
    """An order that a limit refused is nowhere: not with Binance, and not here."""
    world = books.world
    refused = world.desk.refused
    for order in world.simulator.store.orders.values():
        if order.merchant_id == DEFAULT_MERCHANT.merchant_id and order.description in refused:
            yield f"{order.description} was refused, and Binance has an order for it"
    for row in books.tables["orders"]:
        named = json.loads(row["terms"])["description"]
        if named in refused:
            yield f"{named} was refused, and is order {row['order_id']}"


def nothing_unapproved_is_paid(books: Books) -> Iterator[str]:
    """What waits for a second person goes to Binance after his yes, never after his no."""
    desk, theirs = books.world.desk, _refunds_there(books)
    for row in books.rows("refunds", is_elsewhere=False):
        there, refund_id = theirs.get(row["refund_id"].hex), str(row["refund_id"])
        yes_at = desk.approved_at_ms.get(refund_id)
        if row["approval_reason"] is not None and there is not None:
            if yes_at is None:
                yield f"refund {refund_id} was sent to Binance, and nobody had approved it"
            elif there.requested_ms < yes_at:
                yield f"refund {refund_id} was sent to Binance before it was approved"
        if row["approved_at"] is not None and row["approved_by"] == row["requester"]:
            yield f"refund {refund_id} was approved by whoever asked for it"
        if row["approved_at"] is not None and yes_at is None:
            yield f"refund {refund_id} was approved, and nobody said so"
        if desk.answers[refund_id, "deny"]:
            if there is not None:
                yield f"refund {refund_id} was denied, and Binance has it"
            if row["status"] != "FAILED" or desk.answers[refund_id, "approve"]:
                yield f"refund {refund_id} was denied, and is {row['status']}"


def limits_of_refunds_hold(books: Books) -> Iterator[str]:
    """What went back without a second person's yes is no more than the account allows for a day."""
    for kind in (LimitKind.REFUNDED_PER_DAY, LimitKind.REFUNDS_PER_DAY):
        for currency in ("USDT", "BNB"):
            limit = _limit_of_refunds(books, kind, currency)
            if limit is None:
                continue
            since, until, most = limit
            went = _unapproved(books, currency, since, until)
            sum_ = sum(went, Decimal()) if kind is LimitKind.REFUNDED_PER_DAY else len(went)
            if sum_ > most:
                yield f"{sum_} went back in {currency} by {kind}, and {most} need no approval"


def _limit_of_refunds(
    books: Books, kind: LimitKind, currency: str
) -> tuple[datetime, datetime, Decimal] | None:
    """Return since when a limit held, until it was first taken back, and the most it then was."""
    world = books.world
    limits = [s for s in world.desk.limits if (s.kind, s.currency) == (kind, currency)]
    taken_back = [number for number, s in enumerate(limits) if s.most is None]
    held = limits[: taken_back[0]] if taken_back else limits
    if not held or held[0].done_at == float("inf"):
        return None

    def on_database(at: float) -> datetime:
        return world.database_now() - timedelta(seconds=world.loop.time() - at)

    until = on_database(limits[taken_back[0]].begun_at) if taken_back else books.now
    most = max(s.most for s in held if s.most is not None)
    return on_database(held[0].done_at) + CLOCKS_AGREE, until - CLOCKS_AGREE, most


def _unapproved(books: Books, currency: str, since: datetime, until: datetime) -> list[Decimal]:
    theirs, desk = _refunds_there(books), books.world.desk
    return [
        row["amount"]
        for row in books.rows("refunds", is_elsewhere=False, currency=currency)
        if since < row["requested_at"] < until
        and row["refund_id"].hex in theirs
        and theirs[row["refund_id"].hex].status is RefundStatus.SUCCESS
        and str(row["refund_id"]) not in desk.approved_at_ms
    ]


def _refunds_there(books: Books) -> dict[str, Refund]:
    return {
        number: refund
        for (merchant, number), refund in books.world.simulator.store.refunds.items()
        if merchant == DEFAULT_MERCHANT.merchant_id and not refund.by_portal
    }


def one_hand_at_a_time(books: Books) -> Iterator[str]:
    """No two packers had an order in hand at once, nor one beside a delivery that was taken."""
    hands = sorted([*books.world.desk.hands, *_delivered(books)], key=lambda h: h.claimed_at)
    for number, hand in enumerate(hands):
        for later in hands[number + 1 :]:
            is_other = later.order_id == hand.order_id and later.token != hand.token
            if is_other and later.claimed_at < hand.lease_until:
                yield (
                    f"order {hand.order_id} was in hand of {hand.token} until {hand.lease_until}, "
                    f"and given to {later.token} at {later.claimed_at}"
                )


def _delivered(books: Books) -> list[Hand]:
    """Return whom a delivery gave the goods into hand: they are named in what he answered 2xx."""
    fulfilled = {row["order_id"]: row["fulfilled_at"] for row in books.tables["orders"]}
    taken = {}
    for row in reversed(books.tables["delivery_tries"]):
        is_news = fulfilled.get(row["order_id"]) is None or fulfilled[row["order_id"]] > row["at"]
        if is_news and row["status_code"] is not None and row["status_code"] < 300:
            taken[row["event_id"]] = row["at"]
    return [
        Hand(
            order_id=str(event.order["order_id"]),
            token=str(event.data["fulfilment"]["token"]),
            claimed_at=taken[UUID(event.id)],
            lease_until=datetime.fromisoformat(event.data["fulfilment"]["lease_until"]),
        )
        for event in books.world.shop.seen.values()
        if event.type == "order.paid" and UUID(event.id) in taken
    ]


def goods_exclude_refunds(books: Books) -> Iterator[str]:
    """Of an order in hand no money is asked back, and none is taken in hand whose money goes."""
    orders = {str(row["order_id"]): row for row in books.tables["orders"]}
    for hand in books.world.desk.hands:
        order = orders.get(hand.order_id)
        if order is None:
            continue
        for row in books.rows("refunds", order_id=order["order_id"], is_elsewhere=False):
            if row["payment_id"] != order["settled_by"]:
                continue
            asked_at, ended_at = row["requested_at"], row["ended_at"]
            done_at = order["fulfilled_at"]
            in_hand = hand.claimed_at + _SLACK < asked_at < hand.lease_until - _SLACK
            if in_hand and (done_at is None or done_at > asked_at + _HELD_UP):
                yield f"refund {row['refund_id']} was taken on while {hand.token} had the goods"
            is_over = ended_at is not None and ended_at < hand.claimed_at + _SLACK
            if asked_at < hand.claimed_at - _WRITTEN and not is_over:
                yield f"{hand.token} was given goods whose money is asked back: {row['refund_id']}"


def owed_goods_are_offered_again(books: Books) -> Iterator[str]:
    """A paid order that nobody acknowledged, and nothing is in the way of, was told of again."""
    for row in books.rows("orders", status="PAID"):
        if row["paid_at"] + _OFFERED_BY > books.now or _is_in_doubt(books, row):
            continue
        times = books.world.shop.tellings[str(row["order_id"])]
        if row["fulfilment_offers"] < 1 or times < 2:
            yield f"order {row['order_id']} is owed since {row['paid_at']} and told {times} times"


def _is_in_doubt(books: Books, order: Row) -> bool:
    """Say whether money of an order goes back, or went back in the portal: nobody sends goods."""
    of_order: dict[str, Any] = {"order_id": order["order_id"]}
    is_going = any(
        row["ended_at"] is None and row["payment_id"] == order["settled_by"]
        for row in books.rows("refunds", **of_order)
    )
    odd = {"refunded_elsewhere", "provider_contradicts"}
    is_odd = any(
        row["kind"] in odd and row["resolved_at"] is None
        for row in books.rows("anomalies", **of_order)
    )
    return is_going or is_odd


DESK_INVARIANTS: Final[Sequence[Callable[[Books], Iterator[str]]]] = (
    refused_orders_left_nothing,
    nothing_unapproved_is_paid,
    limits_of_refunds_hold,
    one_hand_at_a_time,
    goods_exclude_refunds,
    owed_goods_are_offered_again,
)
