"""The API's words about the books. Amounts are text."""

import re
from datetime import date, datetime
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from checkstand.web.api.models import _Filters

_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


def _day(text: object) -> object:
    """Refuse what would be read as seconds since 1970."""
    if isinstance(text, str) and not _DAY.fullmatch(text):
        raise ValueError("must be a day such as 2026-11-25")
    return text


class BalanceFilters(BaseModel):
    """Which balances are read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at: Annotated[
        date | None,
        BeforeValidator(_day),
        Field(description="The day (UTC) at whose end; now when it is not given."),
    ] = None
    asset: Annotated[str | None, Field(max_length=16)] = None


class TransferFilters(_Filters):
    """Which transfers are listed."""

    order_id: Annotated[str | None, Field(description="Those of one order.")] = None


class UnknownFeeFilters(_Filters):
    """Which page of payments without a known fee is listed."""


class BalanceView(BaseModel):
    """What stands on one account of the books in one asset: debits less credits."""

    account: Annotated[str, Field(examples=["binance:funding"])]
    asset: str
    balance: Annotated[str, Field(description="Below zero on accounts that money came from.")]


class BalanceList(BaseModel):
    """Every account of the books; each asset's balances add up to zero."""

    before: Annotated[datetime, Field(description="What was booked before this counts.")]
    data: list[BalanceView]


class TransferView(BaseModel):
    """A movement in the books: never changed, never removed."""

    transfer_id: Annotated[str, Field(description="Its kind and its fact.")]
    kind: str
    fact: str
    asset: str
    amount: str
    debit: str
    credit: str
    at: datetime
    order_id: str | None
    payment_id: str | None
    refund_id: str | None
    group_id: str | None
    seal: Annotated[int | None, Field(description="The seal it is in; null until it is sealed.")]


class TransferList(BaseModel):
    """A page of transfers, newest first."""

    data: list[TransferView]
    has_more: bool


class UnknownFeeView(BaseModel):
    """A payment whose fee Binance has not told: nothing is booked for it yet."""

    payment_id: str
    order_id: str
    amount: str
    currency: str
    received_at: datetime


class UnknownFeeList(BaseModel):
    """A page of payments without a known fee, oldest first."""

    data: list[UnknownFeeView]
    has_more: bool
