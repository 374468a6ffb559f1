"""What must hold: in every state, at its end when all is left alone, whatever news comes first."""

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import cast

from checkstand.domain.anomaly import AnomalyKind
from checkstand.domain.attempt import Attempt
from checkstand.domain.order import OrderStatus
from checkstand.domain.refund import Refund, RefundStatus
from tests.domain import laws
from tests.domain.honest.acts import notices_of
from tests.domain.honest.binance import land
from tests.domain.honest.house import (
    claim_attempt,
    claim_refund,
    expire,
    is_free,
    let_decide,
    record,
)
from tests.domain.honest.world import HonestWorld, TheirOrder, change_theirs, find_theirs


def check(world: HonestWorld) -> None:
    """Hold a state against Binance's own books. Raises AssertionError."""
    payable = [order for order in world.theirs if order.is_payable]
    assert len(payable) <= 1, "two codes can be paid"
    order = world.case.order
    if order.status in laws.OVER:
        assert not payable, f"{order.status}, and a code can still be paid"
    if order.status is OrderStatus.CANCELED:
        assert world.was_cancelled or world.was_refused, "CANCELED, and nobody wanted that"
    if order.status is OrderStatus.EXPIRED:
        assert world.now >= order.expires_at, "EXPIRED before its time"
    for payment in world.case.payments:
        attempt = world.case.attempt(payment.attempt_id)
        theirs = find_theirs(world, attempt.number)
        assert theirs is not None, "a payment for an order Binance never had"
        assert theirs.status == "PAID", "a payment Binance knows nothing of"
        returned = sum((r.amount for r in theirs.refunds if r.word == "REFUND_SUCCESS"), Decimal(0))
        assert payment.refunded <= returned, "booked as returned, and it was not"
        assert theirs.going_back <= payment.money.amount, "more went back than came"
        promised = payment.refund_reserved + payment.refunded
        assert promised <= payment.money.amount, "more was promised back than came"
    for refund in world.case.refunds:
        _check_refund(world, refund)
    if not world.is_late:
        kinds = {anomaly.kind for anomaly in world.case.anomalies}
        assert AnomalyKind.PROVIDER_CONTRADICTS not in kinds, "an honest Binance called a liar"


def _check_refund(world: HonestWorld, refund: Refund) -> None:
    number = world.case.attempt(refund.attempt_id).number
    order = cast(TheirOrder, find_theirs(world, number))
    same = [theirs for theirs in order.refunds if theirs.refund_id == refund.refund_id]
    assert len(same) <= 1, "one refund was taken twice"
    word = same[0].word if same else None
    if refund.status is RefundStatus.SUCCEEDED:
        assert word == "REFUND_SUCCESS", f"SUCCEEDED, and Binance has {word}"
    if refund.status is RefundStatus.FAILED:
        assert word in {None, "REFUND_FAIL"}, f"FAILED, and Binance has {word}"
        on_its_way = [
            h for h in world.adrift if h.refund and h.refund.refund_id == refund.refund_id
        ]
        # A number that Binance knows is taken no second time.
        assert word or not on_its_way, "FAILED, and it may still land"


def drain(world: HonestWorld) -> HonestWorld:
    """Let everything that is due be done, without further faults, until nothing is left to do."""
    world = replace(world, adrift=(), faults_left=0)
    for index in (0, 1):
        hand = world.hands[index]
        if hand is not None:
            world = record(land(world, index) if hand.answer is None else world, index)
    for _ in range(400):
        world = _let_binance_finish(world)
        world = let_decide(world, expire)
        rows: list[Attempt | Refund] = [*world.case.attempts, *world.case.refunds]
        due = [_ready_at(row, now=world.now) for row in rows]
        expiry = world.case.order.expires_at
        if not laws.is_settled_or_over(world.case) and expiry > world.now:
            due.append(expiry)
        moments = [moment for moment in due if moment is not None]
        if not moments:
            return world
        world = replace(world, now=max(world.now, min(moments)))
        world = _work_once(world)
    raise AssertionError("there is no end of it")


def _ready_at(row: Attempt | Refund, *, now: datetime) -> datetime | None:
    if row.due_at is None:
        return None
    until = row.lease_until
    return row.due_at if until is None or until <= row.due_at else until


def _let_binance_finish(world: HonestWorld) -> HonestWorld:
    for order in world.theirs:
        done = tuple(
            replace(r, word="REFUND_SUCCESS") if r.word == "REFUND_PENDING" else r
            for r in order.refunds
        )
        status = {"PENDING": "PAID"}.get(order.status, order.status)
        if status == "INITIAL" and order.is_closing:
            status = "CANCELED"
        elif status == "INITIAL" and world.now >= order.expires_at:
            status = "EXPIRED"
        world = change_theirs(world, order.number, status=status, is_closing=False, refunds=done)
    return world


def _work_once(world: HonestWorld) -> HonestWorld:
    for attempt in world.case.attempts:
        if is_free(attempt, now=world.now):
            claimed = claim_attempt(world, 0, attempt.number)
            return record(land(claimed, 0), 0) if claimed.hands[0] else claimed
    for refund in world.case.refunds:
        if is_free(refund, now=world.now):
            claimed = claim_refund(world, 0, refund.refund_id)
            return record(land(claimed, 0), 0) if claimed.hands[0] else claimed
    return world


def check_end(world: HonestWorld) -> None:
    """Hold the end of a drained world against Binance's books. Raises AssertionError."""
    case = world.case
    assert case.live is None, "an attempt is live for ever"
    assert laws.is_settled_or_over(case), f"{case.order.status} for ever"
    for order in world.theirs:
        payment = case.payment_for(case.attempts[order.number - 1].attempt_id)
        assert (payment is not None) == (order.status == "PAID"), "money that we never heard of"
        if payment is None:
            continue
        returned = sum((r.amount for r in order.refunds if r.word == "REFUND_SUCCESS"), Decimal(0))
        is_told = any(a.kind is AnomalyKind.REFUNDED_ELSEWHERE for a in case.anomalies)
        is_portal = any(r.refund_id is None for r in order.refunds)
        # A query tells that something went back and not how much: ours may explain it.
        is_explained = any(r.refund_id is not None for r in order.refunds)
        known = is_told or is_explained or not is_portal
        assert known, "a refund in the portal that we never heard of"
        assert is_portal or payment.refunded == returned, "money went back, and we know nothing"
    assert not [r for r in case.refunds if r.is_open], "a refund that never ends"


def check_commutes(world: HonestWorld) -> None:
    """Hold that news of a fact and an answer already given may come in either order.

    But while there is a portal refund that we have not heard of: whether it is found before the
    next refund of ours is sent, or by it, is chance. Binance's books hold for both.
    """
    is_portal = any(r.refund_id is None for order in world.theirs for r in order.refunds)
    kinds = {anomaly.kind for anomaly in world.case.anomalies}
    if is_portal and AnomalyKind.REFUNDED_ELSEWHERE not in kinds:
        return
    for index, hand in enumerate(world.hands):
        if hand is None or hand.answer is None:
            continue
        for name, _ in notices_of(world):
            before = _deliver(record(world, index), name)
            after = record(_deliver(world, name), index)
            if before.is_late or after.is_late:
                continue  # what it may contradict by then is another story
            first, second = laws.outcome_of(drain(before).case), laws.outcome_of(drain(after).case)
            assert first == second, f"{name}: {first} or {second}, by the order of news"


def _deliver(world: HonestWorld, name: str) -> HonestWorld:
    perform = dict(notices_of(world)).get(name)
    return perform() if perform else world
