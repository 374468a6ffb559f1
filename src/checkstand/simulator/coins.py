"""Which coins a payer may choose for an order, and what the order costs in one of them.

The prices are the settings' and made up; the real service converts at market rates.
"""

from dataclasses import dataclass
from decimal import ROUND_UP, Context, Decimal

from checkstand.simulator.amounts import share
from checkstand.simulator.records import Order
from checkstand.simulator.world import World

_PLACES = Decimal("0.00000001")
_CONTEXT = Context(prec=60, rounding=ROUND_UP)  # who pays never pays too little


@dataclass(frozen=True, slots=True)
class Quote:
    """What an order costs in one coin."""

    currency: str
    amount: Decimal
    price: Decimal  # of one such coin, in the order's currency


def list_pay_currencies(world: World, order: Order) -> list[str]:
    """Return the coins an order may be paid with, its own first."""
    known = world.settings.coin_prices
    allowed = [each for each in order.pay_currencies or sorted(known) if each in known]
    return sorted(allowed, key=lambda each: each != order.currency)


def quote(world: World, order: Order, currency: str) -> Quote:
    """Return what an order costs in a coin that is known."""
    if currency == order.currency:
        return Quote(currency, order.amount, Decimal(1))
    prices = world.settings.coin_prices
    cost = _CONTEXT.multiply(order.amount, prices[order.currency])
    amount = _CONTEXT.divide(cost, prices[currency]).quantize(_PLACES, context=_CONTEXT)
    price = share(prices[currency], _CONTEXT.divide(Decimal(1), prices[order.currency]))
    return Quote(currency, Decimal(format(amount.normalize(_CONTEXT), "f")), price)
