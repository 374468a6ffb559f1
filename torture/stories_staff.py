"""Stories of the people around the gateway: limits, second approvers, packers, accountants."""

from collections.abc import Callable, Mapping
from typing import Final

from torture.desk import BUYER_LIMIT, STALE_SECONDS
from torture.draw import Draw, Steps, opened

_COINS: Final = ("USDT", "BNB")
#: As long as a shop has goods in hand before they are offered to others.
_LEASE_SECONDS: Final = 900.0


def _paid(draw: Draw) -> Steps:
    yield from opened(draw)
    yield draw.step(7, "pay")


def limited_buyer(draw: Draw) -> Steps:
    """A buyer wants more orders than he may have, on two gateways in the same moment."""
    most, buyer = draw.random.choice((1, 1, 2, 3)), f"buyer-{draw.order}"
    yield draw.any_step(0, "set limit", kind=BUYER_LIMIT, most=str(most))
    more: dict[str, object] = {"buyer": buyer}
    if draw.random.random() < 0.3:  # when nobody can say yet whether the limit holds
        yield draw.step(draw.between(0, 9), "create for buyer", nth=9, host=draw.host(), **more)
    at = STALE_SECONDS + 2 + draw.between(0, 3)
    for nth in range(most + draw.random.choice((1, 2, 3))):
        when = at + draw.random.choice((0.0, draw.between(0, 0.05), draw.between(0, 3)))
        yield draw.step(when, "create for buyer", nth=nth, host="ab"[nth % 2], **more)
    yield draw.step(at + draw.between(2, 8), "look")
    end = draw.random.choice(("cancel", "pay", "pay"))
    yield draw.step(at + 9, end, host=draw.host())
    yield draw.step(at + draw.between(8.9, 12), "create for buyer", nth=10, host="a", **more)
    yield draw.step(at + draw.between(8.9, 12), "create for buyer", nth=11, host="b", **more)
    if draw.random.random() < 0.3:
        yield draw.any_step(at + 13, "set limit", kind=BUYER_LIMIT, most=None)
        yield draw.step(at + 14, "create for buyer", nth=12, host=draw.host(), **more)
    yield draw.step(at + draw.between(13, 20), "pay")


def limited_amount(draw: Draw) -> Steps:
    """An order is larger than the account allows, until the limit is taken back."""
    share = draw.random.choice(("0.5", "0.5", "1"))
    yield draw.step(0, "set limit", kind="order_amount", share=share)
    at = STALE_SECONDS + 2
    yield draw.step(at, "create for buyer", nth=1, host="a")
    yield draw.step(at + draw.between(0, 0.05), "create for buyer", nth=0, host="b")
    yield draw.any_step(at + 1, "set limit", kind="order_amount", most=None, currencies=_CURRENCIES)
    yield draw.step(at + draw.between(1, 15), "create for buyer", nth=0, key=2, host=draw.host())
    yield draw.step(at + 20, "create for buyer", nth=0, key=3, host=draw.host())
    yield draw.step(at + draw.between(21, 25), "look")
    yield draw.step(at + draw.between(25, 40), "pay")


def approved(draw: Draw) -> Steps:
    """Refunds above the limit wait for a second person, who decides in a bad moment."""
    kind, most = draw.random.choice(
        (("refunds_per_day", "0"), ("refunds_per_day", "1"), ("refunded_per_day", "0.003"))
    )
    yield draw.any_step(0, "hire")
    yield draw.any_step(0.1, "set limit", kind=kind, most=most, currencies=_COINS)
    yield from _paid(draw)
    at = draw.between(14, 40)
    amounts = draw.random.choice((("0.002",), ("0.001", "0.003"), ("0.002", "0.002", "0.005")))
    for number, amount in enumerate(amounts):
        when = at + draw.random.choice((0.0, draw.between(0, 0.05), draw.between(0, 5)))
        yield draw.step(when, "refund", number=number, amount=amount, host=draw.host())
    if draw.random.random() < 0.4:
        yield draw.step(at + draw.between(0, 3), "approve", who="first", host=draw.host())
    at += draw.random.choice((draw.between(0.05, 0.5), draw.between(5, 60)))
    for number in range(len(amounts)):
        verb = draw.random.choice(("approve", "approve", "approve", "deny"))
        yield draw.step(at, verb, number=number, host="a")
        other = draw.random.choice((None, "approve", "deny"))
        if other is not None:
            yield draw.step(at + draw.between(0, 0.03), other, number=number, host="b")
    yield from _trouble_with_decision(draw, at)
    if draw.random.random() < 0.3:
        yield draw.any_step(at + 2, "set limit", kind=kind, most=None, currencies=_COINS)
        yield draw.step(at + 3, "refund", number=7, amount="0.001", host=draw.host())
    if draw.random.random() < 0.8:
        verb = draw.random.choice(("approve", "approve", "deny"))
        yield draw.step(at + draw.between(60, 4000), verb, insists=True)


def _trouble_with_decision(draw: Draw, at: float) -> Steps:
    match draw.random.choice(("crash", "crash", "portal", "more", "none")):
        case "crash":
            passings = draw.random.randrange(1, 9)
            down = draw.random.choice((0.1, 2.0, 20.0))
            host = draw.host()
            when = at + draw.between(-0.05, 0.15)
            yield draw.any_step(when, "crash", host=host, passings=passings, down=down)
        case "portal":
            when = at + draw.between(-2, 2)
            yield draw.step(when, "refund in portal", amount="0.001")
        case "more":
            yield draw.step(at + draw.between(-0.1, 0.1), "refund", number=8, host=draw.host())
        case _:
            return


def packed(draw: Draw) -> Steps:
    """Packers take an order in hand, let it lapse, speak late; meanwhile money is asked back."""
    yield draw.step(0, "leave to workers")
    yield from _paid(draw)
    at = draw.between(8, 20)
    yield draw.step(at, "claim goods", worker=0, token="delivery", host=draw.host())
    if draw.random.random() < 0.5:
        yield draw.step(at + draw.between(0.1, 400), "send goods", worker=0, host=draw.host())
    lapse = at + _LEASE_SECONDS
    when = draw.random.choice((at, at + draw.between(0, 60), lapse + draw.between(-3, 6)))
    for worker in (1, 2):
        moment = when + draw.between(0, 0.03)
        token = draw.random.choice(("own", "own", "any"))
        yield draw.step(moment, "claim goods", worker=worker, token=token, host="ab"[worker - 1])
        act = draw.random.choice(("send goods", "send goods", "speak late"))
        later = when + draw.random.choice((draw.between(0.1, 5), draw.between(0.1, 1200)))
        yield draw.step(later, act, worker=worker, host=draw.host())
    if draw.random.random() < 0.6:  # when a lease is over, and nobody was told again yet
        again = lapse + draw.between(0.02, 0.7)
        if draw.random.random() < 0.4:
            yield draw.step(again, "refund", number=5, amount="0.003", host=draw.host())
            again += draw.between(16, 90)
        yield draw.step(again, "claim goods", worker=3, host=draw.host())
        yield draw.step(again + draw.between(0.05, 3), "send goods", worker=3, host=draw.host())
        yield draw.step(again + draw.between(0, 1), "speak late", worker=0, host=draw.host())
    for number in range(draw.random.choice((0, 1, 1, 2))):
        moment = draw.random.choice((at, when, when, lapse)) + draw.between(-0.5, 0.5)
        amount = draw.random.choice(("0.002", None))
        given = {} if amount is None else {"amount": amount}
        yield draw.step(moment, "refund", number=number, host=draw.host(), **given)


def audited(draw: Draw) -> Steps:
    """The morning after, the accountant lays the day beside Binance's files."""
    if draw.random.random() < 0.6:
        yield draw.any_step(0, "allow reports")
    yield from opened(draw)
    match draw.random.choice(("unheard", "portal", "refund", "late", "late")):
        case "unheard":  # nobody tells of it, and Binance cannot be asked: its file is the first
            yield draw.any_step(5, "break binance", kind="drop", times=20)
            name, times = "/v2/order/query", draw.random.choice((6, 15, 40))
            kind = "binance unreachable"
            yield draw.any_step(5, "break line to binance", kind=kind, name=name, times=times)
            yield draw.step(draw.between(6, 40), "pay")
        case "portal":
            yield draw.step(7, "pay")
            amount = draw.random.choice(("0.002", "0.004"))
            yield draw.step(draw.between(10, 3000), "refund in portal", amount=amount)
        case "refund":
            yield draw.step(7, "pay")
            yield draw.step(draw.between(20, 60), "refund", number=0, amount="0.002")
            if draw.random.random() < 0.5:
                yield draw.any_step(15, "break binance", kind="drop", times=20)
        case _:  # after the second look at what has lapsed; the next one comes a day later
            late = draw.life + draw.between(7300, 30_000)
            yield draw.step(late, "pay", force=True, webhook=draw.random.random() < 0.2)
    yield from _morning_after(draw)


def _morning_after(draw: Draw) -> Steps:
    at = _UNTIL_MIDNIGHT - draw.start + draw.between(30, 3000)
    if draw.random.random() < 0.3:  # too early: what comes to light later is booked later
        yield draw.any_step(at - draw.between(1, 20), "close day", day=0, host=draw.host())
    for host in "ab":
        act = draw.random.choice(("fetch reports", "fetch reports", "upload reports"))
        when = at + draw.random.choice((0.0, draw.between(0, 0.05), draw.between(0, 60)))
        yield draw.any_step(when, act, day=0, host=host)
        when += draw.random.choice((0.1, draw.between(0, 5), 70.0))
        yield draw.any_step(when, "reconcile day", day=0, host=host)
    if draw.random.random() < 0.4:
        yield draw.any_step(at + draw.between(0, 60), "crash", host=draw.host(), passings=5, down=2)
    when = at + draw.between(60, 4000)
    if draw.random.random() < 0.5:
        how = draw.random.choice(("explained", "accepted"))
        yield draw.any_step(when, "resolve discrepancies", how=how)
    for host in draw.random.choice(("a", "ab", "")):
        yield draw.any_step(when + draw.between(5, 5.05), "close day", day=0, host=host)


#: Stories begin at noon; gateways take a moment to start.
_UNTIL_MIDNIGHT: Final = 12 * 3600.0
_CURRENCIES: Final = (*_COINS, "EUR")

STORIES: Final[Mapping[Callable[[Draw], Steps], int]] = {
    limited_buyer: 3,
    limited_amount: 1,
    approved: 4,
    packed: 4,
    audited: 3,
}
