"""The doubt: how long the fate of an attempt or a refund has been unknown, and when that is odd.

Asking goes on by itself; this only says when a person should hear of it, once, and when what they
heard of has come to an end.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from checkstand.domain.anomaly import POLICY, Anomaly, AnomalyKind, Resolution
from checkstand.domain.attempt import Attempt, AttemptStatus
from checkstand.domain.case import Case, Decision
from checkstand.domain.refund import IN_FLIGHT, Refund

#: What tells a payer's doubt from the attempt's own.
_PAYING = "paying"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a doubt may last before a person is told."""

    unknown: timedelta = timedelta(minutes=15)
    paying: timedelta = timedelta(hours=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """Something whose fate is not known, and since when."""

    attempt: Attempt
    since: datetime
    words: str
    fact: str | None = None

    @property
    def is_payer(self) -> bool:
        """Say whether somebody is paying, and only what comes of it is not known."""
        return self.fact == _PAYING

    @property
    def is_fate(self) -> bool:
        """Say whether it is the attempt's own fate that is not known."""
        return self.fact is None


def doubts_of(case: Case, *, now: datetime) -> tuple[Doubt, ...]:
    """List what is not known about a case just now."""
    of_attempts = (doubt for a in case.attempts for doubt in _of_attempt(a, now=now))
    of_refunds = (_of_refund(case, r) for r in case.refunds if r.status in IN_FLIGHT)
    return (*of_attempts, *of_refunds)


def find_told(case: Case, doubt: Doubt) -> tuple[str | None, Anomaly | None]:
    """Find the fact that a doubt becomes an anomaly by, and that anomaly if it was told already."""
    return case.find_recurring(doubt.attempt.attempt_id, AnomalyKind.UNKNOWN_TOO_LONG, doubt.fact)


def open_overdue(decision: Decision, *, patience: Patience, now: datetime) -> Decision:
    """Tell of every doubt that has lasted too long. Safe to repeat: each is told once."""
    for doubt in doubts_of(decision.case, now=now):
        limit = patience.paying if doubt.is_payer else patience.unknown
        if now - doubt.since >= limit:
            decision = decision.open_anomaly(
                AnomalyKind.UNKNOWN_TOO_LONG,
                doubt.attempt,
                detail=f"{doubt.words} since {doubt.since:%Y-%m-%d %H:%M:%S} UTC",
                reference=None,
                at=now,
                fact=find_told(decision.case, doubt)[0],
            )
    return decision


def settle_known(decision: Decision, *, now: datetime) -> Decision:
    """Close what was told of a doubt that is none any more."""
    doubts = doubts_of(decision.case, now=now)
    lasting = [find_told(decision.case, doubt)[1] for doubt in doubts]
    for anomaly in decision.case.anomalies:
        is_told = anomaly.is_open and anomaly.kind is AnomalyKind.UNKNOWN_TOO_LONG
        if is_told and anomaly not in lasting:
            decision = decision.close_anomaly(
                anomaly,
                Resolution.ACCEPT,
                by=POLICY,
                reason="its fate is known now",
                actor="checkstand",
                at=now,
            )
    return decision


def _of_attempt(attempt: Attempt, *, now: datetime) -> Iterator[Doubt]:
    number = f"attempt {attempt.number}"
    match attempt.status:
        case AttemptStatus.SUBMITTING:
            # Sent again and again, it is still the first send that nobody heard of.
            resent = attempt.sends > 1 or attempt.last_sent_at is None
            since = attempt.created_at if resent else attempt.last_sent_at
            yield Doubt(
                attempt=attempt,
                since=since or attempt.created_at,
                words=f"nobody knows whether Binance took {number}",
            )
        case AttemptStatus.CLOSING:
            yield Doubt(
                attempt=attempt,
                since=attempt.close_requested_at or attempt.created_at,
                words=f"{number} is to be closed, and Binance has not said that it is",
            )
        case AttemptStatus.OPEN if attempt.payer_active:
            yield Doubt(
                attempt=attempt,
                since=attempt.last_sent_at or attempt.created_at,
                words=f"somebody has been paying {number}, Binance says,",
                fact=_PAYING,
            )
        case AttemptStatus.OPEN if now >= attempt.expires_at:
            yield Doubt(
                attempt=attempt,
                since=attempt.expires_at,
                words=f"the time of {number} is up, and Binance has not said how it ended",
            )
        case _:
            pass


def _of_refund(case: Case, refund: Refund) -> Doubt:
    resent = refund.in_doubt or refund.last_sent_at is None
    since = refund.requested_at if resent else refund.last_sent_at
    return Doubt(
        attempt=case.attempt(refund.attempt_id),
        since=since or refund.requested_at,
        words=f"nobody knows what became of refund {refund.merchant_refund_id}",
        fact=str(refund.refund_id),
    )
