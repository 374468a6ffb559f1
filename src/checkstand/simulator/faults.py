"""Misfortune as data: what goes wrong, where, for whom and how often.

A fault is a row. The door and the postman draw the rows that apply at each stage and act on
them; nothing else knows of faults. With a probability the seeded randomness decides, so a run
repeats from its seed.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from checkstand.simulator.ambient import Randomness
from checkstand.simulator.rejections import MESSAGES


class Stage(StrEnum):
    """When a kind of fault strikes."""

    CONNECT = "connect"  # the first request of a connection came in; nothing of it is read
    ARRIVAL = "arrival"  # a request came in; it is not yet known whose it is
    BEFORE = "before"  # the request was checked, nothing is done yet
    AFTER = "after"  # the work is done, the answer not yet sent
    PAYMENT = "payment"  # money is about to arrive
    CLOSE = "close"  # an accepted close is about to take effect
    REFUND = "refund"  # a pending refund is about to end
    NOTICE = "notice"  # a webhook is about to be told for the first time
    PAYOUT = "payout"  # one line of a payout is about to end
    TRY = "try"  # one try of a webhook is about to be sent


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault: its stage, and the parameters it takes with their defaults."""

    stage: Stage
    parameters: Mapping[str, Any] = field(default_factory=dict)
    below_zero: bool = False  # whether its numbers may be


#: Every kind; the README has a sentence on each.
KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "connection_reset": Kind(Stage.CONNECT),
        "clock_skew": Kind(Stage.ARRIVAL, {"seconds": 5.0}, below_zero=True),
        "delay": Kind(Stage.BEFORE, {"seconds": 1.0}),
        "lost_before_effect": Kind(Stage.BEFORE),
        "lands_late": Kind(Stage.BEFORE, {"seconds": 1.0}),
        "http_5xx_before_effect": Kind(Stage.BEFORE, {"status": 503}),
        "unknown_error": Kind(Stage.BEFORE),
        "rejected": Kind(Stage.BEFORE, {"code": "400001"}),
        "html": Kind(Stage.BEFORE, {"status": 403}),
        "too_many_requests": Kind(Stage.BEFORE, {"seconds": 1}),
        "geo_block": Kind(Stage.BEFORE),
        "slow": Kind(Stage.AFTER, {"seconds": 1.0}),
        "answer_lost_after_effect": Kind(Stage.AFTER),
        "http_5xx_after_effect": Kind(Stage.AFTER, {"status": 502}),
        "unknown_error_after_effect": Kind(Stage.AFTER),
        "fee_later": Kind(Stage.PAYMENT, {"seconds": 60.0}),
        "paid_while_closing": Kind(Stage.CLOSE),
        "refund_rejected": Kind(Stage.REFUND),
        "payout_line_fails": Kind(Stage.PAYOUT),
        "drop": Kind(Stage.NOTICE),
        "duplicate": Kind(Stage.NOTICE, {"copies": 1}),
        "webhook_delay": Kind(Stage.NOTICE, {"seconds": 1.0}),
        "no_biz_id_str": Kind(Stage.NOTICE),
        "first_timestamp_on_retry": Kind(Stage.NOTICE),
        "bad_signature": Kind(Stage.TRY),
        "unknown_serial": Kind(Stage.TRY),
    }
)


_ANONYMOUS = frozenset({Stage.CONNECT, Stage.ARRIVAL})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One row: a kind, whom it strikes, and how often it will still do so."""

    number: int
    kind: str
    endpoint: str | None = None  # as in the endpoint table: `/v3/order`
    merchant_trade_no: str | None = None
    merchant_id: str | None = None
    biz_status: str | None = None  # of a webhook: `PAY_SUCCESS`
    times: int | None = 1  # strikes left; none for ever
    probability: float = 1.0
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is about to happen, as far as faults can ask."""

    endpoint: str | None = None
    merchant_trade_no: str | None = None
    merchant_id: str | None = None
    biz_status: str | None = None


class FaultBook:
    """The faults in force, in the order they were added."""

    def __init__(self, *, randomness: Randomness, endpoints: Iterable[str]) -> None:
        self._randomness = randomness
        self._endpoints = frozenset(endpoints)
        self._faults: dict[int, Fault] = {}
        self._added = 0

    @property
    def listed(self) -> tuple[Fault, ...]:
        """Return the faults that can still strike."""
        return tuple(self._faults.values())

    def add(
        self,
        kind: str,
        *,
        endpoint: str | None = None,
        merchant_trade_no: str | None = None,
        merchant_id: str | None = None,
        biz_status: str | None = None,
        times: int | None = 1,
        probability: float = 1.0,
        **parameters: Any,
    ) -> Fault:
        """Put a fault in force; raise ValueError on a word it does not know."""
        if kind not in KINDS:
            raise ValueError(f"unknown fault {kind!r}; known are {', '.join(sorted(KINDS))}")
        if times is not None and times < 1:
            raise ValueError("times is at least 1, or null for ever")
        if not 0 < probability <= 1:
            raise ValueError("probability is above 0 and at most 1")
        if KINDS[kind].stage in _ANONYMOUS and (merchant_trade_no or merchant_id):
            raise ValueError(f"{kind} strikes before it is known whose request it is")
        self._added += 1
        fault = Fault(
            number=self._added,
            kind=kind,
            endpoint=self._known_endpoint(endpoint),
            merchant_trade_no=merchant_trade_no,
            merchant_id=merchant_id,
            biz_status=biz_status,
            times=times,
            probability=probability,
            parameters=_checked_parameters(kind, parameters),
        )
        self._faults[fault.number] = fault
        return fault

    def remove(self, number: int) -> bool:
        """Take one fault back; say whether it was there."""
        return self._faults.pop(number, None) is not None

    def clear(self) -> None:
        """Take all faults back."""
        self._faults.clear()

    def restore(self, faults: Iterable[Fault]) -> None:
        """Put these faults in force and no others."""
        self._faults = {fault.number: fault for fault in faults}
        self._added = max(self._faults, default=0)

    def draw(self, stage: Stage, target: Target) -> Iterator[Fault]:
        """Yield the faults that strike now, counting each down as it is taken."""
        for number in tuple(self._faults):
            # Who draws may wait between two faults (`slow`), and meanwhile others draw, too.
            fault = self._faults.get(number)
            if fault is None:
                continue
            if KINDS[fault.kind].stage is stage and _strikes(fault, target):
                if fault.probability < 1 and self._randomness.fraction() >= fault.probability:
                    continue
                self._count_down(fault)
                yield fault

    def _count_down(self, fault: Fault) -> None:
        if fault.times is None:
            return
        if fault.times == 1:
            del self._faults[fault.number]
        else:
            self._faults[fault.number] = replace(fault, times=fault.times - 1)

    def _known_endpoint(self, endpoint: str | None) -> str | None:
        if endpoint is None:
            return None
        short = endpoint.removeprefix("/binancepay/openapi")
        if short not in self._endpoints:
            known = ", ".join(sorted(self._endpoints))
            raise ValueError(f"unknown endpoint {endpoint!r}; known are {known}")
        return short


def _strikes(fault: Fault, target: Target) -> bool:
    return all(
        wanted is None or wanted == actual
        for wanted, actual in (
            (fault.endpoint, target.endpoint),
            (fault.merchant_trade_no, target.merchant_trade_no),
            (fault.merchant_id, target.merchant_id),
            (fault.biz_status, target.biz_status),
        )
    )


def _checked_parameters(kind: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
    defaults = KINDS[kind].parameters
    for name, value in given.items():
        if name not in defaults:
            known = ", ".join(defaults) or "none"
            raise ValueError(f"{kind} takes no {name!r}; its parameters: {known}")
        numeric = isinstance(defaults[name], int | float)
        if numeric and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ValueError(f"{name} of {kind} is a number")
        if numeric and value < 0 and not KINDS[kind].below_zero:
            raise ValueError(f"{name} of {kind} is a number of at least 0")
    parameters = {**defaults, **given}
    if "code" in parameters and parameters["code"] not in MESSAGES:
        raise ValueError(f"unknown code; known are {', '.join(MESSAGES)}")
    if "status" in parameters and not 200 <= parameters["status"] <= 599:
        raise ValueError("status is an HTTP status from 200 to 599")
    return parameters
