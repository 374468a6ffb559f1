"""Days, what covers them, and the balance equation."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from checkstand.domain.reconciliation import (
    DAY,
    Bucket,
    DiscrepancyKind,
    Finding,
    Movements,
    Span,
    balance_findings,
    balance_lines,
    days_between,
    discrepancy_id_of,
    is_covered,
    may_say_only_ours,
    span_of,
)

THE_DAY = date(2026, 1, 15)
_HOURS = st.integers(min_value=-48, max_value=72)


def _span(first: int, last: int) -> Span:
    midnight = span_of(THE_DAY).start
    return Span(midnight + timedelta(hours=first), midnight + timedelta(hours=last))


def test_days_are_utc_and_both_ends_are_in() -> None:
    assert span_of(THE_DAY) == Span(
        datetime(2026, 1, 15, tzinfo=UTC), datetime(2026, 1, 16, tzinfo=UTC)
    )
    assert days_between(THE_DAY, THE_DAY) == [THE_DAY]
    assert days_between(THE_DAY, THE_DAY + 2 * DAY)[-1] == THE_DAY + 2 * DAY
    assert days_between(THE_DAY, THE_DAY - DAY) == []


@given(st.lists(st.tuples(_HOURS, _HOURS).filter(lambda pair: pair[0] < pair[1]), max_size=6))
def test_day_is_covered_when_every_hour_of_it_is(spans: list[tuple[int, int]]) -> None:
    covered = all(any(first <= hour < last for first, last in spans) for hour in range(24))

    assert is_covered(THE_DAY, [_span(*span) for span in spans]) == covered


def test_only_ours_may_be_said_with_both_neighbours_alone() -> None:
    assert may_say_only_ours(THE_DAY, [_span(-24, 48)])
    assert may_say_only_ours(THE_DAY, [_span(0, 48), _span(-24, 0)])
    for spans in (
        [_span(0, 24)],
        [_span(-24, 47)],
        [_span(-23, 48)],
        [_span(-24, 10), _span(11, 48)],
        [],
    ):
        assert not may_say_only_ours(THE_DAY, spans)


def test_balance_is_opening_and_what_moved() -> None:
    moved = Movements(
        payments=Decimal(100),
        fees=Decimal(1),
        refunds=Decimal(20),
        fees_returned=Decimal("0.2"),
        payouts=Decimal(30),
    )
    opening, closing = {"USDT": Decimal(50)}, {"USDT": Decimal("99.2")}

    lines = balance_lines(opening, closing, {"USDT": moved})

    assert [(line.expected, line.difference) for line in lines] == [(Decimal("99.2"), Decimal(0))]
    assert balance_findings(lines) == []


def test_asset_that_does_not_add_up_is_found_with_the_fees_that_are_unknown() -> None:
    moved = {"USDT": Movements(payments=Decimal("12.5"), fees_unknown=1)}
    closing = {"USDT": Decimal("12.375"), "BNB": Decimal("0.00000001")}

    found = balance_findings(balance_lines({}, closing, moved))

    assert [(f.subject, f.ours, f.theirs) for f in found] == [
        ("balance:BNB", "0", "0.00000001"),
        ("balance:USDT", "12.5, 1 fees unknown", "12.375"),
    ]


def test_discrepancy_is_the_same_one_when_found_again_and_another_with_another_figure() -> None:
    account_id = uuid4()
    found = Finding(
        bucket=Bucket.DIFFERING,
        kind=DiscrepancyKind.AMOUNT,
        subject="payment:1",
        ours="1",
        theirs="2",
    )
    other = Finding(
        bucket=Bucket.DIFFERING,
        kind=DiscrepancyKind.AMOUNT,
        subject="payment:1",
        ours="1",
        theirs="3",
    )

    first = discrepancy_id_of(account_id, THE_DAY, found)

    assert first == discrepancy_id_of(account_id, THE_DAY, found)
    assert first != discrepancy_id_of(account_id, THE_DAY, other)
    assert first != discrepancy_id_of(account_id, THE_DAY + DAY, found)
    assert first != discrepancy_id_of(uuid4(), THE_DAY, found)
