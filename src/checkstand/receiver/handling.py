"""Handle each event once: what can be promised, and what the shop must add.

The gateway tells every event at least once: an answer that is lost on its way is followed by
another try. `handle_once` keeps out the repetitions it can know of:

- An event is noted as handled after the handler returned, never before. A crash, an exception or a
  cancelled request in between leaves it unhandled, and the gateway's next try runs it again.
- While one worker handles an event, a duplicate is answered "busy" (409, tried again later), not
  "done": if the worker dies, somebody must come back.

So a handler that is killed half-way runs again, and what its first half did outside (a mail, a
call) has happened. No receiver can prevent that. Two ways out: make the effect itself repeatable
(keyed by `event.id`), or write it in the same transaction as the note, which
`SqliteSeenEvents.handle_in_transaction` does for SQLite: then it happens exactly once.
"""

import os
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Protocol

from checkstand.receiver.events import Event


class Claim(Enum):
    """What became of the wish to handle an event."""

    OURS = "ours"  # go on
    HANDLED = "handled"  # somebody has done it
    BUSY = "busy"  # somebody is at it


class Outcome(Enum):
    """How a request ended that was not refused and did not fail."""

    HANDLED = "handled"
    REPEATED = "repeated"  # handled before; there is nothing left to do
    BUSY = "busy"  # being handled elsewhere at this moment

    @property
    def http_status(self) -> int:
        """What to answer: 200 for done, 409 so that the gateway asks again later."""
        return 409 if self is Outcome.BUSY else 200


class SeenEvents(Protocol):
    """The shop's memory of events. Write your own over your database; two come with the kit."""

    def claim(self, event_id: str, *, owner: str) -> Claim:
        """Reserve an event for `owner`, unless it is handled or somebody else holds it.

        Must be atomic between all workers of the shop.
        """
        ...

    def record(self, event_id: str) -> None:
        """Note for good that the event has been handled, whoever holds it now."""
        ...

    def release(self, event_id: str, *, owner: str) -> None:
        """Give up a reservation, if it is still `owner`'s."""
        ...


def handle_once(event: Event, handler: Callable[[Event], object], *, seen: SeenEvents) -> Outcome:
    """Run `handler` unless the event has been handled or is being handled.

    What the handler raises goes on to the caller: answer 500, and the gateway tries again.
    """
    owner = _new_owner()
    claim = seen.claim(event.id, owner=owner)
    if claim is not Claim.OURS:
        return _WITHOUT_US[claim]
    try:
        handler(event)
    except BaseException:  # a cancelled or interrupted handler has not finished either
        seen.release(event.id, owner=owner)
        raise
    seen.record(event.id)
    return Outcome.HANDLED


async def handle_once_async(
    event: Event, handler: Callable[[Event], Awaitable[object]], *, seen: SeenEvents
) -> Outcome:
    """Do the same as `handle_once` with a handler that awaits.

    `seen` is called directly: it holds up the loop for the length of one small write.
    """
    owner = _new_owner()
    claim = seen.claim(event.id, owner=owner)
    if claim is not Claim.OURS:
        return _WITHOUT_US[claim]
    try:
        await handler(event)
    except BaseException:  # a cancelled or interrupted handler has not finished either
        seen.release(event.id, owner=owner)
        raise
    seen.record(event.id)
    return Outcome.HANDLED


def _new_owner() -> str:
    return os.urandom(16).hex()


_WITHOUT_US = {Claim.HANDLED: Outcome.REPEATED, Claim.BUSY: Outcome.BUSY}
