"""Money: an exact amount of one asset. Text in, Decimal inside, text out; a float raises.

Amounts keep the digits they came with, so that `12.50` is shown as `12.50`; comparing them
ignores trailing zeros, as Decimal does.
"""

import re
from dataclasses import dataclass
from decimal import Decimal

#: Binance Pay's orders have at most eight decimal places (reference 2.1).
DECIMALS_MAX = 8
#: Binance's own transfer limit has fifteen digits before the point; no order can need more.
DIGITS_MAX = 15

_AMOUNT = re.compile(r"(0|[1-9][0-9]*)(\.[0-9]+)?", re.ASCII)
_CRYPTO = re.compile(r"[A-Z0-9]{2,16}", re.ASCII)
_FIAT = re.compile(r"[A-Z]{3}", re.ASCII)


class MoneyError(ValueError):
    """The text is not an amount or a currency; the message says why and what to write."""


def parse_amount(text: object) -> Decimal:
    """Read a positive amount from its decimal text. Raises MoneyError for anything else."""
    amount = parse_fee(text)
    if amount == 0:
        raise MoneyError("must be more than zero")
    return amount


def parse_fee(text: object) -> Decimal:
    """Read an amount that may be zero: that nothing was taken, or came back, can be said.

    Raises MoneyError for anything else: a number that is not text (a float has lost digits
    before we see it), an exponent, a sign, more than eight decimals.
    """
    if not isinstance(text, str):
        raise MoneyError('must be decimal text such as "12.50", not a number')
    if not _AMOUNT.fullmatch(text):
        raise MoneyError('must be plain decimal text such as "12.50": no sign, exponent or spaces')
    whole, _, decimals = text.partition(".")
    if len(decimals) > DECIMALS_MAX:
        raise MoneyError(f"must have at most {DECIMALS_MAX} decimals")
    if len(whole) > DIGITS_MAX:
        raise MoneyError(f"must have at most {DIGITS_MAX} digits before the point")
    return Decimal(text)


def parse_crypto(text: object) -> str:
    """Read a crypto asset's code: upper case, an open set (Binance decides which it takes)."""
    if not isinstance(text, str) or not _CRYPTO.fullmatch(text):
        raise MoneyError("must be an upper-case asset code such as USDT")
    return text


def parse_fiat(text: object) -> str:
    """Read a fiat currency's ISO 4217 code."""
    if not isinstance(text, str) or not _FIAT.fullmatch(text):
        raise MoneyError("must be a three-letter upper-case currency code such as EUR")
    return text


def render_amount(amount: Decimal) -> str:
    """Write an amount in plain digits, never with an exponent."""
    return f"{amount:f}"


@dataclass(frozen=True, slots=True)
class Money:
    """An amount of one asset. Different assets never compare equal and never add."""

    amount: Decimal
    currency: str

    def __post_init__(self) -> None:
        if not isinstance(self.amount, Decimal):
            raise TypeError(f"money is made from Decimal, not {type(self.amount).__name__}")

    def __str__(self) -> str:
        return f"{render_amount(self.amount)} {self.currency}"
