"""One call from the first signature to the verdict, without doing any I/O itself.

`exchange` is a generator: it yields a Request to send or a Pause to keep, is given the Answer or
the TransportFailure, and returns the result or raises the error. Each attempt has its own time,
nonce and signature (Binance takes a time for one second only); what may not be repeated is not;
one deadline lies over everything. `caller.py` and its twin only carry out what is yielded.
"""

from collections.abc import Callable, Generator, Mapping
from datetime import timedelta
from typing import Any, Final, TypeAlias, TypeVar

import msgspec

from checkstand.binance.ambient import Clock, Random
from checkstand.binance.answers import judge, judge_failure
from checkstand.binance.calls import PREFIX, Call, Effect
from checkstand.binance.clock_offset import ClockOffset, parse_http_date
from checkstand.binance.configuration import check_address
from checkstand.binance.errors import BinancePayError, ClockSkewed
from checkstand.binance.idempotency import KeyMemory
from checkstand.binance.signing import Credentials, signed_headers
from checkstand.binance.transport import Answer, Request, TransportFailure
from checkstand.binance.wire import milliseconds

T = TypeVar("T")

#: Full jitter up to this, doubling, after the first failure ...
BACKOFF_SECONDS: Final = 0.5
#: ... and never longer than this, unless Retry-After says so.
BACKOFF_SECONDS_MAX: Final = 5.0
NONCE_LENGTH: Final = 32
OUR_HEADERS: Final = frozenset(
    {"accept", "content-length", "content-type", "host", "transfer-encoding"}
)


class Pause(msgspec.Struct, frozen=True):
    """Wait before going on."""

    seconds: float


class CallOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What one call does differently from its client; None means "as the client"."""

    timeout_seconds: float | None = None  # over all attempts and pauses together
    max_retries: int | None = None
    headers: Mapping[str, str] | None = None  # sent besides ours, never instead
    base_url: str | None = None
    #: Yields the number of what is made, in place of one given. See `idempotency.py`.
    idempotency_key: str | None = None
    namespace: str | None = None  # goes with the key

    def __post_init__(self) -> None:
        if (not self.idempotency_key) != (not self.namespace):
            raise ValueError("idempotency_key and namespace go together")
        if self.base_url is not None:
            check_address(self.base_url)
        for name in self.headers or {}:
            if name.lower() in OUR_HEADERS or name.lower().startswith("binancepay-"):
                raise ValueError(f"the header {name} is the SDK's own")


class Party(msgspec.Struct, frozen=True):
    """Who calls whom, and what they share from call to call."""

    credentials: Credentials
    base_url: str
    clock: Clock
    random: Random
    elapsed_seconds: Callable[[], float]
    offset: ClockOffset
    timeout_seconds: float
    max_retries: int
    keys: KeyMemory = msgspec.field(default_factory=KeyMemory)


Step: TypeAlias = Request | Pause
Reply: TypeAlias = Answer | TransportFailure | None


def exchange(
    call: Call[Any, T], body: bytes, *, party: Party, options: CallOptions | None = None
) -> Generator[Step, Reply, T]:
    """Yield what to do next until it is known how the call ended; raises BinancePayError."""
    options = options or CallOptions()
    deadline = party.elapsed_seconds() + _or(options.timeout_seconds, party.timeout_seconds)
    retries_left = _or(options.max_retries, party.max_retries)
    retries = 0
    may_have_landed = False  # an earlier attempt of this call, that is
    while True:
        last_attempt = retries == retries_left or call.effect is Effect.ONCE
        seconds = _share(deadline - party.elapsed_seconds(), last_attempt=last_attempt)
        outcome, retry_after = yield from _attempt(
            call, body, party=party, timeout_seconds=seconds, options=options
        )
        if not isinstance(outcome, BinancePayError):
            return outcome
        # A refusal of the second sending says nothing about the first.
        outcome.outcome_unknown = may_have_landed = outcome.outcome_unknown or may_have_landed
        if retries == retries_left or not outcome.retryable:
            raise outcome
        pause = _pause_seconds(outcome, retries, retry_after, party.random)
        if party.elapsed_seconds() + pause >= deadline:
            raise outcome
        if pause > 0:
            yield Pause(pause)
        retries += 1


def _attempt(
    call: Call[Any, T],
    body: bytes,
    *,
    party: Party,
    timeout_seconds: float,
    options: CallOptions,
) -> Generator[Step, Reply, tuple[T | BinancePayError, float]]:
    """Sign and send once; return the verdict and the Retry-After in seconds."""
    nonce = party.random.token(NONCE_LENGTH)
    asked_at = party.clock.now()
    timestamp = str(milliseconds(asked_at + party.offset.correction(), "the clock's time"))
    signed = signed_headers(party.credentials, timestamp=timestamp, nonce=nonce, body=body)
    started = party.elapsed_seconds()

    base_url = (options.base_url or party.base_url).rstrip("/")
    headers = [*signed, *(options.headers or {}).items()]
    reply = yield Request(base_url + PREFIX + call.path, headers, body, timeout_seconds)

    if isinstance(reply, TransportFailure):
        return judge_failure(call, reply, nonce=nonce), 0.0
    if not isinstance(reply, Answer):
        raise TypeError(f"a request is answered by an Answer or a TransportFailure, not {reply!r}")
    answered_at = party.clock.now()
    if "age" not in reply.headers:  # else the date is the cache's memory, not Binance's clock
        party.offset.learn(
            asked_at=asked_at, answered_at=answered_at, date=reply.headers.get("date")
        )
    elapsed = timedelta(seconds=party.elapsed_seconds() - started)
    outcome = judge(call, reply, nonce=nonce, elapsed=elapsed)
    if isinstance(outcome, ClockSkewed):
        _tell_offset(outcome, party.offset)
    return outcome, _retry_after_seconds(reply, party.clock)


def _share(seconds_left: float, *, last_attempt: bool) -> float:
    """Return the time an attempt may take: half of what is left, where another may follow."""
    # Else one answer that never comes would use up all the time there was for asking again.
    return max(seconds_left if last_attempt else seconds_left / 2, 0.001)


def _pause_seconds(
    error: BinancePayError, retries: int, retry_after: float, random: Random
) -> float:
    if isinstance(error, ClockSkewed) and retries == 0:
        return 0.0  # the refusal itself told us the right time
    most = min(BACKOFF_SECONDS * 2.0**retries, BACKOFF_SECONDS_MAX)
    return max(most * random.fraction(), retry_after)


def _retry_after_seconds(answer: Answer, clock: Clock) -> float:
    text = answer.headers.get("retry-after", "")
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    moment = parse_http_date(text)
    return 0.0 if moment is None else max((moment - clock.now()).total_seconds(), 0.0)


def _tell_offset(error: ClockSkewed, offset: ClockOffset) -> None:
    bounds = offset.bounds()
    if bounds is None:
        return
    error.least_seconds, error.most_seconds = (bound.total_seconds() for bound in bounds)
    error.add_note(
        f"Binance's clock is {error.least_seconds:+.3f} to {error.most_seconds:+.3f} s ahead of"
        " ours. Keep the host's clock synchronised (NTP)."
    )


def _or(chosen: T | None, default: T) -> T:
    return default if chosen is None else chosen
