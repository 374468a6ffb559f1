"""The same calls with the response beside each result: `client.orders.with_raw_response`.

A view is the ordinary resource over a caller that reads each answer into a RawResponse. That its
methods then return something else than they say is put right by `as_raw`, for type checkers.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ParamSpec, TypeVar, cast

import msgspec

from checkstand.binance.caller import AsyncCaller
from checkstand.binance.calls import Call, with_response
from checkstand.binance.exchange import CallOptions
from checkstand.binance.results import RawResponse

P = ParamSpec("P")
Q = TypeVar("Q", bound=msgspec.Struct | Mapping[str, Any])
T = TypeVar("T")


class AsyncRawCaller(AsyncCaller):
    """A caller whose every result is a RawResponse."""

    def __init__(self, caller: AsyncCaller) -> None:
        super().__init__(caller.party, caller.transport)

    async def call(self, call: Call[Q, T], request: Q, options: CallOptions | None) -> T:
        """Make one call and return its result with its response. Raises BinancePayError."""
        return cast("T", await super().call(with_response(call), request, options))


def as_raw(method: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[RawResponse[T]]]:
    """Say of a method over a raw caller what it really returns."""
    raw: Any = method
    return cast("Callable[P, Awaitable[RawResponse[T]]]", raw)
