"""Carries an exchange over a transport. All thinking is in `exchange`; here is only the doing."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from checkstand.binance.calls import Call
from checkstand.binance.exchange import CallOptions, Party, Pause, Reply, exchange
from checkstand.binance.idempotency import number_for
from checkstand.binance.transport import AsyncTransport, TransportFailure
from checkstand.binance.wire import encode

Q = TypeVar("Q", bound=msgspec.Struct | Mapping[str, Any])
T = TypeVar("T")


class AsyncCaller:
    """One party's calls over one transport."""

    def __init__(self, party: Party, transport: AsyncTransport) -> None:
        self.party = party
        self.transport = transport

    async def call(self, call: Call[Q, T], request: Q, options: CallOptions | None) -> T:
        """Make one call and return its result. Raises BinancePayError."""
        body = encode(request)
        if options is not None and options.idempotency_key:
            number_for(call.number, None, options)  # raises where a key has no meaning
            self.party.keys.check(call.path, options, body)
        steps = exchange(call, body, party=self.party, options=options)
        step = next(steps)
        while True:
            reply: Reply = None
            if isinstance(step, Pause):
                await self.transport.sleep(step.seconds)
            else:
                try:
                    reply = await self.transport.send(step)
                except TransportFailure as failure:
                    reply = failure
            try:
                step = steps.send(reply)
            except StopIteration as done:
                result: T = done.value
                return result

    async def aclose(self) -> None:
        """Close every connection."""
        await self.transport.aclose()
