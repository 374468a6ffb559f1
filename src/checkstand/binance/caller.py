"""Carries an exchange over a transport. All thinking is in `exchange`; here is only the doing."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from checkstand.binance.calls import Call
from checkstand.binance.exchange import CallOptions, Party, Pause, Reply, exchange
from checkstand.binance.transport import AsyncTransport, TransportFailure
from checkstand.binance.wire import encode

Q = TypeVar("Q", bound=msgspec.Struct | Mapping[str, Any])
T = TypeVar("T")


class AsyncCaller:
    """One party's calls over one transport."""

    def __init__(self, party: Party, transport: AsyncTransport) -> None:
        self.party = party
        self._transport = transport

    async def call(self, call: Call[Q, T], request: Q, options: CallOptions | None) -> T:
        """Make one call and return its result. Raises BinancePayError."""
        steps = exchange(call, encode(request), party=self.party, options=options)
        step = next(steps)
        while True:
            reply: Reply = None
            if isinstance(step, Pause):
                await self._transport.sleep(step.seconds)
            else:
                try:
                    reply = await self._transport.send(step)
                except TransportFailure as failure:
                    reply = failure
            try:
                step = steps.send(reply)
            except StopIteration as done:
                result: T = done.value
                return result

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()
