"""The SDK: Binance Pay's merchant API and its webhooks, typed. Knows nothing of the other rooms.

    from checkstand.binance import BinancePay, verify

Importing it loads neither the HTTP transport nor cryptography; the first client and the first
verification do.
"""

from checkstand.binance.ambient import Clock, Random
from checkstand.binance.client import AsyncBinancePay
from checkstand.binance.client_sync import BinancePay
from checkstand.binance.clock_offset import ClockOffset
from checkstand.binance.errors import (
    AuthenticationFailed,
    BadSignature,
    BinancePayError,
    ClockSkewed,
    ConfigurationError,
    ConnectionFailed,
    ConnectionTimedOut,
    DuplicateRequest,
    InsufficientFunds,
    InvalidRequest,
    MissingHeader,
    NotFound,
    OperationFailed,
    OrderStatusConflict,
    PermissionDenied,
    RateLimited,
    RefundRefused,
    RequestRefused,
    RestrictedLocation,
    ServerFailed,
    SignatureVerificationError,
    TimestampOutOfTolerance,
    UnknownCertificate,
    UnreadableAnswer,
    UnreadableNotification,
)
from checkstand.binance.exchange import CallOptions
from checkstand.binance.messages import (
    Certificate,
    CreatedOrder,
    Goods,
    PaymentInfo,
    PaymentInstruction,
    QueriedOrder,
    QueriedRefund,
    Refund,
    UnitAmount,
)
from checkstand.binance.notifications import (
    BalanceNotice,
    Notification,
    PayNotice,
    PayRefundNotice,
    RefundInfo,
    SignedBytes,
    parse_notification,
)
from checkstand.binance.payer_detail import decrypt_payer_detail
from checkstand.binance.results import LastResponse
from checkstand.binance.transport import (
    Answer,
    AsyncTransport,
    NeverSent,
    NoAnswer,
    Request,
    Transport,
    TransportFailure,
)
from checkstand.binance.verification import (
    ACKNOWLEDGE_FAIL,
    ACKNOWLEDGE_SUCCESS,
    certificate_serial,
    load_key,
    verify,
    verify_signature,
)

__all__ = [
    "ACKNOWLEDGE_FAIL",
    "ACKNOWLEDGE_SUCCESS",
    "Answer",
    "AsyncBinancePay",
    "AsyncTransport",
    "AuthenticationFailed",
    "BadSignature",
    "BalanceNotice",
    "BinancePay",
    "BinancePayError",
    "CallOptions",
    "Certificate",
    "Clock",
    "ClockOffset",
    "ClockSkewed",
    "ConfigurationError",
    "ConnectionFailed",
    "ConnectionTimedOut",
    "CreatedOrder",
    "DuplicateRequest",
    "Goods",
    "InsufficientFunds",
    "InvalidRequest",
    "LastResponse",
    "MissingHeader",
    "NeverSent",
    "NoAnswer",
    "NotFound",
    "Notification",
    "OperationFailed",
    "OrderStatusConflict",
    "PayNotice",
    "PayRefundNotice",
    "PaymentInfo",
    "PaymentInstruction",
    "PermissionDenied",
    "QueriedOrder",
    "QueriedRefund",
    "Random",
    "RateLimited",
    "Refund",
    "RefundInfo",
    "RefundRefused",
    "Request",
    "RequestRefused",
    "RestrictedLocation",
    "ServerFailed",
    "SignatureVerificationError",
    "SignedBytes",
    "TimestampOutOfTolerance",
    "Transport",
    "TransportFailure",
    "UnitAmount",
    "UnknownCertificate",
    "UnreadableAnswer",
    "UnreadableNotification",
    "certificate_serial",
    "decrypt_payer_detail",
    "load_key",
    "parse_notification",
    "verify",
    "verify_signature",
]
