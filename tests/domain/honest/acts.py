"""A world whose Binance never lies, and in which everything else may go wrong.

Two hands (workers, hosts) take calls under leases, and a call is four acts that anything may come
between: written down, landed there, answered, recorded. So an answer that was true when Binance
gave it is recorded after the other hand, a notice, the shopper or the shop has changed the order.
Faults: a call that never lands, one that lands unanswered, one that lands much later, a hand that
dies, a create refused, a wallet too empty for a refund.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from checkstand.domain.refunding import RefundStep
from checkstand.domain.schedule import NextStep
from checkstand.operations import cancel_order, fulfil_order, renew_order
from checkstand.provider.gateway import Outcome
from tests.domain.exploring import MOMENTS, Act, next_moment
from tests.domain.honest.binance import (
    die,
    drift,
    land,
    land_late,
    land_unanswered,
    lose,
    refuse_create,
    refuse_refund,
)
from tests.domain.honest.house import (
    ask_refund,
    claim_attempt,
    claim_refund,
    expire,
    fresh_world,
    hint,
    is_free,
    let_decide,
    pay_notice,
    record,
    refund_notice,
)
from tests.domain.honest.world import (
    PART,
    PRICE,
    Hand,
    HonestWorld,
    TheirRefund,
    change_theirs,
    find_their_refund,
    find_theirs,
)

_REFUND_QUESTIONS = frozenset({RefundStep.ASK, RefundStep.CHECK, RefundStep.COMPARE})


def opened_world(*, faults: int) -> HonestWorld:
    """An order whose first code is shown."""
    world = claim_attempt(fresh_world(faults=faults), 0, 1)
    return record(land(world, 0), 0)


def paid_world(*, faults: int) -> HonestWorld:
    """An order that was paid, and we know it."""
    world = change_theirs(opened_world(faults=faults), 1, status="PAID")
    return pay_notice(world, 1)


def refunding_world(*, faults: int) -> HonestWorld:
    """A paid order with two refunds asked for: a part, then all the rest."""
    world = paid_world(faults=faults)
    world = ask_refund(world, PART)
    return ask_refund(world, PRICE.amount - PART)


def doubtful_world(*, faults: int) -> HonestWorld:
    """A refund that was sent, is not there yet, and is about to be sent again."""
    world = refunding_world(faults=faults + 1)
    refund_id = world.case.refunds[0].refund_id
    world = record(land(claim_refund(world, 0, refund_id), 0), 0)  # the order is asked about
    world = record(drift(claim_refund(world, 0, refund_id), 0), 0)
    world = replace(world, now=MOMENTS[1])
    world = record(land(claim_refund(world, 0, refund_id), 0), 0)  # and it is not there
    return replace(world, now=world.now + timedelta(seconds=30))


def acts_of(world: HonestWorld) -> Iterator[Act[HonestWorld]]:
    """Yield everything that may happen next."""
    yield from _acts_of_hands(world)
    yield from _acts_of_binance(world)
    yield from _acts_of_people(world)
    yield from notices_of(world)
    later = next_moment(world.now)
    if later is not None:
        yield "time passes", partial(_pass_time, world, later)


def _acts_of_hands(world: HonestWorld) -> Iterator[Act[HonestWorld]]:
    for index, hand in enumerate(world.hands):
        if hand is None:
            if index == 1 and world.hands[0] is None:
                continue  # the hands are alike: with both idle the first one takes it
            yield from _claims(world, index)
        elif hand.answer is not None:
            yield f"recorded #{index} {hand.step}", partial(record, world, index)
            if world.faults_left:
                yield f"dies answered #{index}", partial(die, world, index)
        else:
            yield f"lands #{index} {hand.step}", partial(land, world, index)
            if world.faults_left:
                yield from _faults(world, index, hand)
    for hand in world.adrift:
        yield f"lands late #{hand.step}", partial(land_late, world, hand)


def _claims(world: HonestWorld, index: int) -> Iterator[Act[HonestWorld]]:
    for attempt in world.case.attempts:
        if is_free(attempt, now=world.now):
            name = f"claims attempt #{attempt.number} by {index}"
            yield name, partial(claim_attempt, world, index, attempt.number)
    for refund in world.case.refunds:
        if is_free(refund, now=world.now):
            name = f"claims refund #{refund.refund_id.int} by {index}"
            yield name, partial(claim_refund, world, index, refund.refund_id)


def _faults(world: HonestWorld, index: int, hand: Hand) -> Iterator[Act[HonestWorld]]:
    for outcome in (Outcome.UNAVAILABLE, Outcome.UNKNOWN):
        yield f"never lands #{index} {outcome}", partial(lose, world, index, outcome)
    has_effect = hand.step not in {NextStep.ASK, *_REFUND_QUESTIONS}
    if not has_effect:
        return
    yield f"lands unanswered #{index} {hand.step}", partial(land_unanswered, world, index)
    yield (
        f"dies after landing #{index} {hand.step}",
        partial(lambda: die(land(world, index), index)),
    )
    if not world.adrift:
        yield f"drifts #{index} {hand.step}", partial(drift, world, index)
    if hand.step is NextStep.SUBMIT and not find_theirs(world, hand.number):
        for about_time in (False, True):
            yield (
                f"create refused #{index} {about_time}",
                partial(refuse_create, world, index, about_time=about_time),
            )
    if hand.step is RefundStep.SEND and not find_their_refund(world, hand):
        yield f"wallet empty #{index}", partial(refuse_refund, world, index, for_balance=True)


def _acts_of_binance(world: HonestWorld) -> Iterator[Act[HonestWorld]]:
    for order in world.theirs:
        change = partial(partial, change_theirs, world, order.number)
        name = f"#{order.number}"
        if order.is_closing and order.status == "INITIAL":
            yield f"Binance closes {name}", change(status="CANCELED", is_closing=False)
        if order.status == "INITIAL" and world.now >= order.expires_at:
            yield f"Binance lets it lapse {name}", change(status="EXPIRED", is_closing=False)
        for refund in order.refunds:
            if refund.word == "REFUND_PENDING":
                for word in ("REFUND_SUCCESS", "REFUND_FAIL"):
                    done = tuple(replace(r, word=word) if r is refund else r for r in order.refunds)
                    yield f"Binance ends a refund {word} {name}", change(refunds=done)


def _acts_of_people(world: HonestWorld) -> Iterator[Act[HonestWorld]]:
    for order in world.theirs:
        change = partial(partial, change_theirs, world, order.number)
        name = f"#{order.number}"
        if order.status == "INITIAL" and world.now < order.expires_at:
            yield f"shopper begins to pay {name}", change(status="PENDING")
            yield f"shopper pays {name}", change(status="PAID", is_closing=False)
        if order.status == "PENDING":
            yield f"shopper pays {name}", change(status="PAID", is_closing=False)
            yield f"shopper gives up {name}", change(status="INITIAL")
        has_portal = any(refund.refund_id is None for refund in order.refunds)
        has_rest = order.going_back + PART <= PRICE.amount
        if order.status == "PAID" and has_rest and not has_portal:
            portal = TheirRefund(None, PART, "REFUND_SUCCESS")
            yield f"portal refund {name}", change(refunds=(*order.refunds, portal))
    yield "merchant cancels", partial(let_decide, world, cancel_order._decide)
    yield "merchant renews", partial(let_decide, world, renew_order._decide)
    yield (
        "merchant fulfils",
        partial(let_decide, world, partial(fulfil_order.decide_fulfilment, actor="merchant")),
    )
    yield "expiry job", partial(let_decide, world, expire)
    if len(world.case.refunds) < 2 and world.case.payments:
        for amount in (PART, PRICE.amount):
            yield f"merchant asks for {amount} back", partial(ask_refund, world, amount)


def notices_of(world: HonestWorld) -> Iterator[Act[HonestWorld]]:
    """Yield every notice Binance may send now, for the first or the seventh time."""
    for order in world.theirs:
        if order.status in {"PAID", "CANCELED", "EXPIRED"}:
            name = f"notice {'PAY_SUCCESS' if order.status == 'PAID' else 'PAY_CLOSED'}"
            yield f"{name} #{order.number}", partial(pay_notice, world, order.number)
            yield f"hint #{order.number}", partial(hint, world, order.number)
        for refund in order.refunds:
            if refund.refund_id is not None and refund.word != "REFUND_PENDING":
                yield (
                    f"notice {refund.word} #{order.number}",
                    partial(refund_notice, world, order.number, refund),
                )


def _pass_time(world: HonestWorld, later: datetime) -> HonestWorld:
    return replace(world, now=later)
