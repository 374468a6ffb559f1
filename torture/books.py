"""Both sides when everything has come to rest: our rows, and Binance's own books in the world."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from checkstand.domain.anomaly import UNSETTLED_MONEY
from checkstand.simulator.records import Order, Refund
from checkstand.simulator.server import DEFAULT_MERCHANT
from torture.backups import Forgotten
from torture.world import World

Row = Mapping[str, Any]
#: Hosts learn the database's clock to within their way to it.
CLOCKS_AGREE: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """Both sides at the end."""

    world: World
    now: datetime
    tables: Mapping[str, Sequence[Row]]
    timelines: Mapping[str, Sequence[Mapping[str, Any]]]  # by order id
    flaws: Sequence[str] = ()  # that the ledger's own verification found

    def rows(self, table: str, **wanted: Any) -> list[Row]:
        """Return the rows of a table that have these values."""
        return [
            row
            for row in self.tables[table]
            if all(row[name] == value for name, value in wanted.items())
        ]

    @property
    def received(self) -> dict[str, Order]:
        """Return Binance's orders of ours that were paid, by attempt id."""
        return {
            order.merchant_trade_no: order
            for order in self.world.simulator.store.orders.values()
            if order.merchant_id == DEFAULT_MERCHANT.merchant_id and order.payment is not None
        }

    @property
    def forgotten(self) -> Forgotten:
        """Return what restored databases do not know."""
        return self.world.calamities.forgotten

    @property
    def strays(self) -> dict[str, Order]:
        """Return the orders that were made with another merchant's keys, by attempt id.

        Nothing in the answer to a create says whose it is, so a code may be shown, and paid, before
        the first query stops the account. Not the stranger's own that only have our numbers.
        """
        return {
            order.merchant_trade_no: order
            for order in self.world.simulator.store.orders.values()
            if order.merchant_id != DEFAULT_MERCHANT.merchant_id and order.pass_through_info
        }

    @property
    def paid(self) -> dict[str, Order]:
        """Return every order that somebody paid in good faith, by attempt id."""
        return {n: order for n, order in self.strays.items() if order.payment} | self.received

    def is_elsewhere(self, refund: Refund) -> bool:
        """Say whether our rows cannot know of a refund: it was made in the portal, or forgotten."""
        return refund.by_portal or refund.refund_request_id in self.forgotten.refunds

    def has_unsettled_money(self, order_id: Any) -> bool:
        """Say whether a person has to decide about an order first."""
        return any(
            row["resolved_at"] is None and row["kind"] in UNSETTLED_MONEY
            for row in self.rows("anomalies", order_id=order_id)
        )

    def attempt_of(self, payment_id: Any) -> str:
        """Return the number of the attempt that a payment was made for."""
        found = self.rows("payments", payment_id=payment_id)
        return str(found[0]["attempt_id"].hex) if found else "none"

    def heard_of_refund(self, refund_id: Any, type_: str) -> bool:
        """Say whether the shop took an event of a type about a refund."""
        return any(
            event.type == type_ and event.data["refund"]["refund_id"] == str(refund_id)
            for event in self.world.shop.seen.values()
        )

    def heard(self, order_id: Any, type_: str) -> int:
        """Return how many events of a type the shop took about an order."""
        return sum(
            event.type == type_ and event.order.get("order_id") == str(order_id)
            for event in self.world.shop.seen.values()
        )


def awaits_approval(refund: Row) -> bool:
    """Say whether a refund waits for a second person: that may be for ever."""
    is_held = refund["approval_reason"] is not None and refund["approved_at"] is None
    return is_held and refund["status"] == "REQUESTED"
