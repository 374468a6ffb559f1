"""Set or take back one of an account's limits."""

from decimal import Decimal
from uuid import UUID

from checkstand.domain.limits import COUNTS, PER_CURRENCY, LimitKind, Limits
from checkstand.domain.money import parse_amount, parse_crypto, parse_fiat
from checkstand.errors import Refused
from checkstand.operations.resources import Resources
from checkstand.storage import limits
from checkstand.storage.database import Transaction


async def set_limit(
    resources: Resources, *, account_id: UUID, kind: str, most: str | None, currency: str | None
) -> Limits:
    """Set a limit, or with `most` None take it back; return all of the account's limits.

    Raises Refused for a limit that there is not, or that means nothing.
    """
    which = _kind(kind)
    place = _currency(which, currency)
    value = None if most is None else _value(which, most)
    now = resources.clock.now()

    async def step(tx: Transaction) -> Limits:
        await limits.put(tx, account_id, kind=which, currency=place, most=value, now=now)
        return await limits.list_of(tx, account_id)

    return await resources.database.run(step, name="set_limit")


async def list_limits(resources: Resources, *, account_id: UUID) -> Limits:
    """Read an account's limits."""

    async def read(tx: Transaction) -> Limits:
        return await limits.list_of(tx, account_id)

    return await resources.database.read(read)


def _kind(text: str) -> LimitKind:
    try:
        return LimitKind(text)
    except ValueError:
        known = ", ".join(LimitKind)
        raise Refused(
            "limit_unknown", f"there is no limit {text!r}; there are: {known}", field="kind"
        ) from None


def _currency(kind: LimitKind, currency: str | None) -> str:
    if kind not in PER_CURRENCY:
        if currency:
            raise _invalid(f"{kind} holds for all currencies together", "currency")
        return ""
    if not currency:
        raise _invalid(f"{kind} holds for one currency: say which", "currency")
    for parse in (parse_crypto, parse_fiat):
        try:
            return parse(currency)
        except ValueError:
            continue
    raise _invalid(f"{currency!r} is no currency", "currency")


def _value(kind: LimitKind, text: str) -> Decimal:
    if kind in COUNTS:
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise _invalid(f"{kind} is a whole number", "most")
        return Decimal(text)
    try:
        return parse_amount(text)
    except ValueError as error:
        raise _invalid(str(error), "most") from None


def _invalid(sentence: str, field: str) -> Refused:
    return Refused("limit_invalid", sentence, field=field)
