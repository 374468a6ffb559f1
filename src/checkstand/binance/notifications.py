"""What a notification says, read from bytes whose signature is already proven.

`data` comes as JSON text inside JSON, or as an object; ids come as numbers beyond 64 bits;
amounts as numbers or text. All of it is read without losing a digit. A type this SDK does not
model gives a mapping, so that news of tomorrow is not an error today.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import field

from checkstand.binance.errors import UnreadableNotification
from checkstand.binance.messages import PaymentInfo
from checkstand.binance.wire import JSON_OBJECT, Amount, Id, Moment, convert_what_fits, decoder

_UNREADABLE: Final = (ValueError, RecursionError)  # what a decoder raises


class SignedBytes(msgspec.Struct, frozen=True):
    """Bytes that Binance signed, for some merchant, understood or not."""

    raw: bytes
    serial: str  # of the certificate
    nonce: str
    signed_at: datetime


class Notice(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The base of all typed data. An optional field that cannot be read is None."""


class PayNotice(Notice, frozen=True, kw_only=True):
    """PAY: an order was paid or closed."""

    merchant_trade_no: str
    currency: str
    total_fee: Amount  # the order's amount
    commission: Amount | None = None  # the fee; None is "not known", not zero
    transaction_id: Id | None = None
    open_user_id: Id | None = None  # a stable pseudonym of the payer
    transacted_at: Moment | None = field(name="transactTime", default=None)
    trade_type: str | None = None
    product_type: str | None = None
    product_name: str | None = None
    pass_through_info: str | None = None
    payment_info: PaymentInfo | None = None


class RefundInfo(Notice, frozen=True, kw_only=True):
    """One refund of an order."""

    refund_request_id: str
    prepay_id: Id
    order_amount: Amount | None = None
    refunded_amount: Amount | None = None  # in all, this one included
    refund_amount: Amount
    remaining_attempts: int | None = None
    payer_open_id: Id | None = None
    duplicate_request: str | None = None


class PayRefundNotice(Notice, frozen=True, kw_only=True):
    """PAY_REFUND: a refund asked for by API succeeded or was rejected."""

    merchant_trade_no: str
    currency: str | None = None
    total_fee: Amount | None = None
    commission: Amount | None = None
    open_user_id: Id | None = None
    transacted_at: Moment | None = field(name="transactTime", default=None)
    trade_type: str | None = None
    product_type: str | None = None
    product_name: str | None = None
    refund_info: RefundInfo | None = None  # None: query the refunds of this order


class BalanceNotice(Notice, frozen=True, kw_only=True):
    """BALANCE: a balance report is ready."""

    download_id: Id
    download_link: str | None = None
    download_type: str | None = None
    user_id: Id | None = None
    status: Id | None = None  # "2" is success
    expires_at: Moment | None = field(name="expirationTimestamp", default=None)
    created_at: Moment | None = field(name="createTime", default=None)


Data: TypeAlias = PayNotice | PayRefundNotice | BalanceNotice | Mapping[str, Any]

#: How the data of each type is read; any other type stays a mapping.
SHAPES: Final[Mapping[str, type[PayNotice | PayRefundNotice | BalanceNotice]]] = {
    "PAY": PayNotice,
    "PAY_REFUND": PayRefundNotice,
    "BALANCE": BalanceNotice,
}
#: The news that money moved. Elsewhere a missing field is no reason not to understand the rest:
#: what a PAY_CLOSED carries is not documented, and its data is then given as a mapping.
_MUST_FIT: Final = frozenset(
    {
        ("PAY", "PAY_SUCCESS"),
        ("PAY_REFUND", "REFUND_SUCCESS"),
        ("PAY_REFUND", "REFUND_REJECTED"),
    }
)


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """A verified notification. Binance repeats itself: handle each fact once.

    A good key for that is `biz_type`, `biz_id`, `biz_status` and, for refunds (whose `biz_id` is
    the order's), the refund request id.
    """

    biz_type: str
    biz_id: str
    biz_status: str
    serial: str
    nonce: str
    signed_at: datetime
    data: Data
    data_text: str  # exactly as it came
    raw: bytes

    @property
    def fields(self) -> Mapping[str, Any]:
        """All of `data` as Binance sent it, unknown fields included, digits kept."""
        return JSON_OBJECT.decode(self.data_text)


class _Envelope(msgspec.Struct, kw_only=True, rename="camel"):
    biz_type: str
    biz_id: Id | None = None
    biz_id_str: Id | None = None
    biz_status: str
    data: msgspec.Raw


_ENVELOPE: Final = decoder(_Envelope)
_TEXT: Final = decoder(str)
_TYPED: Final = {biz_type: decoder(shape) for biz_type, shape in SHAPES.items()}


def parse_notification(signed: SignedBytes) -> Notification:
    """Read a notification. Raises UnreadableNotification with what could be read of it."""
    try:
        envelope = _ENVELOPE.decode(signed.raw)
    except _UNREADABLE as error:
        raise _unreadable(signed, f"the body: {error}", **_salvage(signed.raw)) from error
    biz_id = envelope.biz_id_str or envelope.biz_id
    read: dict[str, Any] = {
        "biz_type": envelope.biz_type,
        "biz_id": biz_id,
        "biz_status": envelope.biz_status,
    }
    if not biz_id:
        raise _unreadable(signed, "the body has neither bizIdStr nor bizId", **read)
    try:
        read["data_text"] = text = _data_text(envelope.data)
        data = _read_data(envelope, text)
    except _UNREADABLE as error:
        raise _unreadable(signed, f"the data: {error}", **read) from error
    return Notification(
        **read,
        data=data,
        serial=signed.serial,
        nonce=signed.nonce,
        signed_at=signed.signed_at,
        raw=signed.raw,
    )


def _data_text(data: msgspec.Raw) -> str:
    packed = bytes(data)
    return _TEXT.decode(packed) if packed.startswith(b'"') else packed.decode()


def _read_data(envelope: _Envelope, text: str) -> Data:
    typed = _TYPED.get(envelope.biz_type)
    if typed is None:
        return JSON_OBJECT.decode(text)
    try:
        return typed.decode(text)
    except ValueError:
        fields = JSON_OBJECT.decode(text)
    try:
        return convert_what_fits(_unpack_refund(fields), SHAPES[envelope.biz_type])
    except ValueError:
        if (envelope.biz_type, envelope.biz_status) in _MUST_FIT:
            raise
        return fields


def _unpack_refund(fields: dict[str, Any]) -> dict[str, Any]:
    """Unpack `refundInfo`, which is text by the documentation's table, an object by its samples."""
    refund = fields.get("refundInfo")
    if not isinstance(refund, str):
        return fields
    try:
        return {**fields, "refundInfo": JSON_OBJECT.decode(refund)}
    except _UNREADABLE:
        return fields


def _salvage(raw: bytes) -> dict[str, str | None]:
    """Read what can be read of a body that is not as documented."""
    try:
        fields = JSON_OBJECT.decode(raw)
    except _UNREADABLE:
        return {}
    biz_id = fields.get("bizIdStr") or fields.get("bizId")
    return {
        "biz_type": _text_or_none(fields.get("bizType")),
        "biz_id": str(biz_id) if isinstance(biz_id, str | int) else None,
        "biz_status": _text_or_none(fields.get("bizStatus")),
        "data_text": _text_or_none(fields.get("data")),
    }


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _unreadable(signed: SignedBytes, reason: str, **read: Any) -> UnreadableNotification:
    return UnreadableNotification(
        f"signed by Binance, but not understood: {reason}",
        raw=signed.raw,
        serial=signed.serial,
        nonce=signed.nonce,
        signed_at=signed.signed_at,
        **read,
    )
