"""What became of an order: read in one snapshot, beside what Binance's own books say."""

from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any
from uuid import UUID

from crash.surroundings import Binance, Shop

_PAYABLE = {"INITIAL", "PENDING"}
_UNENDED = {"PREPARED", "SUBMITTING", "CLOSING"}
#: How an attempt stands at Binance when ours has ended in this way.
_UNPAID_THERE = {"CANCELED", "ERROR", "EXPIRED"}
_ENDED_THERE: Mapping[str, AbstractSet[str | None]] = {
    "PAID": {"PAID", "REFUNDED", "FULL_REFUNDED"},
    "CLOSED": _UNPAID_THERE,
    "LAPSED": _UNPAID_THERE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One order in our database at one moment, and its attempts at Binance."""

    read_at: datetime  # by the database's clock
    order: Any
    attempts: Sequence[Any]
    payments: Sequence[Any]
    refunds: Sequence[Any]
    anomalies: Sequence[Any]
    history: Sequence[Any]
    events: Sequence[Any]
    deliveries: Sequence[Any]
    notices: Sequence[Any]
    theirs: Sequence[Any]  # the simulator's orders, one for each attempt that landed
    their_refunds: Sequence[Any]  # and what went back of them

    @property
    def order_id(self) -> str:
        """Return the order's id as text."""
        return str(self.order["order_id"])

    @property
    def told(self) -> list[str]:
        """Return the types of the events, in the order of the order's versions."""
        return [event["type"] for event in self.events]


async def read_standing(connection: Any, binance: Binance, order_id: UUID) -> Standing:
    """Read all there is about one order."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):

        async def rows(table: str, order_by: str) -> Sequence[Any]:
            found: Sequence[Any] = await connection.fetch(
                f"SELECT * FROM {table} WHERE order_id = $1 ORDER BY {order_by}", order_id
            )
            return found

        attempts = await rows("attempts", "number")
        read = {
            "read_at": await connection.fetchval("SELECT clock_timestamp()"),
            "order": (await rows("orders", "order_id"))[0],
            "attempts": attempts,
            "payments": await rows("payments", "payment_id"),
            "refunds": await rows("refunds", "requested_at, refund_id"),
            "anomalies": await rows("anomalies", "kind, anomaly_id"),
            "history": await rows("order_history", "version"),
            "events": await rows("events", "order_version, type"),
            "deliveries": await rows("deliveries", "order_version, event_id"),
            # One that was only stored has no order yet; a lane has one order at a time.
            "notices": await connection.fetch(
                "SELECT * FROM notices WHERE order_id = $1 OR order_id IS NULL ORDER BY notice_id",
                order_id,
            ),
        }
    found = [await binance.find(attempt["merchant_trade_no"]) for attempt in attempts]
    theirs = [order for order in found if order is not None]
    return Standing(**read, theirs=theirs, their_refunds=await binance.refunds_of(theirs))


def what_is_under_way(standing: Standing) -> str | None:
    """Say why an order is not at rest; None when nothing happens any more by itself."""
    theirs = {order["merchant_trade_no"]: order["status"] for order in standing.theirs}
    for attempt in standing.attempts:
        reason = _why_moving(attempt, theirs.get(attempt["merchant_trade_no"]), standing.read_at)
        if reason is not None:
            return f"attempt {attempt['number']} is {reason}"
    for refund in standing.refunds:
        if refund["status"] not in {"SUCCEEDED", "FAILED"}:
            return f"a refund is {refund['status']}"
    for delivery in standing.deliveries:
        if delivery["status"] == "pending":
            return f"version {delivery['order_version']} is not delivered"
    for notice in standing.notices:
        if notice["outcome"] in {"stored", "orphan"}:
            return f"a notice is {notice['outcome']}"
    return None


def _why_moving(attempt: Any, there: str | None, now: datetime) -> str | None:
    status = str(attempt["status"])
    if status in _UNENDED:
        return status
    if there not in _ENDED_THERE.get(status, _PAYABLE | {None}):
        return f"{status} here and {there} at Binance"
    if attempt["lease_until"] is not None and attempt["lease_until"] > now:
        return "leased"
    is_due = attempt["due_at"] is not None and attempt["due_at"] <= now
    return "due" if is_due else None


def end_state_of(standing: Standing, shop: Shop) -> dict[str, Any]:
    """Say where an order came to rest, leaving out what may differ from run to run.

    Ids and times differ always. The number of codes does when one was replaced after a crash. Of
    two payments either may be the first. An order whose payment is known before its code goes
    from CREATED to PAID, and order.pending is never told.
    """
    passed_over = {"order.pending"} if standing.payments else set()
    return {
        "status": standing.order["status"],
        "told": sorted(type_ for type_ in standing.told if type_ not in passed_over),
        "anomalies": [
            f"{row['kind']} {'open' if row['resolved_at'] is None else row['resolution']}"
            for row in standing.anomalies
        ],
        "money": sorted(
            f"{row['amount']:f} {row['currency']} {'held' if row['held'] else 'counts'}"
            for row in standing.payments
        ),
        "money back": sorted(
            f"{row['status']} {row['returned']} {row['currency']}" for row in standing.refunds
        ),
        "codes to pay by": sum(row["status"] == "OPEN" for row in standing.attempts),
        "goods": shop.goods[standing.order_id],
    }


def find_violations(standing: Standing, shop: Shop) -> list[str]:
    """Hold one order that is at rest against Binance's books and against what the shop heard."""
    return [
        *_about_money(standing, shop),
        *_about_refunds(standing),
        *_about_codes(standing),
        *_about_telling(standing, shop),
    ]


def _about_money(standing: Standing, shop: Shop) -> list[str]:
    found = []
    ours = Counter(
        (str(row["attempt_id"].hex), row["amount"], row["currency"]) for row in standing.payments
    )
    theirs = Counter(
        (order["merchant_trade_no"], Decimal(order["payment"]["amount"]), currency)
        for order in standing.theirs
        if order["payment"] is not None and (currency := order["payment"]["currency"])
    )
    if ours != theirs:
        found.append(f"Binance received {dict(theirs)}, and the books say {dict(ours)}")
    heard = {event.type for event in shop.heard.get(standing.order_id, ())}
    if theirs and not heard & {"order.paid", "order.attention"}:
        found.append("money arrived, and the shop was told neither order.paid nor order.attention")
    if shop.goods[standing.order_id] > 1:
        found.append(f"goods were given out {shop.goods[standing.order_id]} times")
    if (shop.goods[standing.order_id] or "FULFILLED" in _statuses(standing)) and not theirs:
        found.append("goods were given out without a payment")
    if _statuses(standing).count("FULFILLED") > 1:
        found.append("the order was fulfilled more than once")
    return found


def _about_refunds(standing: Standing) -> list[str]:
    """Hold what went back against Binance's books: each once, and booked as it says."""
    ours = {
        row["refund_id"].hex: row["returned"]
        for row in standing.refunds
        if row["status"] == "SUCCEEDED"
    }
    theirs = {
        refund["refund_request_id"]: Decimal(refund["amount"]) for refund in standing.their_refunds
    }
    found = []
    if ours != theirs:
        found.append(f"Binance returned {theirs}, and the books say {ours}")
    refunded = sum((row["refunded"] for row in standing.payments), Decimal(0))
    if refunded != sum(theirs.values(), Decimal(0)):
        found.append(f"{refunded} is booked as returned, of {theirs}")
    if any(row["refund_reserved"] for row in standing.payments):
        found.append("money is still set aside for a refund")
    return found


def _statuses(standing: Standing) -> list[str]:
    """Return the statuses that the order moved into, in order."""
    return [row["status"] for row in standing.history if row["status"] != row["previous_status"]]


def _about_codes(standing: Standing) -> list[str]:
    found = []
    payable = [order for order in standing.theirs if order["status"] == "INITIAL"]
    shown = [row for row in standing.attempts if row["status"] == "OPEN"]
    if len(payable) > 1:
        found.append(f"{len(payable)} codes can be paid at once")
    if [row["merchant_trade_no"] for row in shown] != [o["merchant_trade_no"] for o in payable]:
        found.append(f"{len(shown)} codes are open here, and {len(payable)} can be paid at Binance")
    if any(row["links"] is None and not row["payer_active"] for row in shown):
        found.append("a code is open that nobody can see")
    spans = sorted(_payable_span(order) for order in standing.theirs)
    for (_, ended_ms), (began_ms, _) in pairwise(spans):
        if began_ms < ended_ms:
            found.append(f"two codes could be paid for {ended_ms - began_ms} ms")
    return found


def _payable_span(order: Any) -> tuple[float, float]:
    """Say from when to when an order could be paid, from Binance's history of it."""
    ends = [move["at_ms"] for move in order["history"] if move["status"] not in _PAYABLE]
    return order["created_ms"], min(ends, default=float("inf"))


def _about_telling(standing: Standing, shop: Shop) -> list[str]:
    found = []
    heard = shop.heard.get(standing.order_id, ())
    paid_ids = {event.id for event in heard if event.type == "order.paid"}
    if len(paid_ids) > 1:
        found.append(f"order.paid was told under {len(paid_ids)} ids")
    if missing := {str(row["event_id"]) for row in standing.events} - {e.id for e in heard}:
        found.append(f"{len(missing)} events were not heard")
    if strange := {e.id for e in heard} - {str(row["event_id"]) for row in standing.events}:
        found.append(f"{len(strange)} events were heard that are not written down")
    versions = [row["version"] for row in standing.history]
    if versions != list(range(2, standing.order["version"] + 1)):
        found.append(f"the history has versions {versions} of {standing.order['version']}")
    return found
