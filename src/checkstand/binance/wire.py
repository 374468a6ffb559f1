"""Between Binance's JSON and plain Python values, losing nothing.

Amounts become Decimals from their own text whether they came as numbers or strings, ids become
text whatever they came as, epoch milliseconds become aware times. Out goes one encoding: unset
fields left out, Decimals as JSON numbers in plain digits.

`Id`, `Moment` and `Amount` name how a field is read; the values are plain str, datetime and
Decimal, which is all a type checker sees.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import msgspec

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)

if TYPE_CHECKING:
    Id: TypeAlias = str
    Moment: TypeAlias = datetime
    Amount: TypeAlias = Decimal
else:

    class _ReadAs(type):
        """Lets msgspec accept the plain value that `_read` made for a marker type."""

        def __instancecheck__(cls, value):
            return isinstance(value, cls.plain)

    class Id(metaclass=_ReadAs):
        """Text, or a number of any size."""

        plain = str

    class Moment(metaclass=_ReadAs):
        """Epoch milliseconds, as a number or its digits."""

        plain = datetime

    class Amount(metaclass=_ReadAs):
        """A decimal number, as a number or its text."""

        plain = Decimal


#: Fields of eight decimals at most go to Binance (reference 2.1).
DECIMALS_MAX: Final = 8
#: What comes in may be longer, but no honest amount needs more digits either side of the point.
_MAGNITUDE_MAX: Final = 64
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER: Final = re.compile(r"-?[0-9]{1,64}(\.[0-9]{1,64})?([eE][+-]?[0-9]{1,3})?", re.ASCII)
_DIGITS: Final = re.compile(r"[0-9]{1,15}", re.ASCII)


class Message(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The base of all requests: what is unset is not sent (nulls are refused in places)."""


def decoder(shape: type[T]) -> msgspec.json.Decoder[T]:
    """Make a decoder that keeps every digit. It raises ValueError or RecursionError."""
    return msgspec.json.Decoder(shape, dec_hook=_read, float_hook=_exact)


def convert(value: Any, shape: type[T]) -> T:
    """Turn an already decoded value into `shape`. Raises ValueError."""
    return msgspec.convert(value, shape, dec_hook=_read)


def convert_what_fits(fields: Mapping[str, Any], shape: type[S]) -> S:
    """Turn a decoded object into `shape`, leaving out optional fields that do not fit theirs.

    That a payment was made must not go unheard because of how it says what it was made with.
    Raises ValueError where a required field is missing or does not fit.
    """
    optional = [each.encode_name for each in msgspec.structs.fields(shape) if not each.required]
    kept = {name: value for name, value in fields.items() if name not in optional}
    for name in optional:
        if name in fields and _fits({**kept, name: fields[name]}, shape):
            kept[name] = fields[name]
    return convert(kept, shape)


def _fits(fields: Mapping[str, Any], shape: type) -> bool:
    try:
        convert(fields, shape)
    except ValueError:
        return False
    return True


def encode(request: msgspec.Struct | Mapping[str, Any]) -> bytes:
    """Write a request once: these bytes are signed and these bytes are sent.

    Aware times go as epoch milliseconds. Raises TypeError for a float anywhere in it: its digits
    are already gone.
    """
    tree = msgspec.to_builtins(request, builtin_types=(Decimal, datetime))
    return _ENCODER.encode(_plain(tree))


def amount_to_send(value: Decimal | str, name: str) -> Decimal:
    """Check an amount before it leaves: Decimal or its text, positive, eight decimals at most.

    Raises TypeError for anything else (a float above all) and ValueError for a wrong amount.
    """
    if not isinstance(value, Decimal | str):
        raise TypeError(f"{name} must be a Decimal or text, not {type(value).__name__}")
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        raise ValueError(f"{name} must be a decimal number, not {value!r}")
    amount = Decimal(value)
    if not amount.is_finite() or amount <= 0:
        raise ValueError(f"{name} must be more than zero")
    exponent = amount.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -DECIMALS_MAX:
        raise ValueError(f"{name} must have at most {DECIMALS_MAX} decimals")
    if amount.adjusted() > _MAGNITUDE_MAX:
        raise ValueError(f"{name} is too large")
    return amount


def optional_amount(value: Decimal | str | None, name: str) -> Decimal | None:
    """Check an amount that need not be given."""
    return None if value is None else amount_to_send(value, name)


def milliseconds(moment: datetime, name: str) -> int:
    """Write an aware time as epoch milliseconds; a naive one raises ValueError."""
    if moment.utcoffset() is None:
        raise ValueError(f"{name} must be an aware datetime")
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def moment(milliseconds_since_epoch: int) -> datetime:
    """Read epoch milliseconds as an aware UTC time. Raises ValueError out of range."""
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds_since_epoch)
    except OverflowError:
        raise ValueError("is no time the calendar knows") from None


def _read(shape: type, value: Any) -> Any:
    if shape is Id:
        return _read_id(value)
    if shape is Moment:
        return _read_moment(value)
    if shape is Amount:
        return _read_amount(value)
    raise NotImplementedError(shape)  # msgspec's word for "none of mine", from such a hook


def _read_id(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ValueError("is no id")


def _read_moment(value: Any) -> datetime:
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return moment(value)
    raise ValueError("is no time in epoch milliseconds")


def _read_amount(value: Any) -> Decimal:
    if (isinstance(value, str) and _NUMBER.fullmatch(value)) or type(value) is int:
        value = Decimal(value)
    if not isinstance(value, Decimal) or not value.is_finite():
        raise ValueError("is no decimal number")
    # Otherwise eight characters could ask for a gigabyte of zeros when the amount is written.
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or not -_MAGNITUDE_MAX <= exponent <= _MAGNITUDE_MAX:
        raise ValueError("is out of range")
    return value


def _exact(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError("is no decimal number") from None


def _plain(value: Any) -> Any:
    """Replace each Decimal by its digits as they stand in JSON (msgspec would write 1E-8)."""
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError("a number in the request is not finite")
        return msgspec.Raw(f"{value:f}".encode())
    if isinstance(value, datetime):
        return milliseconds(value, "a time in the request")
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        raise TypeError("a float has already lost digits: use Decimal or text")
    return value


_ENCODER: Final = msgspec.json.Encoder()

#: Any JSON: objects as dicts, numbers as int or Decimal, nothing rounded.
ANY_JSON: Final[msgspec.json.Decoder[Any]] = decoder(Any)
#: The same where it must be an object.
JSON_OBJECT: Final[msgspec.json.Decoder[dict[str, Any]]] = decoder(dict[str, Any])
