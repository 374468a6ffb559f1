"""What a payer sees: the wallet, and one page per order, on which to choose a coin and pay.

They stand in for wallet app and hosted checkout alike, work without script, and say plainly that
nothing is real. Everything a button does is one step in `orders.py`.
"""

import asyncio
import io
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jinja2
import segno
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from checkstand.simulator import coins, orders, wallets
from checkstand.simulator.accounts import Entry, Payer
from checkstand.simulator.amounts import as_sent
from checkstand.simulator.orders import DEFAULT_PAYER_ID, NotPossible, PaymentTerms
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
    "cancel": orders.decline,
    "lapse": orders.expire,
    "fail": orders.fail,
}
_ORDERS_SHOWN = 20
_ENTRIES_SHOWN = 10
_CODE_CHARACTERS_MAX = 2000  # our own links have some 300
#: Every token is 32 characters long; the text of a QR code has `dplk` before it.
_TOKEN = re.compile("[A-Za-z0-9]{32,36}")


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
            Route("/wallet", self.wallet),
            Route("/wallet/open", self.open, methods=["POST"]),
            Route("/wallet/style.css", self.style),
            Route("/wallet/icon.svg", self.icon),
            Route("/wallet/{token}/{act}", self.act, methods=["POST"]),
        ]

    async def index(self, _: Request) -> Response:
        """List the latest orders, so that whoever opens the simulator finds them."""
        latest = list(self._world.store.orders.values())[-_ORDERS_SHOWN:]
        return self._page("index.html", orders=[self._described(each) for each in latest[::-1]])

    async def wallet(self, _: Request) -> Response:
        """Show what each payer has, and take a code."""
        return self._show_wallet()

    async def open(self, request: Request) -> Response:
        """Lead to the order behind a link, the text of a QR code, or a prepay id."""
        order = self._find_by_code((await _read_form(request)).get("code", ""))
        if order is None:
            return self._show_wallet(not_found=True, status=404)
        return _redirect(f"/en/checkout/{order.links.token}")

    async def show(self, request: Request) -> Response:
        """Show one order and what the payer can do about it."""
        order = self._find(request)
        if order is None:
            return self._page("unknown.html", status=404)
        after = request.query_params.get("after")
        is_open = order.status in {OrderStatus.INITIAL, OrderStatus.PENDING}
        back = order.return_url if order.payment else order.cancel_url
        return self._page(
            "wallet.html",
            order=self._described(order),
            token=order.links.token,
            is_open=is_open,
            payers=self._choices(order) if is_open else [],
            declined=after == "cancel" and is_open,
            refused=after == "refused" and is_open,
            back_url=_web_url(back) if after == "cancel" or not is_open else None,
        )

    async def act(self, request: Request) -> Response:
        """Do what a button says; if something was faster, the page shows what."""
        order, name = self._find(request), request.path_params["act"]
        if order is None or name not in {"pay", *_ACTS}:
            return self._page("unknown.html", status=404)
        after = "?after=cancel" if name == "cancel" else ""
        form = await _read_form(request)
        order = self._world.store.orders[order.prepay_id]  # as it is after reading
        try:
            if name == "pay":
                orders.pay(self._world, order, _terms(form.get("coin", "")))
            else:
                _ACTS[name](self._world, order)
        except NotPossible:
            after = "?after=refused"
        return _redirect(f"/en/checkout/{order.links.token}{after}")

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

    def _find_by_code(self, code: str) -> Order | None:
        self._world.clock.run_due()
        store, code = self._world.store, code.strip()[:_CODE_CHARACTERS_MAX]
        if code in store.orders:
            return store.orders[code]
        found = (store.find_order_by_token(token[-32:]) for token in _TOKEN.findall(code))
        return next((order for order in found if order), None)

    def _show_wallet(self, *, not_found: bool = False, status: int = 200) -> Response:
        store = self._world.store
        payers = [
            {
                "name": payer.name,
                "balances": [
                    (purse.currency, as_sent(amount))
                    for purse, amount in sorted(store.list_purses(payer.payer_id).items())
                ],
            }
            for payer in store.payers.values()
        ]
        moved = [each for each in store.entries if each.owner in store.payers and each.at_ms]
        latest = [_entry(each) for each in moved[: -_ENTRIES_SHOWN - 1 : -1]]
        return self._page(
            "purses.html", payers=payers, latest=latest, not_found=not_found, status=status
        )

    def _choices(self, order: Order) -> list[dict[str, Any]]:
        """Say what each payer may choose: the coins that are taken, with price and balance."""
        allowed = coins.list_pay_currencies(self._world, order)
        quotes = [coins.quote(self._world, order, each) for each in allowed]
        return [
            {"name": payer.name, "coins": [self._choice(payer, quote) for quote in quotes]}
            for payer in self._world.store.payers.values()
        ]

    def _choice(self, payer: Payer, quote: coins.Quote) -> dict[str, Any]:
        purse = wallets.funding(payer.payer_id, quote.currency)
        balance = self._world.store.balances.get(purse, Decimal())
        return {
            "value": f"{payer.payer_id}:{quote.currency}",
            "currency": quote.currency,
            "amount": as_sent(quote.amount),
            "balance": as_sent(balance),
            "is_short": balance < quote.amount,
        }

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
            "spent": f"{as_sent(order.payment.spent_amount)} {order.payment.spent_currency}"
            if order.payment
            else None,
            "expires": expires.strftime("%Y-%m-%d %H:%M:%S UTC"),
            "path": f"/en/checkout/{order.links.token}",
        }

    def _page(self, template: str, *, status: int = 200, **values: Any) -> Response:
        text = self._templates.get_template(template).render(values)
        return HTMLResponse(text, status_code=status, headers=_HEADERS)


def _terms(choice: str) -> PaymentTerms:
    """Read `payer:coin`; without a choice the first payer pays in the order's currency."""
    payer_id, _, coin = choice.partition(":")
    return PaymentTerms(payer_id=payer_id or DEFAULT_PAYER_ID, pay_currency=coin or None)


def _entry(entry: Entry) -> dict[str, str]:
    sign = "+" if entry.amount > 0 else ""
    return {
        "text": entry.kind.value.replace("_", " "),
        "amount": f"{sign}{as_sent(entry.amount)} {entry.currency}",
    }


async def _read_form(request: Request) -> dict[str, str]:
    """Return the fields of a form that a browser sent without files."""
    return dict(parse_qsl((await request.body()).decode("utf-8", "replace")))


def _redirect(path: str) -> Response:
    return RedirectResponse(path, status_code=303, headers=_HEADERS)


def _web_url(url: str | None) -> str | None:
    """Return the address if a browser may follow it: a merchant could send a script instead."""
    return url if url and urlsplit(url).scheme in {"http", "https"} else None


def _draw(content: str) -> bytes:
    image = io.BytesIO()
    segno.make(content, error="m").save(image, kind="png", scale=8, border=4)
    return image.getvalue()
