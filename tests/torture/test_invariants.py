"""The judge is not blind: each kind of wrong row is seen."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import structlog

from checkstand.errors import Refused
from torture.books import Books
from torture.invariants import INVARIANTS, list_violations
from torture.plan import Plan, Step
from torture.stage import Stage
from torture.world import _Logs

Rows = Sequence[Mapping[str, Any]]
PAID = Plan(
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
        Step(1, "create", {"order": 0}),
        Step(3, "look", {"order": 0}),
        Step(6, "pay", {"order": 0}),
    ),
    story="paid",
)


@pytest.fixture(scope="module")
def books(stage: Stage) -> Books:
    result = stage.run(PAID, keeps_lines=True)
    assert result.violations == ()
    assert result.books is not None
    return result.books


def changed(**values: Any) -> Callable[[Rows], Rows]:
    return lambda rows: [{**row, **values} for row in rows]


def twice(rows: Rows) -> Rows:
    return [*rows, *rows]


def none(_: Rows) -> Rows:
    return []


@pytest.mark.parametrize(
    ("table", "change", "invariant"),
    [
        ("payments", none, "nothing_received_is_missing"),
        ("payments", changed(amount=1), "nothing_received_is_missing"),
        ("payments", changed(fee=1), "nothing_received_is_missing"),
        ("payments", changed(attempt_id=uuid4()), "nothing_is_invented"),
        ("payments", changed(payment_id=uuid4()), "shop_is_told_of_money"),
        ("events", twice, "paid_is_told_once"),
        ("attempts", changed(attempt_id=uuid4()), "goods_are_paid_for"),
        ("orders", changed(status="PENDING_PAYMENT"), "orders_come_to_an_end"),
        ("attempts", changed(status="OPEN"), "orders_come_to_an_end"),
        ("order_history", none, "history_is_whole"),
        ("order_history", changed(previous_status="EXPIRED"), "history_is_whole"),
        ("orders", changed(status="CANCELED"), "orders_are_explained"),
        ("orders", changed(order_id=uuid4()), "answers_are_kept"),
        ("notices", none, "answers_are_kept"),
        ("transfers", changed(fact="another"), "every_row_is_told"),
        ("calls", changed(call_id=uuid4()), "every_row_is_told"),
        ("order_history", changed(version=99), "every_row_is_told"),
    ],
)
def test_wrong_row_is_seen(
    books: Books, table: str, change: Callable[[Rows], Rows], invariant: str
) -> None:
    # As plain mappings: what is changed must look like a row.
    rows = change([dict(row) for row in books.tables[table]])
    spoilt = replace(books, tables={**books.tables, table: rows})
    if table == "orders":
        spoilt = replace(spoilt, tables={**spoilt.tables, "payments": []})

    kinds = {violation.partition(":")[0] for violation in list_violations(spoilt)}

    assert invariant in kinds


def test_flaw_of_the_ledger_is_seen(books: Books) -> None:
    found = list_violations(replace(books, flaws=("a seal is gone",)))

    assert found == ["ledger_is_whole: a seal is gone"]


def test_row_that_an_invariant_cannot_judge_is_seen(books: Books) -> None:
    spoilt = replace(books, tables={**books.tables, "delivery_tries": [{"number": 1}]})

    found = list_violations(spoilt)

    assert "one_hand_at_a_time: cannot judge: KeyError('order_id')" in found


@pytest.mark.parametrize(
    "kind",
    [
        "amount_differs",
        "currency_differs",
        "paid_twice",
        "paid_late",
        "unknown_too_long",
        "refunded_elsewhere",
        "provider_contradicts",
        "refund_differs",
        "fee_differs",
    ],
)
def test_false_alarm_is_seen(books: Books, kind: str) -> None:
    (attempt,) = books.tables["attempts"]
    alarm = {
        "anomaly_id": uuid4(),
        "order_id": attempt["order_id"],
        "attempt_id": attempt["attempt_id"],
        "kind": kind,
        "detail": "",
        "opened_at": attempt["created_at"],
        "resolved_at": attempt["created_at"],
    }
    spoilt = replace(books, tables={**books.tables, "anomalies": [alarm]})

    assert any(found.startswith("alarms_are_true") for found in list_violations(spoilt))


def test_every_invariant_is_seen_to_see_something() -> None:
    here = Path(__file__).parent
    tests = "".join((here / name).read_text() for name in ("test_invariants.py", "test_desk.py"))

    assert [each.__name__ for each in INVARIANTS if f'"{each.__name__}' not in tests] == []


def test_exception_that_nobody_foresaw_is_seen(stage: Stage) -> None:
    """A duty that fails is done again, so that only the log tells of it."""
    result = stage.run(PAID, keeps_lines=True)
    assert result.books is not None
    world = result.books.world
    logs = _Logs(world)

    for error, is_seen in ((TypeError("a bug"), True), (Refused("limit_exceeded", "no"), False)):
        world.complaints.clear()
        with pytest.raises(structlog.DropEvent):
            logs(None, "error", {"event": "duty failed unexpectedly", "exc_info": error})

        assert (len(world.complaints) == 1) is is_seen


def test_table_that_no_timeline_knows_is_seen(books: Books) -> None:
    (order,) = books.tables["orders"]
    spoilt = replace(books, tables={**books.tables, "novelties": [{"order_id": order["order_id"]}]})

    found = [violation.partition(":")[0] for violation in list_violations(spoilt)]

    assert found == ["every_row_is_told"]


def test_timeline_out_of_order_is_seen(books: Books) -> None:
    ((order_id, entries),) = books.timelines.items()
    for kind, words in (("transition", "before"), ("transfer", "books")):
        first = next(entry for entry in entries if entry["kind"] == kind)
        others = [entry for entry in entries if entry is not first]
        spoilt = replace(books, timelines={order_id: [entries[0], first, *others[1:]]})

        found = [
            v for v in list_violations(spoilt) if v.startswith("nothing_is_told_before_its_cause")
        ]

        assert any(words in violation for violation in found)


def test_held_lease_and_overdue_work_are_seen(books: Books) -> None:
    for changes in (
        {"lease_until": books.now + timedelta(seconds=1)},
        {"due_at": books.now - timedelta(days=1)},
    ):
        rows = [{**row, **changes} for row in books.tables["attempts"]]
        spoilt = replace(books, tables={**books.tables, "attempts": rows})

        found = list_violations(spoilt)

        assert [violation.partition(":")[0] for violation in found] == ["nothing_is_overdue"]


RESTORED = Plan(
    seed=1,
    orders=PAID.orders,
    steps=(
        Step(1, "back up"),
        Step(2, "create", {"order": 0}),
        Step(4, "look", {"order": 0}),
        Step(8, "restore", {"down": 5}),
        Step(60, "pay", {"order": 0}),
        Step(120, "end recovery"),
    ),
    story="restored",
)


def test_forgotten_money_and_acts_in_a_recovery_are_seen(stage: Stage) -> None:
    result = stage.run(RESTORED, keeps_lines=True)
    assert result.violations == ()
    assert result.books is not None
    assert result.met["orphan PAID"] == 1
    tables = result.books.tables
    (recovery,) = tables["recoveries"]
    at = recovery["began_at"] + timedelta(seconds=5)
    told = {"at": at, "status_code": None, "order_id": uuid4()}
    for table, rows, invariant in (
        ("orphan_orders", [], "forgotten_money_is_explained"),
        ("delivery_tries", [told], "recovery_acts_on_nothing"),
    ):
        spoilt = replace(result.books, tables={**tables, table: rows})

        found = {violation.partition(":")[0] for violation in list_violations(spoilt)}

        assert found == {invariant}
