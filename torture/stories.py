"""From a seed to a plan: which stories are told, and what breaks meanwhile.

A story is a function that yields steps for one order, and a row in `STORIES`; misfortunes that may
strike any story are rows in `MISFORTUNES`.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from torture import stories_calamities, stories_staff
from torture.draw import Draw, Steps, opened
from torture.plan import Plan, Step

_CREATE, _QUERY, _CLOSE = "/v3/order", "/v2/order/query", "/order/close"
_REFUND, _REFUND_QUERY = "/order/refund", "/order/refund/query"


def plain(draw: Draw) -> Steps:
    """Create, look, pay."""
    yield from opened(draw)
    yield draw.step(draw.between(2, 40), "pay")


def unpaid(draw: Draw) -> Steps:
    """Nobody pays; perhaps money comes after the end."""
    yield from opened(draw)
    if draw.random.random() < 0.5:
        late = draw.life + draw.between(0.5, 200) ** draw.random.choice((1, 2))
        yield draw.step(late, "pay", force=True, webhook=draw.random.random() < 0.5)


def crossed_creates(draw: Draw) -> Steps:
    """The same create comes twice at once to two gateways, and again under another key."""
    yield draw.step(0, "create", host="a")
    yield draw.step(draw.between(0, 0.05), "create", host="b")
    yield draw.step(draw.between(0, 20), "create", key=2, host=draw.host())
    yield draw.step(draw.between(1, 8), "look")
    yield draw.step(draw.between(8, 50), "pay")


def renewals(draw: Draw) -> Steps:
    """New codes, one to ten times; somebody pays by any of those shown."""
    yield from opened(draw)
    at = draw.between(3, 10)
    for _ in range(draw.random.choice((1, 1, 1, 2, 2, 3, 5, 10))):
        yield draw.step(at, draw.random.choice(("renew", "shopper renews")), host=draw.host())
        if draw.random.random() < 0.3:
            yield draw.step(at + draw.between(0, 0.3), "shopper renews", host=draw.host())
        yield draw.step(at + draw.between(0.2, 4), "look")
        at += draw.between(3, 15)
    code = draw.random.choice((-1, 0, 0, 1))
    yield draw.step(at + draw.between(-15, 10), "pay", code=code)
    if draw.random.random() < 0.4:
        yield draw.step(at + draw.between(-5, 15), "pay", code=draw.random.choice((-1, 0, 1)))
    if draw.random.random() < 0.25:
        yield draw.step(at + draw.between(5, 60), "pay", code=0, force=True)


def cancelled(draw: Draw) -> Steps:
    """Cancelled, and perhaps paid in the same moment."""
    yield from opened(draw)
    at = draw.between(0.01, 30)
    yield draw.step(at, draw.random.choice(("cancel", "shopper cancels")), host=draw.host())
    if draw.random.random() < 0.6:
        yield draw.step(at + draw.between(-0.1, 0.6), "pay")
    if draw.random.random() < 0.2:
        yield draw.step(at + draw.between(1, 4000), "pay", force=True, webhook=False)


def closed_then_paid(draw: Draw) -> Steps:
    """A close is accepted, and before it takes effect the payer pays."""
    yield from opened(draw)
    at = draw.between(4, 20)
    yield draw.any_step(at - 1, "break binance", kind="paid_while_closing")
    yield draw.step(at, draw.random.choice(("cancel", "renew", "shopper renews")))
    yield draw.step(at + 5, "look")


def stalls(draw: Draw) -> Steps:
    """Somebody starts to pay and does not get on, across the end of the code."""
    yield from opened(draw)
    at = draw.between(3, min(draw.life * 0.9, 300))
    yield draw.step(at, "start paying")
    if draw.random.random() < 0.5:
        act = draw.random.choice(("cancel", "shopper renews", "renew", "shopper has paid"))
        yield draw.step(at + draw.between(0, 30), act)
    end = draw.random.choice(("pay", "pay", "walk away", "payment fails", None))
    if end is not None:
        yield draw.step(at + draw.between(0.5, draw.life * 1.2), end)
    if draw.random.random() < 0.3:
        yield draw.step(draw.life + draw.between(1, 7000), "pay", force=True)


def unheard(draw: Draw) -> Steps:
    """Every notice of the order is lost."""
    yield from opened(draw)
    yield draw.any_step(1, "break binance", kind="drop", times=20)
    yield draw.step(draw.between(3, 60), "pay")
    if draw.random.random() < 0.5:
        yield draw.step(draw.between(60, 90), "shopper has paid")


def lands_late(draw: Draw) -> Steps:
    """A create is taken late, after queries have said that there is no such order."""
    seconds = round(draw.between(0.2, 8) ** draw.random.choice((1, 2, 3)), 3)
    yield draw.any_step(0, "break binance", kind="lands_late", endpoint=_CREATE, seconds=seconds)
    yield draw.step(0.2, "create", host=draw.host())
    for _ in range(3):
        yield draw.step(draw.between(3, 60), "look")
    yield draw.step(draw.between(20, 90), "pay")


def unanswered_create(draw: Draw) -> Steps:
    """A create is done and not answered, so its links are lost."""
    kind = draw.random.choice(
        ("answer_lost_after_effect", "http_5xx_after_effect", "unknown_error_after_effect", "slow")
    )
    given = {"seconds": draw.between(5, 40)} if kind == "slow" else {}
    yield draw.any_step(
        0, "break binance", kind=kind, endpoint=_CREATE, times=draw.random.choice((1, 2)), **given
    )
    yield draw.step(0.2, "create", host=draw.host())
    if draw.random.random() < 0.4:
        yield draw.step(draw.between(0.2, 3), "stranger pays")
    for _ in range(2):
        yield draw.step(draw.between(2, 30), "look")
    yield draw.step(draw.between(15, 60), "pay", code=draw.random.choice((-1, 0)))


def stranger(draw: Draw) -> Steps:
    """Another merchant's genuine notice comes to our address with our number."""
    yield from opened(draw)
    yield draw.step(draw.between(0.05, 10), "stranger pays")
    if draw.random.random() < 0.4:
        yield draw.step(draw.between(10, 50), "pay")


def repeated(draw: Draw) -> Steps:
    """The same news again and again, crossed on two gateways, some of it with old timestamps."""
    yield draw.any_step(
        0, "break binance", kind="duplicate", times=2, copies=draw.random.choice((1, 2, 3))
    )
    if draw.random.random() < 0.5:
        yield draw.any_step(0, "break binance", kind="first_timestamp_on_retry")
        yield draw.any_step(
            0,
            "break line of notices",
            kind="notice unanswered",
            times=draw.random.choice((1, 3, 5)),
        )
    yield from opened(draw)
    at = draw.between(3, 30)
    yield draw.step(at, "pay")
    yield draw.step(at + draw.between(0, 2), "repeat notice", copies=3)
    yield draw.step(at + draw.between(0, 2000), "repeat notice", age=draw.between(0, 2000))


def odd_money(draw: Draw) -> Steps:
    """Other money arrives than was asked for."""
    yield from opened(draw)
    odd = draw.random.choice(({"amount": "3.33"}, {"currency": "BNB"}, {"amount": "99"}))
    yield draw.step(draw.between(3, 40), "pay", **odd)
    yield draw.step(draw.between(40, 60), draw.random.choice(("renew", "cancel", "refresh")))
    if draw.random.random() < 0.6:
        how = draw.random.choice(("accept", "refund", "write_off"))
        yield draw.step(draw.between(50, 500), "decide", how=how)


def last_second(draw: Draw) -> Steps:
    """Paid around the very moment of the end."""
    yield from opened(draw)
    yield draw.step(draw.life + draw.between(-1.5, 0.5), "pay")
    yield draw.step(draw.life + draw.between(-1.5, 0.5), "cancel")


def pressed_often(draw: Draw) -> Steps:
    """Shop and shopper press every button."""
    yield from opened(draw)
    verbs = (
        "cancel", "renew", "refresh", "fulfil", "look", "shopper renews", "shopper cancels",
        "shopper has paid", "pay", "start paying", "walk away",
    )  # fmt: skip
    for _ in range(draw.random.randrange(4, 12)):
        at = draw.within_life()
        yield draw.step(at, draw.random.choice(verbs), code=draw.random.choice((-1, 0)))


def refunded_elsewhere(draw: Draw) -> Steps:
    """Paid, and given back in Binance's portal, where nobody tells us."""
    yield from plain(draw)
    amount = draw.random.choice((None, "0.5"))
    given = {} if amount is None else {"amount": amount}
    yield draw.step(draw.between(41, 3000), "refund in portal", **given)
    yield draw.step(draw.between(3000, 4000), "refresh")
    if draw.random.random() < 0.6:
        how = draw.random.choice(("accept", "write_off"))
        yield draw.step(draw.between(4000, 5000), "decide", how=how)


def _paid(draw: Draw) -> Steps:
    yield from opened(draw)
    yield draw.step(7, "pay")


def _parts(draw: Draw) -> tuple[str, ...]:
    return draw.random.choice((("0.004",), ("0.001", "0.003"), ("0.002", "0.002", "0.005")))


def refunded(draw: Draw) -> Steps:
    """Money is asked back, in parts and then all the rest, with trouble at every door."""
    yield from _paid(draw)
    at = draw.between(12, 40)
    for number, amount in enumerate(_parts(draw)):
        yield draw.step(at, "refund", number=number, amount=amount, host=draw.host())
        at += draw.random.choice((0.0, draw.between(0, 0.05), draw.between(0, 20)))
    if draw.random.random() < 0.6:
        yield draw.step(at + draw.between(0, 30), "refund", number=8, host=draw.host())
    for _ in range(draw.random.choice((0, 1, 2))):
        kind = draw.random.choice(
            ("answer_lost_after_effect", "lost_before_effect", "http_5xx_after_effect",
             "unknown_error_after_effect", "slow", "lands_late", "refund_rejected")
        )  # fmt: skip
        given: dict[str, Any] = {}
        if kind != "refund_rejected":
            given["endpoint"] = draw.random.choice((_REFUND, _REFUND, _REFUND_QUERY))
        if kind in {"slow", "lands_late"}:
            given["seconds"] = draw.between(1, 60)
        yield draw.any_step(8, "break binance", kind=kind, **given)
    if draw.random.random() < 0.3:
        yield draw.any_step(8, "break binance", kind="drop", times=20)


def crossed_refunds(draw: Draw) -> Steps:
    """Several wishes at once for more than there is, and the same wish twice."""
    yield from _paid(draw)
    at = draw.between(12, 40)
    yield draw.step(at, "refund", number=0, host="a")
    yield draw.step(at + draw.between(0, 0.02), "refund", number=0, host="b")
    yield draw.step(at + draw.between(0, 0.05), "refund", number=0, key=2, host=draw.host())
    yield draw.step(at + draw.between(0, 0.05), "refund", number=1, amount="0.006", host="b")
    yield draw.step(at + draw.between(0, 0.05), "refund", number=2, amount="0.006", host="a")
    yield draw.step(at + draw.between(0, 5), "fulfil", host=draw.host())


def ten_refunds(draw: Draw) -> Steps:
    """As many refunds as Binance takes, the last of which returns all that is left."""
    yield from _paid(draw)
    at = 12.0
    for number in range(draw.random.choice((9, 10, 12))):
        yield draw.step(at, "refund", number=number, amount="0.0005", host=draw.host())
        at += draw.random.choice((0.0, draw.between(0.2, 6)))
    yield draw.step(at + draw.between(0, 60), "refund", number=20)
    if draw.random.random() < 0.3:
        yield draw.step(draw.between(12, at), "refund in portal", amount="0.001")


def refund_short_of_balance(draw: Draw) -> Steps:
    """The answer to a refund is lost, the wallet is empty, and the same refund is sent again."""
    yield from _paid(draw)
    at = draw.between(12, 30)
    if draw.random.random() < 0.7:
        kind = draw.random.choice(
            ("answer_lost_after_effect", "lost_before_effect", "lands_late", "unknown_error")
        )
        given = {"seconds": draw.between(1, 30)} if kind == "lands_late" else {}
        yield draw.any_step(at - 1, "break binance", kind=kind, endpoint=_REFUND, **given)
    yield draw.any_step(at + draw.between(-0.5, 0.5), "set wallet", balance="0")
    yield draw.step(at, "refund", number=0, host=draw.host())
    if draw.random.random() < 0.5:
        yield draw.step(at + draw.between(0, 3), "refund", number=1, amount="0.001")
    yield draw.any_step(at + draw.between(2, 900), "set wallet", balance="5000")


def refunded_twice(draw: Draw) -> Steps:
    """Money goes back in Binance's portal while it is asked back here."""
    yield from _paid(draw)
    at = draw.between(12, 40)
    yield draw.step(at, "refund", number=0, amount="0.003", host=draw.host())
    portal = draw.random.choice((None, "0.002"))
    given = {} if portal is None else {"amount": portal}
    yield draw.step(at + draw.between(-3, 3), "refund in portal", **given)
    yield draw.step(at + draw.between(0, 100), "refund", number=1, host=draw.host())


#: Every story with how often it is told.
STORIES: Final[Mapping[Callable[[Draw], Steps], int]] = {
    plain: 3,
    unpaid: 3,
    crossed_creates: 3,
    renewals: 5,
    cancelled: 4,
    closed_then_paid: 3,
    stalls: 4,
    unheard: 2,
    lands_late: 4,
    unanswered_create: 4,
    stranger: 2,
    repeated: 3,
    odd_money: 2,
    last_second: 2,
    pressed_often: 3,
    refunded_elsewhere: 1,
    refunded: 5,
    crossed_refunds: 3,
    ten_refunds: 1,
    refund_short_of_balance: 3,
    refunded_twice: 2,
    **stories_calamities.STORIES,
    **stories_staff.STORIES,
}


def _crash(draw: Draw) -> Steps:
    at = draw.random.choice((0.0, draw.within_life(), draw.within_life()))
    most = draw.random.choice((3, 3, 8, 60))
    passings = draw.random.randrange(1, most)
    down = draw.random.choice((0.1, 2.0, 20.0, 120.0))
    yield draw.any_step(at, "crash", host=draw.host(), passings=passings, down=down)


def _binance_fails(draw: Draw) -> Steps:
    kind = draw.random.choice(
        (
            "lost_before_effect", "answer_lost_after_effect", "http_5xx_before_effect",
            "http_5xx_after_effect", "unknown_error", "unknown_error_after_effect", "slow",
            "delay", "too_many_requests", "html", "geo_block", "lands_late", "connection_reset",
            "clock_skew",
        )
    )  # fmt: skip
    args: dict[str, Any] = {"kind": kind, "times": draw.random.choice((1, 1, 2, 4))}
    if kind not in {"connection_reset", "clock_skew"}:
        args["endpoint"] = draw.random.choice((_CREATE, _QUERY, _CLOSE, _REFUND, _REFUND_QUERY))
    if kind in {"slow", "delay", "lands_late"}:
        args["seconds"] = round(draw.between(0.5, 40), 3)
    if kind == "clock_skew":
        args["seconds"] = round(draw.between(-30, 30), 3)
    yield draw.any_step(draw.within_life(), "break binance", **args)


def _line_breaks(draw: Draw) -> Steps:
    kind = draw.random.choice(("binance unreachable", "binance unanswered"))
    times = draw.random.choice((1, 2, 5, 20))
    yield draw.any_step(draw.within_life(), "break line to binance", kind=kind, times=times)


def _news_breaks(draw: Draw) -> Steps:
    if draw.random.random() < 0.5:
        kind = draw.random.choice(("notice unsent", "notice unanswered"))
        times = draw.random.choice((1, 2, 6))
        yield draw.any_step(draw.within_life(), "break line of notices", kind=kind, times=times)
        return
    kind = draw.random.choice(
        ("drop", "duplicate", "webhook_delay", "no_biz_id_str", "first_timestamp_on_retry",
         "bad_signature", "unknown_serial")
    )  # fmt: skip
    args: dict[str, Any] = {"seconds": draw.between(1, 400)} if kind == "webhook_delay" else {}
    times = draw.random.choice((1, 2, 3))
    yield draw.any_step(draw.within_life(), "break binance", kind=kind, times=times, **args)


def _commit_breaks(draw: Draw) -> Steps:
    kind = draw.random.choice(("commit unheard", "commit unheard", "commit refused"))
    name = draw.random.choice(
        ("", "create_order.begin", "create_order.conclude", "plan_call", "record_answer",
         "settle_notices", "deliver_event.record", "claim", "cancel_order", "renew_order",
         "fulfil_order", "expire_orders", "refund", "seal_transfers")
    )  # fmt: skip
    times = draw.random.choice((1, 1, 2, 5, 7))
    at = draw.random.choice((0.0, draw.within_life()))
    yield draw.any_step(at, "break database", host=draw.host(), kind=kind, name=name, times=times)


def _database_fails(draw: Draw) -> Steps:
    act = draw.random.choice(("stall database", "take database away"))
    yield draw.any_step(draw.within_life(), act, seconds=round(draw.between(0.2, 8), 3))


def _shop_fails(draw: Draw) -> Steps:
    kind = draw.random.choice(
        ("shop unreachable", "shop unanswered", "shop 503", "shop 500 after", "shop slow",
         "shop 400", "shop 429", "delivered twice")
    )  # fmt: skip
    times = draw.random.choice((1, 2, 4))
    seconds = draw.random.choice((1.0, 20.0, 90.0))
    yield draw.any_step(0, "break shop", kind=kind, times=times, seconds=seconds)


def _keys_rotate(draw: Draw) -> Steps:
    keeps_old = draw.random.random() < 0.5
    yield draw.any_step(draw.within_life(), "rotate keys", keeps_old=keeps_old)


def _somebody_decides(draw: Draw) -> Steps:
    how = draw.random.choice(("accept", "accept", "refund", "write_off"))
    at = draw.random.choice((draw.within_life(), draw.between(60, 5000)))
    yield draw.step(at, "decide", how=how)


def _told_again(draw: Draw) -> Steps:
    number = draw.random.randrange(10)
    yield draw.any_step(draw.between(10, 300), "redeliver", number=number)


#: What may strike any story, with how often it does.
MISFORTUNES: Final[Mapping[Callable[[Draw], Steps], int]] = {
    _crash: 5,
    _binance_fails: 5,
    _line_breaks: 2,
    _news_breaks: 3,
    _commit_breaks: 5,
    _database_fails: 2,
    _shop_fails: 3,
    _keys_rotate: 1,
    _told_again: 1,
    _somebody_decides: 2,
}

#: What people said and were told is judged by their memory, which a database that is put back would
#: have to share: the two are never told together.
_OF_PEOPLE: Final = frozenset(stories_staff.STORIES)
_FORGETFUL: Final = frozenset({stories_calamities.put_back})

_LIVES: Final = (60, 60, 90, 120, 120, 180, 300, 600, 900, 3900)
_PRICES: Final = (
    {"amount": "12.50", "currency": "USDT"},
    {"amount": "0.01000000", "currency": "USDT"},
    {"amount": "3", "currency": "BNB"},
    {"fiat_amount": "9.99", "fiat_currency": "EUR"},
)


def make_plan(seed: int) -> Plan:
    """Draw a plan. The same seed gives the same plan."""
    dice = random.Random(f"plan:{seed}")
    bodies: list[Mapping[str, Any]] = []
    steps: list[Step] = []
    told: list[Callable[[Draw], Steps]] = []
    has_cart = dice.random() < 0.15
    for order in range(dice.choice((1, 1, 2, 2, 3))):
        life = dice.choice(_LIVES)
        body = {
            "merchant_order_id": f"shop-{seed}-{order}",
            "description": "A tin of green tea",
            "expires_in": life,
            **dice.choice(_PRICES),
        }
        bodies.append(body | ({"cart_id": f"cart-{seed}"} if has_cart else {}))
        draw = Draw(dice, order, 1.0 + dice.uniform(0, 20) * order, life)
        story = _choose(dice, told)
        told.append(story)
        happens = list(story(draw))
        steps.extend(happens)
        draw = replace(draw, moments=tuple(step.at - draw.start for step in happens))
        for _ in range(dice.choice((0, 1, 1, 2, 3, 4))):
            misfortune = dice.choices(list(MISFORTUNES), list(MISFORTUNES.values()))[0]
            steps.extend(misfortune(draw))
    apart = dice.choice((0.0, 0.0, 1.5, -1.5, 90.0, -90.0))
    return Plan(
        seed=seed,
        skews=dice.choice(((0.0, apart), (apart, 0.0), (-apart / 2, apart / 2))),
        database_skew=dice.choice((0.0, 0.0, 0.0, 0.4, -0.7, 3.0, -40.0)),
        fulfils_on_delivery=dice.random() < 0.25,
        close_delay_ms=dice.choice((100, 100, 1500, 20_000, 45_000)),
        refund_delay_ms=dice.choice((100, 100, 3000, 120_000)),
        refund_query_is_current=dice.random() < 0.5,
        portal_refunds_use_attempts=dice.random() < 0.5,
        orders=tuple(bodies),
        steps=tuple(sorted(steps, key=lambda step: step.at)),
        story=", ".join(story.__name__ for story in told),
    )


def _choose(
    dice: random.Random, told: Sequence[Callable[[Draw], Steps]]
) -> Callable[[Draw], Steps]:
    """Draw a story that may be told beside those that are."""
    barred: frozenset[Callable[[Draw], Steps]] = frozenset()
    if _OF_PEOPLE.intersection(told):
        barred = _FORGETFUL
    elif _FORGETFUL.intersection(told):
        barred = _OF_PEOPLE
    stories = {story: weight for story, weight in STORIES.items() if story not in barred}
    return dice.choices(list(stories), list(stories.values()))[0]
