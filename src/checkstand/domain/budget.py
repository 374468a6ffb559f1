"""How often Binance may be asked on behalf of one account, and how long to rest after a refusal.

Binance publishes no limits, so we keep one of our own. What a shopper waits for (creates, refunds,
what became of them, closes) is sent whatever the budget says and only counted; polls get what is
left. All of it is values: the moment is handed in, and a bucket is replaced, never changed.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

#: More debt than this is forgiven: after a flood of creates polls go on within that time.
_DEBT_MAX: Final = timedelta(seconds=10)
#: While creates alone use up the budget, one poll goes in this many calls' time all the same: a
#: lost notice must be found even on the busiest day of the year.
_TRICKLE: Final = 10


class Trouble(StrEnum):
    """What an answer says about how welcome our calls are."""

    NONE = "none"
    SERVER_FAILED = "server_failed"  # 5xx and the like: they are in trouble, and polls rest
    TOO_MANY = "too_many"  # 429, and the 403 of a firewall: we are the trouble, and all rests


#: The first rest after each kind of trouble, doubled at every further one up to the second figure.
_RESTS: Final = {
    Trouble.SERVER_FAILED: (timedelta(seconds=1), timedelta(minutes=1)),
    Trouble.TOO_MANY: (timedelta(seconds=10), timedelta(minutes=5)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRate:
    """How many calls an account may make in a minute, and how many of them at once."""

    per_minute: int
    burst: int

    @property
    def spacing(self) -> timedelta:
        """Return how far apart calls are when they come evenly."""
        return timedelta(minutes=1) / self.per_minute


#: Binance publishes no limits: 20 calls a second keep thousands of open orders watched.
CALL_RATE: Final = CallRate(per_minute=1200, burst=20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """What one account has spent: the moment up to which its calls are paid for."""

    paid_until: datetime
    polled_at: datetime | None = None
    troubles: int = 0  # in a row
    resting_until: datetime | None = None
    resting_for: Trouble = Trouble.NONE


def spend(bucket: Bucket, calls: int, *, rate: CallRate, now: datetime) -> Bucket:
    """Count calls that are made whatever the budget says."""
    paid_until = max(bucket.paid_until, now) + calls * rate.spacing
    most = now + rate.spacing * rate.burst + _DEBT_MAX
    return replace(bucket, paid_until=min(paid_until, most))


def spend_on_polls(bucket: Bucket, calls: int, *, rate: CallRate, now: datetime) -> Bucket:
    """Count polls, which `polls_allowed` let go."""
    return replace(spend(bucket, calls, rate=rate, now=now), polled_at=now) if calls else bucket


def polls_allowed(bucket: Bucket, *, rate: CallRate, now: datetime) -> int:
    """Say how many polls may go now."""
    if bucket.resting_until is not None and now < bucket.resting_until:
        return 0
    room = now + rate.spacing * rate.burst - max(bucket.paid_until, now)
    if room >= rate.spacing:
        return room // rate.spacing
    since = None if bucket.polled_at is None else now - bucket.polled_at
    return int(since is None or since >= rate.spacing * _TRICKLE)


def hear(bucket: Bucket, trouble: Trouble, *, now: datetime) -> Bucket:
    """Learn from an answer: trouble begins a rest, a good answer outside of one ends the row.

    Calls that were under way together fail together; only the first of them counts, and the first
    that says that we are the trouble.
    """
    is_worse = trouble is Trouble.TOO_MANY and bucket.resting_for is not Trouble.TOO_MANY
    if bucket.resting_until is not None and now < bucket.resting_until and not is_worse:
        return bucket
    if trouble is Trouble.NONE:
        calm = replace(bucket, troubles=0, resting_until=None, resting_for=trouble)
        return calm if bucket.troubles else bucket
    first, most = _RESTS[trouble]
    rest = min(first * 2 ** min(bucket.troubles, 16), most)
    return replace(
        bucket, troubles=bucket.troubles + 1, resting_until=now + rest, resting_for=trouble
    )
