"""`checkstand simulator`: run one, or take one that runs by the hand.

The default command serves; every other one is a request to a running simulator's control API and
prints its answer as JSON. What an option means is said there, in the simulator's README.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

from cyclopts import App, Parameter

DONE: Final = 0
FAILED: Final = 1
WRONG_USAGE: Final = 2
_DEFAULT_URL: Final = "http://127.0.0.1:8081"

app = App(
    name="simulator",
    help="Run a local Binance Pay to build against, or control one that runs. No money is real.",
)
faults = App(name="faults", help="What goes wrong, and for whom.")
app.command(faults)


def _check_object(_: Any, text: str | None) -> None:
    """Refuse what is no JSON object; an argument's validator raises ValueError."""
    try:
        is_object = text is None or isinstance(json.loads(text), dict)
    except ValueError:
        is_object = False
    if not is_object:
        raise ValueError("takes a JSON object")


_Url = Annotated[str, Parameter(help="Where the simulator runs.")]
_MerchantId = Annotated[
    str | None, Parameter(help="Whose order, where two merchants use one trade number.")
]
_Reference = Annotated[str, Parameter(help="A trade number or a prepay id.")]


@app.default
def serve(
    *,
    port: int | None = None,
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
    url: _Url = _DEFAULT_URL,
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
    return _post(url, _order(reference, "pay"), **options)


@app.command
def cancel(
    reference: _Reference, *, merchant_id: _MerchantId = None, url: _Url = _DEFAULT_URL
) -> int:
    """Let the payer walk away; the order stays open."""
    return _post(url, _order(reference, "cancel"), merchant_id=merchant_id)


@app.command
def fail(
    reference: _Reference, *, merchant_id: _MerchantId = None, url: _Url = _DEFAULT_URL
) -> int:
    """Let the payment fail: the order ends in ERROR."""
    return _post(url, _order(reference, "fail"), merchant_id=merchant_id)


@app.command
def pending(
    reference: _Reference, *, merchant_id: _MerchantId = None, url: _Url = _DEFAULT_URL
) -> int:
    """Let the payer start to pay: the order cannot be closed any more."""
    return _post(url, _order(reference, "pending"), merchant_id=merchant_id)


@app.command
def expire(
    reference: _Reference, *, merchant_id: _MerchantId = None, url: _Url = _DEFAULT_URL
) -> int:
    """End an unpaid order as if its time had passed."""
    return _post(url, _order(reference, "expire"), merchant_id=merchant_id)


@app.command
def refund(
    reference: _Reference,
    *,
    amount: Decimal | None = None,
    merchant_id: _MerchantId = None,
    url: _Url = _DEFAULT_URL,
) -> int:
    """Refund in the portal: at once, and no webhook tells of it.

    Parameters
    ----------
    amount
        How much; all that is left otherwise.
    """
    return _post(url, _order(reference, "refund"), amount=amount, merchant_id=merchant_id)


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
    url: _Url = _DEFAULT_URL,
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
    return _post(url, _order(reference, "send-webhook"), **options)


@faults.default
def list_faults(*, url: _Url = _DEFAULT_URL) -> int:
    """List the faults in force."""
    return _call(url, "GET", "/faults")


@faults.command(name="add")
def add_fault(
    kind: str,
    parameters: Annotated[list[str] | None, Parameter(negative_iterable=())] = None,
    /,
    *,
    endpoint: str | None = None,
    order: str | None = None,
    merchant_id: str | None = None,
    biz_status: str | None = None,
    times: int = 1,
    forever: Annotated[bool, Parameter(negative=())] = False,
    probability: float = 1.0,
    url: _Url = _DEFAULT_URL,
) -> int:
    """Put a fault in force.

    Parameters
    ----------
    kind
        What goes wrong; a wrong word is answered by all the right ones.
    parameters
        What the kind takes, as seconds=30 or status=500.
    endpoint
        Strikes this call only: /v3/order.
    order
        Strikes the order of this trade number only.
    merchant_id
        Strikes this merchant only.
    biz_status
        Strikes webhooks of this status only.
    times
        How often it strikes.
    forever
        Strikes until it is taken back.
    probability
        How likely it strikes, above 0 and at most 1.
    """
    options = {
        "kind": kind,
        "endpoint": endpoint,
        "merchant_trade_no": order,
        "merchant_id": merchant_id,
        "biz_status": biz_status,
        "probability": probability,
        **dict(map(_parameter, parameters or [])),
    }
    given = {name: value for name, value in options.items() if value is not None}
    return _call(url, "POST", "/faults", {**given, "times": None if forever else times})


@faults.command(name="remove")
def remove_fault(number: int, *, url: _Url = _DEFAULT_URL) -> int:
    """Take one fault back."""
    return _call(url, "DELETE", f"/faults/{number}")


@faults.command(name="clear")
def clear_faults(*, url: _Url = _DEFAULT_URL) -> int:
    """Take all faults back."""
    return _call(url, "DELETE", "/faults")


@app.command
def clock(
    *,
    freeze: bool | None = None,
    set_: Annotated[datetime | None, Parameter(name="--set")] = None,
    advance: float | None = None,
    speed: float | None = None,
    settle: bool | None = None,
    url: _Url = _DEFAULT_URL,
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
        return _call(url, "GET", "/clock")
    return _post(url, "/clock", **options)


@app.command
def state(reference: str | None = None, *, url: _Url = _DEFAULT_URL) -> int:
    """Print everything the simulator knows, or one order.

    Parameters
    ----------
    reference
        A trade number or a prepay id.
    """
    path = "/state" if reference is None else f"/orders/{quote(reference, safe='')}"
    return _call(url, "GET", path)


@app.command
def rotate(*, keeps_old: bool = True, url: _Url = _DEFAULT_URL) -> int:
    """Sign webhooks with a new key from now on.

    Parameters
    ----------
    keeps_old
        The old one stays listed.
    """
    return _post(url, "/certificates/rotate", keeps_old=keeps_old)


@app.command
def balance(
    owner: str,
    currency: str,
    amount: Decimal,
    *,
    spot: Annotated[bool, Parameter(negative=())] = False,
    url: _Url = _DEFAULT_URL,
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
    return _post(url, path, currency=currency, balance=amount, wallet=wallet)


@app.command(name="export")
def export_state(file: Path | None = None, *, url: _Url = _DEFAULT_URL) -> int:
    """Write everything as JSON, secrets and private keys included.

    Parameters
    ----------
    file
        Where to; standard output otherwise.
    """
    status, content = _request(url, "GET", "/export", b"")
    if status != 200 or file is None:
        return _show(status, content)
    file.touch(mode=0o600)
    file.write_bytes(content)
    return DONE


@app.command(name="import")
def import_state(file: Path, *, url: _Url = _DEFAULT_URL) -> int:
    """Put an exported state in place of everything.

    Parameters
    ----------
    file
        What export wrote.
    """
    return _show(*_request(url, "POST", "/import", file.read_bytes()))


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


def _parameter(text: str) -> tuple[str, Any]:
    """Return name and value of `seconds=30`; a code is text although it looks like a number."""
    name, _, value = text.partition("=")
    try:
        return name, value if name == "code" else json.loads(value)
    except ValueError:
        return name, value


def _post(url: str, path: str, /, **options: Any) -> int:
    """Post the options that were given."""
    given = {name: value for name, value in options.items() if value is not None}
    return _call(url, "POST", path, given)


def _call(url: str, method: str, path: str, options: dict[str, Any] | None = None) -> int:
    import msgspec

    body = b"" if options is None else msgspec.json.encode(options)  # Decimals become text
    return _show(*_request(url, method, path, body))


def _request(url: str, method: str, path: str, body: bytes) -> tuple[int, bytes]:
    import httpcore2

    try:
        answer = httpcore2.request(method, f"{url.rstrip('/')}/simulator{path}", content=body)
    except (httpcore2.NetworkError, httpcore2.UnsupportedProtocol, OSError) as error:
        words = f"no simulator answers at {url} ({error}): start one with `checkstand simulator`"
        return 0, json.dumps({"error": words}).encode()
    return answer.status, answer.content


def _show(status: int, content: bytes) -> int:
    """Print an answer as it is, but readable; say which exit code it asks for."""
    import msgspec

    try:
        readable = msgspec.json.format(content, indent=2).decode()
        error = "" if status == 200 else json.loads(content)["error"]
    except (msgspec.DecodeError, KeyError):
        status, error = 0, f"what answers is no simulator: HTTP status {status}"
    else:
        if not error:
            print(readable)
            return DONE
    print(f"checkstand: {error}", file=sys.stderr)
    return WRONG_USAGE if status == 400 else FAILED
