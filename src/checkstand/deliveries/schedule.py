"""When a delivery is tried again, and whether later ones of its order wait for it.

Pure: given how the last try ended and what time it is, it says when the next is due. The table is
for a shop that was down: seconds while a deploy restarts it, then about three days for somebody
to come back from a weekend.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

#: The pause after the first try, the second, …; after the last of them comes one more try, and no
#: other. Together 72 hours.
PAUSES: Final[Sequence[timedelta]] = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(minutes=30),
    timedelta(hours=1),
    timedelta(hours=2),
    timedelta(hours=4),
    timedelta(hours=8),
    timedelta(hours=8),
    timedelta(hours=12),
    timedelta(hours=12),
    timedelta(hours=12),
    timedelta(hours=12),
)

#: A shop may ask for patience, not for silence.
RETRY_AFTER_MOST: Final = timedelta(hours=12)

#: How much longer a pause may get, so that a thousand deliveries do not come back at once.
JITTER: Final = 0.2

#: The shop took the endpoint away and says so: the only answer that ends the tries at once. Other
#: refusals (401 after a lost secret, 404 during a deploy) are mended by people, and no payment may
#: stay untold because that took them a day.
GONE: Final = 410

#: 4xx answers that say "not now" instead of "not this".
NOT_NOW: Final = frozenset({408, 409, 425, 429})

#: What a shop must hear even while an earlier event of the same order is stuck, and after how long.
OVERTAKING_EVENTS: Final = frozenset({"order.paid", "refund.succeeded", "order.attention"})
OVERTAKES_AFTER: Final = timedelta(seconds=60)


def next_try_at(
    *,
    tries_made: int,
    now: datetime,
    fraction: float,
    status: int | None,
    retry_after: str | None = None,
) -> datetime | None:
    """Say when to try again after a try that failed at `now`; None gives the delivery up.

    `tries_made` counts that try; `fraction` (0 up to 1) is the jitter; `status` is None when no
    answer came; `retry_after` is the answer's header, which may lengthen a pause, never shorten it.
    """
    if status is not None and 200 <= status < 300:
        raise ValueError("a delivery that was taken has no next try")
    if tries_made < 1:
        raise ValueError("tries_made counts the try that just failed")
    if status == GONE or tries_made > len(PAUSES):
        return None
    asked = min(_read_retry_after(retry_after, now=now), RETRY_AFTER_MOST)
    pause = max(PAUSES[tries_made - 1], asked)
    return now + pause * (1 + JITTER * fraction)


def holds_back_later(*, status: int | None, is_given_up: bool) -> bool:
    """Say whether a delivery that failed keeps the later ones of its order waiting.

    One given up does not, nor one the shop refused for what it is: waiting would not change its
    mind. It is tried again all the same, and may then arrive after its successors; the shop tells
    their order by `order_version`.
    """
    if is_given_up:
        return False
    return status is None or not 400 <= status < 500 or status in NOT_NOW


def may_overtake(*, event_type: str, waited: timedelta) -> bool:
    """Say whether an event has waited long enough behind an earlier one to go ahead of it."""
    return event_type in OVERTAKING_EVENTS and waited >= OVERTAKES_AFTER


def _read_retry_after(text: str | None, *, now: datetime) -> timedelta:
    """Read both forms of the header, seconds and a date; what cannot be read asks for nothing."""
    nothing = timedelta()
    if text is None:
        return nothing
    text = text.strip()
    if text.isascii() and text.isdigit():
        # Cut by length first: a number of a thousand digits is no time.
        return timedelta(seconds=int(text)) if len(text) <= 7 else RETRY_AFTER_MOST
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return nothing
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)  # the field's "GMT" written as -0000
    return max(until - now, nothing)
