"""What is written comes back as it was, and the database keeps the rules that it can."""

from dataclasses import fields, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from checkstand.domain import settlement
from checkstand.domain.anomaly import UNSETTLED_MONEY, AnomalyKind, Resolution
from checkstand.domain.attempt import LIVE, Attempt, AttemptStatus, CloseReason, Links
from checkstand.domain.case import Decision
from checkstand.domain.money import Money
from checkstand.domain.order import Goods, Order, OrderStatus
from checkstand.domain.report import Finding, Report, Source
from checkstand.domain.view import render_order
from checkstand.storage import cases, orders
from checkstand.storage.orders import MovedFirst

_ODD = 'Thé "vert" \\ ☕ 𝄞\n\ttab'


def _paid(case: Any, **more: Any) -> Report:
    fields_: dict[str, Any] = {"money": case.attempts[-1].expected} | more
    return Report(
        finding=Finding.PAID, source=Source.QUERY, reference="call:1", word="PAID", **fields_
    )


def _apply(store: Any, case: Any, report: Report) -> Decision:
    attempt_id = case.attempts[-1].attempt_id
    return settlement.apply(Decision.nothing(case), attempt_id, report, given=store.given(after=60))


async def test_order_with_every_field_comes_back_as_it_was(store: Any) -> None:
    order = store.order(
        merchant_order_id=_ODD,
        description=_ODD,
        price=Money(Decimal("0.10000000"), "1INCH"),
        goods=(
            Goods(name=_ODD, quantity=3, unit_amount=Decimal("0.00000001")),
            Goods(name="plain", goods_type="01", category="D000", reference="sku-1"),
        ),
        support_pay_currency="USDT,BTC",
        return_url="https://shop.example/ok?a=1&b=2",
        cancel_url="https://shop.example/no",
        expires_in_seconds=61,
        cart_id=_ODD,
        terminal="APP",
        metadata={"z": "1", "a": _ODD, "": ""},
        paid_at=store.noon + timedelta(microseconds=1),
        fulfilled_at=store.noon + timedelta(seconds=2),
        cancel_requested_at=store.noon + timedelta(seconds=3),
        cancel_requested_by="shopper",
        fulfilment_token="in hand",
        fulfilment_until=store.noon + timedelta(seconds=4),
        fulfilment_due_at=store.noon + timedelta(seconds=5),
        fulfilment_offers=3,
        settled_by=uuid4(),
        status=OrderStatus.FULFILLED,
        previous_status=OrderStatus.PAID,
        version=2**31 - 1,
    )
    unset = [f.name for f in fields(Order) if getattr(order, f.name) is None]
    assert unset == []

    written = await store.write(order)

    assert written.order == order
    assert str(written.order.terms.price) == "0.10000000 1INCH"
    assert written.order.terms.goods[0].unit_amount == Decimal("0.00000001")


async def test_order_with_nothing_optional_comes_back_as_it_was(store: Any) -> None:
    order = store.order(price=None, fiat_price=Money(Decimal("10.00"), "EUR"))

    written = await store.write(order)

    assert written.order == order
    assert str(written.order.terms.fiat_price) == "10.00 EUR"
    assert written.attempts == written.payments == written.anomalies == ()


@pytest.mark.parametrize(
    "text",
    ["12.50", "12.5", "100", "1000000", "0.00000001", "999999999999999.99999999", "10.00000000"],
)
async def test_amounts_keep_their_digits_from_text_to_text(store: Any, text: str) -> None:
    written = await store.write(store.order(price=Money(Decimal(text), "USDT")))

    assert render_order(written, public_url="")["amount"] == text


async def test_changed_order_comes_back_as_it_was_changed(store: Any) -> None:
    case = await store.open_case()
    moments = [store.noon + timedelta(seconds=n) for n in range(3)]
    decision = Decision.nothing(case).move(
        OrderStatus.PAID,
        actor="binance",
        reason="",
        reference=None,
        at=store.noon,
        settled_by=uuid4(),
        paid_at=moments[0],
        fulfilled_at=moments[1],
        cancel_requested_at=moments[2],
    )

    await store.save(decision)

    assert (await store.read(case.order)).order == decision.case.order


async def test_attempt_with_every_field_comes_back_as_it_was(store: Any) -> None:
    order = store.order()
    moments = [store.noon + timedelta(seconds=n) for n in range(9)]
    attempt = store.attempt(
        order,
        status=AttemptStatus.CLOSING,
        prepay_id="290000000000000001",
        expected=Money(Decimal("12.50"), "USDT"),
        links=Links(
            qr_content=_ODD, deeplink="bnc://x", universal_url="https://x", checkout_url=""
        ),
        payer_active=True,
        sends=2,
        last_sent_at=moments[0],
        absences=3,
        last_absent_at=moments[1],
        close_reason=CloseReason.RECOVER,
        close_requested_at=moments[2],
        closes=4,
        close_accepted_at=moments[3],
        ended_at=moments[4],
        hinted_at=moments[5],
        asks=5,
        due_at=moments[6],
        lease_owner=uuid4(),
        lease_until=moments[7],
    )
    assert [f.name for f in fields(Attempt) if getattr(attempt, f.name) is None] == []

    written = await store.write(order, attempt)

    assert written.attempts == (attempt,)


async def test_changed_attempt_comes_back_as_it_was_changed(store: Any) -> None:
    case = await store.open_case()
    (before,) = case.attempts
    after = replace(
        before,
        status=AttemptStatus.CLOSED,
        prepay_id="29",
        expected=Money(Decimal("11.63"), "USDC"),
        expires_at=store.noon + timedelta(minutes=3),
        links=None,
        payer_active=True,
        sends=7,
        last_sent_at=store.noon,
        absences=8,
        last_absent_at=store.noon,
        close_reason=CloseReason.RENEW,
        close_requested_at=store.noon,
        closes=9,
        close_accepted_at=store.noon,
        ended_at=store.noon,
        hinted_at=store.noon,
        asks=10,
        due_at=None,
        lease_owner=uuid4(),
        lease_until=store.noon,
    )

    await store.save(Decision.nothing(case).with_attempt(after))

    assert (await store.read(case.order)).attempts == (after,)


async def test_payment_and_anomalies_come_back_as_they_were(store: Any) -> None:
    case = await store.open_case()
    report = _paid(
        case,
        money=Money(Decimal("12.49000000"), "USDT"),
        fee=Decimal("0.00000000"),
        transaction_id=_ODD,
        paid_at=store.noon + timedelta(milliseconds=7),
    )
    decision = _apply(store, case, report)
    decision = decision.open_anomaly(
        AnomalyKind.PAID_LATE,
        decision.case.attempts[0],
        detail=_ODD,
        reference=None,
        at=store.noon,
        resolved_at=store.noon,
        resolved_by="policy",
        resolution=Resolution.WRITE_OFF,
        reason=_ODD,
    )

    await store.save(decision)

    read = await store.read(case.order)
    assert read.payments == decision.case.payments
    assert str(read.payments[0].money.amount) == "12.49000000"
    assert set(read.anomalies) == set(decision.case.anomalies)
    assert read.order == decision.case.order


async def test_facts_learnt_later_are_added_to_the_payment(store: Any) -> None:
    case = await store.open_case()
    await store.save(_apply(store, case, _paid(case)))
    case = await store.read(case.order)

    await store.save(_apply(store, case, _paid(case, fee=Decimal("0.125"), transaction_id="P_1")))

    (payment,) = (await store.read(case.order)).payments
    assert (payment.fee, payment.transaction_id) == (Decimal("0.125"), "P_1")


async def test_each_version_leaves_a_line_and_each_event_its_text(store: Any) -> None:
    case = await store.open_case()
    opened = settlement.follow(Decision.nothing(case), given=store.given())
    attempt_id = opened.case.attempts[0].attempt_id
    paid = settlement.apply(opened, attempt_id, _paid(case), given=store.given())

    await store.save(paid)

    lines = await store.sql("SELECT * FROM order_history ORDER BY version")
    assert [(r["version"], r["previous_status"], r["status"], r["actor"]) for r in lines] == [
        (2, "CREATED", "PENDING_PAYMENT", "binance"),
        (3, "PENDING_PAYMENT", "PAID", "binance"),
    ]
    assert lines[1]["reference"] == "call:1"
    events = await store.sql("SELECT * FROM events ORDER BY order_version")
    assert [(r["type"], r["order_version"]) for r in events] == [
        ("order.pending", 2),
        ("order.paid", 3),
    ]
    assert '"status":"PAID"' in events[1]["body"]


async def test_decision_about_an_order_that_moved_first_is_not_written(store: Any) -> None:
    case = await store.open_case()
    stale = settlement.follow(Decision.nothing(case), given=store.given())
    await store.save(stale)

    with pytest.raises(MovedFirst):
        await store.save(stale)

    assert (await store.read(case.order)).order.version == 2
    assert len(await store.sql("SELECT 1 FROM order_history")) == 1


async def test_two_live_attempts_of_one_order_are_refused(store: Any) -> None:
    case = await store.open_case()

    with pytest.raises(asyncpg.UniqueViolationError, match="attempts_one_live"):
        await store.save(Decision.nothing(case).with_attempt(store.attempt(case.order, number=2)))


@pytest.mark.parametrize("status", AttemptStatus)
async def test_the_database_knows_the_live_states(store: Any, status: AttemptStatus) -> None:
    order = store.order()
    await store.write(order, store.attempt(order, status=status))
    second = Decision.nothing(await store.read(order)).with_attempt(store.attempt(order, number=2))

    if status in LIVE:
        with pytest.raises(asyncpg.UniqueViolationError):
            await store.save(second)
    else:
        await store.save(second)


async def test_renewal_ends_the_old_attempt_and_writes_the_new_in_one_save(store: Any) -> None:
    case = await store.open_case()
    decision = settlement.renew(Decision.nothing(case), given=store.given())
    await store.save(decision)
    case = await store.read(case.order)
    closed = Report(
        finding=Finding.CLOSED, source=Source.QUERY, reference="call:2", word="CANCELED"
    )

    await store.save(_apply(store, case, closed))

    statuses = [str(a.status) for a in (await store.read(case.order)).attempts]
    assert statuses == ["CLOSED", "PREPARED"]


async def test_cart_has_one_live_order_and_is_free_when_that_is_over(store: Any) -> None:
    first = await store.write(store.order(cart_id="cart-1"))

    assert not await store.run(orders.insert, store.order(cart_id="cart-1"))
    found = await store.run(orders.find_live_of_cart, store.account_id, "cart-1")
    assert found == first.order.order_id

    over = Decision.nothing(first).move(
        OrderStatus.CANCELED, actor="merchant", reason="", reference=None, at=store.noon
    )
    await store.save(over)
    assert await store.run(orders.insert, store.order(cart_id="cart-1"))


async def test_orders_without_a_cart_do_not_meet(store: Any) -> None:
    await store.write(store.order())
    await store.write(store.order())


async def test_merchant_order_id_is_compared_byte_for_byte(store: Any) -> None:
    await store.write(store.order(merchant_order_id="Order-1"))

    assert not await store.run(orders.insert, store.order(merchant_order_id="Order-1"))
    assert await store.run(orders.insert, store.order(merchant_order_id="order-1"))
    assert await store.run(orders.insert, store.order(merchant_order_id="Order-1 "))


async def test_other_account_s_order_is_not_there(store: Any, other_account: Any) -> None:
    case = await store.open_case()
    key = (other_account, case.order.order_id)

    assert await store.run(cases.get_many, [key]) == {}
    assert await store.run(cases.lock, [key]) == {}


async def test_order_that_expires_is_listed_when_nothing_holds_it(store: Any) -> None:
    soon = store.noon + timedelta(seconds=10)
    lapsed = store.order(expires_at=soon)
    await store.write(lapsed, store.attempt(lapsed, status=AttemptStatus.LAPSED))
    await store.open_case(expires_at=soon)  # may still be paid
    await store.write(store.order())  # has time
    held = store.order(expires_at=soon)
    case = await store.write(held, store.attempt(held, status=AttemptStatus.LAPSED))
    odd = Decision.nothing(case).open_anomaly(
        AnomalyKind.AMOUNT_DIFFERS, case.attempts[0], detail="", reference=None, at=store.noon
    )
    await store.save(odd)

    async def due_at(seconds: int) -> Any:
        return await store.run(
            orders.list_to_expire,
            now=store.noon + timedelta(seconds=seconds),
            blocked_by=sorted(UNSETTLED_MONEY),
            limit=10,
        )

    assert await due_at(9) == []
    assert await due_at(10) == [(store.account_id, lapsed.order_id)]
