"""How one attempt changes, and what can be said of a report beside it.

Attempts in, attempts out; `settlement` decides when. Nothing here knows the order.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from checkstand.domain.attempt import LIVE, Attempt, AttemptStatus, CloseReason
from checkstand.domain.report import Finding, Report, Source
from checkstand.domain.schedule import CLOSE_AGAIN_AFTER, next_look

#: A query answered from just before an end may be recorded just after it.
_JUST_ENDED: Final = timedelta(minutes=1)
_UNHEARD: Final = frozenset({AttemptStatus.PREPARED, AttemptStatus.SUBMITTING})
#: These tell nothing of whether somebody is paying.
_SILENT_ON_PAYER: Final = frozenset({Finding.ABSENT, Finding.UNREADABLE, Finding.REFUSED})
_ENDED_AFTER_OPEN: Final = frozenset(
    {AttemptStatus.PAID, AttemptStatus.CLOSED, AttemptStatus.LAPSED}
)


def note_heard(attempt: Attempt, report: Report, *, now: datetime) -> Attempt:
    """Note that Binance was heard, and when to ask next."""
    asked = replace(
        attempt, asks=attempt.asks + 1, payer_active=_is_payer_active_after(attempt, report)
    )
    return replace(asked, due_at=next_look(asked, now=now))


def _is_payer_active_after(attempt: Attempt, report: Report) -> bool:
    """Say whether somebody is paying. What does not speak of it leaves that as it was known."""
    is_past = report.source is Source.ANSWER and attempt.status in LIVE - _UNHEARD
    if is_past or report.finding in _SILENT_ON_PAYER:
        return attempt.payer_active
    return report.finding is Finding.PAYER_ACTIVE


def keep_open(attempt: Attempt, report: Report, *, now: datetime) -> Attempt:
    """Note that it can still be paid; close it, or ask again for its close, where that is due."""
    looked = note_heard(attempt, report, now=now)
    if looked.status is AttemptStatus.OPEN and is_unpayable(looked):
        return start_closing(looked, CloseReason.RECOVER, now=now)
    accepted_at = attempt.close_accepted_at
    if accepted_at is not None and now - accepted_at >= CLOSE_AGAIN_AFTER:
        return replace(looked, close_accepted_at=None)
    return looked


def start_closing(attempt: Attempt, reason: CloseReason, *, now: datetime) -> Attempt:
    """Write down that we want it closed, and why: a worker asks for it at once."""
    return replace(
        attempt,
        status=AttemptStatus.CLOSING,
        close_reason=reason,
        close_requested_at=now,
        close_accepted_at=None,
        closes=0,
        asks=0,
        due_at=now,
    )


def end(attempt: Attempt, status: AttemptStatus, *, now: datetime) -> Attempt:
    """End it, and say when to ask whether money came all the same."""
    ended = replace(attempt, status=status, ended_at=now, asks=0, payer_active=False)
    return replace(ended, due_at=next_look(ended, now=now))


def prepay_id_after(attempt: Attempt, report: Report) -> str | None:
    """Learn Binance's id from answers to our own calls, never from a notice.

    The last word has a query, which is believed for our own merchant only; the answer to a create
    names none. Story: one was sent again with another merchant's keys, and he has an order under
    our number, too.
    """
    if report.source is Source.QUERY:
        return report.prepay_id or attempt.prepay_id
    return attempt.prepay_id or (report.prepay_id if report.source is Source.ANSWER else None)


def is_shown_by_another(attempt: Attempt, report: Report) -> bool:
    """Say whether the code we show belongs to another order than the one Binance has of ours."""
    return attempt.prepay_id is not None and prepay_id_after(attempt, report) != attempt.prepay_id


def is_overtaken(attempt: Attempt, report: Report, *, now: datetime) -> bool:
    """Say whether a report was true when it was made, and the end was heard of before it.

    The answer to a create speaks of the past however late it comes. A query says INITIAL, the
    shopper pays, and the notice arrives before the answer.
    """
    if attempt.status not in _ENDED_AFTER_OPEN or attempt.ended_at is None:
        return False
    return report.source is Source.ANSWER or now - attempt.ended_at < _JUST_ENDED


def is_denied_before(report: Report, asked: Attempt, attempt: Attempt) -> bool:
    """Say whether "no such order" was said before a send, or before an answer, known of now.

    `asked` is the attempt as it was when Binance was asked. What is old is no proof of absence, and
    contradicts nothing.
    """
    known_since = asked.prepay_id is None and attempt.prepay_id is not None
    return report.finding is Finding.ABSENT and (known_since or attempt.sends != asked.sends)


def is_unpayable(attempt: Attempt) -> bool:
    """Say whether nobody can pay by it: a query returns no links, so it has to be made again."""
    return attempt.links is None and not attempt.payer_active


def is_not_ours(attempt: Attempt, report: Report) -> bool:
    """Say whether an order found under our number is somebody else's (another amount)."""
    return (
        attempt.expected is not None
        and report.money is not None
        and report.money != attempt.expected
    )


def may_have_landed(attempt: Attempt) -> bool:
    """Say whether another send of this number may have been taken: then a refusal is not a no."""
    unsure = attempt.status in {AttemptStatus.PREPARED, AttemptStatus.SUBMITTING}
    return not unsure or attempt.sends > 1 or attempt.prepay_id is not None
