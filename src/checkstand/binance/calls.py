"""Every endpoint as data: where it is, what it takes, what it gives, what a second sending does.

Nothing here talks to anybody: `exchange` reads these rows, the resource classes pass them. A new
endpoint is a row here, its request and result in `messages.py`, and a method on a resource.
"""

import enum
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar

import msgspec

from checkstand.binance.messages import (
    Certificate,
    CloseOrder,
    CreatedOrder,
    CreateOrder,
    ListCertificates,
    QueriedOrder,
    QueriedRefund,
    QueryOrder,
    QueryRefund,
    Refund,
    RefundOrder,
)
from checkstand.binance.results import LastResponse, flag, many, one

#: Before every path.
PREFIX: Final = "/binancepay/openapi"

Q = TypeVar("Q", bound=msgspec.Struct | Mapping[str, Any])
T = TypeVar("T")


class Effect(enum.Enum):
    """What sending a request does, and sending it twice."""

    NONE = "reads only: its outcome is never unknown"
    REPEATABLE = "changes something, and a second sending changes nothing more"
    ONCE = "changes something; never sent again while the first may have arrived"


class Call(msgspec.Struct, Generic[Q, T], frozen=True):
    """One endpoint."""

    path: str
    request: type[Q]
    effect: Effect
    read: Callable[[msgspec.Raw, LastResponse], T]  # raises ValueError or RecursionError
    #: Some answers come without the envelope; a success is then any 2xx (reference 2.13).
    bare: bool = False


CREATE_ORDER: Final = Call("/v3/order", CreateOrder, Effect.ONCE, one(CreatedOrder))
QUERY_ORDER: Final = Call("/v2/order/query", QueryOrder, Effect.NONE, one(QueriedOrder))
# A second close of a closed order is refused (400204), which is no harm: the caller asks anyway.
CLOSE_ORDER: Final = Call("/order/close", CloseOrder, Effect.REPEATABLE, flag)
# Idempotent by refundRequestId on paper; a refusal after an unknown sending would still read like
# a no, so an unknown refund is asked for, not sent again.
REFUND_ORDER: Final = Call("/order/refund", RefundOrder, Effect.ONCE, one(Refund))
QUERY_REFUND: Final = Call("/order/refund/query", QueryRefund, Effect.NONE, one(QueriedRefund))
LIST_CERTIFICATES: Final = Call("/certificates", ListCertificates, Effect.NONE, many(Certificate))
