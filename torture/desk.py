"""What the people around the gateway did and were told, as they would remember it afterwards.

Kept by the actions of `staff.py` and `workers.py`, and read by `desk_invariants.py`: what our rows
say is judged by it, never the other way round.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

_UNPAID: Final = frozenset({"CREATED", "PENDING_PAYMENT"})
#: Creates go by limits read up to ten seconds before; a slow database holds one up for longer.
STALE_SECONDS: Final = 30.0

BUYER_LIMIT: Final = "open_orders_per_buyer"


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSet:
    """A limit that somebody set, or took back: begun and done at these moments of the plan."""

    kind: str
    currency: str
    most: Decimal | None
    begun_at: float
    done_at: float = float("inf")  # for ever, where nobody was told that it was done


@dataclass(slots=True, kw_only=True)
class Hand:
    """A worker of the shop with an order's goods in hand, as the gateway told him."""

    order_id: str
    token: str
    claimed_at: datetime  # on the database's clock, as is the next
    lease_until: datetime
    told_at: datetime | None = None  # when he began to say that the goods are sent


@dataclass(slots=True)
class Desk:
    """The memory of everybody around."""

    limits: list[LimitSet] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)  # orders, by the name of what was for sale
    second_key: str = ""
    approved_at_ms: dict[str, int] = field(default_factory=dict)  # Binance's time, by refund id
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)  # (refund id, said)
    hands: list[Hand] = field(default_factory=list)
    has_accountant: bool = False
    audited_until: date | None = None  # to which day all was compared at the very end
    open_at_end: Sequence[Mapping[str, Any]] = field(default=())  # discrepancies found then
    summaries: dict[str, str] = field(default_factory=dict)  # of closed days, as first heard
    done: Counter[str] = field(default_factory=Counter)  # how often what happened
    _known: set[str] = field(default_factory=set)
    _open: list[tuple[float, Counter[str]]] = field(default_factory=list)  # by buyer, over time

    def most_at(self, kind: str, currency: str, at: float) -> Decimal | None:
        """Return the most that may have been allowed at a moment; None for anything."""
        past = [s for s in self.limits if (s.kind, s.currency) == (kind, currency)]
        ends = [*(s.done_at + STALE_SECONDS for s in past[1:]), float("inf")]
        if not past or at < past[0].done_at + STALE_SECONDS:
            return None
        allowed = [s.most for s, end in zip(past, ends, strict=True) if s.begun_at <= at <= end]
        return None if None in allowed else max(each for each in allowed if each is not None)

    def may_have_refused(self, kind: str, since: float) -> bool:
        """Say whether a limit of a kind may have been in force at any moment since then."""
        past = [s for s in self.limits if s.kind == kind]
        ends = [*(s.done_at + STALE_SECONDS for s in past[1:]), float("inf")]
        return any(s.most is not None and end >= since for s, end in zip(past, ends, strict=True))

    def heed_orders(self, orders: str, *, at: float) -> Iterator[str]:
        """Look at the orders after a commit: no new one takes its buyer above the limit."""
        open_now, fresh = Counter[str](), list[str]()
        for entry in orders.split():
            order_id, status, _, *buyer = entry.split(":")
            if not buyer:
                continue
            if status in _UNPAID:
                open_now[buyer[0]] += 1
            if order_id not in self._known:
                self._known.add(order_id)
                fresh.append(buyer[0])
        if self._open or open_now:
            self._open.append((at, open_now))
        most = self.most_at(BUYER_LIMIT, "", at)
        for buyer_ in fresh:
            if most is not None and open_now[buyer_] > most:
                yield f"buyer {buyer_} has {open_now[buyer_]} open orders, {most} are allowed"

    def most_open(self, buyer: str, since: float) -> int:
        """Return the largest number of open orders that a buyer had at once since a moment."""
        before = [found[buyer] for at, found in self._open if at <= since][-1:]
        return max([0, *before, *(found[buyer] for at, found in self._open if at > since)])
