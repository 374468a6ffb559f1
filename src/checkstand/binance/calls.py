"""Every endpoint as data: where it is, what it takes, what it gives, what a second sending does.

Nothing here talks to anybody: `exchange` reads these rows, the resource classes pass them. A new
endpoint is a row here, its request and result in a `...messages.py`, and a method on a resource.
"""

import enum
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar

import msgspec

from checkstand.binance.account_messages import (
    BalanceReport,
    CoinBalance,
    CreateTransfer,
    ListReportFiles,
    QueryBalance,
    QueryBalanceReport,
    QueryTransfer,
    ReportFile,
    RequestBalanceReport,
    WalletBalance,
    WalletTransfer,
    listed_balance,
    requested_report,
)
from checkstand.binance.messages import (
    Certificate,
    CloseOrder,
    CreatedOrder,
    CreatedOrderV1,
    CreateOrder,
    CreateOrderV1,
    CreateOrderV2,
    ListCertificates,
    QueriedOrder,
    QueriedRefund,
    QueryOrder,
    QueryRefund,
    Refund,
    RefundOrder,
)
from checkstand.binance.partner_messages import (
    AcceptedPayout,
    CheckReceiver,
    CreatedSubMerchant,
    CreatePayout,
    ModifySubMerchant,
    QueriedPayout,
    QueryPayout,
    SubMerchantProfile,
)
from checkstand.binance.results import LastResponse, RawResponse, anything, flag, many, one, told

#: Before every path.
PREFIX: Final = "/binancepay/openapi"

Q = TypeVar("Q", bound=msgspec.Struct | Mapping[str, Any])
T = TypeVar("T")


class Effect(enum.Enum):
    """What sending a request does, and sending it twice."""

    NONE = "reads only: its outcome is never unknown"
    REPEATABLE = "changes something, and a second sending changes nothing more"
    ONCE = "changes something; never sent again while the first may have arrived"


class Number(msgspec.Struct, frozen=True):
    """The field that names what a request makes, and how long it may be."""

    field: str
    length: int


class Call(msgspec.Struct, Generic[Q, T], frozen=True):
    """One endpoint."""

    path: str
    request: type[Q]
    effect: Effect
    read: Callable[[msgspec.Raw, LastResponse], T]  # raises ValueError or RecursionError
    #: Some answers come without the envelope; a success is then any 2xx (reference 2.13).
    bare: bool = False
    #: What an idempotency key stands for; None where the API has no such number.
    number: Number | None = None


# An order's number is the only thing that keeps it from being made twice.
_TRADE_NO: Final = Number("merchantTradeNo", 32)
_REQUEST_ID: Final = Number("requestId", 32)

CREATE_ORDER: Final = Call(
    "/v3/order", CreateOrder, Effect.ONCE, one(CreatedOrder), number=_TRADE_NO
)
CREATE_ORDER_V2: Final = Call(
    "/v2/order", CreateOrderV2, Effect.ONCE, one(CreatedOrder), number=_TRADE_NO
)
CREATE_ORDER_V1: Final = Call(
    "/order", CreateOrderV1, Effect.ONCE, one(CreatedOrderV1), number=_TRADE_NO
)
QUERY_ORDER: Final = Call("/v2/order/query", QueryOrder, Effect.NONE, one(QueriedOrder))
QUERY_ORDER_V1: Final = Call("/order/query", QueryOrder, Effect.NONE, one(QueriedOrder))
# A second close of a closed order is refused (400204), which is no harm: the caller asks anyway.
CLOSE_ORDER: Final = Call("/order/close", CloseOrder, Effect.REPEATABLE, flag)
# Idempotent by refundRequestId on paper; a refusal after an unknown sending would still read like
# a no, so an unknown refund is asked for, not sent again.
REFUND_ORDER: Final = Call(
    "/order/refund", RefundOrder, Effect.ONCE, one(Refund), number=Number("refundRequestId", 64)
)
QUERY_REFUND: Final = Call("/order/refund/query", QueryRefund, Effect.NONE, one(QueriedRefund))
LIST_CERTIFICATES: Final = Call("/certificates", ListCertificates, Effect.NONE, many(Certificate))

QUERY_BALANCE: Final = Call(
    "/v2/balance", QueryBalance, Effect.NONE, one(WalletBalance, mend=listed_balance)
)
QUERY_BALANCE_V1: Final = Call("/balance", QueryBalance, Effect.NONE, one(CoinBalance))
# The one change whose replay is documented: it answers REPEAT_REQ_SUCCESS and moves nothing.
CREATE_TRANSFER: Final = Call(
    "/wallet/transfer", CreateTransfer, Effect.REPEATABLE, one(WalletTransfer), number=_REQUEST_ID
)
QUERY_TRANSFER: Final = Call(
    "/wallet/transfer/query", QueryTransfer, Effect.NONE, one(WalletTransfer)
)
LIST_REPORT_FILES: Final = Call("/report/get-file", ListReportFiles, Effect.NONE, many(ReportFile))
# Not repeated: there are fifty a month.
REQUEST_BALANCE_REPORT: Final = Call(
    "/balance-report", RequestBalanceReport, Effect.ONCE, told(requested_report)
)
QUERY_BALANCE_REPORT: Final = Call(
    "/balance-report/query", QueryBalanceReport, Effect.NONE, one(BalanceReport), bare=True
)

CREATE_PAYOUT: Final = Call(
    "/payout/transfer", CreatePayout, Effect.ONCE, one(AcceptedPayout), number=_REQUEST_ID
)
QUERY_PAYOUT: Final = Call("/payout/query", QueryPayout, Effect.NONE, one(QueriedPayout))
CHECK_RECEIVER: Final = Call("/payout/receiver/check", CheckReceiver, Effect.NONE, flag)
ADD_SUB_MERCHANT: Final = Call(
    "/submerchant/add", SubMerchantProfile, Effect.ONCE, one(CreatedSubMerchant)
)
MODIFY_SUB_MERCHANT: Final = Call(
    "/submerchant/modify", ModifySubMerchant, Effect.REPEATABLE, one(CreatedSubMerchant)
)


def with_response(call: Call[Q, T]) -> Call[Q, RawResponse[T]]:
    """Make the row whose result comes with the response it was read from."""

    def read(data: msgspec.Raw, response: LastResponse) -> RawResponse[T]:
        return RawResponse(call.read(data, response), response)

    return Call(call.path, call.request, call.effect, read, bare=call.bare, number=call.number)


_PATH: Final = re.compile(r"(/[A-Za-z0-9._~-]+)+", re.ASCII)


def unmodelled(path: str, effect: Effect) -> Call[dict[str, Any], Any]:
    """Make a row for an endpoint that has none. Raises ValueError where it is no path."""
    path = path.removeprefix(PREFIX)
    if not _PATH.fullmatch(path):
        raise ValueError(f"a path looks like /direct-debit/contract, not {path!r}")
    # Whether it answers in the envelope is not known either.
    return Call(path, dict[str, Any], effect, anything, bare=True)
