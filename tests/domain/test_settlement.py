"""What follows from Binance's word: one story a test."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from checkstand.domain import progress, settlement
from checkstand.domain.anomaly import UNSETTLED_MONEY, AnomalyKind, Resolution
from checkstand.domain.attempt import LIVE, AttemptStatus, CloseReason
from checkstand.domain.case import Case, Decision
from checkstand.domain.event import EventType, event_id_of
from checkstand.domain.money import Money
from checkstand.domain.order import OrderStatus
from checkstand.domain.report import Finding
from checkstand.domain.resolution import resolve_anomaly
from checkstand.domain.settlement import status_of

_LESS = Money(Decimal("12.49"), "USDT")


def _apply(make: Any, case: Case, report: Any, *, attempt: int = -1, **given: Any) -> Decision:
    attempt_id = case.attempts[attempt].attempt_id
    return settlement.apply(Decision.nothing(case), attempt_id, report, given=make.given(**given))


def _told(decision: Decision) -> list[str]:
    return [str(event.type) for event in decision.events]


def _open_kinds(case: Case) -> set[AnomalyKind]:
    return {anomaly.kind for anomaly in case.anomalies if anomaly.is_open}


# -- where an order is, from its facts alone --------------------------------------------------


@pytest.mark.parametrize(
    ("order", "attempt", "cancel_asked", "time_is_over", "expected"),
    [
        ("CREATED", None, False, False, "CREATED"),
        ("CREATED", None, False, True, "EXPIRED"),
        ("CREATED", None, True, False, "CANCELED"),
        ("CREATED", "PREPARED", True, True, "CREATED"),
        ("CREATED", "SUBMITTING", True, True, "CREATED"),
        ("CREATED", "OPEN", False, False, "PENDING_PAYMENT"),
        ("CREATED", "OPEN", True, True, "PENDING_PAYMENT"),
        ("CREATED", "CLOSING", True, True, "CREATED"),
        ("CREATED", "CLOSED", False, False, "CREATED"),
        ("CREATED", "CLOSED", True, False, "CANCELED"),
        ("CREATED", "LAPSED", False, True, "EXPIRED"),
        ("CREATED", "REJECTED", False, False, "CANCELED"),
        ("CREATED", "NEVER_EXISTED", False, False, "CREATED"),
        ("PENDING_PAYMENT", "OPEN", True, True, "PENDING_PAYMENT"),
        ("PENDING_PAYMENT", "CLOSING", True, True, "PENDING_PAYMENT"),
        ("PENDING_PAYMENT", "CLOSED", False, False, "PENDING_PAYMENT"),
        ("PENDING_PAYMENT", "CLOSED", True, False, "CANCELED"),
        ("PENDING_PAYMENT", "LAPSED", False, False, "PENDING_PAYMENT"),
        ("PENDING_PAYMENT", "LAPSED", False, True, "EXPIRED"),
        ("PENDING_PAYMENT", "LAPSED", True, True, "CANCELED"),
        ("PENDING_PAYMENT", "REJECTED", False, False, "PENDING_PAYMENT"),
        ("EXPIRED", "OPEN", False, False, "PENDING_PAYMENT"),
        ("EXPIRED", "SUBMITTING", False, False, "EXPIRED"),
        ("EXPIRED", "LAPSED", True, True, "EXPIRED"),
        ("CANCELED", "OPEN", False, False, "CANCELED"),
        ("CANCELED", "CLOSED", True, True, "CANCELED"),
        ("PAID", "CLOSED", True, True, "PAID"),
        ("FULFILLED", "LAPSED", True, True, "FULFILLED"),
        ("REFUNDED", "LAPSED", True, True, "REFUNDED"),
    ],
)
def test_an_unpaid_order_is_where_its_newest_attempt_and_the_time_say(
    make: Any,
    order: str,
    attempt: str | None,
    *,
    cancel_asked: bool,
    time_is_over: bool,
    expected: str,
) -> None:
    attempts = [] if attempt is None else [make.attempt(attempt)]
    asked_at = make.noon if cancel_asked else None
    case = make.case(*attempts, status=order, cancel_requested_at=asked_at)
    now = case.order.expires_at if time_is_over else make.noon

    assert status_of(case, now=now) == expected


@pytest.mark.parametrize("order", ["CREATED", "PENDING_PAYMENT", "CANCELED", "EXPIRED"])
def test_an_order_with_money_that_binds_is_paid_whatever_else_is_true(
    make: Any, order: str
) -> None:
    attempt = make.attempt("PAID")
    case = make.case(attempt, make.attempt("OPEN", number=2), status=order)
    case = replace(case, payments=(make.payment(attempt),))

    assert status_of(case, now=case.order.expires_at) is OrderStatus.PAID


@pytest.mark.parametrize("kind", AnomalyKind)
def test_no_order_ends_while_its_money_is_unsettled(make: Any, kind: AnomalyKind) -> None:
    attempt = make.attempt("LAPSED")
    decision = Decision.nothing(make.case(attempt, status="PENDING_PAYMENT")).open_anomaly(
        kind, attempt, detail="odd", reference=None, at=make.noon
    )
    case = decision.case

    ended = status_of(case, now=case.order.expires_at)

    expected = OrderStatus.PENDING_PAYMENT if kind in UNSETTLED_MONEY else OrderStatus.EXPIRED
    assert ended is expected


# -- paid -------------------------------------------------------------------------------------


def test_payment_of_what_was_expected_pays_the_order_and_tells_it_once(make: Any) -> None:
    case = make.case(make.attempt(), status="PENDING_PAYMENT")

    decided = _apply(make, case, make.report("paid", "notice", transaction_id="P_1"))

    assert decided.case.order.status is OrderStatus.PAID
    (payment,) = decided.case.payments
    assert decided.case.order.settled_by == payment.payment_id
    assert (payment.transaction_id, payment.held) == ("P_1", False)
    (event,) = decided.events
    assert event.type is EventType.ORDER_PAID
    fact = str(payment.payment_id)  # whoever tells us, and whenever: one payment, one event
    assert event.event_id == event_id_of(case.order.order_id, EventType.ORDER_PAID, fact)


def test_payment_keeps_the_digits_the_shop_wrote(make: Any) -> None:
    case = make.case(make.attempt(), status="PENDING_PAYMENT")
    money = Money(Decimal("12.50000000"), "USDT")

    decided = _apply(make, case, make.report("paid", money=money))

    assert str(decided.case.payments[0].money) == "12.50 USDT"


def test_the_same_payment_by_notice_and_by_query_is_one_payment_with_the_facts_of_both(
    make: Any,
) -> None:
    case = make.case(make.attempt(), status="PENDING_PAYMENT")
    noticed = _apply(make, case, make.report("paid", "notice", transaction_id="P_1"))

    queried = _apply(
        make, noticed.case, make.report("paid", "query", fee=Decimal("0.125"), paid_at=make.noon)
    )

    (payment,) = queried.case.payments
    assert (payment.transaction_id, payment.fee) == ("P_1", Decimal("0.125"))
    assert payment.paid_at == make.noon
    assert (queried.steps, queried.events) == ((), ())


def test_a_fee_learnt_later_is_no_contradiction_and_another_one_is(make: Any) -> None:
    case = make.settled_case(make.attempt())

    learnt = _apply(make, case, make.report("paid", fee=Decimal(0)))
    assert learnt.case.payments[0].fee == 0
    assert learnt.events == ()

    differs = _apply(make, learnt.case, make.report("paid", fee=Decimal("0.125")))
    assert differs.case.payments[0].fee == Decimal("0.125")
    assert _open_kinds(differs.case) == {AnomalyKind.FEE_DIFFERS}
    assert _told(differs) == ["order.attention"]


def test_another_sum_for_a_payment_that_is_known_is_said_and_changes_nothing(make: Any) -> None:
    case = make.settled_case(make.attempt())

    decided = _apply(make, case, make.report("paid", money=_LESS))

    assert decided.case.payments == case.payments
    assert _open_kinds(decided.case) == {AnomalyKind.PROVIDER_CONTRADICTS}
    assert "12.49 USDT" in decided.case.anomalies[0].detail
    assert decided.case.order.status is OrderStatus.PAID


@pytest.mark.parametrize(
    ("money", "kind"),
    [
        (_LESS, AnomalyKind.AMOUNT_DIFFERS),
        (Money(Decimal("12.51"), "USDT"), AnomalyKind.AMOUNT_DIFFERS),
        (Money(Decimal("12.50"), "USDC"), AnomalyKind.CURRENCY_DIFFERS),
    ],
)
def test_an_odd_sum_is_held_and_the_shop_is_not_told_to_fulfil(
    make: Any, money: Money, kind: AnomalyKind
) -> None:
    case = make.case(make.attempt(), status="PENDING_PAYMENT")

    decided = _apply(make, case, make.report("paid", money=money))

    assert decided.case.order.status is OrderStatus.PENDING_PAYMENT
    assert [(p.money, p.held) for p in decided.case.payments] == [(money, True)]
    assert _open_kinds(decided.case) == {kind}
    assert _told(decided) == ["order.attention"]


@pytest.mark.parametrize("status", ["CANCELED", "EXPIRED"])
def test_late_money_reopens_an_order_that_was_over(make: Any, status: str) -> None:
    case = make.case(make.attempt("LAPSED"), status=status)

    decided = _apply(make, case, make.report("paid"), after=timedelta(days=2))

    assert decided.case.order.status is OrderStatus.PAID
    (anomaly,) = decided.case.anomalies
    assert (anomaly.kind, anomaly.resolution) == (AnomalyKind.PAID_LATE, Resolution.ACCEPT)
    assert (anomaly.resolved_by, anomaly.is_open) == ("policy", False)
    assert _told(decided) == ["order.paid"]


def test_second_payment_is_held_and_the_first_one_stays(make: Any) -> None:
    first = make.settled_case(make.attempt("CLOSED"), make.attempt("CLOSED", number=2))

    decided = _apply(make, first, make.report("paid"))

    assert decided.case.order.settled_by == first.order.settled_by
    assert [p.held for p in decided.case.payments] == [False, True]
    assert _open_kinds(decided.case) == {AnomalyKind.PAID_TWICE}
    assert _told(decided) == ["order.attention"]


def test_two_payments_in_one_batch_are_one_that_binds_and_one_held(make: Any) -> None:
    case = make.case(
        make.attempt("CLOSED"), make.attempt("OPEN", number=2), status="PENDING_PAYMENT"
    )
    first, second = case.attempts

    decided = _apply(make, case, make.report("paid"), attempt=0)
    decided = settlement.apply(
        decided, second.attempt_id, make.report("paid"), given=make.given(fresh=2)
    )

    assert [(p.attempt_id, p.held) for p in decided.case.payments] == [
        (first.attempt_id, False),
        (second.attempt_id, True),
    ]
    assert _told(decided) == ["order.paid", "order.attention"]


def test_late_money_of_an_old_code_closes_the_new_one(make: Any) -> None:
    case = make.case(
        make.attempt("CLOSED"), make.attempt("OPEN", number=2), status="PENDING_PAYMENT"
    )

    decided = _apply(make, case, make.report("paid"), attempt=0)

    assert decided.case.order.status is OrderStatus.PAID
    old, new = decided.case.attempts
    assert old.status is AttemptStatus.PAID
    assert (new.status, new.close_reason) == (AttemptStatus.CLOSING, CloseReason.CANCEL)
    assert new.due_at == make.given().now


def test_an_attempt_never_sent_is_given_up_when_another_paid(make: Any) -> None:
    case = make.case(
        make.attempt("CLOSED"), make.attempt("PREPARED", number=2), status="PENDING_PAYMENT"
    )

    decided = _apply(make, case, make.report("paid"), attempt=0)

    assert decided.case.attempts[1].status is AttemptStatus.NEVER_EXISTED


def test_money_that_went_back_was_there_first(make: Any) -> None:
    case = make.case(make.attempt(), status="PENDING_PAYMENT")

    decided = _apply(make, case, make.report("returned", word="FULL_REFUNDED"))

    assert decided.case.order.status is OrderStatus.PAID
    assert len(decided.case.payments) == 1
    assert _open_kinds(decided.case) == {AnomalyKind.REFUNDED_ELSEWHERE}


def test_fiat_sum_comes_from_our_own_query_when_the_answer_was_lost(make: Any) -> None:
    terms = make.terms(price=None, fiat_price=Money(Decimal("10.00"), "EUR"))
    case = make.case(make.attempt("SUBMITTING", expected=None), terms=terms)
    quoted = Money(Decimal("11.63"), "USDT")

    decided = _apply(make, case, make.report("paid", "query", money=quoted))

    assert decided.case.order.status is OrderStatus.PAID
    assert decided.case.attempts[0].expected == quoted


@pytest.mark.parametrize("finding", ["paid", "closed"])
def test_a_prepay_id_is_never_learnt_from_a_notice(make: Any, finding: str) -> None:
    case = make.case(make.attempt("SUBMITTING"))

    decided = _apply(make, case, make.report(finding, "notice", prepay_id="somebody-elses"))

    assert decided.case.attempts[0].prepay_id is None


# -- not paid ---------------------------------------------------------------------------------


def test_delayed_close_of_an_old_code_moves_nothing(make: Any) -> None:
    case = make.case(
        make.attempt("CLOSING", close_reason=CloseReason.RENEW),
        make.attempt("OPEN", number=2),
        status="PENDING_PAYMENT",
    )
    # The old one is still CLOSING here, which cannot be; even so the order must not move.
    decided = _apply(make, case, make.report("closed", "notice"), attempt=0)

    assert decided.case.order == case.order
    assert decided.case.attempts[1] == case.attempts[1]


@pytest.mark.parametrize("finding", ["closed", "lapsed", "failed", "open"])
def test_paid_is_never_undone_by_what_binance_says_later(make: Any, finding: str) -> None:
    case = make.settled_case(make.attempt())

    decided = _apply(make, case, make.report(finding), after=timedelta(days=1))

    assert decided.case.order.status is OrderStatus.PAID
    assert decided.case.attempts[0].status is AttemptStatus.PAID
    assert _open_kinds(decided.case) == {AnomalyKind.PROVIDER_CONTRADICTS}


@pytest.mark.parametrize("finding", ["open", "payer_active"])
@pytest.mark.parametrize("status", ["PAID", "CLOSED", "LAPSED"])
def test_query_that_was_under_way_when_the_end_was_heard_contradicts_nothing(
    make: Any, status: str, finding: str
) -> None:
    """Binance answered INITIAL, the shopper paid, and the notice overtook the answer."""
    ended = make.attempt(status, ended_at=make.given(after=58).now)
    case = make.settled_case(ended) if status == "PAID" else make.case(ended)
    if status == "PAID":
        case = replace(case, attempts=(replace(case.attempts[0], ended_at=ended.ended_at),))

    decided = _apply(make, case, make.report(finding, "query"), after=60)

    assert decided.case.anomalies == ()
    assert decided.case.attempts[0].status == status
    assert not decided.case.attempts[0].payer_active


@pytest.mark.parametrize("status", ["PAID", "CLOSED", "LAPSED"])
def test_create_answer_that_comes_after_the_end_contradicts_nothing(make: Any, status: str) -> None:
    ended = make.attempt(status)
    case = make.settled_case(ended) if status == "PAID" else make.case(ended)

    decided = _apply(make, case, make.report("open", "answer"), after=timedelta(hours=2))

    assert decided.case.anomalies == ()
    assert decided.case.attempts[0].status == status


@pytest.mark.parametrize("status", ["REJECTED", "NEVER_EXISTED"])
def test_an_attempt_found_open_that_was_said_not_to_be_is_an_alarm(make: Any, status: str) -> None:
    case = make.case(make.attempt(status), status="PENDING_PAYMENT")

    decided = _apply(make, case, make.report("open", "answer"))

    assert _open_kinds(decided.case) == {AnomalyKind.PROVIDER_CONTRADICTS}


def test_word_nobody_knows_moves_nothing_and_is_an_alarm(make: Any) -> None:
    case = make.case(make.attempt(), status="PENDING_PAYMENT")

    decided = _apply(make, case, make.report("unreadable", word="FROZEN"))

    assert decided.case.order.status is OrderStatus.PENDING_PAYMENT
    assert decided.case.attempts[0].status is AttemptStatus.OPEN
    assert "FROZEN" in decided.case.anomalies[0].detail


@pytest.mark.parametrize(
    ("source", "reason", "expected"),
    [
        ("notice", None, AttemptStatus.LAPSED),
        ("notice", CloseReason.CANCEL, AttemptStatus.CLOSED),
        ("query", None, AttemptStatus.CLOSED),
    ],
)
def test_pay_closed_nobody_asked_for_means_that_its_time_ran_out(
    make: Any, source: str, reason: CloseReason | None, expected: AttemptStatus
) -> None:
    status = "CLOSING" if reason else "OPEN"
    case = make.case(make.attempt(status, close_reason=reason), status="PENDING_PAYMENT")

    decided = _apply(make, case, make.report("closed", source))

    assert decided.case.attempts[0].status is expected


def test_lapsed_code_leaves_the_order_alive_while_its_own_time_lasts(make: Any) -> None:
    case = make.case(make.attempt(), status="PENDING_PAYMENT")

    decided = _apply(make, case, make.report("lapsed"), after=timedelta(hours=2))

    assert decided.case.order.status is OrderStatus.PENDING_PAYMENT
    assert len(decided.case.attempts) == 1
    assert decided.events == ()


def test_open_attempt_is_closed_before_its_order_expires(make: Any) -> None:
    case = make.case(make.attempt(), status="PENDING_PAYMENT")
    after = timedelta(hours=25)

    asked = _apply(make, case, make.report("open"), after=after)
    assert asked.case.order.status is OrderStatus.PENDING_PAYMENT
    assert asked.case.attempts[0].close_reason is CloseReason.EXPIRE

    closed = _apply(make, asked.case, make.report("closed"), after=after)
    assert closed.case.order.status is OrderStatus.EXPIRED
    assert _told(closed) == ["order.expired"]


def test_somebody_paying_is_not_ended_by_us(make: Any) -> None:
    asked_at = make.noon
    case = make.case(
        make.attempt(payer_active=True), status="PENDING_PAYMENT", cancel_requested_at=asked_at
    )

    waiting = _apply(make, case, make.report("payer_active"), after=timedelta(hours=25))
    assert waiting.case.attempts[0].status is AttemptStatus.OPEN

    gone = _apply(make, waiting.case, make.report("open"), after=timedelta(hours=25))
    assert gone.case.attempts[0].status is AttemptStatus.CLOSING


@pytest.mark.parametrize("finding", ["unreadable", "absent"])
def test_word_that_tells_nothing_of_the_payer_lets_nobody_be_ended(make: Any, finding: str) -> None:
    case = make.case(
        make.attempt(payer_active=True, prepay_id="290000000000000001"),
        status="PENDING_PAYMENT",
        cancel_requested_at=make.noon,
    )

    heard = _apply(make, case, make.report(finding), after=600)
    (odd,) = heard.case.anomalies
    settled = resolve_anomaly(
        Decision.nothing(heard.case),
        odd.anomaly_id,
        Resolution.ACCEPT,
        by="Ada",
        reason="seen",
        given=make.given(after=610),
    )

    assert settled.case.attempts[0].payer_active
    assert settled.case.attempts[0].status is AttemptStatus.OPEN


def test_late_answer_to_the_create_tells_nothing_of_the_payer(make: Any) -> None:
    case = make.case(make.attempt(payer_active=True), status="PENDING_PAYMENT")

    assert _apply(make, case, make.report("open", "answer")).case.attempts[0].payer_active
    assert not _apply(make, case, make.report("open", "query")).case.attempts[0].payer_active


# -- another merchant's order under our number ------------------------------------------------


def test_code_of_anothers_order_is_taken_back_and_his_notice_binds_no_more(make: Any) -> None:
    # The create landed with our keys and its answer was lost; it was sent again with other keys,
    # and the right ones are back.
    case = make.case(make.attempt(prepay_id="1", links=make.links(1)), status="PENDING_PAYMENT")

    decided = _apply(make, case, make.report("open", "query", prepay_id="2"))

    attempt = decided.case.attempts[0]
    assert (attempt.prepay_id, attempt.links) == ("2", None)
    assert (attempt.status, attempt.close_reason) == (AttemptStatus.CLOSING, CloseReason.RECOVER)
    (note,) = decided.steps
    assert "as 2, and the code shown was of 1" in note.reason
    closed = _apply(make, decided.case, make.report("closed", "query", prepay_id="2"))
    assert [a.status for a in closed.case.attempts] == ["CLOSED", "PREPARED"]


def test_payer_of_our_own_order_is_waited_for_though_anothers_code_was_shown(make: Any) -> None:
    case = make.case(make.attempt(prepay_id="1", links=make.links(1)), status="PENDING_PAYMENT")

    paying = _apply(make, case, make.report("payer_active", "query", prepay_id="2"))

    attempt = paying.case.attempts[0]
    assert (attempt.prepay_id, attempt.links, attempt.status) == ("2", None, AttemptStatus.OPEN)
    paid = _apply(make, paying.case, make.report("paid", "query", prepay_id="2"))
    assert paid.case.order.status is OrderStatus.PAID


# -- what was settled, and is said again ------------------------------------------------------


def test_contradiction_is_told_again_when_something_else_contradicts(make: Any) -> None:
    case = make.settled_case(make.attempt())
    case = _apply(make, case, make.report("unreadable", word="PROCESSING"), after=600).case

    for report in (make.report("closed", word="CANCELED"), make.report("open", word="INITIAL")):
        (odd,) = (a for a in case.anomalies if a.is_open)
        settled = Decision.nothing(case).close_anomaly(
            odd, Resolution.ACCEPT, by="Ada", reason="seen", actor="person", at=make.noon
        )
        same = _apply(make, settled.case, make.report("unreadable", word="PROCESSING"), after=900)
        assert _open_kinds(same.case) == set()  # the same again is settled
        told = _apply(make, settled.case, report, after=900)
        assert _told(told) == ["order.attention"]
        case = told.case
    assert len(case.anomalies) == 3


def test_code_is_made_again_by_itself_though_money_of_another_was_written_off(make: Any) -> None:
    first = make.attempt("PAID")
    second = make.attempt("CLOSING", number=2, close_reason=CloseReason.RENEW)
    case = make.case(first, second, status="PENDING_PAYMENT")
    case = replace(case, payments=(make.payment(first, money=_LESS, held=True),))

    decided = _apply(make, case, make.report("closed"))

    assert [a.status for a in decided.case.attempts] == ["PAID", "CLOSED", "PREPARED"]


def test_notice_puts_off_no_question_that_a_hint_asked_for(make: Any) -> None:
    due = make.given().now
    case = make.case(make.attempt(hinted_at=due, due_at=due), status="PENDING_PAYMENT")

    for finding in ("paid", "closed"):
        decided = _apply(make, case, make.report(finding, "notice"))
        assert decided.case.attempts[0].due_at == due
        answered = _apply(make, case, make.report(finding, "query"))
        assert answered.case.attempts[0].due_at > due


# -- unknown outcomes -------------------------------------------------------------------------


def test_order_found_without_links_is_closed_and_made_again(make: Any) -> None:
    case = make.case(make.attempt("SUBMITTING"))

    found = _apply(make, case, make.report("open", "query"))
    assert found.case.attempts[0].close_reason is CloseReason.RECOVER
    assert found.case.order.status is OrderStatus.CREATED

    closed = _apply(make, found.case, make.report("closed", "query"))
    old, new = closed.case.attempts
    assert (old.status, new.status) == (AttemptStatus.CLOSED, AttemptStatus.PREPARED)
    assert new.number == 2


def test_order_found_without_links_while_somebody_pays_is_closed_when_they_stop(make: Any) -> None:
    case = make.case(make.attempt("SUBMITTING"))

    paying = _apply(make, case, make.report("payer_active", "query"))
    assert paying.case.attempts[0].status is AttemptStatus.OPEN

    stopped = _apply(make, paying.case, make.report("open", "query"))
    assert stopped.case.attempts[0].close_reason is CloseReason.RECOVER


def test_order_under_our_number_for_another_sum_is_not_ours(make: Any) -> None:
    case = make.case(make.attempt("SUBMITTING"))

    decided = _apply(make, case, make.report("open", "query", money=_LESS))

    assert decided.case.attempts[0].status is AttemptStatus.SUBMITTING
    assert _open_kinds(decided.case) == {AnomalyKind.PROVIDER_CONTRADICTS}


def test_notice_that_came_before_the_answer_lets_us_ask_at_once(make: Any) -> None:
    case = make.case(make.attempt("SUBMITTING", hinted_at=make.noon))

    decided = _apply(make, case, make.report("open", "answer"))

    assert decided.case.attempts[0].due_at == make.given().now


def test_answer_s_own_expiry_wins(make: Any) -> None:
    theirs = make.noon + timedelta(minutes=30)

    decided = _apply(
        make,
        make.case(make.attempt("SUBMITTING")),
        make.report("open", "answer", expires_at=theirs),
    )

    assert decided.case.attempts[0].expires_at == theirs


_MARGIN_IS_OVER = timedelta(hours=1, minutes=10)


@pytest.mark.parametrize(
    ("asked_before", "after", "is_proved"),
    [
        (0, _MARGIN_IS_OVER, False),  # asked once
        (1, _MARGIN_IS_OVER - timedelta(seconds=1), False),  # too soon
        (1, _MARGIN_IS_OVER, True),
        (5, timedelta(minutes=5), False),
    ],
)
def test_absence_is_proved_by_asking_twice_the_last_time_after_the_margin(
    make: Any, asked_before: int, after: timedelta, *, is_proved: bool
) -> None:
    case = make.case(make.attempt("SUBMITTING", absences=asked_before))

    decided = _apply(make, case, make.report("absent"), after=after)

    expected = AttemptStatus.NEVER_EXISTED if is_proved else AttemptStatus.SUBMITTING
    assert decided.case.attempts[0].status is expected


@pytest.mark.parametrize("status", sorted(LIVE - {AttemptStatus.PREPARED}))
def test_nothing_proves_absent_what_binance_once_gave_an_id(make: Any, status: str) -> None:
    attempt = make.attempt(status, absences=9, prepay_id="290000000000000001")

    decided = _apply(
        make, make.case(attempt), make.report("absent"), after=_MARGIN_IS_OVER + timedelta(hours=1)
    )

    assert decided.case.attempts[0].status == status
    assert _open_kinds(decided.case) == {AnomalyKind.PROVIDER_CONTRADICTS}


@pytest.mark.parametrize(
    ("by", "after", "is_over"),
    [
        ("Ada", _MARGIN_IS_OVER, True),
        ("Ada", _MARGIN_IS_OVER - timedelta(seconds=1), False),  # it may be payable
        ("policy", _MARGIN_IS_OVER, False),  # Binance knew it again since: no person let it go
    ],
)
@pytest.mark.parametrize("status", ["OPEN", "CLOSING"])
def test_order_made_with_another_merchants_keys_ends_once_a_person_let_it_go(
    make: Any, status: str, by: str, after: timedelta, *, is_over: bool
) -> None:
    attempt = make.attempt(status, prepay_id="290000000000000001")
    case = make.case(attempt, status="PENDING_PAYMENT")
    odd = _apply(make, case, make.report("absent"), after=timedelta(minutes=5))
    (anomaly,) = odd.case.anomalies
    known = odd.close_anomaly(
        anomaly, Resolution.ACCEPT, by=by, reason="seen", actor="person", at=make.noon
    )

    decided = _apply(make, known.case, make.report("absent"), after=after)

    ended = decided.case.attempts[0]
    assert ended.status == (AttemptStatus.LAPSED if is_over else status)
    # What a policy closed because it was over is odd again.
    again = {AnomalyKind.PROVIDER_CONTRADICTS} if by == "policy" else set()
    assert _open_kinds(decided.case) == again
    assert ended.due_at is not None  # late money would still be found
    if is_over:
        paid = _apply(make, decided.case, make.report("paid"), after=_MARGIN_IS_OVER * 2)
        assert paid.case.order.status is OrderStatus.PAID


def test_order_that_somebody_pays_is_not_let_go_whatever_was_accepted(make: Any) -> None:
    attempt = make.attempt(prepay_id="290000000000000001", payer_active=True)
    case = make.case(attempt, status="PENDING_PAYMENT")
    odd = _apply(make, case, make.report("absent"), after=300)
    known = odd.close_anomaly(
        odd.case.anomalies[0],
        Resolution.ACCEPT,
        by="Ada",
        reason="seen",
        actor="person",
        at=make.noon,
    )

    decided = _apply(make, known.case, make.report("absent"), after=_MARGIN_IS_OVER)

    assert decided.case.attempts[0].status is AttemptStatus.OPEN


def test_absence_said_before_another_hand_sent_or_heard_proves_nothing(make: Any) -> None:
    asked = make.attempt("SUBMITTING", sends=1)
    absent = make.report("absent")

    heard = replace(asked, status=AttemptStatus.OPEN, prepay_id="290000000000000001")
    assert progress.is_denied_before(absent, asked, heard)
    assert progress.is_denied_before(absent, asked, replace(asked, sends=2))
    assert not progress.is_denied_before(absent, asked, replace(asked, absences=1))
    assert not progress.is_denied_before(make.report("closed"), asked, heard)
    assert not progress.is_denied_before(absent, heard, heard)


def test_late_notice_of_an_unpaid_end_contradicts_no_payment_and_is_looked_into(make: Any) -> None:
    """The code lapsed, was paid by force, a query found it, and then PAY_CLOSED came."""
    case = make.settled_case(make.attempt())

    decided = _apply(make, case, make.report("closed", "notice"), after=600)

    assert decided.case.anomalies == ()
    assert _told(decided) == []
    assert decided.case.attempts[0].due_at == make.noon + timedelta(seconds=605)
    asked = settlement.apply(
        Decision.nothing(decided.case),
        decided.case.attempts[0].attempt_id,
        make.report("closed"),
        given=make.given(after=605),
    )
    assert _open_kinds(asked.case) == {AnomalyKind.PROVIDER_CONTRADICTS}


def test_binance_may_not_find_at_once_what_it_just_took(make: Any) -> None:
    """An outage delayed the create: the minute counts from the send, not from our row."""
    sent_at = make.noon + timedelta(minutes=20)
    case = make.case(make.attempt("OPEN", sends=3, last_sent_at=sent_at), status="PENDING_PAYMENT")

    decided = _apply(make, case, make.report("absent"), after=timedelta(minutes=20, seconds=5))

    assert decided.case.anomalies == ()


# -- refusals ---------------------------------------------------------------------------------


def test_refusal_for_good_cancels_the_order(make: Any) -> None:
    case = make.case(make.attempt("SUBMITTING"))

    decided = _apply(make, case, make.report("refused", "answer", word="400203 no such currency"))

    assert decided.case.order.status is OrderStatus.CANCELED
    assert "400203" in decided.steps[0].reason
    assert _told(decided) == ["order.canceled"]


def test_refusal_for_good_of_a_renewal_leaves_the_order(make: Any) -> None:
    case = make.case(
        make.attempt("CLOSED"), make.attempt("SUBMITTING", number=2), status="PENDING_PAYMENT"
    )

    decided = _apply(make, case, make.report("refused", "answer"))

    assert decided.case.order.status is OrderStatus.PENDING_PAYMENT


def test_refusal_because_of_time_is_a_fresh_attempt_a_little_later(make: Any) -> None:
    case = make.case(make.attempt("SUBMITTING"))

    decided = _apply(make, case, make.report("refused", "answer", refusal_is_about_time=True))

    assert decided.case.order.status is OrderStatus.CREATED
    fresh = decided.case.attempts[-1]
    assert (fresh.number, fresh.status) == (2, AttemptStatus.PREPARED)
    assert fresh.due_at is not None
    assert fresh.due_at > make.given().now


def test_refusals_because_of_time_are_met_less_and_less_often(make: Any) -> None:
    case = make.case(make.attempt("SUBMITTING"))
    waits = []

    for number in range(2, 12):
        refusal = make.report("refused", "answer", refusal_is_about_time=True)
        decided = _apply(make, case, refusal, fresh=number)
        fresh = decided.case.attempts[-1]
        assert fresh.due_at is not None
        waits.append(fresh.due_at - make.given().now)
        sent = replace(fresh, status=AttemptStatus.SUBMITTING, sends=1)
        case = Decision.nothing(decided.case).with_attempt(sent).case

    assert waits == sorted(waits)
    assert waits[-1] == timedelta(minutes=5)


def test_refusal_because_of_time_at_the_order_s_own_end_is_an_expiry(make: Any) -> None:
    case = make.case(make.attempt("SUBMITTING"))

    decided = _apply(
        make,
        case,
        make.report("refused", "answer", refusal_is_about_time=True),
        after=timedelta(hours=24),
    )

    assert decided.case.order.status is OrderStatus.EXPIRED


@pytest.mark.parametrize(
    "attempt",
    [
        {"status": "OPEN"},
        {"status": "CLOSING"},
        {"status": "PAID"},
        {"status": "SUBMITTING", "sends": 2},
        {"status": "SUBMITTING", "prepay_id": "290000000000000001"},
    ],
)
def test_refusal_of_a_number_that_may_have_landed_before_is_not_a_no(
    make: Any, attempt: dict[str, Any]
) -> None:
    """The first send hung, the second one opened it, and now the first one's answer comes."""
    case = make.case(make.attempt(**attempt), status="PENDING_PAYMENT")

    decided = _apply(make, case, make.report("refused", "answer"))

    assert decided.case.attempts[0].status == attempt["status"]
    assert decided.case.order == case.order
    assert decided.case.anomalies == ()


# -- renew ------------------------------------------------------------------------------------


def test_renewal_closes_the_live_code_first(make: Any) -> None:
    case = make.case(make.attempt(), status="PENDING_PAYMENT")

    renewed = settlement.renew(Decision.nothing(case), given=make.given())
    assert [a.status for a in renewed.case.attempts] == [AttemptStatus.CLOSING]

    closed = _apply(make, renewed.case, make.report("closed"))
    assert [str(a.status) for a in closed.case.attempts] == ["CLOSED", "PREPARED"]
    assert closed.case.attempts[1].expires_at == make.given().now + timedelta(hours=1)


def test_renewal_where_nothing_is_live_makes_the_next_attempt_at_once(make: Any) -> None:
    case = make.case(make.attempt("LAPSED"), status="PENDING_PAYMENT")

    renewed = settlement.renew(Decision.nothing(case), given=make.given())

    assert [str(a.status) for a in renewed.case.attempts] == ["LAPSED", "PREPARED"]


@pytest.mark.parametrize(
    "attempt",
    [
        {"status": "PREPARED"},
        {"status": "SUBMITTING"},
        {"status": "CLOSING", "close_reason": CloseReason.CANCEL},
        {"status": "OPEN", "payer_active": True},
    ],
)
def test_renewal_leaves_alone_what_cannot_be_closed_now(make: Any, attempt: dict[str, Any]) -> None:
    case = make.case(make.attempt(**attempt))

    assert settlement.renew(Decision.nothing(case), given=make.given()).case == case


def test_attempt_lives_no_longer_than_its_order(make: Any) -> None:
    order = make.order(expires_at=make.noon + timedelta(minutes=10))

    attempt = settlement.prepare_attempt(order, number=1, given=make.given())

    assert attempt.expires_at == order.expires_at


def test_no_attempt_is_made_that_would_be_too_short_to_be_sent(make: Any) -> None:
    """Each would be replaced unsent by the next, as fast as the worker can go."""
    case = make.case(
        make.attempt("CLOSING", close_reason=CloseReason.RENEW),
        status="PENDING_PAYMENT",
        expires_at=make.noon + timedelta(seconds=80),
    )

    decided = _apply(make, case, make.report("closed"), after=60)

    assert [str(a.status) for a in decided.case.attempts] == ["CLOSED"]
    ended = _apply(make, decided.case, make.report("closed"), after=80)
    assert ended.case.order.status is OrderStatus.EXPIRED


@pytest.mark.parametrize("finding", Finding)
def test_cancelled_order_is_only_ended_when_nobody_can_pay_it(make: Any, finding: Finding) -> None:
    asked_at = make.noon
    case = make.case(
        make.attempt("CLOSING", close_reason=CloseReason.CANCEL),
        status="PENDING_PAYMENT",
        cancel_requested_at=asked_at,
    )

    decided = _apply(make, case, make.report(finding))

    if EventType.ORDER_CANCELED in _told(decided):
        assert decided.case.live is None
    elif finding not in {Finding.PAID, Finding.RETURNED}:
        assert decided.case.live is not None
