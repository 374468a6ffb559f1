"""For the merchant's own Python app: open the gateway's webhooks, handle each event once.

Standard library only; it imports nothing else of this package and may be copied out of it.

    receiver = Receiver(os.environ["CHECKSTAND_WEBHOOK_SECRET"])
    seen = SqliteSeenEvents("seen.sqlite3")

    event = receiver.open(request.body, request.headers)     # EventRefused: answer its http_status
    outcome = handle_once(event, ship_the_goods, seen=seen)
    return Response(status=outcome.http_status)              # 2xx only when it is done

Give `open` the body's bytes as they arrived: a body parsed and written again has another signature.
What "once" means, and what it cannot mean, is written in `handling`.
"""

from checkstand.receiver.events import Event
from checkstand.receiver.handling import (
    Claim,
    Outcome,
    SeenEvents,
    handle_once,
    handle_once_async,
)
from checkstand.receiver.opening import (
    EventRefused,
    EventTooNew,
    EventTooOld,
    EventUnreadable,
    HeaderMissing,
    Receiver,
    SignatureWrong,
)
from checkstand.receiver.seen import MemorySeenEvents, SqliteSeenEvents

__all__ = [
    "Claim",
    "Event",
    "EventRefused",
    "EventTooNew",
    "EventTooOld",
    "EventUnreadable",
    "HeaderMissing",
    "MemorySeenEvents",
    "Outcome",
    "Receiver",
    "SeenEvents",
    "SignatureWrong",
    "SqliteSeenEvents",
    "handle_once",
    "handle_once_async",
]
