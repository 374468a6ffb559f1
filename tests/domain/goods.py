"""A paid order whose goods several want to send, while its money may be on the way back.

Two workers tell the shop `order.paid` and may be late with what came of it, the shop takes the
news, refuses it or is silent, one packer works under the token of the news and one under a token
of his own, the merchant asks for money back, and what nobody acknowledges is offered again. Whoever
holds a lease believes in it by the clock alone: he does not look again before he sends the goods.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Final
from uuid import UUID

from checkstand.domain import fulfilment, refunding
from checkstand.domain.attempt import Attempt, AttemptStatus
from checkstand.domain.case import Case, Decision
from checkstand.domain.fulfilment import Obstacle
from checkstand.domain.money import Money
from checkstand.domain.order import Order, OrderStatus, Terms
from checkstand.domain.payment import Payment, payment_id_of
from checkstand.domain.refund import Refund
from checkstand.domain.report import RefundFinding, RefundReport, Source
from checkstand.domain.settlement import Circumstances
from checkstand.errors import CheckstandError
from checkstand.operations import fulfil_order, offer_fulfilment
from tests.domain import laws
from tests.domain.exploring import NOON, Act

#: A lease on the goods is a quarter of an hour, one on a delivery less than a minute.
_MOMENTS: Final = tuple(NOON + timedelta(minutes=minutes) for minutes in (0, 1, 16, 32, 120, 3000))
_LEASE: Final = timedelta(minutes=15)
_PRICE: Final = Money(Decimal("12.50"), "USDT")
_PART: Final = Decimal("5.00")
_ACCOUNT, _ORDER, _ATTEMPT = UUID(int=0xACC), UUID(int=0x04DE4), UUID(int=0xA77E1)
_OWN_TOKEN: Final = "packer"


@dataclass(frozen=True, slots=True)
class Try:
    """The news on its way to the shop, by one worker."""

    until: datetime | None  # what it took in hand by itself
    lease_until: datetime  # of the delivery; after it the other worker may try as well


@dataclass(frozen=True, slots=True)
class Hand:
    """Somebody who has the goods before him, and believes so until a moment."""

    token: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Goods:
    """The order as we have it, and who does what about it."""

    now: datetime
    case: Case
    is_owed: bool = True  # the news of the payment: to be told, or told again
    tries: tuple[Try | None, Try | None] = (None, None)
    is_told: bool = False  # the shop has seen it once, and knows its token
    packers: tuple[Hand | None, Hand | None] = (None, None)  # by the news' token, by his own
    sent: int = 0

    def key(self) -> Hashable:
        """Say which state this is."""
        order = self.case.order
        return (
            self.now,
            order.status,
            order.fulfilment_token if fulfilment.is_held(order, now=self.now) else None,
            _rough(order.fulfilment_until),
            _rough(order.fulfilment_due_at),
            min(order.fulfilment_offers, 3),
            tuple((r.status, r.amount.amount) for r in self.case.refunds),
            self.is_owed,
            tuple(
                tried
                and (tried.until is None, tried.until == order.fulfilment_until, tried.lease_until)
                for tried in self.tries
            ),
            self.is_told,
            tuple(hand and _rough(hand.until) for hand in self.packers),
            self.sent,
        )


def _rough(moment: datetime | None) -> datetime | None:
    """Leave out the hairs by which a later lease is longer."""
    return None if moment is None else moment.replace(microsecond=0)


def paid_order() -> Goods:
    """An order that was paid a moment ago; nobody was told yet."""
    order = Order(
        account_id=_ACCOUNT,
        order_id=_ORDER,
        terms=Terms(merchant_order_id="shop-1", price=_PRICE, fiat_price=None, description="Tea"),
        checkout_token="token",
        created_at=NOON,
        expires_at=NOON + timedelta(hours=24),
        status=OrderStatus.PAID,
        previous_status=OrderStatus.PENDING_PAYMENT,
        settled_by=payment_id_of(_ATTEMPT),
        paid_at=NOON,
        fulfilment_due_at=NOON + _LEASE,
    )
    attempt = Attempt(
        account_id=_ACCOUNT,
        order_id=_ORDER,
        attempt_id=_ATTEMPT,
        number=1,
        status=AttemptStatus.PAID,
        created_at=NOON,
        expires_at=NOON + timedelta(hours=1),
        credential_id=UUID(int=0xC4ED),
        expected=_PRICE,
        ended_at=NOON,
    )
    payment = Payment(
        account_id=_ACCOUNT,
        order_id=_ORDER,
        attempt_id=_ATTEMPT,
        payment_id=payment_id_of(_ATTEMPT),
        money=_PRICE,
        received_at=NOON,
        paid_at=NOON,
    )
    return Goods(now=NOON, case=Case(order=order, attempts=(attempt,), payments=(payment,)))


def acts_of(world: Goods) -> Iterator[Act[Goods]]:
    """Yield everything that may happen next."""
    yield from _acts_of_workers(world)
    yield from _acts_of_packers(world)
    yield from _acts_of_merchant(world)
    if world.now < _MOMENTS[-1]:
        yield "time passes", partial(_pass_time, world)


def _acts_of_workers(world: Goods) -> Iterator[Act[Goods]]:
    for index, telling in enumerate(world.tries):
        if telling is None:
            other = world.tries[1 - index]
            if world.is_owed and (other is None or other.lease_until <= world.now):
                yield f"is told #{index}", partial(_tell, world, index)
            continue
        for how in ("takes it", "refuses it", "is silent", "takes it and is silent"):
            yield f"shop {how} #{index}", partial(_answer, world, index, how)
    if not world.is_owed and world.is_told:
        yield "told again by hand", lambda: replace(world, is_owed=True)
    yield "offered again", partial(_offer, world)


def _acts_of_packers(world: Goods) -> Iterator[Act[Goods]]:
    tokens = (_news_token(world) if world.is_told else None, _OWN_TOKEN)
    for index, token in enumerate(tokens):
        if token is not None:
            yield f"packer claims #{index}", partial(_claim, world, index, token)
        hand = world.packers[index]
        if hand is not None:
            yield f"packer sends #{index}", partial(_send, world, index, hand)
            yield f"packer goes #{index}", partial(_with_packer, world, index, None)


def _acts_of_merchant(world: Goods) -> Iterator[Act[Goods]]:
    if len(world.case.refunds) < 2:
        for amount in (_PART, _PRICE.amount):
            yield f"asks for {amount} back", partial(_ask_back, world, amount)
    for refund in world.case.refunds:
        if refund.is_open:
            for finding in (RefundFinding.TAKEN, RefundFinding.SUCCEEDED, RefundFinding.FAILED):
                name = f"money {finding} #{refund.refund_id.int}"
                yield name, partial(_hear_of_refund, world, refund, finding)


def _accept(world: Goods, decided: Decision) -> Goods:
    laws.hold_decision(decided)
    return replace(world, case=decided.case)


def _news_token(world: Goods) -> str:
    offer = fulfilment.offer_of(world.case.order)
    assert offer is not None
    return offer.token


def _tell(world: Goods, index: int) -> Goods:
    """Begin a try, as `deliver_event` does."""
    case, token = world.case, _news_token(world)
    tried = Try(until=None, lease_until=world.now + timedelta(seconds=30))
    match fulfilment.why_not_claim(case, token, now=world.now):
        case None:
            decided, until = fulfilment.take_for_delivery(
                Decision.nothing(case), token, now=world.now, lease=_LEASE
            )
            return _with_try(_accept(world, decided), index, replace(tried, until=until))
        case Obstacle.NOT_PAID if case.order.status is OrderStatus.REFUNDED:
            return replace(world, is_owed=False)  # given up
        case Obstacle.NOT_PAID:
            return _with_try(world, index, tried)  # news of the past
        case _:
            return world  # put off


def _answer(world: Goods, index: int, how: str) -> Goods:
    """Write down what came of a try. A shop that took the news may have its goods before it."""
    tried = world.tries[index]
    assert tried is not None
    freed = _with_try(world, index, None)
    is_owed = world.case.order.status is OrderStatus.PAID
    if "takes it" in how:
        freed = replace(freed, is_told=True)
        if is_owed and tried.until is not None and tried.until > world.now:
            freed = _with_packer(freed, 0, Hand(_news_token(world), tried.until))
    if how == "takes it":
        return replace(freed, is_owed=False)
    if how != "refuses it" or tried.until is None:
        return freed
    return _accept(
        freed,
        fulfilment.release(
            Decision.nothing(world.case), _news_token(world), until=tried.until, now=world.now
        ),
    )


def _offer(world: Goods) -> Goods:
    """Offer what was not acknowledged in time; Binance was asked, and the money is there."""
    given = _circumstances(world)
    is_due = offer_fulfilment._is_due(world.case, given)
    if not is_due or fulfilment.why_not_offer(world.case, now=world.now) is not None:
        return world
    decided = fulfilment.offered(Decision.nothing(world.case), now=world.now, lease=_LEASE)
    return replace(_accept(world, decided), is_owed=True)


def _claim(world: Goods, index: int, token: str) -> Goods:
    if fulfilment.why_not_claim(world.case, token, now=world.now) is not None:
        return world
    nothing = Decision.nothing(world.case)
    claimed = _accept(world, fulfilment.claim(nothing, token, now=world.now, lease=_LEASE))
    until = claimed.case.order.fulfilment_until
    assert until is not None
    return _with_packer(claimed, index, Hand(token, until))


def _send(world: Goods, index: int, hand: Hand) -> Goods:
    """Send the goods if the lease still holds by the clock, and acknowledge them."""
    done = _with_packer(world, index, None)
    if hand.until <= world.now or world.case.order.status is OrderStatus.FULFILLED:
        return done
    decided = fulfil_order.decide_fulfilment(
        world.case, _circumstances(world), actor="merchant", token=hand.token
    )
    return replace(_accept(done, decided), sent=world.sent + 1)


def _ask_back(world: Goods, amount: Decimal) -> Goods:
    (payment,) = world.case.payments
    refund = Refund(
        account_id=_ACCOUNT,
        order_id=_ORDER,
        attempt_id=_ATTEMPT,
        payment_id=payment.payment_id,
        refund_id=UUID(int=len(world.case.refunds) + 1),
        merchant_refund_id=f"back-{len(world.case.refunds)}",
        amount=Money(amount, _PRICE.currency),
        requested_at=world.now,
        requested_by="merchant",
    )
    try:
        fulfil_order.refuse_refund_of_goods_in_hand(
            world.case, now=world.now, payment_id=payment.payment_id
        )
    except CheckstandError:
        return world
    if refunding.find_obstacle(world.case, payment, amount) is not None:
        return world
    return _accept(world, refunding.request(Decision.nothing(world.case), refund, now=world.now))


def _hear_of_refund(world: Goods, refund: Refund, finding: RefundFinding) -> Goods:
    report = RefundReport(finding=finding, source=Source.QUERY, reference="call:1", word="word")
    return _accept(
        world,
        refunding.apply(
            Decision.nothing(world.case), refund.refund_id, report, given=_circumstances(world)
        ),
    )


def _circumstances(world: Goods) -> Circumstances:
    return Circumstances(
        now=world.now,
        fresh_id=UUID(int=0xF),
        credential_id=UUID(int=0xC4ED),
        fulfilment_lease=_LEASE,
    )


def _pass_time(world: Goods) -> Goods:
    return replace(world, now=_MOMENTS[_MOMENTS.index(world.now) + 1])


def _with_try(world: Goods, index: int, tried: Try | None) -> Goods:
    first, second = world.tries
    return replace(world, tries=(tried, second) if index == 0 else (first, tried))


def _with_packer(world: Goods, index: int, hand: Hand | None) -> Goods:
    first, second = world.packers
    return replace(world, packers=(hand, second) if index == 0 else (first, hand))


def check(world: Goods) -> None:
    """Hold a state against the law. Raises AssertionError."""
    laws.hold_state(world.case, now=world.now, has_followed=False)
    order = world.case.order
    assert world.sent <= 1, "the goods were sent twice"
    assert not world.sent or order.fulfilled_at is not None, "sent, and not acknowledged"
    believing = {hand.token: hand for hand in world.packers if hand and hand.until > world.now}
    assert len(believing) <= 1, "two have the goods before them"
    for hand in believing.values():
        if order.status is OrderStatus.FULFILLED:
            continue
        assert order.status is OrderStatus.PAID, f"{order.status}, and somebody has the goods"
        assert order.fulfilment_token == hand.token, "somebody else's name is on the goods"
        assert order.fulfilment_until is not None
        assert order.fulfilment_until >= hand.until, "the lease was cut short"
        going = [r for r in world.case.refunds if r.is_open]
        assert not going, "the money goes back, and somebody has the goods before him"


def end(world: Goods) -> Goods:
    """Let a willing shop and a working Binance bring it to an end."""
    world = replace(world, tries=(None, None), packers=(None, None))
    for refund in world.case.refunds:
        if refund.is_open:
            world = _hear_of_refund(
                world, world.case.refund(refund.refund_id), RefundFinding.FAILED
            )
    for _ in range(20):
        if world.case.order.status is not OrderStatus.PAID:
            return world
        if world.is_owed:
            world = _tell(world, 0)
        if world.tries[0] is not None:
            world = _answer(world, 0, "takes it")
        hand = world.packers[0]
        if hand is not None:
            world = _send(world, 0, hand)
            continue
        moments = (world.case.order.fulfilment_due_at, world.case.order.fulfilment_until)
        later = [moment for moment in moments if moment and moment > world.now]
        world = _offer(replace(world, now=min(later, default=world.now)))
    raise AssertionError("nobody is offered the goods any more")
