"""What every result has: frozen typed fields, what else Binance sent, and the response behind it.

`one`, `many` and `flag` make the reading side of a row in `calls.py` from the shape of its data.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

import msgspec

from checkstand.binance.wire import JSON_OBJECT, convert_what_fits, decoder


class LastResponse(msgspec.Struct, frozen=True):
    """The HTTP response a result was read from."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    code: str
    elapsed: timedelta  # of the attempt that succeeded


class Result(msgspec.Struct, frozen=True, kw_only=True, rename="camel", dict=True):
    """The base of all results."""

    @property
    def last_response(self) -> LastResponse:
        """The HTTP response behind this result."""
        response: LastResponse = self._origin("response")
        return response

    @property
    def extras(self) -> Mapping[str, Any]:
        """What Binance sent and no field shows, digits kept (int and Decimal).

        That is fields this SDK does not model, and optional ones whose value it could not read.
        """
        # Read again only when asked for: nearly nobody does.
        data = JSON_OBJECT.decode(self._origin("data"))
        shown = dict(zip(self.__struct_encode_fields__, self.__struct_fields__, strict=True))
        return {
            name: value
            for name, value in data.items()
            if name not in shown or (value is not None and getattr(self, shown[name]) is None)
        }

    def _origin(self, name: str) -> Any:
        try:
            return self.__dict__[name]
        except KeyError:
            raise AttributeError("this result was not read from a response") from None


R = TypeVar("R", bound=Result)


def one(shape: type[R]) -> Callable[[msgspec.Raw, LastResponse], R]:
    """Read one object; an optional field that cannot be read is left at its default."""
    decode = decoder(shape).decode

    def read(data: msgspec.Raw, response: LastResponse) -> R:
        try:
            result = decode(data)
        except ValueError:
            result = convert_what_fits(JSON_OBJECT.decode(data), shape)
        # Beside the fields, so that equality, repr and encoding are about what Binance said.
        result.__dict__["response"] = response
        result.__dict__["data"] = data
        return result

    return read


def many(shape: type[R]) -> Callable[[msgspec.Raw, LastResponse], list[R]]:
    """Read a list of objects."""
    split = decoder(list[msgspec.Raw]).decode
    read_one = one(shape)

    def read(data: msgspec.Raw, response: LastResponse) -> list[R]:
        return [read_one(item, response) for item in split(data)]

    return read


def flag(data: msgspec.Raw, response: LastResponse) -> bool:  # noqa: ARG001
    """Read a bare true or false."""
    return _FLAG.decode(data)


_FLAG = decoder(bool)
