"""`checkstand simulator`: run one, or take one that runs by the hand.

The default command serves; every other one is a request to a running simulator's control API and
prints its answer as JSON. What an option means is said there, in the simulator's README.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from cyclopts import App, Parameter

from checkstand.cli.ports import Port
from checkstand.cli.simulator_faults import app as faults
from checkstand.cli.simulator_requests import DEFAULT_URL, DONE, Url, call, post

app = App(
    name="simulator",
    help="Run a local Binance Pay to build against, or control one that runs. No money is real.",
)
app.command(faults)


def _check_object(_: Any, text: str | None) -> None:
    """Refuse what is no JSON object; an argument's validator raises ValueError."""
    try:
        is_object = text is None or isinstance(json.loads(text), dict)
    except ValueError:
        is_object = False
    if not is_object:
        raise ValueError("takes a JSON object")


_MerchantId = Annotated[
    str | None, Parameter(help="Whose order, where two merchants use one trade number.")
]
_Reference = Annotated[str, Parameter(help="A trade number or a prepay id.")]


@app.default
def serve(
    *,
    port: Port | None = None,
    host: str = "127.0.0.1",
    public_url: str | None = None,
    api_key: str | None = None,
    api_secret: str | None = None,
    merchant_id: str | None = None,
    webhook_url: str | None = None,
    seed: int | None = None,
) -> int:
    """Run a local Binance Pay to build against. No money in it is real.

    Parameters
    ----------
    port
        Port to listen on (8081), 0 picks a free one.
    host
        Address to listen on.
    public_url
        How payers reach it, put into links, where that is another address.
    api_key
        The merchant's API key ("simulator").
    api_secret
        The merchant's API secret ("simulator").
    merchant_id
        The merchant's id ("900000001").
    webhook_url
        Where notices go whose order names no address of its own.
    seed
        Replays the same randomness.
    """
    from checkstand.simulator import server

    serving = server.serve(
        host=host,
        port=server.DEFAULT_PORT if port is None else port,
        api_key=api_key or server.DEFAULT_API_KEY,
        api_secret=api_secret or server.DEFAULT_API_SECRET,
        merchant_id=merchant_id or server.DEFAULT_MERCHANT_ID,
        webhook_url=webhook_url,
        public_url=public_url,
        seed=seed,
    )
    with asyncio.Runner(loop_factory=_fastest_loop()) as runner:
        runner.run(serving)
    return DONE


@app.command
def pay(
    reference: _Reference,
    *,
    commission: Decimal | None = None,
    amount: Decimal | None = None,
    currency: str | None = None,
    pay_currency: str | None = None,
    payer_id: str | None = None,
    force: bool = False,
    webhook: bool = True,
    tops_up: bool = True,
    merchant_id: _MerchantId = None,
    url: Url = DEFAULT_URL,
) -> int:
    """Pay an order.

    Parameters
    ----------
    commission
        The fee, if not the usual rate.
    amount
        Another amount arrives than was asked for.
    currency
        It arrives in another currency.
    pay_currency
        The coin the payer chooses.
    payer_id
        Who pays.
    force
        Pay an order that has ended.
    webhook
        Tell the merchant.
    tops_up
        Give the payer what is missing in the wallet.
    """
    options = {
        "commission": commission,
        "amount": amount,
        "currency": currency,
        "pay_currency": pay_currency,
        "payer_id": payer_id,
        "force": force,
        "webhook": webhook,
        "tops_up": tops_up,
        "merchant_id": merchant_id,
    }
    return post(url, _order(reference, "pay"), **options)


def _add_act(name: str, words: str) -> None:
    def act(
        reference: _Reference, *, merchant_id: _MerchantId = None, url: Url = DEFAULT_URL
    ) -> int:
        return post(url, _order(reference, name), merchant_id=merchant_id)

    app.command(act, name=name, help=words)


_add_act("cancel", "Let the payer walk away; the order stays open.")
_add_act("fail", "Let the payment fail: the order ends in ERROR.")
_add_act("pending", "Let the payer start to pay: the order cannot be closed any more.")
_add_act("expire", "End an unpaid order as if its time had passed.")


@app.command
def refund(
    reference: _Reference,
    *,
    amount: Decimal | None = None,
    merchant_id: _MerchantId = None,
    url: Url = DEFAULT_URL,
) -> int:
    """Refund in the portal: at once, and no webhook tells of it.

    Parameters
    ----------
    amount
        How much; all that is left otherwise.
    """
    return post(url, _order(reference, "refund"), amount=amount, merchant_id=merchant_id)


@app.command
def send_webhook(
    reference: _Reference,
    *,
    biz_status: str | None = None,
    data: Annotated[str | None, Parameter(validator=_check_object)] = None,
    to: str | None = None,
    bad_signature: bool = False,
    timestamp_ms: int | None = None,
    merchant_id: _MerchantId = None,
    url: Url = DEFAULT_URL,
) -> int:
    """Send a webhook about an order now: the last one again, or one made up.

    Parameters
    ----------
    biz_status
        Makes one up: PAY_SUCCESS or PAY_CLOSED.
    data
        A JSON object laid over the order's true data.
    to
        Where to send it; where the order's webhooks go otherwise.
    bad_signature
        Sign another body.
    timestamp_ms
        The timestamp it carries.
    """
    options = {
        "biz_status": biz_status,
        "data": None if data is None else _raw(data),
        "url": to,
        "bad_signature": bad_signature,
        "timestamp_ms": timestamp_ms,
        "merchant_id": merchant_id,
    }
    return post(url, _order(reference, "send-webhook"), **options)


@app.command
def clock(
    *,
    freeze: bool | None = None,
    set_: Annotated[datetime | None, Parameter(name="--set")] = None,
    advance: float | None = None,
    speed: float | None = None,
    settle: bool | None = None,
    url: Url = DEFAULT_URL,
) -> int:
    """Show the clock, or move it.

    Parameters
    ----------
    freeze
        Stand still; --no-freeze runs on.
    set_
        Move to a moment, such as 2031-01-01T00:00:00Z.
    advance
        Move on by so many seconds; everything due on the way happens.
    speed
        How many simulated seconds pass in one.
    settle
        Wait for the webhooks this causes.
    """
    options = {
        "freeze": freeze,
        "set": None if set_ is None else set_.isoformat(),
        "advance_seconds": advance,
        "speed": speed,
        "settle": settle,
    }
    if all(value is None for value in options.values()):
        return call(url, "GET", "/clock")
    return post(url, "/clock", **options)


@app.command
def state(reference: str | None = None, *, url: Url = DEFAULT_URL) -> int:
    """Print everything the simulator knows, or one order.

    Parameters
    ----------
    reference
        A trade number or a prepay id.
    """
    path = "/state" if reference is None else f"/orders/{quote(reference, safe='')}"
    return call(url, "GET", path)


@app.command
def rotate(*, keeps_old: bool = True, url: Url = DEFAULT_URL) -> int:
    """Sign webhooks with a new key from now on.

    Parameters
    ----------
    keeps_old
        The old one stays listed.
    """
    return post(url, "/certificates/rotate", keeps_old=keeps_old)


@app.command
def balance(
    owner: str,
    currency: str,
    amount: Decimal,
    *,
    spot: Annotated[bool, Parameter(negative=())] = False,
    url: Url = DEFAULT_URL,
) -> int:
    """Say what a merchant or payer has of a coin.

    Parameters
    ----------
    owner
        A merchant id or a payer id.
    currency
        The coin.
    amount
        How much of it there is now.
    spot
        In the spot wallet rather than the funding wallet.
    """
    wallet = "SPOT_WALLET" if spot else "FUNDING_WALLET"
    path = f"/wallets/{quote(owner, safe='')}"
    return post(url, path, currency=currency, balance=amount, wallet=wallet)


@app.command(name="export")
def export_state(file: Path | None = None, *, url: Url = DEFAULT_URL) -> int:
    """Write everything as JSON, secrets and private keys included.

    Parameters
    ----------
    file
        Where to; standard output otherwise.
    """
    return call(url, "GET", "/export", file=file)


@app.command(name="import")
def import_state(file: Path, *, url: Url = DEFAULT_URL) -> int:
    """Put an exported state in place of everything.

    Parameters
    ----------
    file
        What export wrote.
    """
    return call(url, "POST", "/import", file.read_bytes())


def _fastest_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    with contextlib.suppress(ImportError):  # not on every platform, nor in every install
        import uvloop

        return uvloop.new_event_loop
    return None


def _order(reference: str, act: str) -> str:
    return f"/orders/{quote(reference, safe='')}/{act}"


def _raw(text: str) -> Any:
    """Return JSON text to be sent as it is, digit for digit."""
    import msgspec

    return msgspec.Raw(text.encode())
