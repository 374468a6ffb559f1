"""Idempotency keys for an API that has none: the same key always yields the same number.

Binance knows orders, refunds, payouts and transfers by a number of the caller's. Derived from a
key, it survives a crash without having been stored. The caller's namespace (a shop, a purpose)
keeps two programs with the same habits ("cart 77") from making one number. What this process sent
under a key is remembered, so that another body under it is refused here.
"""

import hashlib
from collections import OrderedDict
from typing import Final, Protocol

from checkstand.binance.calls import Number
from checkstand.binance.errors import IdempotencyConflict

#: As many keys as a busy shop uses in an hour; an older one is left for Binance to refuse.
KEYS_MAX: Final = 10_000


class Keyed(Protocol):
    """The options that carry a key."""

    @property
    def idempotency_key(self) -> str | None:
        """What the caller calls this one intention."""
        ...

    @property
    def namespace(self) -> str | None:
        """Whose key it is."""
        ...


def number_for(number: Number | None, given: str | None, options: Keyed | None) -> str:
    """Return the caller's number, or the one that the options' key yields.

    Raises ValueError unless there is exactly one of the two.
    """
    if number is None:
        raise ValueError("this call has no number that a key could stand for")
    key = options.idempotency_key if options else None
    if (given is None) == (key is None):
        raise ValueError(f"give the {number.field} or options with an idempotency key, not both")
    if given is not None:
        return given
    # The lengths keep "a" + "bc" and "ab" + "c" apart. 32 hexadecimal digits are 128 bits.
    parts = (number.field, options.namespace or "" if options else "", key or "")
    told = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(told.encode()).hexdigest()[: number.length]


class KeyMemory:
    """What was sent under which key. Safe between threads."""

    def __init__(self) -> None:
        import threading

        self._lock = threading.Lock()
        self._sent: OrderedDict[tuple[str, str, str], bytes] = OrderedDict()

    def check(self, path: str, options: Keyed, body: bytes) -> None:
        """Note a body under its key. Raises IdempotencyConflict where it is another than before."""
        key = (path, options.namespace or "", options.idempotency_key or "")
        digest = hashlib.sha256(body).digest()
        with self._lock:
            known = self._sent.setdefault(key, digest)
            self._sent.move_to_end(key)
            if len(self._sent) > KEYS_MAX:
                self._sent.popitem(last=False)
        if known != digest:
            raise IdempotencyConflict(
                f"{path}: the idempotency key {key[2]!r} was used for another request"
            )
