"""Refunds, whatever is asked for and whatever Binance says, in whatever order."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid5

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkstand.domain import refunding, settlement, strangers
from checkstand.domain.anomaly import AnomalyKind, Resolution
from checkstand.domain.case import Case, Decision
from checkstand.domain.event import EventType
from checkstand.domain.ledger import transfers_of
from checkstand.domain.money import Money
from checkstand.domain.order import OrderStatus
from checkstand.domain.refund import IN_FLIGHT, Refund, RefundStatus
from checkstand.domain.refunding import RefundStep
from checkstand.domain.report import RefundFinding, RefundReport, Source
from checkstand.domain.schedule import ABSENCE_MARGIN


def _refund(case: Case, amount: str, number: int = 1, **changes: Any) -> Refund:
    payment = case.payments[0]
    return replace(
        Refund(
            account_id=payment.account_id,
            order_id=payment.order_id,
            attempt_id=payment.attempt_id,
            payment_id=payment.payment_id,
            refund_id=uuid5(payment.payment_id, str(number)),
            merchant_refund_id=f"r{number}",
            amount=Money(Decimal(amount), payment.money.currency),
            requested_at=payment.received_at + timedelta(seconds=number),
            requested_by="merchant",
        ),
        **changes,
    )


def _report(finding: str, **more: Any) -> RefundReport:
    fields: dict[str, Any] = {
        "finding": RefundFinding(finding),
        "source": Source.QUERY,
        "reference": "call:1",
        "word": finding.upper(),
    }
    return RefundReport(**fields | more)


class Desk:
    """One paid order of 12.50 USDT, and a clock that only goes on."""

    def __init__(self, make: Any, **order: Any) -> None:
        self.case: Case = make.settled_case(make.attempt(), **order)
        self.now = make.noon + timedelta(minutes=10)
        self.given = make.given()
        self.events: list[Any] = []

    def keep(self, decision: Decision) -> None:
        """Take a decision's case for the one that is written down."""
        self.case = decision.case
        self.events += decision.events

    def ask(self, amount: str, number: int = 1) -> Refund:
        """Ask money back."""
        refund = _refund(self.case, amount, number, requested_at=self.now)
        self.keep(refunding.request(Decision.nothing(self.case), refund, now=self.now))
        return self.case.refund(refund.refund_id)

    def send(self, refund: Refund) -> Refund:
        """Write down that it is about to be sent, checks passed."""
        checked = replace(
            self.case.refund(refund.refund_id), checked_at=self.now, compared_at=self.now
        )
        decision = Decision.nothing(self.case).with_refund(checked)
        self.keep(refunding.plan_send(decision, checked, now=self.now))
        return self.case.refund(refund.refund_id)

    def hear(self, refund: Refund, finding: str, **more: Any) -> Refund:
        """Hear of it from Binance."""
        decision = Decision.nothing(self.case)
        report = _report(finding, **more)
        given = replace(self.given, now=self.now)
        self.keep(refunding.apply(decision, refund.refund_id, report, given=given))
        return self.case.refund(refund.refund_id)

    def silence(self, refund: Refund, *, sent: bool) -> Refund:
        """Hear nothing."""
        decision = Decision.nothing(self.case)
        self.keep(
            refunding.note_silence(
                decision, refund.refund_id, owner=refund.lease_owner, sent=sent, now=self.now
            )
        )
        return self.case.refund(refund.refund_id)

    @property
    def payment(self) -> Any:
        """The order's payment."""
        return self.case.payments[0]

    @property
    def told(self) -> list[str]:
        """What the shop was told."""
        return [str(event.type) for event in self.events]


@pytest.fixture
def desk(make: Any) -> Desk:
    """A desk."""
    return Desk(make)


def test_money_is_set_aside_when_it_is_asked_for(desk: Desk) -> None:
    refund = desk.ask("5.00")

    assert refund.status is RefundStatus.REQUESTED
    assert refund.due_at == desk.now
    assert (desk.payment.refund_reserved, desk.payment.refundable) == (
        Decimal("5.00"),
        Decimal("7.50"),
    )
    assert refunding.next_step(refund) is RefundStep.CHECK


def test_refund_in_full_ends_the_order_and_tells_the_shop_once(desk: Desk) -> None:
    refund = desk.send(desk.ask("12.50"))
    desk.hear(refund, "taken", returned=Decimal("12.5"), remaining_attempts=9)
    for _ in range(3):
        desk.hear(refund, "succeeded", returned=Decimal("12.50000000"))

    assert desk.case.order.status is OrderStatus.REFUNDED
    assert (desk.payment.refunded, desk.payment.refund_reserved) == (Decimal("12.5"), Decimal(0))
    assert desk.told == ["refund.succeeded", "order.refunded"]
    assert desk.case.anomalies == ()


def test_partial_refund_leaves_the_status(desk: Desk) -> None:
    refund = desk.send(desk.ask("5.00"))
    desk.hear(refund, "succeeded", returned=Decimal("5.00"))

    assert desk.case.order.status is OrderStatus.PAID
    assert desk.payment.refunded == Decimal("5.00")
    assert desk.told == ["refund.succeeded"]


def test_failed_refund_gives_back_what_was_set_aside(desk: Desk) -> None:
    refund = desk.send(desk.ask("5.00"))
    failed = desk.hear(refund, "failed")

    assert failed.status is RefundStatus.FAILED
    assert desk.payment.refundable == Decimal("12.50")
    assert desk.told == ["refund.failed"]


def test_later_word_of_success_wins_over_a_failure(desk: Desk) -> None:
    refund = desk.send(desk.ask("5.00"))
    desk.hear(refund, "failed")
    late = desk.hear(refund, "succeeded", returned=Decimal("5.00"))

    assert late.status is RefundStatus.SUCCEEDED
    assert (desk.payment.refunded, desk.payment.refund_reserved) == (Decimal("5.00"), Decimal(0))
    assert desk.told == ["refund.failed", "refund.succeeded"]


def test_more_going_back_than_arrived_is_told(desk: Desk) -> None:
    first = desk.send(desk.ask("12.50", 1))
    desk.hear(first, "failed")
    desk.hear(desk.send(desk.ask("12.50", 2)), "succeeded", returned=Decimal("12.50"))
    desk.hear(first, "succeeded", returned=Decimal("12.50"))

    assert desk.payment.refunded == Decimal("25.00")
    assert [a.kind for a in desk.case.anomalies] == [AnomalyKind.REFUND_DIFFERS]
    assert desk.told.count("order.refunded") == 1


def test_first_refusal_is_a_no_and_one_after_an_unknown_send_is_not(desk: Desk) -> None:
    first = desk.send(desk.ask("5.00", 1))
    assert desk.hear(first, "refused", code="400303").status is RefundStatus.FAILED

    second = desk.send(desk.ask("5.00", 2))
    second = desk.silence(second, sent=True)
    assert second.status is RefundStatus.UNKNOWN
    second = desk.hear(second, "absent")
    assert refunding.next_step(second) is RefundStep.SEND
    second = desk.send(second)
    assert second.in_doubt

    second = desk.hear(second, "refused", code="400304", waits_for_balance=True)

    assert second.status is RefundStatus.UNKNOWN
    assert refunding.next_step(second) is RefundStep.ASK
    assert desk.payment.refund_reserved == Decimal("5.00")
    assert desk.hear(second, "succeeded", returned=Decimal("5.00")).ended_at is not None
    assert desk.payment.refunded == Decimal("5.00")


def test_what_was_never_sent_can_be_refused_afterwards(desk: Desk) -> None:
    refund = desk.silence(desk.send(desk.ask("5.00")), sent=False)

    assert (refund.status, refund.in_doubt) == (RefundStatus.REQUESTED, False)
    assert desk.hear(desk.send(refund), "refused").status is RefundStatus.FAILED


def test_absence_said_twice_after_the_margin_clears_the_doubt(desk: Desk) -> None:
    refund = desk.silence(desk.send(desk.ask("5.00")), sent=True)
    refund = desk.hear(refund, "absent")
    desk.now += ABSENCE_MARGIN - timedelta(seconds=1)
    refund = desk.hear(refund, "absent")
    assert refund.status is RefundStatus.UNKNOWN

    desk.now += timedelta(seconds=1)
    refund = desk.hear(refund, "absent")

    assert (refund.status, refund.in_doubt) == (RefundStatus.REQUESTED, False)
    assert refunding.next_step(refund) is RefundStep.CHECK  # much may have happened since


def test_short_wallet_keeps_number_and_reservation_and_tries_again(desk: Desk) -> None:
    refund = desk.send(desk.ask("5.00"))
    waiting = desk.hear(refund, "refused", code="400304", waits_for_balance=True)

    assert waiting.status is RefundStatus.REQUESTED
    assert waiting.failure == "REFUSED"
    assert waiting.due_at == desk.now + timedelta(minutes=1)
    assert desk.payment.refund_reserved == Decimal("5.00")
    assert desk.told == []


def test_others_wait_in_order_until_none_is_on_its_way(desk: Desk) -> None:
    first = desk.send(desk.ask("1.00", 1))
    desk.now += timedelta(seconds=1)
    second = desk.ask("2.00", 2)
    desk.now += timedelta(seconds=1)
    third = desk.ask("3.00", 3)
    assert (second.due_at, third.due_at) == (None, None)

    desk.hear(first, "taken", returned=Decimal("1.00"))

    assert desk.case.refund(second.refund_id).due_at == desk.now
    assert desk.case.refund(third.refund_id).due_at is None


def test_another_sum_than_asked_is_booked_as_binance_says_and_told(desk: Desk) -> None:
    refund = desk.send(desk.ask("5.00"))
    desk.hear(refund, "succeeded", returned=Decimal("12.50"))

    assert desk.payment.refunded == Decimal("12.50")
    assert [a.kind for a in desk.case.anomalies] == [AnomalyKind.REFUND_DIFFERS]
    assert desk.case.order.status is OrderStatus.REFUNDED
    assert "order.attention" in desk.told


def test_two_refunds_that_differ_are_two_anomalies(desk: Desk) -> None:
    for number in (1, 2):
        refund = desk.send(desk.ask("5.00", number))
        desk.hear(refund, "succeeded", returned=Decimal("4.00"))

    assert len(desk.case.anomalies) == 2


def test_more_returned_in_all_than_ours_explain_is_a_portal_refund(desk: Desk) -> None:
    refund = desk.send(desk.ask("5.00"))
    desk.hear(refund, "taken", returned=Decimal("5.00"), returned_in_all=Decimal("7.00"))

    assert [a.kind for a in desk.case.anomalies] == [AnomalyKind.REFUNDED_ELSEWHERE]
    obstacle = refunding.find_obstacle(desk.case, desk.payment, Decimal("1.00"))
    assert obstacle is not None
    assert obstacle.code == "refunded_elsewhere"


def test_only_what_is_left_can_be_asked_for(desk: Desk) -> None:
    desk.ask("12.00")

    obstacle = refunding.find_obstacle(desk.case, desk.payment, Decimal("0.51"))

    assert obstacle is not None
    assert (obstacle.code, obstacle.field) == ("refund_exceeds_payment", "amount")
    assert refunding.find_obstacle(desk.case, desk.payment, Decimal("0.50")) is None


def _use_up(desk: Desk, count: int) -> None:
    for number in range(count):
        desk.hear(desk.send(desk.ask("0.01", 100 + number)), "succeeded", returned=Decimal("0.01"))


def test_last_attempt_may_only_ask_for_the_whole_rest(desk: Desk) -> None:
    _use_up(desk, 9)
    rest = desk.payment.refundable

    obstacle = refunding.find_obstacle(desk.case, desk.payment, Decimal("1.00"))

    assert obstacle is not None
    assert obstacle.code == "refund_is_last"
    assert refunding.find_obstacle(desk.case, desk.payment, rest) is None
    desk.hear(desk.send(desk.ask(str(rest), 1)), "succeeded", returned=rest)
    assert desk.case.order.status is OrderStatus.REFUNDED


def test_binance_s_last_word_on_attempts_counts_when_it_is_less(desk: Desk) -> None:
    # Sent again and again to a short wallet: if each time counts there, ours explain it.
    sent = replace(desk.send(desk.ask("1.00")), sends=9)
    desk.keep(Decision.nothing(desk.case).with_refund(sent))
    desk.hear(sent, "succeeded", returned=Decimal("1.00"), remaining_attempts=1)
    assert desk.case.anomalies == ()

    obstacle = refunding.find_obstacle(desk.case, desk.payment, Decimal("1.00"))

    assert obstacle is not None
    assert obstacle.code == "refund_is_last"


def test_refunds_that_wait_use_up_attempts_too(desk: Desk) -> None:
    _use_up(desk, 8)
    desk.ask("1.00", 1)

    obstacle = refunding.find_obstacle(desk.case, desk.payment, Decimal("1.00"))

    assert obstacle is not None
    assert obstacle.code == "refund_is_last"


def test_waiting_refund_that_has_become_the_last_is_not_sent(desk: Desk) -> None:
    first = desk.send(desk.ask("1.00", 1))
    second = desk.ask("2.00", 2)
    desk.hear(first, "succeeded", returned=Decimal("1.00"), remaining_attempts=1)

    unsent = desk.send(second)

    assert unsent.status is RefundStatus.FAILED
    assert unsent.sends == 0
    assert desk.payment.refund_reserved == 0


def test_success_that_is_taken_back_moves_nothing(desk: Desk) -> None:
    refund = desk.send(desk.ask("5.00"))
    desk.hear(refund, "succeeded", returned=Decimal("5.00"))
    desk.hear(refund, "failed")

    assert desk.payment.refunded == Decimal("5.00")
    assert [a.kind for a in desk.case.anomalies] == [AnomalyKind.PROVIDER_CONTRADICTS]


_ACTS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "send", "lost", "away", *RefundFinding, "wait"]),
        st.integers(1, 4),
        st.sampled_from(["0.50", "2.00", "6.00", "12.50"]),
    ),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(acts=_ACTS)
def test_money_adds_up_after_anything(make: Any, acts: list[tuple[str, int, str]]) -> None:
    desk = Desk(make)
    for act, number, amount in acts:
        desk.now += timedelta(seconds=7 if act != "wait" else 700)
        known = {r.merchant_refund_id: r for r in desk.case.refunds}
        refund = known.get(f"r{number}")
        if act == "ask" and refund is None:
            if refunding.find_obstacle(desk.case, desk.payment, Decimal(amount)) is None:
                desk.ask(amount, number)
        elif refund is None:
            continue
        elif act == "send":
            nobody_flies = not any(r.status in IN_FLIGHT for r in desk.case.refunds)
            if refunding.next_step(refund) is RefundStep.SEND or (
                # Workers take what is due: one that waits in line is not.
                refund.status is RefundStatus.REQUESTED
                and nobody_flies
                and refund.due_at is not None
            ):
                desk.send(refund)
        elif act in {"lost", "away"}:
            desk.silence(refund, sent=act == "lost")
        elif act in RefundFinding.__members__.values():
            desk.hear(refund, act)

        _check(desk)


def _check(desk: Desk) -> None:
    refunds, payment = desk.case.refunds, desk.payment
    asked = sum((r.amount.amount for r in refunds if r.is_open), Decimal(0))
    gone = sum(
        (r.returned or Decimal(0) for r in refunds if r.status is RefundStatus.SUCCEEDED),
        Decimal(0),
    )
    assert payment.refund_reserved == asked
    assert payment.refunded == gone
    assert sum(r.status in IN_FLIGHT for r in refunds) <= 1
    for refund in refunds:
        if refund.status in IN_FLIGHT | {RefundStatus.PENDING}:
            assert refund.due_at is not None, refund
        told = {e.event_id for e in desk.events if e.type is EventType.REFUND_SUCCEEDED}
        assert len(told) == sum(r.status is RefundStatus.SUCCEEDED for r in refunds)
    waiting = [r for r in refunds if r.status is RefundStatus.REQUESTED]
    if waiting and not any(r.status in IN_FLIGHT for r in refunds):
        assert waiting[0].due_at is not None
    is_all_gone = payment.is_returned
    assert (desk.case.order.status is OrderStatus.REFUNDED) == is_all_gone
    ids = {UUID(str(event.event_id)) for event in desk.events}
    assert len(ids) == len(desk.events)


def test_failed_refund_returns_nothing_whatever_is_said_late(desk: Desk) -> None:
    # A query says that it failed, and only then the answer to the send is recorded.
    refund = desk.send(desk.ask("5.00"))
    desk.hear(refund, "failed", returned=Decimal("5.00"))

    late = desk.hear(refund, "taken", source=Source.ANSWER, returned=Decimal("5.00"))

    assert (late.status, late.returned) == (RefundStatus.FAILED, None)
    ended = desk.hear(refund, "succeeded", returned=Decimal("5.00"))
    assert (ended.status, ended.returned) == (RefundStatus.SUCCEEDED, Decimal("5.00"))


def _look(desk: Desk, make: Any, word: str, *, in_full: bool = False) -> list[Any]:
    """Hear of the order that money goes back, and return the anomalies that are open then."""
    report = make.report("returned", word=word, returned_in_full=in_full)
    given = replace(make.given(), now=desk.now)
    attempt_id = desk.case.attempts[0].attempt_id
    desk.keep(settlement.apply(Decision.nothing(desk.case), attempt_id, report, given=given))
    return [anomaly.kind for anomaly in desk.case.anomalies if anomaly.is_open]


def test_refund_that_failed_while_the_order_was_asked_about_is_no_strangers(
    desk: Desk, make: Any
) -> None:
    # The order was REFUNDING when asked about, the refund failed, and then that answer came.
    refund = desk.send(desk.ask("5.00"))
    desk.hear(refund, "taken", source=Source.ANSWER)
    desk.hear(refund, "failed")

    assert _look(desk, make, "REFUNDING") == []

    # It may be a portal refund all the same: that shows when it is asked again a minute later.
    again_at = desk.case.attempts[0].due_at
    assert again_at == desk.now + timedelta(minutes=1)
    desk.now = again_at
    assert _look(desk, make, "REFUNDED") == [AnomalyKind.REFUNDED_ELSEWHERE]


def test_fee_that_a_notice_leaves_out_is_asked_for_until_it_is_told(make: Any) -> None:
    desk = Desk(make)
    refund = desk.send(desk.ask("5.00"))

    told = desk.hear(refund, "succeeded", source=Source.NOTICE, returned=Decimal(5))
    assert (told.fee_returned, told.due_at) == (None, desk.now + timedelta(seconds=5))
    silent = desk.hear(told, "succeeded", returned=Decimal(5))
    assert silent.due_at is not None
    known = desk.hear(silent, "succeeded", returned=Decimal(5), fee_returned=Decimal("0.05"))

    assert (known.fee_returned, known.due_at) == (Decimal("0.05"), None)
    assert known.fee_return_learnt_at == desk.now
    assert len([e for e in desk.events if e.type is EventType.REFUND_SUCCEEDED]) == 1


def test_silence_of_a_hand_that_lost_its_lease_takes_back_no_send_of_another(make: Any) -> None:
    # It asked about the order and was held up; meanwhile another asked, and sent.
    desk = Desk(make)
    sent = desk.send(desk.ask("5.00"))
    desk.case = Decision.nothing(desk.case).with_refund(replace(sent, lease_owner=UUID(int=2))).case

    stale = refunding.note_silence(
        Decision.nothing(desk.case), sent.refund_id, owner=UUID(int=1), sent=False, now=desk.now
    )
    assert stale.case == desk.case
    unheard = desk.silence(desk.case.refund(sent.refund_id), sent=True)
    assert (unheard.status, unheard.in_doubt) == (RefundStatus.UNKNOWN, True)


def test_refund_refused_for_ever_after_a_lost_send_comes_to_an_end(make: Any) -> None:
    # The first send was lost, and before the second all the money went back in the portal.
    desk = Desk(make)
    refund = desk.send(desk.ask("5.00"))
    desk.silence(refund, sent=True)
    desk.hear(refund, "absent")
    refund = desk.send(refund)

    refused = desk.hear(refund, "refused", source=Source.ANSWER)
    assert (refused.status, refused.due_at) == (RefundStatus.UNKNOWN, desk.now + ABSENCE_MARGIN)
    assert refunding.next_step(refused) is RefundStep.ASK
    desk.now += ABSENCE_MARGIN
    clean = desk.hear(refused, "absent")
    assert (clean.status, clean.in_doubt) == (RefundStatus.REQUESTED, False)
    failed = desk.hear(desk.send(clean), "refused", source=Source.ANSWER)

    assert failed.status is RefundStatus.FAILED
    assert desk.payment.refundable == Decimal("12.50")


def test_portal_refund_after_one_that_was_settled_is_told_again(desk: Desk, make: Any) -> None:
    _look(desk, make, "REFUNDED")
    (first,) = desk.case.anomalies
    settled = Decision.nothing(desk.case).close_anomaly(
        first, Resolution.ACCEPT, by="Ada", reason="seen", actor="person", at=desk.now
    )
    elsewhere = _refund(
        desk.case, "3.00", 9, status=RefundStatus.SUCCEEDED, is_elsewhere=True, returned=Decimal(3)
    )
    desk.keep(settled.with_refund(elsewhere))
    assert _look(desk, make, "REFUNDED") == []

    assert _look(desk, make, "FULL_REFUNDED", in_full=True) == [AnomalyKind.REFUNDED_ELSEWHERE]
    assert _look(desk, make, "FULL_REFUNDED", in_full=True) == [AnomalyKind.REFUNDED_ELSEWHERE]


def test_short_wallet_s_refund_is_not_sent_once_money_went_back_in_the_portal(
    desk: Desk, make: Any
) -> None:
    refund = desk.send(desk.ask("5.00"))
    waiting = desk.hear(refund, "refused", code="400304", waits_for_balance=True)
    assert refunding.next_step(waiting) is RefundStep.CHECK

    assert _look(desk, make, "REFUNDED") == [AnomalyKind.REFUNDED_ELSEWHERE]

    desk.keep(refunding.note_check(Decision.nothing(desk.case), refund.refund_id, now=desk.now))
    unsent = desk.case.refund(refund.refund_id)
    assert (unsent.status, unsent.sends) == (RefundStatus.FAILED, 1)
    assert desk.payment.refund_reserved == 0


def test_checked_refund_is_not_sent_once_other_news_tells_of_a_portal_refund(
    desk: Desk, make: Any
) -> None:
    asked = desk.ask("5.00")
    desk.keep(refunding.note_check(Decision.nothing(desk.case), asked.refund_id, now=desk.now))
    refund = desk.case.refund(asked.refund_id)
    assert refunding.next_step(refund) is RefundStep.SEND
    assert _look(desk, make, "REFUNDED") == [AnomalyKind.REFUNDED_ELSEWHERE]

    desk.keep(refunding.plan_send(Decision.nothing(desk.case), refund, now=desk.now))

    unsent = desk.case.refund(refund.refund_id)
    assert (unsent.status, unsent.sends) == (RefundStatus.FAILED, 0)
    assert desk.payment.refund_reserved == 0


def test_absence_said_before_another_hand_sent_or_heard_proves_nothing(desk: Desk) -> None:
    asked = desk.send(desk.ask("5.00"))
    absent = _report("absent")

    for status in (RefundStatus.PENDING, RefundStatus.SUCCEEDED):
        heard = replace(asked, status=status)
        assert refunding.is_denied_before(absent, asked, heard)
        assert not refunding.is_denied_before(absent, heard, heard)  # that is odd indeed
        assert not refunding.is_denied_before(_report("failed"), asked, heard)
    assert refunding.is_denied_before(absent, asked, replace(asked, sends=2))
    assert not refunding.is_denied_before(absent, asked, replace(asked, absences=1))


def test_order_is_asked_about_anew_when_a_checked_refund_was_not_sent_for_long(
    desk: Desk, make: Any
) -> None:
    # The account was stopped, or Binance away; meanwhile the money was returned in the portal.
    asked = desk.ask("5.00")
    desk.keep(refunding.note_check(Decision.nothing(desk.case), asked.refund_id, now=desk.now))
    desk.now += timedelta(days=3)
    refund = desk.case.refund(asked.refund_id)

    desk.keep(refunding.plan_send(Decision.nothing(desk.case), refund, now=desk.now))

    unsent = desk.case.refund(asked.refund_id)
    assert (unsent.status, unsent.sends) == (RefundStatus.REQUESTED, 0)
    assert refunding.next_step(unsent) is RefundStep.CHECK
    fresh = desk.send(unsent)
    assert fresh.status is RefundStatus.SENT


def test_steps_before_a_send_keep_a_refund_s_place_in_the_line(desk: Desk) -> None:
    # A thousand are due: who went to the end of the line after each step would never be sent.
    refund = desk.ask("5.00")
    place = refund.due_at
    assert place is not None
    desk.now += timedelta(minutes=4)

    for note in (refunding.note_check, refunding.note_comparison):
        desk.keep(note(Decision.nothing(desk.case), refund.refund_id, now=desk.now))
        assert desk.case.refund(refund.refund_id).due_at == place
    desk.now += timedelta(minutes=6)
    refund = desk.case.refund(refund.refund_id)
    desk.keep(refunding.plan_send(Decision.nothing(desk.case), refund, now=desk.now))
    assert desk.case.refund(refund.refund_id).due_at == place  # to be checked anew, and first


def test_unknown_refund_is_sent_again_only_soon_after_the_check(desk: Desk) -> None:
    # Binance was away for two days, and somebody returned the money in the portal.
    refund = desk.silence(desk.send(desk.ask("5.00")), sent=True)
    desk.now += timedelta(days=2)

    once = desk.hear(refund, "absent")
    assert refunding.next_step(once) is RefundStep.ASK
    proved = desk.hear(once, "absent")

    assert (proved.status, proved.in_doubt) == (RefundStatus.REQUESTED, False)
    assert refunding.next_step(proved) is RefundStep.CHECK


def test_unknown_refund_that_waited_for_its_second_send_is_asked_about_anew(desk: Desk) -> None:
    refund = desk.hear(desk.silence(desk.send(desk.ask("5.00")), sent=True), "absent")
    assert refunding.next_step(refund) is RefundStep.SEND
    desk.now += timedelta(days=2)

    desk.keep(refunding.plan_send(Decision.nothing(desk.case), refund, now=desk.now))

    waiting = desk.case.refund(refund.refund_id)
    assert (waiting.status, waiting.sends) == (RefundStatus.UNKNOWN, 1)
    assert refunding.next_step(waiting) is RefundStep.ASK


def test_refund_in_doubt_is_not_sent_again_beside_a_stranger_s(desk: Desk, make: Any) -> None:
    refund = desk.silence(desk.send(desk.ask("5.00")), sent=True)
    refund = desk.hear(refund, "absent")
    assert refunding.next_step(refund) is RefundStep.SEND
    told = strangers.tell_of_stranger(
        Decision.nothing(desk.case),
        refund.attempt_id,
        detail="more went back",
        fact="x",
        reference="call:1",
        now=desk.now,
    )

    desk.keep(refunding.plan_send(told, refund, now=desk.now))

    waiting = desk.case.refund(refund.refund_id)
    assert (waiting.status, waiting.sends) == (RefundStatus.UNKNOWN, 1)
    assert refunding.next_step(waiting) is RefundStep.ASK
    assert waiting.due_at is not None
    assert waiting.due_at > desk.now


def test_refunds_that_a_restore_doubts_are_asked_about_when_their_turn_comes(desk: Desk) -> None:
    first, second = desk.send(desk.ask("5.00")), desk.ask("2.00", number=2)
    doubted = replace(second, in_doubt=True, sends=1, checked_at=desk.now, compared_at=desk.now)
    desk.keep(Decision.nothing(desk.case).with_refund(doubted))

    desk.hear(first, "failed")

    turn = desk.case.refund(second.refund_id)
    assert (turn.status, turn.due_at) == (RefundStatus.UNKNOWN, desk.now)
    assert refunding.next_step(turn) is RefundStep.ASK


@pytest.mark.parametrize("before", ["taken", "succeeded"])
def test_notice_of_a_failure_is_asked_about_and_frees_nothing(desk: Desk, before: str) -> None:
    refund = desk.hear(desk.send(desk.ask("5.00")), before)
    desk.now += timedelta(hours=1)

    heard = desk.hear(refund, "failed", source=Source.NOTICE)

    assert (heard.status, heard.due_at) == (refund.status, desk.now)
    assert desk.case.anomalies == ()
    assert desk.payment.refund_reserved + desk.payment.refunded == Decimal("5.00")


def test_refunds_in_the_portal_count_as_attempts_of_the_ten(desk: Desk) -> None:
    for number in range(1, 10):
        elsewhere = _refund(
            desk.case, "0.10", number, status=RefundStatus.SUCCEEDED, is_elsewhere=True
        )
        desk.case = Decision.nothing(desk.case).with_refund(elsewhere).case

    assert refunding.attempts_left(desk.case, desk.payment) == 1


# -- figures that are told later, or otherwise ------------------------------------------------


def _booked(desk: Desk, refund: Refund, **report: Any) -> dict[str, Decimal]:
    before = desk.case
    desk.hear(refund, "succeeded", **report)
    decision = replace(Decision.nothing(before), case=desk.case)
    return {t.kind: t.amount for t in transfers_of(decision)}


def test_fee_that_is_said_before_the_money_went_back_is_no_figure_yet(desk: Desk) -> None:
    refund = desk.hear(desk.send(desk.ask("5.00")), "taken", fee_returned=Decimal(0))
    assert refund.fee_returned is None

    booked = _booked(desk, refund, fee_returned=Decimal("0.05"))

    assert booked == {"refund": Decimal("5.00"), "fee_returned": Decimal("0.05")}


def test_another_figure_of_the_fee_that_came_back_counts_once_and_is_told(desk: Desk) -> None:
    refund = desk.hear(desk.send(desk.ask("5.00")), "succeeded", fee_returned=Decimal("0.05"))

    booked = _booked(desk, refund, fee_returned=Decimal("0.06"))

    assert booked == {"fee_return_corrected": Decimal("0.01")}
    assert [a.kind for a in desk.case.anomalies if a.is_open] == [AnomalyKind.FEE_DIFFERS]
    assert _booked(desk, refund, fee_returned=Decimal("0.05")) != {}  # another figure, once
    assert _booked(desk, refund, fee_returned=Decimal("0.06")) == {}  # they never agree


def test_more_that_went_back_is_booked_and_less_is_told(desk: Desk) -> None:
    refund = desk.hear(desk.send(desk.ask("5.00")), "succeeded")

    assert _booked(desk, refund, returned=Decimal("4.00")) == {}
    assert _booked(desk, refund, returned=Decimal("6.00")) == {"refund_corrected": Decimal("1.00")}

    assert desk.payment.refunded == Decimal("6.00")
    kinds = [a.kind for a in desk.case.anomalies if a.is_open]
    assert kinds == [AnomalyKind.REFUND_DIFFERS, AnomalyKind.REFUND_DIFFERS]
    rest = _booked(desk, refund, returned=Decimal("12.50"))
    assert rest == {"refund_corrected": Decimal("6.50")}
    assert desk.case.order.status is OrderStatus.REFUNDED


def test_refund_that_waits_for_a_second_person_is_not_sent_whatever_made_it_due(
    desk: Desk,
) -> None:
    asked = _refund(desk.case, "5.00", requested_at=desk.now, approval_reason="a limit")
    desk.keep(refunding.request(Decision.nothing(desk.case), asked, now=desk.now))
    doubted = replace(desk.case.refund(asked.refund_id), sends=1, in_doubt=True, due_at=desk.now)
    desk.keep(Decision.nothing(desk.case).with_refund(doubted))

    kept = desk.send(doubted)

    assert (kept.status, kept.due_at) == (RefundStatus.REQUESTED, None)


def _forgotten(desk: Desk, number: int = 1, **changes: Any) -> Refund:
    """A refund that waits for approval in a restored database, which may have had it once."""
    asked = _refund(
        desk.case, "5.00", number, requested_at=desk.now, approval_reason="a limit", **changes
    )
    desk.keep(refunding.request(Decision.nothing(desk.case), asked, now=desk.now))
    doubted = replace(
        desk.case.refund(asked.refund_id), sends=1, last_sent_at=desk.now, in_doubt=True
    )
    desk.keep(Decision.nothing(desk.case).with_refund(doubted))
    return doubted


def _denial(desk: Desk, refund: Refund) -> str | None:
    obstacle = refunding.find_obstacle_to_denial(desk.case.refund(refund.refund_id))
    return obstacle.code if obstacle else None


def test_refund_that_may_have_been_sent_is_denied_only_once_its_absence_is_proved(
    desk: Desk,
) -> None:
    forgotten = _forgotten(desk)
    assert _denial(desk, forgotten) == "refund_in_doubt"
    asked = replace(forgotten, status=RefundStatus.UNKNOWN, due_at=desk.now)
    desk.keep(Decision.nothing(desk.case).with_refund(asked))
    assert _denial(desk, asked) == "refund_in_doubt"

    once = desk.hear(asked, "absent")
    assert refunding.next_step(once) is RefundStep.ASK  # never sent without approval
    assert once.due_at == desk.now + ABSENCE_MARGIN
    assert _denial(desk, once) == "refund_in_doubt"
    desk.now += ABSENCE_MARGIN
    proved = desk.hear(once, "absent")

    assert (proved.status, proved.due_at) == (RefundStatus.REQUESTED, None)
    assert _denial(desk, proved) is None
    desk.keep(refunding.deny(Decision.nothing(desk.case), proved, by="key:2", now=desk.now))
    assert desk.payment.refundable == Decimal("12.50")


def test_refund_that_had_gone_back_before_the_restore_is_booked_and_never_denied(
    desk: Desk,
) -> None:
    asked = replace(_forgotten(desk), status=RefundStatus.UNKNOWN)
    desk.keep(Decision.nothing(desk.case).with_refund(asked))

    desk.hear(asked, "succeeded", returned=Decimal(5))

    assert _denial(desk, asked) == "refund_not_waiting"
    assert desk.payment.refunded == Decimal(5)


def test_refund_in_doubt_can_be_approved_because_its_number_stays_the_same(desk: Desk) -> None:
    asked = replace(_forgotten(desk), status=RefundStatus.UNKNOWN, due_at=None)
    desk.keep(Decision.nothing(desk.case).with_refund(asked))
    once = desk.hear(asked, "absent")
    assert refunding.find_obstacle_to_approval(once) is None

    desk.keep(refunding.approve(Decision.nothing(desk.case), once, by="key:2", now=desk.now))

    approved = desk.case.refund(once.refund_id)
    assert (refunding.next_step(approved), approved.due_at) == (RefundStep.ASK, desk.now)


def test_forgotten_refunds_of_a_payment_are_asked_about_one_after_the_other(desk: Desk) -> None:
    first, second = _forgotten(desk, 1), _forgotten(desk, 2, merchant_refund_id="second")
    # A notice made it due, and nobody takes what waits for approval.
    hinted = replace(second, due_at=desk.now)
    asked = replace(first, status=RefundStatus.UNKNOWN)
    desk.keep(Decision.nothing(desk.case).with_refund(asked).with_refund(hinted))

    desk.hear(asked, "failed")

    next_one = desk.case.refund(second.refund_id)
    assert (next_one.status, next_one.due_at) == (RefundStatus.UNKNOWN, desk.now)
    assert refunding.next_step(next_one) is RefundStep.ASK


def _checked(desk: Desk, make: Any, refund: Refund) -> Refund:
    """Ask about the order first, as before every send."""
    _look(desk, make, "REFUNDED")
    desk.keep(refunding.note_check(Decision.nothing(desk.case), refund.refund_id, now=desk.now))
    return desk.case.refund(refund.refund_id)


def _compared(desk: Desk, refund: Refund) -> Refund:
    decision = Decision.nothing(desk.case)
    desk.keep(refunding.note_comparison(decision, refund.refund_id, now=desk.now))
    return desk.case.refund(refund.refund_id)


@pytest.mark.parametrize(
    "told",
    [
        {"returned_in_all": Decimal("6.00"), "remaining_attempts": 9},
        {"returned_in_all": Decimal("4.00"), "remaining_attempts": 8},
    ],
)
def test_portal_refund_beside_an_earlier_one_of_ours_is_seen_before_the_next_is_sent(
    desk: Desk, make: Any, told: dict[str, Any]
) -> None:
    first = desk.send(desk.ask("4.00", 1))
    desk.hear(first, "succeeded", returned=Decimal("4.00"), remaining_attempts=9)
    second = _checked(desk, make, desk.ask("5.00", 2))
    assert refunding.next_step(second) is RefundStep.COMPARE
    assert refunding.find_to_compare(desk.case, second) == desk.case.refund(first.refund_id)

    desk.hear(first, "succeeded", returned=Decimal("4.00"), **told)
    unsent = _compared(desk, second)

    assert [a.kind for a in desk.case.anomalies] == [AnomalyKind.REFUNDED_ELSEWHERE]
    assert (unsent.status, unsent.sends) == (RefundStatus.FAILED, 0)
    assert desk.payment.refund_reserved == 0


def test_next_refund_goes_when_ours_explain_all_that_is_said_of_the_earlier_one(
    desk: Desk, make: Any
) -> None:
    first = desk.send(desk.ask("4.00", 1))
    desk.hear(first, "succeeded", returned=Decimal("4.00"), remaining_attempts=9)
    second = _checked(desk, make, desk.ask("5.00", 2))

    said = {"returned_in_all": Decimal("4.00"), "remaining_attempts": 9}
    desk.hear(first, "succeeded", returned=Decimal("4.00"), **said)

    assert refunding.next_step(_compared(desk, second)) is RefundStep.SEND
    assert desk.case.anomalies == ()


def test_first_refund_of_a_payment_has_nothing_to_be_compared_with(desk: Desk, make: Any) -> None:
    refund = desk.ask("4.00")
    desk.keep(refunding.note_check(Decision.nothing(desk.case), refund.refund_id, now=desk.now))

    assert refunding.next_step(desk.case.refund(refund.refund_id)) is RefundStep.SEND


def test_attempts_beside_ours_are_told_again_only_when_there_are_more_of_them(
    desk: Desk,
) -> None:
    first = desk.send(desk.ask("1.00", 1))
    desk.hear(first, "succeeded", returned=Decimal("1.00"), remaining_attempts=8)
    (seen,) = desk.case.anomalies
    desk.keep(
        Decision.nothing(desk.case).close_anomaly(
            seen, Resolution.WRITE_OFF, by="Ada", reason="it failed", actor="person", at=desk.now
        )
    )

    desk.hear(first, "succeeded", returned=Decimal("1.00"), remaining_attempts=8)
    desk.hear(desk.send(desk.ask("1.00", 2)), "taken", remaining_attempts=7)
    assert [a.is_open for a in desk.case.anomalies] == [False]
    desk.hear(first, "succeeded", returned=Decimal("1.00"), remaining_attempts=6)
    assert [a.is_open for a in desk.case.anomalies] == [False, True]
