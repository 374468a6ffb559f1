"""What a payer sees: one page per order, on which to pay, cancel or let the time run out.

It stands in for wallet app and hosted checkout alike, works without script, and says plainly
that nothing is real. Everything a button does is one step in `orders.py`.
"""

import asyncio
import io
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

import jinja2
import segno
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from checkstand.simulator import orders
from checkstand.simulator.amounts import as_sent
from checkstand.simulator.orders import NotPossible
from checkstand.simulator.records import Order, OrderStatus
from checkstand.simulator.world import World

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; img-src 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",  # the address is a capability
    "x-content-type-options": "nosniff",
}
_ACTS: Mapping[str, Callable[[World, Order], Order]] = {
    "pay": orders.pay,
    "cancel": orders.decline,
    "lapse": orders.expire,
    "fail": orders.fail,
}
_ORDERS_SHOWN = 20


class WalletPages:
    """The pages of one simulator."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._templates = jinja2.Environment(
            loader=jinja2.PackageLoader("checkstand.simulator"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        static = files("checkstand.simulator").joinpath("static")
        self._style = static.joinpath("wallet.css").read_bytes()
        self._icon = static.joinpath("icon.svg").read_bytes()

    @property
    def routes(self) -> list[Route]:
        """Return the routes: the links of a create answer, the buttons, style and icon."""
        return [
            Route("/", self.index),
            Route("/en/checkout/{token}", self.show),
            Route("/qr/dplk{token}", self.show),
            Route("/payment/secpay", self.show),
            Route("/static/payment/{day}/{token}.png", self.draw_code),
            Route("/wallet/style.css", self.style),
            Route("/wallet/icon.svg", self.icon),
            Route("/wallet/{token}/{act}", self.act, methods=["POST"]),
        ]

    async def index(self, _: Request) -> Response:
        """List the latest orders, so that whoever opens the simulator finds them."""
        latest = list(self._world.store.orders.values())[-_ORDERS_SHOWN:]
        return self._page("index.html", orders=[self._described(each) for each in latest[::-1]])

    async def show(self, request: Request) -> Response:
        """Show one order and what the payer can do about it."""
        order = self._find(request)
        if order is None:
            return self._page("unknown.html", status=404)
        declined = request.query_params.get("after") == "cancel"
        is_open = order.status in {OrderStatus.INITIAL, OrderStatus.PENDING}
        back = order.return_url if order.payment else order.cancel_url
        return self._page(
            "wallet.html",
            order=self._described(order),
            token=order.links.token,
            is_open=is_open,
            declined=declined and is_open,
            back_url=_web_url(back) if declined or not is_open else None,
        )

    async def act(self, request: Request) -> Response:
        """Do what a button says; if something was faster, the page shows what."""
        order, name = self._find(request), request.path_params["act"]
        if order is None or name not in _ACTS:
            return self._page("unknown.html", status=404)
        try:
            _ACTS[name](self._world, order)
        except NotPossible:
            name = "nothing"
        after = "?after=cancel" if name == "cancel" else ""
        return RedirectResponse(
            f"/en/checkout/{order.links.token}{after}", status_code=303, headers=_HEADERS
        )

    async def draw_code(self, request: Request) -> Response:
        """Draw the QR code that a create answer's `qrcodeLink` leads to."""
        order = self._find(request)
        if order is None:
            return self._page("unknown.html", status=404)
        image = await asyncio.to_thread(_draw, order.links.qr_content)
        return Response(image, media_type="image/png", headers=_HEADERS)

    async def style(self, _: Request) -> Response:
        """Return the style sheet."""
        return Response(self._style, media_type="text/css", headers=_HEADERS)

    async def icon(self, _: Request) -> Response:
        """Return the icon, for browsers ask for one."""
        return Response(self._icon, media_type="image/svg+xml", headers=_HEADERS)

    def _find(self, request: Request) -> Order | None:
        self._world.clock.run_due()
        token = request.path_params.get("token") or request.query_params.get("linkToken", "")
        return self._world.store.find_order_by_token(token)

    def _described(self, order: Order) -> dict[str, Any]:
        expires = datetime.fromtimestamp(order.expires_ms // 1000, UTC)
        return {
            "shop": self._world.store.merchants[order.merchant_id].name,
            "amount": as_sent(order.amount),
            "currency": order.currency,
            "fiat": f"{as_sent(order.fiat_amount)} {order.fiat_currency}"
            if order.fiat_amount is not None
            else None,
            "text": order.description or order.product_name,
            "number": order.merchant_trade_no,
            "status": order.status.value,
            "expires": expires.strftime("%Y-%m-%d %H:%M:%S UTC"),
            "path": f"/en/checkout/{order.links.token}",
        }

    def _page(self, template: str, *, status: int = 200, **values: Any) -> Response:
        text = self._templates.get_template(template).render(values)
        return HTMLResponse(text, status_code=status, headers=_HEADERS)


def _web_url(url: str | None) -> str | None:
    """Return the address if a browser may follow it: a merchant could send a script instead."""
    return url if url and urlsplit(url).scheme in {"http", "https"} else None


def _draw(content: str) -> bytes:
    image = io.BytesIO()
    segno.make(content, error="m").save(image, kind="png", scale=8, border=4)
    return image.getvalue()
