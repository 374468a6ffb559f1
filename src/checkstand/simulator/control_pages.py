"""The control API under /simulator: JSON in, JSON out, described in README.md.

It only translates; what it can do is in `control.py`. An option nobody knows is an error that
lists the known ones, and every error says what to do in `error`.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from checkstand.simulator import reports, wire
from checkstand.simulator.accounts import Payer
from checkstand.simulator.checks import check_features, check_networks
from checkstand.simulator.control import Control, NotFound
from checkstand.simulator.orders import NotPossible
from checkstand.simulator.records import Merchant
from checkstand.simulator.rejections import Rejection

_Options = dict[str, Any]
_Handler = Callable[[Control, Request, _Options], Awaitable[object]]


def control_routes(control: Control) -> list[Route]:
    """Return the routes of the control API."""
    return [
        Route(f"/simulator{path}", partial(_answer, handler, control), methods=[method])
        for method, path, handler in _ROWS
    ]


async def _answer(handler: _Handler, control: Control, request: Request) -> Response:
    try:
        body = await request.body()
        options = wire.parse_object(body) if body else {}
        result = await handler(control, request, options)
        return result if isinstance(result, Response) else _json(200, result)
    except NotFound as error:
        return _json(404, {"error": str(error)})
    except NotPossible as error:
        return _json(409, {"error": str(error)})
    except Rejection as error:
        return _json(400, {"error": error.message, "code": error.code})
    except (ValueError, TypeError, ArithmeticError) as error:
        return _json(400, {"error": str(error) or type(error).__name__})


async def _state(control: Control, _: Request, options: _Options) -> object:
    _take(options)
    return reports.state_report(control.world)


async def _order(control: Control, request: Request, options: _Options) -> object:
    _take(options)
    reference, merchant_id = _reference(request), request.query_params.get("merchant_id")
    return reports.order_report(control.order(reference, merchant_id=merchant_id))


async def _act(control: Control, request: Request, options: _Options) -> object:
    """Pay, cancel, fail, start or end an order."""
    name = request.url.path.rpartition("/")[2]
    act, allowed = _ACTS[name]
    return reports.order_report(act(control, _reference(request), **_take(options, *allowed)))


async def _refund(control: Control, request: Request, options: _Options) -> object:
    taken = _take(options, "merchant_id", "amount")
    return reports.refund_report(control.refund(_reference(request), **taken))


async def _send_webhook(control: Control, request: Request, options: _Options) -> object:
    taken = _take(
        options, "merchant_id", "biz_status", "data", "url", "bad_signature", "timestamp_ms"
    )
    return reports.notice_report(await control.send_webhook(_reference(request), **taken))


async def _list_faults(control: Control, _: Request, options: _Options) -> object:
    _take(options)
    return [reports.fault_report(fault) for fault in control.faults.listed]


async def _add_fault(control: Control, _: Request, options: _Options) -> object:
    named: _Options = {key: _bare(value) for key, value in options.items()}
    if not isinstance(kind := named.pop("kind", None), str):
        raise TypeError("a fault has a kind")
    return reports.fault_report(control.faults.add(kind, **named))


async def _clear_faults(control: Control, _: Request, options: _Options) -> object:
    _take(options)
    control.faults.clear()
    return []


async def _remove_fault(control: Control, request: Request, options: _Options) -> object:
    _take(options)
    number = request.path_params["number"]
    if not control.faults.remove(number):
        raise NotFound(f"there is no fault {number}")
    return [reports.fault_report(fault) for fault in control.faults.listed]


async def _read_clock(control: Control, _: Request, options: _Options) -> object:
    _take(options)
    return reports.clock_report(control.clock)


async def _move_clock(control: Control, _: Request, options: _Options) -> object:
    taken = _take(options, "freeze", "set", "advance_seconds", "speed", "settle")
    if "freeze" in taken:
        control.clock.freeze() if taken["freeze"] else control.clock.resume()
    if "set" in taken:
        control.clock.set(datetime.fromisoformat(taken["set"]))
    if "speed" in taken:
        control.clock.hurry(float(taken["speed"]))
    seconds = float(taken.get("advance_seconds", 0))
    if taken.get("settle", True):
        await control.advance(seconds)
    else:
        control.clock.advance(seconds)
    return reports.clock_report(control.clock)


async def _settle(control: Control, _: Request, options: _Options) -> object:
    _take(options)
    await control.settle()
    return reports.clock_report(control.clock)


async def _add_merchant(control: Control, _: Request, options: _Options) -> object:
    taken = _take(
        options,
        "api_key",
        "api_secret",
        "merchant_id",
        "name",
        "webhook_url",
        "opening_balances",
        "features",
        "trusted_ips",
    )
    taken["opening_balances"] = _balances(taken)
    if "features" in taken:
        taken["features"] = check_features(taken["features"])
    if "trusted_ips" in taken:
        taken["trusted_ips"] = check_networks(taken["trusted_ips"])
    return reports.merchant_report(control.world, control.add_merchant(Merchant(**taken)))


async def _set_webhook_url(control: Control, request: Request, options: _Options) -> object:
    url = _take(options, "url").get("url")
    merchant = control.set_webhook_url(request.path_params["merchant_id"], url)
    return reports.merchant_report(control.world, merchant)


async def _set_key(control: Control, request: Request, options: _Options) -> object:
    taken = _take(options, "features", "trusted_ips")
    api_key = request.path_params["api_key"]
    return reports.key_report(api_key, control.set_key(api_key, **taken))


async def _add_payer(control: Control, _: Request, options: _Options) -> object:
    taken = _take(options, "payer_id", "name", "opening_balances")
    taken["opening_balances"] = _balances(taken)
    return reports.payer_report(control.world, control.add_payer(Payer(**taken)))


async def _set_balance(control: Control, request: Request, options: _Options) -> object:
    owner = request.path_params["owner"]
    control.set_balance(owner, **_take(options, "currency", "balance", "wallet"))
    return reports.wallets_report(control.world, owner)


async def _sign(control: Control, _: Request, options: _Options) -> object:
    taken = _take(
        options, "data", "biz_type", "biz_status", "biz_id", "timestamp_ms", "bad_signature"
    )
    signed = control.sign(**taken)
    return {"body": signed.body.decode(), "headers": signed.headers}


async def _export(control: Control, _: Request, options: _Options) -> object:
    _take(options)
    return Response(control.export_state(), media_type="application/json")


async def _import(control: Control, request: Request, _: _Options) -> object:
    await control.import_state(await request.body())
    return {"imported": True, "clock": reports.clock_report(control.clock)}


async def _rotate(control: Control, _: Request, options: _Options) -> object:
    control.rotate_certificates(**_take(options, "keeps_old"))
    return [key.serial for key in control.world.keys.listed]


#: What an order can be made to do, with the options of each.
_ACTS: Mapping[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "pay": (
        Control.pay,
        (
            "merchant_id",
            "commission",
            "amount",
            "currency",
            "webhook",
            "force",
            "pay_currency",
            "payer_id",
            "tops_up",
        ),
    ),
    "cancel": (Control.cancel, ("merchant_id",)),
    "fail": (Control.fail, ("merchant_id",)),
    "pending": (Control.pending, ("merchant_id",)),
    "expire": (Control.expire, ("merchant_id",)),
}

_ROWS: tuple[tuple[str, str, _Handler], ...] = (
    ("GET", "/state", _state),
    ("GET", "/orders/{reference}", _order),
    *(("POST", f"/orders/{{reference}}/{name}", _act) for name in _ACTS),
    ("POST", "/orders/{reference}/refund", _refund),
    ("POST", "/orders/{reference}/send-webhook", _send_webhook),
    ("GET", "/faults", _list_faults),
    ("POST", "/faults", _add_fault),
    ("DELETE", "/faults", _clear_faults),
    ("DELETE", "/faults/{number:int}", _remove_fault),
    ("GET", "/clock", _read_clock),
    ("POST", "/clock", _move_clock),
    ("POST", "/settle", _settle),
    ("POST", "/merchants", _add_merchant),
    ("POST", "/merchants/{merchant_id}/webhook-url", _set_webhook_url),
    ("POST", "/sign", _sign),
    ("GET", "/export", _export),
    ("POST", "/import", _import),
    ("POST", "/keys/{api_key}", _set_key),
    ("POST", "/payers", _add_payer),
    ("POST", "/wallets/{owner}", _set_balance),
    ("POST", "/certificates/rotate", _rotate),
)


def _reference(request: Request) -> str:
    reference: str = request.path_params["reference"]
    return reference


def _take(options: _Options, *allowed: str) -> _Options:
    """Return the options, all of them known; null means not given."""
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        known = ", ".join(allowed) or "none"
        raise ValueError(f"unknown option {unknown[0]!r}; known are: {known}")
    return {key: value for key, value in options.items() if value is not None}


def _balances(options: _Options) -> dict[str, Decimal]:
    given = options.get("opening_balances", {})
    return {coin: Decimal(amount) for coin, amount in given.items()}


def _bare(value: object) -> object:
    return float(value) if isinstance(value, Decimal) else value


def _json(status: int, content: object) -> Response:
    return Response(wire.to_json(content), status_code=status, media_type="application/json")
