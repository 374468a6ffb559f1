"""The books follow from the facts: whole, once, and balanced, whatever order they are heard in."""

import itertools
from collections import defaultdict
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from checkstand.domain import settlement
from checkstand.domain.case import Case, Decision
from checkstand.domain.ledger import (
    Book,
    Transfer,
    entries_of,
    positions_in,
    positions_of,
    render_transfer,
    transfers_of,
)
from checkstand.domain.money import Money
from checkstand.domain.payment import Payment
from checkstand.domain.refund import Refund, RefundStatus

_EIGHTH = Decimal("0.125")


def _lines(transfers: Any) -> list[tuple[str, str, str, str]]:
    return [(t.kind, str(t.amount), str(t.debit), str(t.credit)) for t in transfers]


def _apply(make: Any, case: Case, *args: Any, **report: Any) -> Decision:
    attempt_id = case.attempts[-1].attempt_id
    said = make.report(*args, **report)
    return settlement.apply(Decision.nothing(case), attempt_id, said, given=make.given())


def _refund(make: Any, payment: Payment, **changes: Any) -> Refund:
    fields: dict[str, Any] = {
        "account_id": payment.account_id,
        "order_id": payment.order_id,
        "attempt_id": payment.attempt_id,
        "payment_id": payment.payment_id,
        "refund_id": UUID(int=0x4EF),
        "merchant_refund_id": "back-1",
        "amount": Money(Decimal("5.00"), payment.money.currency),
        "requested_at": make.noon,
        "requested_by": "merchant",
    }
    return Refund(**fields | changes)


def _held_case(make: Any) -> Case:
    """A case whose payment waits for a decision: 12.49 arrived for 12.50."""
    money = Money(Decimal("12.49"), "USDT")
    return _apply(make, make.case(make.attempt()), "paid", money=money).case


def test_payment_is_booked_with_its_fee(make: Any) -> None:
    paid = _apply(make, make.case(make.attempt(), status="PENDING_PAYMENT"), "paid", fee=_EIGHTH)

    transfers = transfers_of(paid)

    assert _lines(transfers) == [
        ("payment", "12.50", "binance:funding", "sales"),
        ("fee", "0.125", "fees", "binance:funding"),
    ]
    (payment,) = paid.case.payments
    assert {t.fact for t in transfers} == {str(payment.payment_id)}
    assert {t.order_id for t in transfers} == {paid.case.order.order_id}
    assert {t.asset for t in transfers} == {"USDT"}
    assert {t.at for t in transfers} == {make.given().now}


def test_fee_nobody_told_is_not_booked_as_zero_and_comes_later_by_itself(make: Any) -> None:
    paid = _apply(make, make.case(make.attempt(), status="PENDING_PAYMENT"), "paid", "notice")
    assert [t.kind for t in transfers_of(paid)] == ["payment"]

    later = make.given(after=timedelta(days=2))
    learnt = settlement.apply(
        Decision.nothing(paid.case),
        paid.case.attempts[0].attempt_id,
        make.report("paid", fee=_EIGHTH),
        given=later,
    )

    (fee,) = transfers_of(learnt)
    assert (fee.kind, fee.amount, fee.at) == ("fee", _EIGHTH, later.now)


def test_fee_known_to_be_zero_books_nothing_and_a_figure_after_it_corrects(make: Any) -> None:
    paid = _apply(make, make.settled_case(make.attempt()), "paid", fee=Decimal(0))
    assert transfers_of(paid) == ()

    differs = _apply(make, paid.case, "paid", fee=_EIGHTH)

    assert _lines(transfers_of(differs)) == [
        ("fee_corrected", "0.125", "fees", "binance:funding"),
    ]


def test_another_fee_is_a_correction_beside_what_was_booked(make: Any) -> None:
    first = _apply(make, make.settled_case(make.attempt()), "paid", fee=_EIGHTH)
    lower = _apply(make, first.case, "paid", fee=Decimal("0.1"))
    higher = _apply(make, lower.case, "paid", fee=Decimal("0.3"))

    assert _lines(transfers_of(lower)) == [("fee_corrected", "0.025", "binance:funding", "fees")]
    assert _lines(transfers_of(higher)) == [("fee_corrected", "0.2", "fees", "binance:funding")]
    facts = [t.fact for d in (first, lower, higher) for t in transfers_of(d)]
    assert len(set(facts)) == 3


def test_two_channels_that_never_agree_on_a_fee_move_it_once_each(make: Any) -> None:
    case = _apply(make, make.settled_case(make.attempt()), "paid", fee=_EIGHTH).case
    moved = 0
    for _ in range(5):
        for figure in ("0.2", "0.125"):
            decided = _apply(make, case, "paid", fee=Decimal(figure))
            moved += len(transfers_of(decided))
            case = decided.case

    assert moved == 2


def test_the_same_news_by_every_channel_books_nothing_more(make: Any) -> None:
    case = make.case(make.attempt(), status="PENDING_PAYMENT")
    case = _apply(make, case, "paid", "notice", fee=_EIGHTH).case

    for source in ("notice", "query", "answer"):
        assert transfers_of(_apply(make, case, "paid", source, fee=_EIGHTH)) == ()


def test_held_money_waits_in_suspense_until_it_is_released(make: Any) -> None:
    odd = Money(Decimal("12.49"), "USDT")
    held = _apply(make, make.case(make.attempt(), status="PENDING_PAYMENT"), "paid", money=odd)
    assert _lines(transfers_of(held)) == [("payment", "12.49", "binance:funding", "suspense")]

    accepted = _released(make, held.case)

    assert _lines(transfers_of(accepted)) == [("payment_released", "12.49", "suspense", "sales")]


def _released(make: Any, case: Case) -> Decision:
    """A person decides that held money counts."""
    free = replace(case.payments[0], held=False)
    noted = Decision.nothing(case).note(
        actor="person", reason="it counts", reference=None, at=make.noon + timedelta(hours=3)
    )
    return noted.with_payment(free)


@pytest.mark.parametrize(
    ("status", "booked"),
    [(status, status is RefundStatus.SUCCEEDED) for status in RefundStatus],
)
def test_refund_is_booked_when_it_succeeded_and_not_before(
    make: Any, status: RefundStatus, booked: bool
) -> None:
    case = make.settled_case(make.attempt())
    refund = _refund(make, case.payments[0], status=status, returned=Decimal("4.99"))

    transfers = transfers_of(Decision.nothing(case).with_refund(refund))

    expected = [("refund", "4.99", "refunds", "binance:funding")] if booked else []
    assert _lines(transfers) == expected


def test_refund_that_failed_and_succeeded_all_the_same_is_booked_once(make: Any) -> None:
    case = make.settled_case(make.attempt())
    refund = _refund(make, case.payments[0], status=RefundStatus.FAILED)
    failed = Decision.nothing(case).with_refund(refund)
    assert transfers_of(failed) == ()

    ended_at = make.noon + timedelta(days=1)
    done = replace(
        refund, status=RefundStatus.SUCCEEDED, returned=refund.amount.amount, ended_at=ended_at
    )
    succeeded = Decision.nothing(failed.case).with_refund(done)

    (transfer,) = transfers_of(succeeded)
    assert (transfer.fact, transfer.at) == (str(refund.refund_id), ended_at)
    assert transfers_of(Decision.nothing(succeeded.case).with_refund(done)) == ()


def test_refund_made_elsewhere_is_booked_like_any_other(make: Any) -> None:
    case = make.settled_case(make.attempt())
    refund = _refund(
        make,
        case.payments[0],
        status=RefundStatus.SUCCEEDED,
        is_elsewhere=True,
        returned=Decimal("12.50"),
    )

    transfers = transfers_of(Decision.nothing(case).with_refund(refund))

    assert _lines(transfers) == [("refund", "12.50", "refunds", "binance:funding")]


def test_fee_that_comes_back_is_booked_on_the_day_it_is_learnt(make: Any) -> None:
    case = make.settled_case(make.attempt())
    done = _refund(
        make,
        case.payments[0],
        status=RefundStatus.SUCCEEDED,
        returned=Decimal("5.00"),
        ended_at=make.noon,
    )
    case = Decision.nothing(case).with_refund(done).case
    learnt_at = make.noon + timedelta(days=3)
    fuller = replace(done, fee_returned=Decimal("0.05"), fee_return_learnt_at=learnt_at)

    (transfer,) = transfers_of(Decision.nothing(case).with_refund(fuller))

    assert _lines([transfer]) == [("fee_returned", "0.05", "binance:funding", "fees")]
    assert transfer.at == learnt_at


def test_refund_of_held_money_leaves_suspense_and_follows_it_when_the_rest_counts(
    make: Any,
) -> None:
    case = _held_case(make)
    refund = _refund(
        make, case.payments[0], status=RefundStatus.SUCCEEDED, returned=Decimal("5.00")
    )
    returned = Decision.nothing(case).with_refund(refund)
    assert _lines(transfers_of(returned)) == [("refund", "5.00", "suspense", "binance:funding")]

    accepted = _released(make, returned.case)

    assert _lines(transfers_of(accepted)) == [
        ("payment_released", "12.49", "suspense", "sales"),
        ("refund_released", "5.00", "refunds", "suspense"),
    ]


def test_sealed_text_holds_everything_and_confuses_nothing(make: Any) -> None:
    paid = _apply(make, make.case(make.attempt(), status="PENDING_PAYMENT"), "paid", fee=_EIGHTH)
    (payment, fee) = transfers_of(paid)

    assert render_transfer(payment) == (
        '["00000000-0000-0000-0000-000000000acc","payment",'
        f'"{payment.payment_id}","USDT","12.50","binance:funding","sales",'
        '"2026-11-23T12:01:00.000000+00:00","00000000-0000-0000-0000-000000004de4"'.replace(
            "000000004de4", f"{paid.case.order.order_id.hex[-12:]}"
        )
        + f',"{payment.payment_id}","",""]'
    )
    changes: dict[str, Any] = {
        "account_id": UUID(int=9),
        "kind": "refund",
        "fact": "x",
        "asset": "BTC",
        "amount": Decimal("12.5"),
        "debit": "fees",
        "credit": "fees",
        "at": make.noon,
        "order_id": None,
        "payment_id": None,
        "refund_id": UUID(int=9),
        "group_id": UUID(int=9),
    }
    assert set(changes) == set(Transfer.__slots__)
    texts = {render_transfer(replace(payment, **{k: v})) for k, v in changes.items()}
    assert len(texts | {render_transfer(payment), render_transfer(fee)}) == len(changes) + 2


class Bookkeeping(RuleBasedStateMachine):
    """One order's facts, heard in any order, and a book kept as storage keeps it."""

    def __init__(self, make: Any) -> None:
        super().__init__()
        self.make = make
        self.hours = itertools.count(1)
        attempts = [make.attempt(number=n, status="CLOSED") for n in (1, 2)]
        self.case: Case = make.case(*attempts, make.attempt(number=3), status="PENDING_PAYMENT")
        self.book: dict[tuple[str, str], Transfer] = {}
        self.refund_ids = itertools.count(1)

    def write(self, decision: Decision) -> None:
        """Book a decision, twice, as a step that is run again would."""
        for transfer in (*transfers_of(decision), *transfers_of(decision)):
            known = self.book.setdefault((transfer.kind, transfer.fact), transfer)
            assert known == transfer, "one fact, two contents"
            assert transfer.amount > 0
            assert transfer.debit != transfer.credit
        self.case = decision.case

    @rule(
        data=st.data(),
        amount=st.sampled_from(["12.50", "12.49"]),
        asset=st.sampled_from(["USDT", "USDT", "BTC"]),
        fee=st.sampled_from([None, "0", "0.1", "0.125", "0.2"]),
        source=st.sampled_from(["query", "notice", "answer"]),
        finding=st.sampled_from(["paid", "returned"]),
    )
    def hear(
        self,
        data: st.DataObject,
        amount: str,
        asset: str,
        fee: str | None,
        source: str,
        finding: str,
    ) -> None:
        """Binance says that money arrived, with a fee or without, by any channel, any times."""
        attempt = data.draw(st.sampled_from(self.case.attempts))
        report = self.make.report(
            finding,
            source,
            money=Money(Decimal(amount), asset),
            fee=None if fee is None else Decimal(fee),
        )
        given = self.make.given(after=timedelta(hours=next(self.hours)))
        for _ in range(2):
            self.write(
                settlement.apply(
                    Decision.nothing(self.case), attempt.attempt_id, report, given=given
                )
            )

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        """A person lets held money count."""
        held = [p for p in self.case.payments if p.held]
        if held:
            free = replace(data.draw(st.sampled_from(held)), held=False)
            self.write(self._noted().with_payment(free))

    @rule(data=st.data(), amount=st.sampled_from(["1", "5.00"]))
    def ask_back(self, data: st.DataObject, amount: str) -> None:
        """A refund begins."""
        if self.case.payments:
            payment = data.draw(st.sampled_from(self.case.payments))
            refund = _refund(
                self.make,
                payment,
                refund_id=UUID(int=next(self.refund_ids)),
                amount=Money(Decimal(amount), payment.money.currency),
            )
            self.write(Decision.nothing(self.case).with_refund(refund))

    @rule(
        data=st.data(),
        status=st.sampled_from(RefundStatus),
        returned=st.sampled_from(["1", "4.99", "5.00"]),
        fee=st.sampled_from([None, "0", "0.01"]),
    )
    def hear_of_refund(
        self, data: st.DataObject, status: RefundStatus, returned: str, fee: str | None
    ) -> None:
        """Binance says something of a refund; only what succeeded has an end."""
        waiting = [r for r in self.case.refunds if r.status is not RefundStatus.SUCCEEDED]
        if waiting:
            refund = replace(
                data.draw(st.sampled_from(waiting)),
                status=status,
                returned=Decimal(returned),
                fee_returned=None if fee is None else Decimal(fee),
                ended_at=self.make.noon,
            )
            self.write(Decision.nothing(self.case).with_refund(refund))

    @rule(data=st.data(), returned=st.sampled_from(["2", "3"]), fee=st.sampled_from(["0.02", "0"]))
    def correct_refund(self, data: st.DataObject, returned: str, fee: str) -> None:
        """Another figure for what is booked already."""
        done = [r for r in self.case.refunds if r.status is RefundStatus.SUCCEEDED]
        if done:
            refund = replace(
                data.draw(st.sampled_from(done)),
                returned=Decimal(returned),
                fee_returned=Decimal(fee),
            )
            self.write(self._noted().with_refund(refund))

    def _noted(self) -> Decision:
        at = self.make.noon + timedelta(hours=next(self.hours))
        return Decision.nothing(self.case).note(actor="person", reason="", reference=None, at=at)

    @invariant()
    def books_hold_what_the_facts_say(self) -> None:
        entries = entries_of(self.case.payments, self.case.refunds)
        assert positions_in(self.book.values()) == positions_of(entries)

    @invariant()
    def the_wallet_holds_what_came_less_what_went(self) -> None:
        sums: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
        for transfer in self.book.values():
            sums[transfer.debit, transfer.asset] += transfer.amount
            sums[transfer.credit, transfer.asset] -= transfer.amount
        for asset in ("USDT", "BTC"):
            payments = [p for p in self.case.payments if p.money.currency == asset]
            done = [
                r
                for r in self.case.refunds
                if r.status is RefundStatus.SUCCEEDED and r.amount.currency == asset
            ]
            came = sum((p.money.amount for p in payments), Decimal(0))
            fees = sum((p.fee or Decimal(0) for p in payments), Decimal(0))
            went = sum((r.returned or Decimal(0) for r in done), Decimal(0))
            fees -= sum((r.fee_returned or Decimal(0) for r in done), Decimal(0))
            assert sums[Book.FUNDING, asset] == came - went - fees
            assert sums[Book.FEES, asset] == fees
            held = {p.payment_id for p in payments if p.held}
            in_suspense = sum((p.money.amount for p in payments if p.held), Decimal(0)) - sum(
                (r.returned or Decimal(0) for r in done if r.payment_id in held), Decimal(0)
            )
            assert -sums[Book.SUSPENSE, asset] == in_suspense
            assert sum(sums[book, asset] for book in Book) == 0


def test_no_sequence_of_facts_unbalances_the_books(make: Any) -> None:
    run_state_machine_as_test(
        partial(Bookkeeping, make),  # type: ignore[arg-type]  # any factory will do
        settings=settings(
            max_examples=100,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
