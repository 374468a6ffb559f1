"""The shopper's page as plain routes: show it, say whether it is still true, take its forms.

What is true and what may be done is the port's (`view.Checkouts`); words are the templates'. The
page needs no script and no cookie. A form always ends in a redirect to the page, so that reload
and back never repeat an act.
"""

import math
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from checkstand.ambient import Clock
from checkstand.web.checkout.assets import serve_asset
from checkstand.web.checkout.forms import form_token, has_form_token
from checkstand.web.checkout.limiter import Limiter
from checkstand.web.checkout.rendering import build_templates
from checkstand.web.checkout.view import FINAL, Checkouts, CheckoutState, CheckoutStatus
from checkstand.web.checkout.wording import ENGLISH, Wording

#: What a token may look like; anything else is unknown without asking (a database refuses NUL).
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{1,200}", re.ASCII)
#: Acts of one kind on one checkout, for all its viewers together.
ACTS_PER_MINUTE = 12

_PAGE_HEADERS = {
    # Asked again on every visit, yet not `no-store`: that would keep browsers from restoring
    # the page as it was; the script asks again whenever the page comes back.
    "cache-control": "private, no-cache",
    "referrer-policy": "no-referrer",
    "x-robots-tag": "noindex, nofollow",
}

#: What the page may say about the act that led to it.
_OUTCOMES = frozenset({"check", "renew", "cancel", "refused"})


def checkout_routes(
    checkouts: Checkouts, *, form_key: bytes, clock: Clock, wording: Wording = ENGLISH
) -> list[BaseRoute]:
    """Build the routes under `/checkout`. `form_key` signs the forms; any 16 bytes or more."""
    if len(form_key) < 16:
        raise ValueError("form_key needs at least 16 bytes")
    door = _Door(
        checkouts=checkouts,
        form_key=form_key,
        clock=clock,
        templates=build_templates(wording),
        limiter=Limiter(most=ACTS_PER_MINUTE, period=timedelta(minutes=1)),
    )
    return [
        Route("/checkout/static/{name}", serve_asset, methods=["GET"]),
        Route("/checkout/{token}", door.show, methods=["GET"]),
        Route("/checkout/{token}/status", door.tell, methods=["GET"]),
        *(
            Route(f"/checkout/{{token}}/{name}", door.taking(name, act), methods=["POST"])
            for name, act in (
                ("check", checkouts.check),
                ("renew", checkouts.renew),
                ("cancel", checkouts.cancel),
            )
        ),
    ]


def next_delay_ms(status: CheckoutStatus, *, watching_seconds: int) -> int | None:
    """Pace an open page: 2 s at first, slower with time, None when nothing more will happen."""
    state = status.state
    if state in FINAL:
        return None
    if state is CheckoutState.READY and status.seconds_left == 0:
        return 2_000  # the page shows 0:00 and wants to know what follows
    if state in (CheckoutState.CODE_EXPIRED, CheckoutState.SORTING):
        return 15_000  # a person is needed before anything changes
    if watching_seconds < 120:
        return 2_000
    return 5_000 if watching_seconds < 600 else 15_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Door:
    checkouts: Checkouts
    form_key: bytes
    clock: Clock
    templates: Environment
    limiter: Limiter

    async def show(self, request: Request) -> Response:
        """Answer with the page, in whatever state the order is."""
        token = request.path_params["token"]
        view = await self.checkouts.find(token) if _TOKEN.fullmatch(token) else None
        if view is None:
            return self._say(request, "unknown.html", status_code=404)
        outcome = request.query_params.get("outcome")
        page = self._render(
            request,
            "page.html",
            view=view,
            address=_address(request, token),
            form_token=form_token(self.form_key, token),
            outcome=outcome if outcome in _OUTCOMES else None,
        )
        return HTMLResponse(page, headers=_PAGE_HEADERS)

    async def tell(self, request: Request) -> Response:
        """Answer an open page's question: am I still true, and when shall I ask again?"""
        token = request.path_params["token"]
        status = await self.checkouts.status(token) if _TOKEN.fullmatch(token) else None
        headers = {"cache-control": "no-store", "x-robots-tag": "noindex, nofollow"}
        if status is None:
            return JSONResponse({"state": None}, status_code=404, headers=headers)
        delay = next_delay_ms(status, watching_seconds=_watching_seconds(request))
        headers["etag"] = etag = f'"{status.fingerprint}-{delay}"'
        known = request.headers.get("if-none-match", "")
        if known.removeprefix("W/") == etag:  # a proxy that compresses weakens the tag
            return Response(status_code=304, headers=headers)
        return JSONResponse(_status_body(status, delay), headers=headers)

    def taking(
        self, name: str, act: Callable[[str], Awaitable[bool]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Make the handler of one form: prove the page, keep the limit, act, go back to it."""

        async def take(request: Request) -> Response:
            token = request.path_params["token"]
            if not _TOKEN.fullmatch(token):
                return self._say(request, "unknown.html", status_code=404)
            address = _address(request, token)
            if not await has_form_token(request, form_key=self.form_key, token=token):
                return self._say(request, "stale_form.html", status_code=403, address=address)
            wait = self.limiter.wait(f"{name} {token}", now=self.clock.now())
            if wait is not None:
                seconds = math.ceil(wait.total_seconds())
                slow = self._say(request, "too_many.html", status_code=429, address=address)
                slow.headers["retry-after"] = str(seconds)
                return slow
            outcome = name if await act(token) else "refused"
            return RedirectResponse(
                f"{address}?outcome={outcome}", status_code=303, headers=_PAGE_HEADERS
            )

        return take

    def _say(
        self, request: Request, template: str, *, status_code: int, **values: Any
    ) -> HTMLResponse:
        page = self._render(request, template, **values)
        return HTMLResponse(page, status_code=status_code, headers=_PAGE_HEADERS)

    def _render(self, request: Request, template: str, **values: Any) -> str:
        static = f"{request.scope.get('root_path', '')}/checkout/static"
        return self.templates.get_template(template).render(static=static, **values)


def _address(request: Request, token: str) -> str:
    return f"{request.scope.get('root_path', '')}/checkout/{token}"


def _watching_seconds(request: Request) -> int:
    """Read how long the page has been looked at; nonsense counts as just opened."""
    text = request.query_params.get("watching", "0")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0


def _status_body(status: CheckoutStatus, delay: int | None) -> dict[str, Any]:
    return {
        "state": status.state,
        "version": status.version,
        "fingerprint": status.fingerprint,
        "next_delay_ms": delay,
        "seconds_left": status.seconds_left,
        "now": status.now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
