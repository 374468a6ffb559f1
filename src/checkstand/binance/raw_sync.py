# Generated from raw.py by scripts/generate_sync_client.py: change that file and run this.
"""The same calls with the response beside each result: `client.orders.with_raw_response`.

A view is the ordinary resource over a caller that reads each answer into a RawResponse. That its
methods then return something else than they say is put right by `as_raw`, for type checkers.
"""

from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar, cast

import msgspec

from checkstand.binance.caller_sync import Caller
from checkstand.binance.calls import Call, with_response
from checkstand.binance.exchange import CallOptions
from checkstand.binance.results import RawResponse

P = ParamSpec("P")
Q = TypeVar("Q", bound=msgspec.Struct | Mapping[str, Any])
T = TypeVar("T")


class RawCaller(Caller):
    """A caller whose every result is a RawResponse."""

    def __init__(self, caller: Caller) -> None:
        super().__init__(caller.party, caller.transport)

    def call(self, call: Call[Q, T], request: Q, options: CallOptions | None) -> T:
        """Make one call and return its result with its response. Raises BinancePayError."""
        return cast("T", super().call(with_response(call), request, options))


def as_raw(method: Callable[P, T]) -> Callable[P, RawResponse[T]]:
    """Say of a method over a raw caller what it really returns."""
    raw: Any = method
    return cast("Callable[P, RawResponse[T]]", raw)
