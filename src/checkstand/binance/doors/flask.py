"""The door for Flask.

app.add_url_rule("/binance", view_func=notification_view(client, handle), methods=["POST"])

Flask is found when the view is made, so that type checking does not need it.
"""

from collections.abc import Callable
from typing import Any

from checkstand.binance.client_sync import BinancePay
from checkstand.binance.doors.outcomes import BODY_BYTES_MAX, TOO_LARGE
from checkstand.binance.doors.receiving_sync import Receiver
from checkstand.binance.doors.replays_sync import ReplayStore
from checkstand.binance.errors import UnreadableNotification
from checkstand.binance.notifications import Notification


def notification_view(
    client: BinancePay,
    handle: Callable[[Notification], object],
    *,
    replays: ReplayStore | None = None,
    on_unreadable: Callable[[UnreadableNotification], object] | None = None,
    past_seconds: float | None = None,
    future_seconds: float | None = 300,
) -> Callable[[], Any]:
    """Make the view that Binance's notifications are sent to. See `Receiver`."""
    from importlib import import_module

    flask = import_module("flask")
    receiver = Receiver(
        client,
        handle,
        replays=replays,
        on_unreadable=on_unreadable,
        past_seconds=past_seconds,
        future_seconds=future_seconds,
    )

    def binance_pay_notification() -> Any:
        request = flask.request
        if (request.content_length or 0) > BODY_BYTES_MAX:
            reply = TOO_LARGE
        else:
            # Before anybody parses a form out of it.
            raw = request.get_data(cache=False, parse_form_data=False)
            reply = receiver.receive(raw, dict(request.headers.items()))
        return flask.Response(reply.body, status=reply.status, mimetype="application/json")

    return binance_pay_notification
