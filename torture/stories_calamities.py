"""Stories of what befalls the installation itself, and of fees that come later."""

from collections.abc import Callable, Mapping
from typing import Final

from torture.draw import Draw, Steps, opened
from torture.plan import Step


def fee_comes_later(draw: Draw) -> Steps:
    """Money arrives, and for a while nobody says what Binance kept of it."""
    seconds = round(draw.between(1, 200) ** draw.random.choice((1, 2)), 3)
    yield draw.any_step(
        0, "break binance", kind="fee_later", times=draw.random.choice((1, 2)), seconds=seconds
    )
    yield from opened(draw)
    at = draw.between(6, 40)
    yield draw.step(at, "pay")
    for _ in range(draw.random.choice((0, 1, 2))):
        act = draw.random.choice(("repeat notice", "refresh", "shopper has paid"))
        yield draw.step(at + draw.between(0, seconds * 1.5), act)
    if draw.random.random() < 0.4:
        yield draw.step(at + draw.between(2, seconds * 1.5), "refund", number=0, amount="0.004")


def put_back(draw: Draw) -> Steps:
    """The database is put back to an earlier point: before or after the money, or a refund."""
    yield from opened(draw)
    kept = draw.between(0.1, 30)
    yield draw.any_step(kept, "back up")
    paid = draw.between(4, 50)
    yield draw.step(paid, "pay", webhook=draw.random.random() < 0.8)
    at = paid
    for number in range(draw.random.choice((0, 0, 1, 2))):
        at += draw.between(3, 15)
        yield draw.step(at, "refund", number=number, amount=draw.random.choice(("0.004", "0.002")))
    if draw.random.random() < 0.4:
        act = draw.random.choice(("renew", "cancel", "shopper renews", "fulfil"))
        yield draw.step(draw.between(kept, paid + 5), act)
        yield draw.step(paid + 6, "look")
    lost = max(kept, at) + draw.between(-2, 60) ** draw.random.choice((1, 1, 2))
    lost = max(lost, kept + 0.5)
    yield draw.any_step(lost, "restore", down=round(draw.between(0.5, 30), 3))
    for _ in range(draw.random.choice((0, 1, 2))):
        act = draw.random.choice(("look", "create", "pay", "refund", "refresh", "repeat notice"))
        given = {"number": 0, "amount": "0.004", "key": 2} if act == "refund" else {}
        given = {"key": 2} if act == "create" else given
        yield draw.step(lost + draw.between(5, 200), act, **given)
    for _ in range(draw.random.choice((0, 1, 2))):
        yield draw.any_step(lost + draw.between(30, 900), "end recovery")


def others_keys(draw: Draw) -> Steps:
    """A rotation pastes another merchant's keys, and later somebody puts the right ones back."""
    yield from opened(draw)
    at = draw.between(6.5, 60)
    if draw.random.random() < 0.5:
        yield draw.step(draw.between(4, at + 5), "pay", webhook=draw.random.random() < 0.7)
    if draw.random.random() < 0.5:
        yield draw.step(at + draw.between(-3, 20), "refund", number=0, amount="0.004")
    yield _other_keys(draw, at)
    for _ in range(draw.random.choice((1, 2, 3))):
        act = draw.random.choice(
            ("renew", "shopper renews", "cancel", "refresh", "look", "pay", "shopper has paid")
        )
        yield draw.step(at + draw.between(1, 60), act)
    end = at + draw.between(4, 70) ** draw.random.choice((1, 1, 2))
    yield draw.any_step(end, "use our keys")
    if draw.random.random() < 0.5:
        yield draw.step(end + draw.between(5, 200), "pay", webhook=draw.random.random() < 0.5)


def others_word(draw: Draw) -> Steps:
    """With another merchant's keys Binance is asked about an order that he has under our number.

    His was paid, by himself; what is said of it must move nothing of ours.
    """
    yield from opened(draw)
    at = draw.between(6.5, draw.life * 0.6)
    yield draw.step(at - draw.between(0.1, 5), "stranger pays")
    yield _other_keys(draw, at)
    for _ in range(draw.random.choice((1, 2))):
        act = draw.random.choice(("refresh", "shopper has paid", "cancel", "shopper renews"))
        yield draw.step(at + draw.between(3, 30), act)
    end = at + draw.between(8, 40) ** draw.random.choice((1, 1, 2))
    yield draw.any_step(end, "use our keys")
    if draw.random.random() < 0.6:
        yield draw.step(end + draw.between(8, 60), "pay", webhook=draw.random.random() < 0.7)


def others_order(draw: Draw) -> Steps:
    """A code is made with another merchant's keys, and perhaps somebody pays him for it."""
    yield from opened(draw)
    at = draw.life + draw.between(5, 60)  # our own code has lapsed by then
    yield _other_keys(draw, at)
    made = at + draw.between(4, 12)
    yield draw.step(made, "renew", host=draw.host())
    yield draw.step(made + draw.between(1, 4), "look")
    if draw.random.random() < 0.4:
        yield draw.step(made + draw.between(2, 15), "pay", webhook=draw.random.random() < 0.5)
    if draw.random.random() < 0.5:
        yield draw.step(made + draw.between(2, 60), "cancel")
    yield draw.any_step(made + draw.between(3, 40) ** draw.random.choice((1, 2)), "use our keys")


def _other_keys(draw: Draw, at: float) -> Step:
    return draw.any_step(at, "use other keys", hosts=draw.random.choice(("a", "b", "ab", "ab")))


#: Every story with how often it is told, as in `stories`.
STORIES: Final[Mapping[Callable[[Draw], Steps], int]] = {
    fee_comes_later: 2,
    put_back: 3,
    others_keys: 2,
    others_word: 2,
    others_order: 2,
}
