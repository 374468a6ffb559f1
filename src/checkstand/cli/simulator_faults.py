"""`checkstand simulator faults`: what goes wrong at a simulator that runs, and for whom."""

import json
from typing import Annotated, Any

from cyclopts import App, Parameter

from checkstand.cli.simulator_requests import DEFAULT_URL, Url, call

app = App(name="faults", help="What goes wrong, and for whom.")


@app.default
def list_faults(*, url: Url = DEFAULT_URL) -> int:
    """List the faults in force."""
    return call(url, "GET", "/faults")


@app.command(name="add")
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
    url: Url = DEFAULT_URL,
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
    return call(url, "POST", "/faults", {**given, "times": None if forever else times})


@app.command(name="remove")
def remove_fault(number: int, *, url: Url = DEFAULT_URL) -> int:
    """Take one fault back."""
    return call(url, "DELETE", f"/faults/{number}")


@app.command(name="clear")
def clear_faults(*, url: Url = DEFAULT_URL) -> int:
    """Take all faults back."""
    return call(url, "DELETE", "/faults")


def _parameter(text: str) -> tuple[str, Any]:
    """Return name and value of `seconds=30`; a code is text although it looks like a number."""
    name, _, value = text.partition("=")
    try:
        return name, value if name == "code" else json.loads(value)
    except ValueError:
        return name, value
