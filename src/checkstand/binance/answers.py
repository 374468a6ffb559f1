"""What an answer means: a result, a definite no, or nothing we can rely on.

The body is read first, whatever the HTTP status: Binance's status codes for refusals are not
documented. Success is only `SUCCESS` with `000000`, or the replay pair of wallet transfers;
`{"code": 0}` is the geographic block, which looks like success to whoever reads it as a number.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, TypeVar

import msgspec

from checkstand.binance import errors
from checkstand.binance.calls import Call, Effect
from checkstand.binance.errors import BinancePayError
from checkstand.binance.results import LastResponse
from checkstand.binance.transport import Answer, NoAnswer, TransportFailure
from checkstand.binance.wire import decoder

T = TypeVar("T")

_SUCCESS: Final = frozenset({("SUCCESS", "000000"), ("REPEAT_REQ_SUCCESS", "000001")})

#: A definite no, by code (reference 5). A code that is not here is refused all the same.
REFUSALS: Final[Mapping[str, type[errors.RequestRefused]]] = {
    "400001": errors.InvalidRequest,
    "400002": errors.AuthenticationFailed,
    "400003": errors.ClockSkewed,
    "400004": errors.AuthenticationFailed,
    "400005": errors.AuthenticationFailed,
    "400006": errors.InvalidRequest,
    "400007": errors.InvalidRequest,
    "400008": errors.InvalidRequest,
    "400100": errors.InvalidRequest,
    "400101": errors.InvalidRequest,
    "400102": errors.InvalidRequest,
    "400103": errors.InvalidRequest,
    "400104": errors.InvalidRequest,
    "400201": errors.DuplicateRequest,
    "400202": errors.NotFound,
    "400203": errors.PermissionDenied,
    "400204": errors.OrderStatusConflict,
    "400205": errors.DuplicateRequest,
    "400206": errors.InvalidRequest,
    "400301": errors.InvalidRequest,
    "400302": errors.RefundRefused,
    "400303": errors.RefundRefused,
    "400304": errors.InsufficientFunds,
    "400601": errors.NotFound,
    "400606": errors.PermissionDenied,
    "406108": errors.RateLimited,
}
#: Codes that decide nothing. 100001001 ("System abnormality") answers malformed calls, which ours
#: are not, so from us it is Binance's trouble and may have come after the effect.
FAILURES: Final = frozenset({"400000", "50001", "100001001"})
#: A no that may be a yes in a moment.
_TRANSIENT: Final = (errors.RateLimited, errors.ClockSkewed)


class _Envelope(msgspec.Struct, rename="camel"):
    status: str | None = None
    code: str | int | None = None
    data: msgspec.Raw = msgspec.Raw()
    error_message: Any = None
    msg: Any = None  # the FAQ's spelling, and the gateway's
    error_data: Any = None


_ENVELOPE: Final = decoder(_Envelope)


def judge(
    call: Call[Any, T], answer: Answer, *, nonce: str, elapsed: timedelta
) -> T | BinancePayError:
    """Return the result, or the error the answer amounts to (returned, not raised)."""
    facts = _Facts(call, answer, nonce)
    try:
        envelope = _ENVELOPE.decode(answer.body)
    except (ValueError, RecursionError):
        return _without_envelope(facts)
    code = str(envelope.code)
    if (envelope.status, code) in _SUCCESS:
        return _result(call, facts, envelope.data, code=code, elapsed=elapsed)
    if envelope.code is None:
        if call.bare and 200 <= answer.status < 300:
            return _result(call, facts, msgspec.Raw(answer.body), code="", elapsed=elapsed)
        return _without_envelope(facts)
    return _refusal(facts, envelope, code=code)


def judge_failure(
    call: Call[Any, Any], failure: TransportFailure, *, nonce: str
) -> BinancePayError:
    """Return the error that a missing answer amounts to."""
    kind = errors.ConnectionTimedOut if failure.timed_out else errors.ConnectionFailed
    sent = isinstance(failure, NoAnswer)
    return kind(
        f"{call.path}: {failure}",
        outcome_unknown=sent and call.effect is not Effect.NONE,
        retryable=not sent or call.effect is not Effect.ONCE,
        request_nonce=nonce,
    )


class _Facts(msgspec.Struct):
    """What every error of one answer carries."""

    call: Call[Any, Any]
    answer: Answer
    nonce: str

    def refused(
        self, kind: type[BinancePayError], *, code: str | None, message: str | None
    ) -> BinancePayError:
        """Nothing happened."""
        retryable = issubclass(kind, _TRANSIENT)
        return self._make(kind, code, message, retryable=retryable, outcome_unknown=False)

    def undecided(
        self,
        kind: type[BinancePayError],
        *,
        code: str | None,
        message: str | None,
        transient: bool = True,
    ) -> BinancePayError:
        """Anything may have happened, unless the call only reads."""
        return self._make(
            kind,
            code,
            message,
            retryable=transient and self.call.effect is not Effect.ONCE,
            outcome_unknown=self.call.effect is not Effect.NONE,
        )

    def _make(
        self,
        kind: type[BinancePayError],
        code: str | None,
        message: str | None,
        *,
        retryable: bool,
        outcome_unknown: bool,
    ) -> BinancePayError:
        said = " ".join(part for part in (code, message) if part)
        return kind(
            f"{self.call.path}: HTTP {self.answer.status} {said}".rstrip(),
            code=code,
            http_status=self.answer.status,
            binance_message=message,
            retryable=retryable,
            outcome_unknown=outcome_unknown,
            request_nonce=self.nonce,
        )


def _result(
    call: Call[Any, T], facts: _Facts, data: msgspec.Raw, *, code: str, elapsed: timedelta
) -> T | BinancePayError:
    answer = facts.answer
    response = LastResponse(answer.status, answer.headers, code, elapsed, answer.body, facts.nonce)
    try:
        return call.read(data, response)
    except (ValueError, RecursionError) as error:
        return facts.undecided(errors.UnreadableAnswer, code=code or None, message=str(error))


def _without_envelope(facts: _Facts) -> BinancePayError:
    status = facts.answer.status
    if status == 429:
        return facts.refused(errors.RateLimited, code=None, message=None)
    if status >= 500:
        return facts.undecided(errors.ServerFailed, code=None, message=None)
    # A 4xx page (the WAF's 403, a wrong base address) will not read better the second time.
    transient = status < 400 or status == 408
    return facts.undecided(
        errors.UnreadableAnswer, code=None, message="not an answer of the API", transient=transient
    )


def _refusal(facts: _Facts, envelope: _Envelope, *, code: str) -> BinancePayError:
    message = _first_text(envelope.error_message, envelope.msg, envelope.error_data)
    if code == "0" and "restricted location" in (message or ""):
        return facts.refused(errors.RestrictedLocation, code=code, message=message)
    if facts.answer.status == 429:
        return facts.refused(errors.RateLimited, code=code, message=message)
    if code in REFUSALS:
        return facts.refused(REFUSALS[code], code=code, message=message)
    if code in FAILURES or facts.answer.status >= 500 or envelope.status == "ERROR":
        return facts.undecided(errors.ServerFailed, code=code, message=message)
    if envelope.status == "FAIL":
        return facts.refused(errors.RequestRefused, code=code, message=message)
    # SUCCESS with a code that is none, or the other way round: believe neither.
    return facts.undecided(errors.UnreadableAnswer, code=code, message=message)


def _first_text(*candidates: Any) -> str | None:
    return next((text[:512] for text in candidates if isinstance(text, str) and text), None)
