"""When to look at an attempt again, and what to do with it then.

Asking never stops being useful: Binance sends a notice six times at most, a merchant can switch
PAY_CLOSED off, and a refund made in the portal sends nothing.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from checkstand.domain.attempt import SHORTEST_LIFE, Attempt, AttemptStatus

#: An open attempt is asked about this many seconds after it opened, then every five minutes:
#: most shoppers pay within two minutes, and a lost notice should not keep them waiting.
_OPEN_SECONDS: Final = (5, 10, 20, 30, 45, 60, 90, 120, 180, 240, 300, 420, 600)
_OPEN_EVERY: Final = timedelta(minutes=5)
#: The first look after its end, so that the last second's payment is in.
_AFTER_EXPIRY: Final = timedelta(seconds=2)
#: Past its end it is asked about soon, and ever less often the longer Binance leaves it open, or
#: does not know it: after a twentieth of the time since.
_OVERDUE_EVERY: Final = timedelta(seconds=30)
_OVERDUE_EVERY_MOST: Final = timedelta(hours=1)
_OVERDUE_PARTS: Final = 20
#: An end without payment is asked about again: money may have crossed the close.
_UNPAID_END: Final = (
    timedelta(minutes=2),
    timedelta(minutes=15),
    timedelta(hours=2),
    timedelta(hours=24),
    timedelta(hours=72),
)
#: A refund made in Binance's portal is only ever found by asking.
_PAID: Final = (timedelta(days=1), timedelta(days=7), timedelta(days=30))
#: While an outcome is unknown a shopper may be waiting at the page.
_UNKNOWN_SECONDS: Final = (0, 1, 2, 5, 10, 30)
_UNKNOWN_EVERY: Final = timedelta(minutes=1)
#: A close is accepted first and happens later.
_CLOSING_SECONDS: Final = (0, 1, 1, 2, 5, 10, 30)
_CLOSING_EVERY: Final = timedelta(minutes=1)
#: How long after an accepted close without effect it is asked for again.
CLOSE_AGAIN_AFTER: Final = timedelta(seconds=30)
#: Binance's "no such order" proves absence only this long after the attempt's own time.
ABSENCE_MARGIN: Final = timedelta(minutes=10)


class NextStep(StrEnum):
    """What a worker does with an attempt that is due."""

    SUBMIT = "submit"  # send the create, again under the same number if it was sent before
    ASK = "ask"  # query it
    CLOSE = "close"
    REPLACE = "replace"  # never sent and too old to be: make a fresh one


def next_step(attempt: Attempt, *, now: datetime) -> NextStep:
    """Decide from the row alone, so that whoever comes after a crash decides the same."""
    has_time = attempt.expires_at - now >= SHORTEST_LIFE
    if attempt.status is AttemptStatus.PREPARED:
        return NextStep.SUBMIT if has_time else NextStep.REPLACE
    if attempt.status is AttemptStatus.SUBMITTING:
        known_absent = (
            attempt.last_absent_at is not None
            and attempt.last_sent_at is not None
            and attempt.last_absent_at >= attempt.last_sent_at
        )
        return NextStep.SUBMIT if known_absent and has_time else NextStep.ASK
    if attempt.status is AttemptStatus.CLOSING and _should_close(attempt):
        return NextStep.CLOSE
    return NextStep.ASK


def _should_close(attempt: Attempt) -> bool:
    if attempt.payer_active or attempt.close_accepted_at is not None:
        return False  # they are paying, or it is accepted: only asking tells more
    return attempt.closes == 0 or attempt.asks > 0


def next_look(attempt: Attempt, *, now: datetime) -> datetime | None:
    """Say when the attempt is due next; None when nothing more is to be learnt."""
    match attempt.status:
        case AttemptStatus.PREPARED:
            return now
        case AttemptStatus.SUBMITTING:
            return _while_unknown(attempt, now=now)
        case AttemptStatus.OPEN:
            return _while_open(attempt, now=now)
        case AttemptStatus.CLOSING:
            # Each close begins anew to ask; one refused for ever must not be sent twice a second.
            rounds = attempt.asks + max(attempt.closes - 1, 0)
            due = stepped(_CLOSING_SECONDS, rounds, _CLOSING_EVERY, now=now)
            return due if now < attempt.expires_at else max(due, _when_overdue(attempt, now=now))
        case AttemptStatus.PAID:
            return _after_end(_PAID, attempt, now=now)
        case AttemptStatus.REJECTED | AttemptStatus.NEVER_EXISTED:
            return None
        case _:
            return _after_end(_UNPAID_END, attempt, now=now)


def _while_unknown(attempt: Attempt, *, now: datetime) -> datetime:
    absent_after_send = next_step(attempt, now=now) is NextStep.SUBMIT
    if absent_after_send:
        return now  # the number is unique there, so sending again is safe, and somebody waits
    proof_at = attempt.expires_at + ABSENCE_MARGIN
    if attempt.expires_at - now < SHORTEST_LIFE and attempt.absences > 0 and now < proof_at:
        return proof_at
    return stepped(_UNKNOWN_SECONDS, attempt.sends + attempt.asks - 1, _UNKNOWN_EVERY, now=now)


def _while_open(attempt: Attempt, *, now: datetime) -> datetime:
    if now >= attempt.expires_at:
        return _when_overdue(attempt, now=now)
    ages = (timedelta(seconds=s) for s in _OPEN_SECONDS)
    looks = (attempt.created_at + age for age in ages)
    due = next((look for look in looks if look > now), now + _OPEN_EVERY)
    return min(due, attempt.expires_at + _AFTER_EXPIRY)


def _when_overdue(attempt: Attempt, *, now: datetime) -> datetime:
    part = (now - attempt.expires_at) / _OVERDUE_PARTS
    return now + min(max(part, _OVERDUE_EVERY), _OVERDUE_EVERY_MOST)


def _after_end(ages: Sequence[timedelta], attempt: Attempt, *, now: datetime) -> datetime | None:
    ended_at = attempt.ended_at or now
    return next((ended_at + age for age in ages if ended_at + age > now), None)


def stepped(
    seconds: Sequence[int], count: int, then_every: timedelta, *, now: datetime
) -> datetime:
    """Say when to try the next time after `count` tries: ever later, then evenly."""
    if count < len(seconds):
        return now + timedelta(seconds=seconds[max(count, 0)])
    return now + then_every
