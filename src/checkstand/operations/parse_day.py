"""A day as a person or a program writes it: one reading of it for every door."""

from datetime import date

from checkstand.domain.reconciliation import FIRST_DAY, LAST_DAY
from checkstand.errors import Refused


def parse_day(text: str, *, called: str, field: str) -> date:
    """Read a day; `called` is its name at the door it came by. Raises Refused."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise _no_day(
            f"{called}: {text[:64]!r} is no day; write it like 2026-01-31", field
        ) from None
    if not FIRST_DAY <= day <= LAST_DAY:
        raise _no_day(f"{called}: {day} is not between {FIRST_DAY} and {LAST_DAY}", field)
    return day


def _no_day(why: str, field: str) -> Refused:
    return Refused("invalid_request", why, field=field)
