# Generated from receiving.py by scripts/generate_sync_client.py: change that file and run this.
"""From the raw bytes of a notification to the answer, whatever the framework.

Verified first, handled once, acknowledged last. What a handler raises goes on to the framework:
its error log sees it, the answer is a 500, and Binance tells it again.
"""

from collections.abc import Callable, Mapping

from checkstand.binance.ambient import Random, SystemRandom
from checkstand.binance.client_sync import BinancePay
from checkstand.binance.doors.outcomes import (
    BODY_BYTES_MAX,
    LATER,
    TAKEN,
    TOO_LARGE,
    UNPROVEN,
    Claim,
    Reply,
    fact_of,
)
from checkstand.binance.doors.replays_sync import MemoryReplays, ReplayStore
from checkstand.binance.errors import (
    BinancePayError,
    SignatureVerificationError,
    UnknownCertificate,
    UnreadableNotification,
)
from checkstand.binance.notifications import Notification


class Receiver:
    """What every door does.

    `handle` is called once for each fact. `on_unreadable` gets what Binance signed and this SDK
    does not understand; without it, such news is not acknowledged. There is no limit to a
    notification's age by default: retries may carry their first timestamp, and it is `replays`
    that keeps repetitions out.
    """

    def __init__(
        self,
        client: BinancePay,
        handle: Callable[[Notification], object],
        *,
        replays: ReplayStore | None = None,
        on_unreadable: Callable[[UnreadableNotification], object] | None = None,
        past_seconds: float | None = None,
        future_seconds: float | None = 300,
        random: Random | None = None,
    ) -> None:
        self._client = client
        self._handle = handle
        self._replays = MemoryReplays() if replays is None else replays
        self._on_unreadable = on_unreadable
        self._past_seconds = past_seconds
        self._future_seconds = future_seconds
        self._random = random or SystemRandom()

    def receive(self, raw: bytes, headers: Mapping[str, str]) -> Reply:
        """Return the answer to one request. Raises what a handler raises."""
        if len(raw) > BODY_BYTES_MAX:
            return TOO_LARGE
        try:
            notification = self._client.webhooks.construct_event(
                raw,
                headers,
                past_seconds=self._past_seconds,
                future_seconds=self._future_seconds,
            )
        except UnreadableNotification as error:
            return self._set_aside(error)
        except UnknownCertificate:
            return LATER  # perhaps a new one, and the list was fetched a moment ago
        except SignatureVerificationError:
            return UNPROVEN
        except BinancePayError:
            return LATER  # the keys could not be fetched
        return self._handle_once(notification)

    def _handle_once(self, notification: Notification) -> Reply:
        fact, owner = fact_of(notification), self._random.token(32)
        claim = self._replays.claim(fact, owner=owner)
        if claim is not Claim.OURS:
            return TAKEN if claim is Claim.HANDLED else LATER
        try:
            self._handle(notification)
        except BaseException:  # a cancelled handler has not finished either
            self._replays.release(fact, owner=owner)
            raise
        self._replays.record(fact)
        return TAKEN

    def _set_aside(self, error: UnreadableNotification) -> Reply:
        if self._on_unreadable is None:
            return LATER
        self._on_unreadable(error)
        return TAKEN
