"""What every result has: frozen typed fields, what else Binance sent, and the response behind it.

`one`, `many`, `told`, `flag` and `anything` make the reading side of a row in `calls.py` from the
shape of its data.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Generic, TypeVar

import msgspec

from checkstand.binance.wire import ANY_JSON, JSON_OBJECT, convert_what_fits, decoder

T = TypeVar("T")


class LastResponse(msgspec.Struct, frozen=True):
    """The HTTP response a result was read from."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    code: str
    elapsed: timedelta  # of the attempt that succeeded
    body: bytes = b""  # all of it, envelope included
    request_nonce: str = ""  # names the request towards Binance's support

    def __repr__(self) -> str:
        return f"LastResponse({self.status}, {self.code!r})"  # links in bodies are capabilities


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
        data = ANY_JSON.decode(self._origin("data"))
        if not isinstance(data, dict):  # a sentence has nothing beside what was read of it
            return {}
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


class RawResponse(msgspec.Struct, Generic[T], frozen=True):
    """A result with the response it was read from; `with_raw_response` gives it."""

    result: T
    response: LastResponse


def one(
    shape: type[R], *, mend: Callable[[dict[str, Any]], dict[str, Any]] | None = None
) -> Callable[[msgspec.Raw, LastResponse], R]:
    """Read one object; an optional field that cannot be read is left at its default.

    `mend` sees the fields of what did not fit and puts a known oddity right.
    """
    decode = decoder(shape).decode

    def read(data: msgspec.Raw, response: LastResponse) -> R:
        try:
            result = decode(data)
        except ValueError:
            fields = JSON_OBJECT.decode(data)
            result = convert_what_fits(mend(fields) if mend else fields, shape)
        return _stamped(result, data, response)

    return read


def many(shape: type[R]) -> Callable[[msgspec.Raw, LastResponse], list[R]]:
    """Read a list of objects."""
    split = decoder(list[msgspec.Raw]).decode
    read_one = one(shape)

    def read(data: msgspec.Raw, response: LastResponse) -> list[R]:
        return [read_one(item, response) for item in split(data)]

    return read


def told(understand: Callable[[Any], R]) -> Callable[[msgspec.Raw, LastResponse], R]:
    """Read what is no object, such as a sentence; `understand` raises ValueError."""

    def read(data: msgspec.Raw, response: LastResponse) -> R:
        return _stamped(understand(ANY_JSON.decode(data)), data, response)

    return read


def flag(data: msgspec.Raw, response: LastResponse) -> bool:  # noqa: ARG001
    """Read a bare true or false."""
    return _FLAG.decode(data)


def anything(data: msgspec.Raw, response: LastResponse) -> Any:  # noqa: ARG001
    """Read any JSON, digits kept (int and Decimal); None where there is no data."""
    return ANY_JSON.decode(data) if bytes(data) else None


def _stamped(result: R, data: msgspec.Raw, response: LastResponse) -> R:
    # Beside the fields, so that equality, repr and encoding are about what Binance said.
    result.__dict__["response"] = response
    result.__dict__["data"] = data
    return result


_FLAG = decoder(bool)
