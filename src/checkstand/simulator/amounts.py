"""Amounts between text and Decimal, digit for digit.

Requests carry numbers (or text), answers text, webhooks numbers with eight decimals; none of
them may pass through a float.
"""

import re
from decimal import ROUND_DOWN, Context, Decimal

import msgspec

from checkstand.simulator.rejections import Rejection

#: The largest amount any page of the service names.
AMOUNT_MAX = Decimal("999999999999999.99999999")
_PLACES = Decimal("0.00000001")
_CONTEXT = Context(prec=60, rounding=ROUND_DOWN)
_PLAIN = re.compile(r"[0-9]{1,40}(\.[0-9]{1,40})?", re.ASCII)


def read_amount(value: object, *, name: str, accepts_text: bool) -> Decimal:
    """Return a positive amount of at most 8 decimals; raise `Rejection` for anything else."""
    amount = _number(value, accepts_text=accepts_text)
    if amount is None:
        raise Rejection("400100", name)
    if amount <= 0 or amount > AMOUNT_MAX:
        raise Rejection("400102", name)
    exponent = amount.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -8:
        raise Rejection("400101", name)
    return amount


def _number(value: object, *, accepts_text: bool) -> Decimal | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | Decimal):
        return Decimal(value)
    if accepts_text and isinstance(value, str) and _PLAIN.fullmatch(value):
        return Decimal(value)
    return None


def as_sent(amount: Decimal) -> str:
    """Return the amount as fixed text with the digits it came with: `12.5`."""
    return format(amount, "f")


def as_text(amount: Decimal) -> str:
    """Return the amount as text with eight decimals: `12.50000000`."""
    return format(amount.quantize(_PLACES, context=_CONTEXT), "f")


def as_number(amount: Decimal) -> msgspec.Raw:
    """Return the amount as a JSON number with eight decimals; zero is a bare `0`."""
    return msgspec.Raw(as_text(amount).encode() if amount else b"0")


def share(amount: Decimal, rate: Decimal) -> Decimal:
    """Return `amount` times `rate`, cut to 8 decimals and rid of needless zeros."""
    product = _CONTEXT.multiply(amount, rate).quantize(_PLACES, context=_CONTEXT)
    return Decimal(format(product.normalize(_CONTEXT), "f"))
