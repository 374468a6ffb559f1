# Generated from caller.py by scripts/generate_sync_client.py: change that file and run this.
"""Carries an exchange over a transport. All thinking is in `exchange`; here is only the doing."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from checkstand.binance.calls import Call
from checkstand.binance.exchange import CallOptions, Party, Pause, Reply, exchange
from checkstand.binance.idempotency import number_for
from checkstand.binance.transport import Transport, TransportFailure
from checkstand.binance.wire import encode

Q = TypeVar("Q", bound=msgspec.Struct | Mapping[str, Any])
T = TypeVar("T")


class Caller:
    """One party's calls over one transport."""

    def __init__(self, party: Party, transport: Transport) -> None:
        self.party = party
        self.transport = transport

    def call(self, call: Call[Q, T], request: Q, options: CallOptions | None) -> T:
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
                self.transport.sleep(step.seconds)
            else:
                try:
                    reply = self.transport.send(step)
                except TransportFailure as failure:
                    reply = failure
            try:
                step = steps.send(reply)
            except StopIteration as done:
                result: T = done.value
                return result

    def close(self) -> None:
        """Close every connection."""
        self.transport.close()
