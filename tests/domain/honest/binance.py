"""What becomes of a call that was written down, and what a Binance that never lies makes of it.

Binance is written here once more, from the reference, in as few states as it can be.
"""

from dataclasses import replace
from typing import Final, cast

from checkstand.domain.attempt import Links
from checkstand.domain.refund import Refund
from checkstand.domain.refunding import RefundStep
from checkstand.domain.report import Finding, RefundFinding, RefundReport, Report, Source
from checkstand.domain.schedule import NextStep
from checkstand.operations.advance_attempt import PlannedCall
from checkstand.provider.gateway import Answer, Outcome, RefundAnswer
from checkstand.provider.translation import QUERY_WORDS, REFUND_QUERY_WORDS
from tests.domain.honest.world import (
    PRICE,
    Hand,
    HonestWorld,
    TheirOrder,
    TheirRefund,
    busy_hand,
    change_theirs,
    find_their_refund,
    find_theirs,
    prepay_id_of,
    with_hand,
)

_LINKS: Final = Links(qr_content="q", deeplink="d", universal_url="u", checkout_url="c")


def lose(world: HonestWorld, index: int, outcome: Outcome) -> HonestWorld:
    """Let a call go astray before it lands; we know that (UNAVAILABLE) or do not."""
    hand = replace(busy_hand(world, index), answer=_silence(busy_hand(world, index), outcome))
    return with_hand(replace(world, faults_left=world.faults_left - 1), index, hand)


def land_unanswered(world: HonestWorld, index: int) -> HonestWorld:
    """Let a call land, and its answer go astray."""
    landed = land(world, index)
    hand = replace(
        busy_hand(landed, index), answer=_silence(busy_hand(landed, index), Outcome.UNKNOWN)
    )
    return with_hand(replace(landed, faults_left=world.faults_left - 1), index, hand)


def drift(world: HonestWorld, index: int) -> HonestWorld:
    """Let a call go astray that lands some time or never."""
    adrift = (*world.adrift, busy_hand(world, index))
    return replace(lose(world, index, Outcome.UNKNOWN), adrift=adrift)


def land_late(world: HonestWorld, hand: Hand) -> HonestWorld:
    """Let one that went astray land after all; nobody waits for its answer."""
    adrift = tuple(other for other in world.adrift if other is not hand)
    landed, _ = _perform(world, hand)
    return replace(landed, adrift=adrift)


def die(world: HonestWorld, index: int) -> HonestWorld:
    """Let a hand die: whatever came of its call is not recorded."""
    return with_hand(replace(world, faults_left=world.faults_left - 1), index, None)


def _silence(hand: Hand, outcome: Outcome) -> Answer | RefundAnswer:
    if hand.planned is not None or hand.step is RefundStep.CHECK:
        return Answer(outcome=outcome, code=None, summary=outcome)
    return RefundAnswer(outcome=outcome, code=None, summary=outcome)


def refuse_create(world: HonestWorld, index: int, *, about_time: bool) -> HonestWorld:
    """Let Binance refuse a create for good, or for the time in it."""
    hand = busy_hand(world, index)
    refused = replace(world, faults_left=world.faults_left - 1, was_refused=True)
    answer = _create_refused(hand, about_time=about_time)
    return with_hand(refused, index, replace(hand, answer=answer))


def _create_refused(hand: Hand, *, about_time: bool) -> Answer:
    attempt = cast(PlannedCall, hand.planned).attempt
    if attempt.sends > 1:  # as the provider room has it: an earlier send may have landed
        return Answer(outcome=Outcome.UNKNOWN, code="400201", summary="no")
    report = Report(
        finding=Finding.REFUSED,
        source=Source.ANSWER,
        reference="call:1",
        word="no",
        refusal_is_about_time=about_time,
    )
    return Answer(outcome=Outcome.REJECTED, code="400003", summary="no", report=report)


def refuse_refund(world: HonestWorld, index: int, *, for_balance: bool) -> HonestWorld:
    """Let Binance refuse a refund."""
    hand = busy_hand(world, index)
    answer = _refund_refused(for_balance=for_balance)
    refused = replace(world, faults_left=world.faults_left - 1, was_refused=True)
    return with_hand(refused, index, replace(hand, answer=answer))


def _refund_refused(*, for_balance: bool) -> RefundAnswer:
    report = RefundReport(
        finding=RefundFinding.REFUSED,
        source=Source.ANSWER,
        reference="call:1",
        word="no",
        waits_for_balance=for_balance,
    )
    return RefundAnswer(outcome=Outcome.REJECTED, code="400304", summary="no", report=report)


def land(world: HonestWorld, index: int) -> HonestWorld:
    """Let a call arrive there and be answered truly; the answer is recorded later, or never."""
    hand = busy_hand(world, index)
    landed, answer = _perform(world, hand)
    return with_hand(landed, index, replace(hand, answer=answer))


def _perform(world: HonestWorld, hand: Hand) -> tuple[HonestWorld, Answer | RefundAnswer]:
    # The two kinds of step have words in common, and as text they are equal.
    if hand.planned is None and hand.step is not RefundStep.CHECK:
        is_send = hand.step is RefundStep.SEND
        return _refund(world, hand) if is_send else (world, _refund_queried(world, hand))
    if hand.step is NextStep.SUBMIT:
        return _create(world, hand)
    return _close(world, hand) if hand.step is NextStep.CLOSE else (world, _queried(world, hand))


def _create(world: HonestWorld, hand: Hand) -> tuple[HonestWorld, Answer]:
    attempt = cast(PlannedCall, hand.planned).attempt
    if find_theirs(world, hand.number) is not None:
        return world, Answer(outcome=Outcome.UNKNOWN, code="400201", summary="duplicate")
    if world.now >= attempt.expires_at:
        return replace(world, was_refused=True), _create_refused(hand, about_time=True)
    made = TheirOrder(hand.number, attempt.expires_at)
    report = Report(
        finding=Finding.OPEN,
        source=Source.ANSWER,
        reference="call:1",
        word="created",
        prepay_id=prepay_id_of(hand.number),
        money=PRICE,
        expires_at=attempt.expires_at,
        links=_LINKS,
    )
    theirs = tuple(sorted((*world.theirs, made), key=lambda order: order.number))
    answer = Answer(outcome=Outcome.ACCEPTED, code="000000", summary="created", report=report)
    return replace(world, theirs=theirs), answer


def _close(world: HonestWorld, hand: Hand) -> tuple[HonestWorld, Answer]:
    order = find_theirs(world, hand.number)
    if order is None or order.status != "INITIAL":
        return world, Answer(outcome=Outcome.REJECTED, code="400204", summary="no")
    closing = change_theirs(world, hand.number, is_closing=True)
    return closing, Answer(outcome=Outcome.ACCEPTED, code="000000", summary="accepted")


def _queried(world: HonestWorld, hand: Hand) -> Answer:
    order = find_theirs(world, hand.number)
    word = order.word if order else "400202"
    report = Report(
        finding=QUERY_WORDS[word] if order else Finding.ABSENT,
        source=Source.QUERY,
        reference="call:1",
        word=word,
        prepay_id=prepay_id_of(hand.number) if order else None,
        money=PRICE if order else None,
        returned_in_full=word == "FULL_REFUNDED",
    )
    return Answer(outcome=Outcome.ACCEPTED, code="000000", summary=word, report=report)


def _refund(world: HonestWorld, hand: Hand) -> tuple[HonestWorld, RefundAnswer]:
    order, refund = find_theirs(world, hand.number), cast(Refund, hand.refund)
    amount = refund.amount.amount
    is_known = find_their_refund(world, hand) is not None
    if order is None or is_known or order.going_back + amount > PRICE.amount:
        return replace(world, was_refused=True), _refund_refused(for_balance=False)
    made = TheirRefund(refund.refund_id, amount)
    changed = change_theirs(world, hand.number, refunds=(*order.refunds, made))
    now_theirs = cast(TheirOrder, find_theirs(changed, hand.number))
    report = refund_report(RefundFinding.TAKEN, Source.ANSWER, "taken", now_theirs, made)
    answer = RefundAnswer(outcome=Outcome.ACCEPTED, code="000000", summary="taken", report=report)
    return changed, answer


def _refund_queried(world: HonestWorld, hand: Hand) -> RefundAnswer:
    theirs = find_their_refund(world, hand)
    order = cast(TheirOrder, find_theirs(world, hand.number))
    if theirs is None:
        report = RefundReport(
            finding=RefundFinding.ABSENT, source=Source.QUERY, reference="call:1", word="none"
        )
    else:
        finding = REFUND_QUERY_WORDS[theirs.word]
        report = refund_report(finding, Source.QUERY, theirs.word, order, theirs)
    return RefundAnswer(outcome=Outcome.ACCEPTED, code="000000", summary="", report=report)


def refund_report(
    finding: RefundFinding, source: Source, word: str, order: TheirOrder, theirs: TheirRefund
) -> RefundReport:
    """Say of a refund what an answer or a notice says of it."""
    return RefundReport(
        finding=finding,
        source=source,
        reference=f"{source}:1",
        word=word,
        returned=theirs.amount,
        returned_in_all=order.going_back,
        remaining_attempts=10 - len(order.refunds),
    )
