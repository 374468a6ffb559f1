"""The door for Django.

urlpatterns = [path("binance", notification_view(client, handle))]

It is exempt from the CSRF check: the signature says who sent it. Django is named by protocols
here, so that type checking needs neither Django nor its stubs.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from checkstand.binance.client_sync import BinancePay
from checkstand.binance.doors.receiving_sync import Receiver
from checkstand.binance.doors.replays_sync import ReplayStore
from checkstand.binance.errors import UnreadableNotification
from checkstand.binance.notifications import Notification


class Request(Protocol):
    """What is asked of django.http.HttpRequest."""

    method: str | None

    @property
    def body(self) -> bytes:
        """The raw bytes."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Names in any case."""
        ...


def notification_view(
    client: BinancePay,
    handle: Callable[[Notification], object],
    *,
    replays: ReplayStore | None = None,
    on_unreadable: Callable[[UnreadableNotification], object] | None = None,
    past_seconds: float | None = None,
    future_seconds: float | None = 300,
) -> Callable[[Any], Any]:
    """Make the view that Binance's notifications are sent to. See `Receiver`."""
    from importlib import import_module

    http = import_module("django.http")
    receiver = Receiver(
        client,
        handle,
        replays=replays,
        on_unreadable=on_unreadable,
        past_seconds=past_seconds,
        future_seconds=future_seconds,
    )

    def binance_pay_notification(request: Request) -> Any:
        if request.method != "POST":
            return http.HttpResponseNotAllowed(["POST"])
        reply = receiver.receive(request.body, request.headers)
        return http.HttpResponse(reply.body, status=reply.status, content_type="application/json")

    binance_pay_notification.csrf_exempt = True  # type: ignore[attr-defined]  # what the decorator does
    return binance_pay_notification
