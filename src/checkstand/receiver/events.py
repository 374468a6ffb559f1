"""What the gateway tells the shop, read from a body whose signature has already been checked.

Amounts stay the decimal text they are on the wire, types this version does not know stay text, and
a number in the shop's own metadata keeps all its digits.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, TypeVar

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Event:
    """One fact about one order, told at least once."""

    id: str  # the same on every try: what "once" is counted by
    type: str  # order.paid, refund.succeeded, …
    created_at: datetime
    account_id: str
    #: Grows with every change of the order. Events may arrive late and out of order; one whose
    #: version is below the highest seen of its order tells of the past. 0 if about no order.
    order_version: int
    #: The order as it was then, as `GET /api/payments/binance/orders/{order_id}` shows it; amounts
    #: are decimal text. Empty if the event is about no order.
    order: Mapping[str, Any] = field(repr=False)
    data: Mapping[str, Any] = field(repr=False)  # everything the event carries, the order included
    raw: bytes = field(repr=False)  # the signed body, for the shop's own records


def parse_event(raw: bytes) -> Event:
    """Read a signed body; raises ValueError with a sentence on what is wrong with it."""
    try:
        content = json.loads(
            raw.decode("utf-8"), parse_float=Decimal, parse_constant=_no_such_number
        )
    except RecursionError:
        raise ValueError("the body is nested too deeply") from None
    if not isinstance(content, dict):
        raise ValueError("the body is not a JSON object")  # noqa: TRY004 - a bad value, not a misuse
    data = _field(content, "data", dict)
    order = _field(data, "order", dict) if data.get("order") is not None else {}
    has_version = content.get("order_version") is not None
    return Event(
        id=_field(content, "id", str),
        type=_field(content, "type", str),
        created_at=_moment(_field(content, "created_at", str)),
        account_id=_field(content, "account_id", str),
        order_version=_field(content, "order_version", int) if has_version else 0,
        order=MappingProxyType(order),
        data=MappingProxyType(data),
        raw=raw,
    )


def _field(content: Mapping[str, Any], name: str, kind: type[_T]) -> _T:
    value = content.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{name} is missing or of the wrong kind")  # noqa: TRY004 - as above
    return value


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("created_at has no time zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("created_at lies outside of time") from None


def _no_such_number(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number")
