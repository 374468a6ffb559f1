"""The whole life of a call, driven by hand: no socket, no waiting."""

import re
from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from checkstand.binance import (
    Answer,
    BinancePayError,
    CallOptions,
    ClockOffset,
    ClockSkewed,
    ConnectionFailed,
    ConnectionTimedOut,
    NeverSent,
    NoAnswer,
    NotFound,
    OrderStatusConflict,
    RateLimited,
    Request,
    ServerFailed,
    UnreadableAnswer,
)
from checkstand.binance.calls import CLOSE_ORDER, CREATE_ORDER, LIST_CERTIFICATES, QUERY_ORDER
from checkstand.binance.exchange import Party, Pause, exchange
from checkstand.binance.signing import Credentials, sign

SECRET = "secret-of-the-test"
BODY = b'{"merchantTradeNo":"T1"}'
CERTIFICATES = b'{"status":"SUCCESS","code":"000000","data":[]}'
ACCEPTED = b'{"status":"SUCCESS","code":"000000","data":true}'
UNKNOWN = b'{"status":"FAIL","code":"400000","errorMessage":"try again later"}'


def refusal(code: str) -> bytes:
    return b'{"status":"FAIL","code":"%b","errorMessage":"no"}' % code.encode()


@dataclass
class Stage:
    """Stands in for the driver: hands out times, keeps what was sent, lets pauses pass."""

    clock: Any
    random: Any
    ahead: timedelta = timedelta()  # Binance's clock
    monotonic: float = 1000.0
    trip_seconds: float = 0.05
    requests: list[Request] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.party = Party(
            credentials=Credentials("the-key", SECRET),
            base_url="http://binance.example",
            clock=self.clock,
            random=self.random,
            elapsed_seconds=lambda: self.monotonic,
            offset=ClockOffset(),
            timeout_seconds=10.0,
            max_retries=2,
        )

    def play(self, call: Any, *replies: Any, options: CallOptions | None = None) -> Any:
        """Run a call against these replies; all of them must be used up."""
        steps: Generator[Any, Any, Any] = exchange(call, BODY, party=self.party, options=options)
        left = list(replies)
        reply = None
        try:
            while True:
                step = steps.send(reply)
                if isinstance(step, Pause):
                    self.pauses.append(step.seconds)
                    self._pass(step.seconds)
                    reply = None
                else:
                    self.requests.append(step)
                    self._pass(self.trip_seconds)
                    reply = left.pop(0)
        except StopIteration as done:
            return done.value
        finally:
            assert left == []

    def answer(self, body: bytes, *, status: int = 200, **headers: str) -> Answer:
        date = format_datetime(self.clock.now() + self.ahead, usegmt=True)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Answer(status, {"date": date, **named}, body)

    def _pass(self, seconds: float) -> None:
        self.monotonic += seconds
        self.clock.move(seconds=seconds)


@pytest.fixture
def stage(clock: Any, random: Any) -> Stage:
    return Stage(clock, random)


def timestamps(stage: Stage) -> list[int]:
    return [int(dict(request.headers)["BinancePay-Timestamp"]) for request in stage.requests]


def failing(stage: Stage, call: Any, *replies: Any, **how: Any) -> BinancePayError:
    with pytest.raises(BinancePayError) as caught:
        stage.play(call, *replies, **how)
    return caught.value


def test_a_request_is_signed_over_the_bytes_it_carries(stage: Stage) -> None:
    stage.play(LIST_CERTIFICATES, stage.answer(CERTIFICATES))

    (request,) = stage.requests
    headers = dict(request.headers)
    assert request.url == "http://binance.example/binancepay/openapi/certificates"
    assert request.body is BODY
    assert re.fullmatch(r"[A-Za-z0-9]{32}", headers["BinancePay-Nonce"])
    assert headers["BinancePay-Signature"] == sign(
        SECRET,
        timestamp=headers["BinancePay-Timestamp"],
        nonce=headers["BinancePay-Nonce"],
        body=BODY,
    )


def test_every_attempt_has_its_own_time_nonce_and_signature(stage: Stage) -> None:
    lost = NoAnswer("gone")

    stage.play(LIST_CERTIFICATES, lost, lost, stage.answer(CERTIFICATES))

    assert len(set(timestamps(stage))) == 3
    for name in ("BinancePay-Nonce", "BinancePay-Signature"):
        assert len({dict(request.headers)[name] for request in stage.requests}) == 3


@pytest.mark.parametrize(
    ("call", "unknown", "retryable"),
    [(QUERY_ORDER, False, True), (CLOSE_ORDER, True, True), (CREATE_ORDER, True, False)],
    ids=["query", "close", "create"],
)
@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (NoAnswer("reset"), ConnectionFailed),
        (NoAnswer("late", timed_out=True), ConnectionTimedOut),
        (Answer(502, {}, b"<html>Bad gateway</html>"), ServerFailed),
        (Answer(200, {}, UNKNOWN), ServerFailed),
        (Answer(200, {}, b'{"status":"SUC'), UnreadableAnswer),
        (Answer(200, {}, b'{"status":"SUCCESS","code":"000000","data":7}'), UnreadableAnswer),
        (Answer(200, {}, b""), UnreadableAnswer),
        (Answer(200, {}, b"[" * 100_000), UnreadableAnswer),
        (Answer(302, {"location": "https://elsewhere.example"}, b""), UnreadableAnswer),
    ],
    ids=["reset", "timeout", "502", "400000", "cut", "other_data", "empty", "deep", "redirect"],
)
def test_no_usable_answer_is_unknown_unless_the_call_only_reads(
    stage: Stage, call: Any, unknown: bool, retryable: bool, reply: Any, kind: Any
) -> None:
    error = failing(stage, call, reply, options=CallOptions(max_retries=0))

    assert type(error) is kind
    assert (error.outcome_unknown, error.retryable) == (unknown, retryable)
    assert error.request_nonce == dict(stage.requests[0].headers)["BinancePay-Nonce"]


def test_an_unknown_create_is_never_sent_again(stage: Stage) -> None:
    for reply in (NoAnswer("reset"), stage.answer(UNKNOWN), stage.answer(b"", status=503)):
        failing(stage, CREATE_ORDER, reply)

    assert len(stage.requests) == 3  # one for each
    assert stage.pauses == []


def test_a_create_that_never_left_is_sent_again(stage: Stage) -> None:
    refused = NeverSent("refused")

    error = failing(stage, CREATE_ORDER, refused, refused, refused)

    assert type(error) is ConnectionFailed
    assert (error.outcome_unknown, error.retryable) == (False, True)


def test_a_create_that_left_after_all_is_unknown(stage: Stage) -> None:
    error = failing(stage, CREATE_ORDER, NeverSent("refused"), NoAnswer("reset"))

    assert error.outcome_unknown


def test_a_refused_second_sending_says_nothing_about_the_first(stage: Stage) -> None:
    first = failing(stage, CLOSE_ORDER, stage.answer(refusal("400204"), status=400))
    second = failing(
        stage, CLOSE_ORDER, NoAnswer("reset"), stage.answer(refusal("400204"), status=400)
    )

    assert type(first) is type(second) is OrderStatusConflict
    assert (first.outcome_unknown, second.outcome_unknown) == (False, True)


def test_an_accepted_second_sending_is_an_answer(stage: Stage) -> None:
    assert stage.play(CLOSE_ORDER, NoAnswer("reset"), stage.answer(ACCEPTED)) is True


def test_a_definite_no_is_not_repeated(stage: Stage) -> None:
    error = failing(stage, QUERY_ORDER, stage.answer(refusal("400202"), status=400))

    assert type(error) is NotFound
    assert (error.code, error.http_status, error.binance_message) == ("400202", 400, "no")
    assert (error.outcome_unknown, error.retryable) == (False, False)


@pytest.mark.parametrize("seconds", [-90, -1.5, 1.5, 90])
def test_a_wrong_clock_is_corrected_by_the_refusal_itself(stage: Stage, seconds: float) -> None:
    stage.ahead = timedelta(seconds=seconds)
    refused = stage.answer(refusal("400003"), status=400)

    stage.play(CREATE_ORDER, refused, stage.answer(CREATED))

    before, after = timestamps(stage)
    assert stage.pauses == []
    assert abs((after - before) / 1000 - seconds) < 1


def test_what_was_learnt_of_the_clock_serves_the_next_call(stage: Stage) -> None:
    stage.ahead = timedelta(seconds=-90)
    stage.play(LIST_CERTIFICATES, stage.answer(CERTIFICATES))
    stage.play(LIST_CERTIFICATES, stage.answer(CERTIFICATES))

    assert abs((timestamps(stage)[1] - timestamps(stage)[0]) / 1000 + 90) < 1


def test_a_date_from_a_cache_teaches_nothing(stage: Stage) -> None:
    stage.ahead = timedelta(seconds=-90)

    stage.play(LIST_CERTIFICATES, stage.answer(CERTIFICATES, age="90"))

    assert stage.party.offset.bounds() is None


def test_a_clock_that_stays_wrong_is_reported_with_its_bounds(stage: Stage) -> None:
    stage.ahead = timedelta(seconds=5)
    refused = [stage.answer(refusal("400003"), status=400) for _ in range(3)]

    error = failing(stage, CREATE_ORDER, *refused)

    assert isinstance(error, ClockSkewed)
    assert (error.outcome_unknown, error.retryable) == (False, True)
    assert error.least_seconds is not None
    assert error.most_seconds is not None
    assert error.least_seconds <= 5 <= error.most_seconds
    assert "NTP" in "".join(error.__notes__)


def test_pauses_grow_to_a_limit_and_are_jittered(stage: Stage) -> None:
    stage.random.fraction = lambda: 0.5
    options = CallOptions(max_retries=6, timeout_seconds=100)

    failing(stage, QUERY_ORDER, *[NoAnswer("reset")] * 7, options=options)

    assert stage.pauses == [0.25, 0.5, 1.0, 2.0, 2.5, 2.5]


@pytest.mark.parametrize("retry_after", ["3", "Mon, 23 Nov 2026 12:00:03 GMT"])
def test_retry_after_is_honoured(stage: Stage, retry_after: str) -> None:
    limited = stage.answer(b"slow down", status=429, retry_after=retry_after)

    stage.play(CREATE_ORDER, limited, stage.answer(CREATED))

    assert stage.pauses == [pytest.approx(3, abs=0.1)]


def test_a_pause_beyond_the_deadline_is_not_begun(stage: Stage) -> None:
    error = failing(stage, QUERY_ORDER, stage.answer(b"", status=429, retry_after="60"))

    assert type(error) is RateLimited
    assert stage.pauses == []


def test_one_deadline_lies_over_all_attempts(stage: Stage) -> None:
    stage.trip_seconds = 4.9  # as if each attempt used up what it may

    failing(stage, QUERY_ORDER, NoAnswer("late"), NoAnswer("late"), NoAnswer("late"))

    granted = [request.timeout_seconds for request in stage.requests]
    assert granted == [pytest.approx(5), pytest.approx(2.55), pytest.approx(0.2)]


def test_what_is_sent_once_may_use_all_the_time(stage: Stage) -> None:
    stage.play(CREATE_ORDER, stage.answer(CREATED), options=CallOptions(timeout_seconds=3))

    assert stage.requests[0].timeout_seconds == pytest.approx(3)


def test_options_add_headers_and_cannot_replace_ours(stage: Stage) -> None:
    options = CallOptions(headers={"X-Trace": "7"})

    stage.play(LIST_CERTIFICATES, stage.answer(CERTIFICATES), options=options)

    assert dict(stage.requests[0].headers)["X-Trace"] == "7"
    with pytest.raises(ValueError, match="BinancePay-Nonce"):
        CallOptions(headers={"BinancePay-Nonce": "mine"})


CREATED = (
    b'{"status":"SUCCESS","code":"000000","data":{"prepayId":"1","expireTime":1767229200000,'
    b'"qrContent":"q","qrcodeLink":"l","checkoutUrl":"c","deeplink":"d","universalUrl":"u"}}'
)
