"""One content policy for every answer of the gateway, as the outermost layer of the app.

It must wrap the finished application (`ContentPolicy(app)`), not be listed among Starlette's
middleware: those sit inside the handler that answers 500, and its page needs the policy too.
"""

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Nothing inline, nothing from elsewhere, no frame around us. Chrome holds form-action against
#: the redirect after a POST as well, so our forms redirect to ourselves and links lead outside.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)

#: Each replaces what the wrapped application may have said under the same name.
HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",  # for what predates frame-ancestors
    "referrer-policy": "no-referrer",  # the checkout token is in the address
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
#: As they go out; every answer of the gateway passes here.
_PAIRS: Final = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
_NAMES: Final = frozenset(name for name, _ in _PAIRS)


class ContentPolicy:
    """Adds the policy to every HTTP answer of the application it wraps."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on; change only the head of the answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [pair for pair in message.get("headers", ()) if pair[0] not in _NAMES]
                message["headers"] = own + _PAIRS
            await send(message)

        await self.app(scope, receive, send_with_policy)
