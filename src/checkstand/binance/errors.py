"""Everything the SDK raises on purpose, sorted by what the caller may do next.

Refused: Binance said a definite no. Failed: Binance could not say, or not readably. Connection:
nobody said anything. Two flags on every error answer the only questions that matter for money:
`retryable` (may this very call simply be made again?) and `outcome_unknown` (may it have
happened all the same?). Wrong arguments are plain TypeError and ValueError.
"""

from datetime import datetime


class BinancePayError(Exception):
    """The root of the tree."""

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        http_status: int | None = None,
        binance_message: str | None = None,
        retryable: bool = False,
        outcome_unknown: bool = False,
        request_nonce: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code  # Binance's code as text ("400202"); None when it gave none
        self.http_status = http_status
        self.binance_message = binance_message
        #: Transient, and a second sending cannot do the thing twice.
        self.retryable = retryable
        #: It may have happened. Ask Binance by your own id; never start over under a new id.
        self.outcome_unknown = outcome_unknown
        #: Names the (last) request towards Binance's support.
        self.request_nonce = request_nonce


class ConfigurationError(BinancePayError):
    """A key, secret, address or number the client was given cannot work."""


class IdempotencyConflict(BinancePayError):
    """The idempotency key was used for another request. Nothing was sent."""


# --- Nobody said anything -------------------------------------------------------------------


class ConnectionFailed(BinancePayError):
    """No answer came. `outcome_unknown` says whether the request had left before that."""


class ConnectionTimedOut(ConnectionFailed):
    """No answer came in time."""


# --- Binance said no ------------------------------------------------------------------------


class RequestRefused(BinancePayError):
    """Binance said a definite no: this request changed nothing."""


class AuthenticationFailed(RequestRefused):
    """Unknown key, address not allowed, or wrong signature (400002, 400004, 400005)."""


class PermissionDenied(RequestRefused):
    """The key or account may not do this (400203, 400606)."""


class InvalidRequest(RequestRefused):
    """Malformed, or against a rule of the endpoint (400001, 400006 to 400008, 4001xx, ...)."""


class DuplicateRequest(RequestRefused):
    """The number is taken, or malformed: 400201 says both. Query it to know."""


class NotFound(RequestRefused):
    """Binance knows no such order (400202). Soon after an unknown create: not yet a proof."""


class OrderStatusConflict(RequestRefused):
    """The order was paid or is being paid (400204)."""


class RefundRefused(RequestRefused):
    """Too many attempts (400302), or more than is left (400303)."""


class InsufficientFunds(RefundRefused):
    """The merchant's wallet is short (400304). The same request works once it is funded."""


class RateLimited(RequestRefused):
    """Too many requests. Nothing happened; come back later."""


class ClockSkewed(RequestRefused):
    """Our time was outside Binance's window of a second (400003).

    `least_seconds` and `most_seconds` bound how far Binance's clock is ahead of ours, as far as
    its answers tell; both None when they carry no date.
    """

    least_seconds: float | None = None
    most_seconds: float | None = None


# --- Binance could not say ------------------------------------------------------------------


class OperationFailed(BinancePayError):
    """An answer came, but it decides nothing."""


class ServerFailed(OperationFailed):
    """HTTP 5xx, 400000, or another error within Binance."""


class UnreadableAnswer(OperationFailed):
    """Not the documented shape: HTML, cut short, a redirect, a field of another type."""


class RestrictedLocation(OperationFailed):
    """Binance serves nobody from this address (`{"code": 0, ...}`). Nothing happened."""


# --- Webhooks -------------------------------------------------------------------------------


class SignatureVerificationError(BinancePayError):
    """The notification is not proven to come from Binance, or not now."""


class MissingHeader(SignatureVerificationError):
    """A signature header is absent or malformed."""

    def __init__(self, message: str, *, header: str = "") -> None:
        super().__init__(message)
        self.header = header


class UnknownCertificate(SignatureVerificationError):
    """No usable key for the serial. Fetch the certificates again, at most once in a while."""

    def __init__(self, message: str, *, serial: str = "") -> None:
        super().__init__(message)
        self.serial = serial


class BadSignature(SignatureVerificationError):
    """The signature does not fit these bytes under this key."""


class TimestampOutOfTolerance(SignatureVerificationError):
    """Signed by Binance, but too long ago or in the future."""

    def __init__(self, message: str, *, signed_at: datetime | None = None) -> None:
        super().__init__(message)
        self.signed_at = signed_at


class UnreadableNotification(BinancePayError):
    """Signed by Binance, yet not understood. Keep it: truth is never refused.

    The rest says what could be read; `data_text` is the text of `data` where there was one.
    """

    def __init__(
        self,
        message: str,
        *,
        raw: bytes = b"",
        serial: str = "",
        nonce: str = "",
        signed_at: datetime | None = None,
        biz_type: str | None = None,
        biz_id: str | None = None,
        biz_status: str | None = None,
        data_text: str | None = None,
    ) -> None:
        super().__init__(message)
        self.raw = raw
        self.serial = serial
        self.nonce = nonce
        self.signed_at = signed_at
        self.biz_type = biz_type
        self.biz_id = biz_id
        self.biz_status = biz_status
        self.data_text = data_text
