"""`checkstand orders`: look at orders, explain one, and settle what is odd about it."""

import getpass
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from checkstand.cli.house import read_environment, run_work

if TYPE_CHECKING:
    from checkstand.domain.case import Case
    from checkstand.operations.resources import Resources
    from checkstand.queries.timeline import TimelineEntry

app = App(name="orders", help="Look at orders, explain one, settle what is odd about it.")

OrderId = Annotated[str, Parameter(help="Its order_id, or the shop's merchant_order_id.")]
AsJson = Annotated[bool, Parameter(name="--json", negative=(), help="Print JSON instead.")]


@app.command(name="list")
def list_(*, status: str | None = None, limit: int = 20, as_json: AsJson = False) -> int:
    """List orders, newest first.

    Parameters
    ----------
    status
        Only those with this status, such as PAID.
    limit
        How many.
    """
    from checkstand.queries.list_orders import list_orders

    async def show(house: "Resources") -> None:
        page = await list_orders(
            house.database,
            _account_id(),
            status=status,
            starting_after=None,
            limit=limit,
            now=house.clock.now(),
        )
        for case in page.cases:
            _print(_facts(case, house), as_json=as_json, lines=[_headline(case)])

    return in_the_house(show)


@app.command
def show(order: OrderId, /, *, as_json: AsJson = False) -> int:
    """Show one order, its payments and what is odd about it."""

    async def tell(house: "Resources") -> None:
        case = await _find(house, order)
        facts = _facts(case, house)
        lines = [_headline(case)]
        lines += [
            f"  payment {p['payment_id']}: {p['amount']} {p['currency']}"
            f"{', held' if p['held'] else ''}, {p['refunded_amount']} gone back"
            for p in facts["payments"]
        ]
        lines += [f"  {anomaly_line(anomaly)}" for anomaly in facts["anomaly_details"]]
        _print(facts, as_json=as_json, lines=lines)

    return in_the_house(tell)


@app.command
def explain(order: OrderId, /, *, as_json: AsJson = False) -> int:
    """Tell everything that happened to one order, in the order in which one led to another."""
    from checkstand.queries.timeline import list_timeline, render_timeline

    async def tell(house: "Resources") -> None:
        case = await _find(house, order)
        entries = await list_timeline(house.database, _account_id(), case.order.order_id)
        lines = [_headline(case), *(_entry_line(entry) for entry in entries)]
        _print({"data": render_timeline(entries)}, as_json=as_json, lines=lines)

    return in_the_house(tell)


@app.command
def resolve(
    order: OrderId,
    anomaly: str,
    resolution: Literal["accept", "refund", "write_off"],
    /,
    *,
    reason: str,
    amount: str | None = None,
    returned_at: str | None = None,
    fee_returned: str | None = None,
    by: str | None = None,
) -> int:
    """Settle an anomaly, with a reason that stays in the order's history.

    Parameters
    ----------
    anomaly
        Its id or, where only one such is open, its kind; `show` lists both.
    resolution
        What is to become of it.
    reason
        Why; whoever reads the order later will want to know.
    amount
        With accepting refunded_elsewhere: how much went back.
    returned_at
        Beside the amount: when, such as 2026-01-31T12:00Z. Else as report files list it, or now.
    fee_returned
        Beside the amount: what came back of Binance's fee; 0 where nothing did.
    by
        Who decides; the name you are logged in with otherwise.
    """
    from checkstand.domain.anomaly import Resolution
    from checkstand.domain.money import parse_amount, parse_fee
    from checkstand.domain.view import parse_time
    from checkstand.operations.resolve_anomaly import resolve_anomaly

    async def settle(house: "Resources") -> None:
        went_back: dict[str, Any] = {
            "amount": _parsed("amount", amount, parse_amount),
            "returned_at": _parsed("returned_at", returned_at, parse_time),
            "fee_returned": _parsed("fee_returned", fee_returned, parse_fee),
        }
        case = await _find(house, order)
        resolved = await resolve_anomaly(
            house,
            account_id=_account_id(),
            order_id=case.order.order_id,
            anomaly_id=_pick_anomaly(case, anomaly),
            resolution=Resolution(resolution),
            reason=reason,
            doer=operator(by),
            **went_back,
        )
        print(_headline(resolved))

    return in_the_house(settle)


def _parsed(name: str, text: str | None, parse: Callable[[str], Any]) -> Any:
    """Read an option's text. Raises Refused naming the option."""
    from checkstand.domain.money import MoneyError
    from checkstand.errors import Refused

    try:
        return None if text is None else parse(text)
    except (MoneyError, ValueError) as error:
        option = "--" + name.replace("_", "-")
        raise Refused("invalid_request", f"{option} {error}", field=name) from error


def operator(name: str | None) -> Any:
    """Name who acts at the command line."""
    from checkstand.domain.act import Doer

    return Doer(actor="person", who=name or f"operator {getpass.getuser()}")


def in_the_house(work: "Callable[[Resources], Awaitable[None]]") -> int:
    """Build the house, do the work in it, take it apart."""
    settings = read_environment()
    from checkstand.app import building_house

    async def go() -> int:
        async with building_house(settings) as house:
            await work(house)
        return 0

    return run_work(go())


def _account_id() -> Any:
    from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID

    return DEFAULT_ACCOUNT_ID


async def _find(house: "Resources", text: str) -> "Case":
    """Find an order by our id or the shop's. Raises NotFound."""
    from uuid import UUID

    from checkstand.operations.change_order import order_not_found
    from checkstand.queries.list_orders import find_order, find_order_by_merchant_id

    account_id = _account_id()
    try:
        case = await find_order(house.database, account_id, UUID(text))
    except ValueError:
        case = None
    case = case or await find_order_by_merchant_id(house.database, account_id, text)
    if case is None:
        raise order_not_found(text)
    return case


def _pick_anomaly(case: "Case", text: str) -> Any:
    """Find an anomaly by its id, or by its kind where one such is open. Raises NotFound."""
    from checkstand.errors import NotFound

    wanted = [a for a in case.anomalies if str(a.anomaly_id) == text]
    wanted = wanted or [a for a in case.anomalies if a.is_open and a.kind == text]
    if len(wanted) != 1:
        known = "; ".join(f"{a.kind} {a.anomaly_id}" for a in case.anomalies) or "none"
        raise NotFound(
            "anomaly_not_found", f"no one anomaly is called {text}; the order has: {known}"
        )
    return wanted[0].anomaly_id


def _facts(case: "Case", house: "Resources") -> dict[str, Any]:
    from checkstand.domain.view import render_anomaly, render_order

    facts = render_order(case, public_url=house.policy.public_url)
    return facts | {"anomaly_details": [render_anomaly(a) for a in case.anomalies]}


def _headline(case: "Case") -> str:
    order = case.order
    price = order.terms.price or order.terms.fiat_price
    odd = ", ".join(sorted({str(a.kind) for a in case.anomalies if a.is_open}))
    return (
        f"{order.order_id} {order.terms.merchant_order_id} {order.status} {price}"
        f" {order.created_at:%Y-%m-%d %H:%M:%S}{f' [{odd}]' if odd else ''}"
    )


def anomaly_line(anomaly: dict[str, Any]) -> str:
    """Say what is odd, and how it ended or may end."""
    how = (
        f"open; resolve by {', '.join(anomaly['resolutions'])}"
        if anomaly["is_open"]
        else f"{anomaly['resolution']} by {anomaly['resolved_by']}: {anomaly['reason']}"
    )
    return f"{anomaly['kind']} {anomaly['anomaly_id']}: {anomaly['detail']} ({how})"


def _entry_line(entry: "TimelineEntry") -> str:
    moment = f"{entry.at:%Y-%m-%d %H:%M:%S}.{entry.at.microsecond // 1000:03}"
    ref = f" [{entry.ref}]" if entry.ref else ""
    return f"{moment} {entry.actor:<10} {entry.kind:<11} {entry.summary}{ref}"


def _print(facts: dict[str, Any], *, as_json: bool, lines: list[str]) -> None:
    print(json.dumps(facts, ensure_ascii=False) if as_json else "\n".join(lines))
