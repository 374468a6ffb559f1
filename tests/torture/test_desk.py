"""What people remember is enough to judge limits, approvals, goods in hand and closed days by."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from torture.books import Books
from torture.desk import BUYER_LIMIT, STALE_SECONDS, Desk, Hand, LimitSet
from torture.invariants import list_violations
from torture.plan import Plan, Step
from torture.stage import Stage

REFUNDED = Plan(
    seed=1,
    orders=(
        {
            "merchant_order_id": "shop-1",
            "description": "A tin of green tea",
            "expires_in": 120,
            "amount": "12.50",
            "currency": "USDT",
        },
    ),
    steps=(
        Step(0.5, "hire"),
        Step(0.6, "set limit", {"kind": "refunds_per_day", "most": "0", "currencies": ("USDT",)}),
        Step(0.7, "leave to workers", {"order": 0}),
        Step(1, "create", {"order": 0}),
        Step(3, "look", {"order": 0}),
        Step(6, "pay", {"order": 0}),
        Step(9, "claim goods", {"order": 0, "worker": 0, "token": "delivery"}),
        Step(20, "send goods", {"order": 0, "worker": 0}),
        Step(30, "refund", {"order": 0, "number": 0, "amount": "1"}),
        Step(31, "refund", {"order": 0, "number": 1, "amount": "2"}),
        Step(40, "approve", {"order": 0, "number": 0}),
        Step(40, "deny", {"order": 0, "number": 1}),
        Step(43300, "reconcile day", {"day": 0}),
    ),
    story="refunded and audited",
)


@pytest.fixture(scope="module")
def books(stage: Stage) -> Books:
    result = stage.run(REFUNDED, keeps_lines=True)
    assert result.violations == ()
    assert result.books is not None
    return result.books


def _kinds(books: Books) -> set[str]:
    return {violation.partition(":")[0] for violation in list_violations(books)}


def _with(books: Books, table: str, **values: Any) -> Books:
    rows: list[Mapping[str, Any]] = [{**row, **values} for row in books.tables[table]]
    return replace(books, tables={**books.tables, table: rows})


def test_everything_in_the_plan_happened(books: Books) -> None:
    done = books.world.desk.done

    assert done["approve by the second person: 200"] == 1
    assert done["deny by the second person: 200"] == 1
    assert done["goods sent by a packer: 200"] == 1
    assert books.world.desk.audited_until is not None
    assert sorted(row["status"] for row in books.tables["refunds"]) == ["FAILED", "SUCCEEDED"]


@pytest.mark.parametrize(
    ("table", "values", "invariant"),
    [
        ("refunds", {"approved_by": "me", "requester": "me"}, "nothing_unapproved_is_paid"),
        ("refunds", {"status": "SUCCEEDED"}, "nothing_unapproved_is_paid"),
        ("closed_facts", {"amount": Decimal(1)}, "closed_days_stay"),
        ("closed_days", {"document": "another"}, "closed_days_stay"),
        ("refunds", {"status": "PENDING"}, "refunds_are_paid_once"),
        ("refunds", {"returned": Decimal("0.5")}, "refunds_are_paid_once"),
        ("refunds", {"amount": Decimal(9)}, "refunds_are_set_aside"),
        ("transfers", {"amount": Decimal(1)}, "wallet_is_in_the_books"),
        (
            "refunds",
            {"is_elsewhere": True, "returned": Decimal(1)},
            "nothing_elsewhere_is_invented",
        ),
        ("orders", {"status": "PAID", "fulfilment_offers": 0}, "owed_goods_are_offered_again"),
        ("report_lines", {"attempt_id": None}, "every_payment_is_compared"),
        ("report_lines", {"refund_id": None}, "every_payment_is_compared"),
    ],
)
def test_wrong_row_is_seen(
    books: Books, table: str, values: dict[str, Any], invariant: str
) -> None:
    assert invariant in _kinds(_with(books, table, **values))


def test_refund_that_was_sent_and_nobody_approved_is_seen(books: Books) -> None:
    desk = books.world.desk
    said, desk.approved_at_ms = desk.approved_at_ms, {}
    try:
        assert {"nothing_unapproved_is_paid", "limits_of_refunds_hold"} <= _kinds(books)
    finally:
        desk.approved_at_ms = said


def test_refund_while_goods_are_in_hand_and_a_second_hand_are_seen(books: Books) -> None:
    (hand,) = books.world.desk.hands
    asked_at = hand.claimed_at + timedelta(minutes=5)
    early = _with(_with(books, "orders", fulfilled_at=None), "refunds", requested_at=asked_at)

    assert "goods_exclude_refunds" in _kinds(early)

    books.world.desk.hands.append(
        Hand(
            order_id=hand.order_id,
            token="another",
            claimed_at=asked_at,
            lease_until=hand.lease_until,
        )
    )
    try:
        assert "one_hand_at_a_time" in _kinds(books)
    finally:
        books.world.desk.hands.pop()


def test_packer_beside_a_delivery_that_was_taken_is_seen(books: Books) -> None:
    (told,) = [event for event in books.world.shop.seen.values() if event.type == "order.paid"]
    (hand,) = books.world.desk.hands
    books.world.desk.hands[:] = [replace(hand, token="a packer's own")]
    try:
        assert "one_hand_at_a_time" in _kinds(books)
        assert told.data["fulfilment"]["token"] == hand.token
    finally:
        books.world.desk.hands[:] = [hand]


def test_limit_that_was_taken_back_held_until_then(books: Books) -> None:
    desk = books.world.desk
    said, desk.approved_at_ms = desk.approved_at_ms, {}
    back = LimitSet(kind="refunds_per_day", currency="USDT", most=None, begun_at=0, done_at=0)
    try:
        desk.limits.append(replace(back, begun_at=60))
        assert "limits_of_refunds_hold" in _kinds(books)
        desk.limits[-1] = replace(back, begun_at=20)
        assert "limits_of_refunds_hold" not in _kinds(books)
    finally:
        desk.limits.pop()
        desk.approved_at_ms = said


def test_refused_order_and_false_discrepancies_are_seen(books: Books) -> None:
    desk = books.world.desk
    desk.refused.add("A tin of green tea")
    try:
        assert "refused_orders_left_nothing" in _kinds(books)
    finally:
        desk.refused.clear()
    kept = desk.open_at_end
    day = books.world.time.now().date().isoformat()
    for kind in ("amount", "balance"):
        desk.open_at_end = [{"kind": kind, "order_id": None, "subject": "", "day": day}]
        try:
            assert "discrepancies_are_true" in _kinds(books)
        finally:
            desk.open_at_end = kept


def test_new_order_above_the_limit_is_seen_once_the_limit_holds_everywhere() -> None:
    desk = Desk()
    desk.limits.append(_limit("1", at=10.0))
    assert list(desk.heed_orders("o1:CREATED:1:ann o2:CREATED:1:ann", at=20.0)) == []

    at = 11.0 + STALE_SECONDS
    found = list(desk.heed_orders("o1:PAID:2:ann o2:CREATED:1:ann o3:CREATED:1:ann", at=at))

    assert found == ["buyer ann has 2 open orders, 1 are allowed"]
    assert desk.most_open("ann", since=at) == 2


def test_limit_that_was_taken_back_may_still_refuse_for_a_moment() -> None:
    desk = Desk()
    desk.limits += [_limit("1", at=10.0), _limit(None, at=100.0)]

    assert desk.most_at(BUYER_LIMIT, "", 99.0) == 1
    assert desk.most_at(BUYER_LIMIT, "", 100.0) is None
    assert desk.may_have_refused(BUYER_LIMIT, since=101.0)
    assert not desk.may_have_refused(BUYER_LIMIT, since=102.0 + STALE_SECONDS)


def _limit(most: str | None, *, at: float) -> LimitSet:
    value = None if most is None else Decimal(most)
    return LimitSet(kind=BUYER_LIMIT, currency="", most=value, begun_at=at, done_at=at + 1)
