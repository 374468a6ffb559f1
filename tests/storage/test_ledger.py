"""Transfers are written with the decision that makes them, each fact once, and never changed."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from checkstand.domain import settlement
from checkstand.domain.case import Decision
from checkstand.domain.ledger import (
    Transfer,
    entries_of,
    positions_in,
    positions_of,
    transfers_of,
)
from checkstand.domain.money import Money
from checkstand.domain.report import Finding, Report, Source
from checkstand.storage import cases, ledger
from checkstand.storage.embedded import EmbeddedPostgres
from checkstand.storage.ledger import BookedOtherwise
from checkstand.storage.migrate import list_migrations, migrate
from checkstand.storage.orders import MovedFirst

_EIGHTH = Decimal("0.125")


def _paid(case: Any, *, source: Source = Source.QUERY, **more: Any) -> Report:
    fields: dict[str, Any] = {"money": case.attempts[-1].expected, "fee": _EIGHTH} | more
    return Report(finding=Finding.PAID, source=source, reference="x:1", word="PAID", **fields)


def _apply(store: Any, case: Any, report: Report, *, after: float = 60) -> Decision:
    attempt_id = case.attempts[-1].attempt_id
    given = store.given(after=after)
    return settlement.apply(Decision.nothing(case), attempt_id, report, given=given)


async def _booked(store: Any) -> list[Transfer]:
    rows = await store.sql(f"SELECT {ledger.COLUMNS} FROM transfers ORDER BY at, kind, fact")
    return [ledger.parse(row) for row in rows]


async def test_payment_and_its_transfers_are_written_together(store: Any) -> None:
    decision = _apply(store, case := await store.open_case(), _paid(case))

    await store.save(decision)

    booked = await _booked(store)
    assert sorted(booked, key=lambda t: t.kind, reverse=True) == list(transfers_of(decision))
    case = await store.read(decision.case.order)
    assert positions_in(booked) == positions_of(entries_of(case.payments, case.refunds))


async def test_decision_that_cannot_be_written_books_nothing(store: Any) -> None:
    decision = _apply(store, case := await store.open_case(), _paid(case))
    stale = replace(decision, before=replace(case, order=replace(case.order, version=9)))

    with pytest.raises(MovedFirst):
        await store.save(stale)

    assert await _booked(store) == []


async def test_late_fee_and_a_correction_are_rows_of_their_own(store: Any) -> None:
    case = await store.open_case()
    await store.save(_apply(store, case, _paid(case, fee=None)))
    for hours, fee in ((24, "0.1"), (48, "0.125"), (49, "0.125")):
        case = await store.read(case.order)
        report = _paid(case, fee=Decimal(fee))
        await store.save(_apply(store, case, report, after=3600 * hours))

    booked = await _booked(store)

    assert [(t.kind, str(t.amount)) for t in booked] == [
        ("payment", "12.50"),
        ("fee", "0.1"),
        ("fee_corrected", "0.025"),
    ]
    assert booked[1].at == store.noon + timedelta(hours=24)
    case = await store.read(case.order)
    assert case.payments[0].fee_learnt_at == store.noon + timedelta(hours=48)
    assert positions_in(booked) == positions_of(entries_of(case.payments, case.refunds))


async def test_two_channels_at_once_book_one_payment_and_one_fee(store: Any) -> None:
    case = await store.open_case()
    key = (case.order.account_id, case.order.order_id)

    async def hear(source: Source) -> None:
        async def step(tx: Any) -> None:
            held = (await cases.lock(tx, [key]))[key]
            decision = _apply(store, held, _paid(held, source=source))
            await cases.save(tx, [decision], public_url="https://shop.example")

        await store.database.run(step, name="hear")

    await asyncio.gather(*(hear(source) for source in list(Source) * 3))

    assert [t.kind for t in await _booked(store)] == ["fee", "payment"]


async def test_fact_booked_before_with_the_same_content_is_left_alone(store: Any) -> None:
    decision = _apply(store, case := await store.open_case(), _paid(case))
    await store.save(decision)
    booked = await _booked(store)

    await store.run(ledger.append, [replace(t, at=t.at + timedelta(1)) for t in booked])

    assert await _booked(store) == booked


async def test_fact_booked_before_with_another_content_is_a_bug_that_stops_the_decision(
    store: Any,
) -> None:
    decision = _apply(store, case := await store.open_case(), _paid(case))
    (payment, fee) = transfers_of(decision)
    await store.run(ledger.append, [replace(payment, amount=Decimal("12.49"))])

    with pytest.raises(BookedOtherwise, match=r"12\.49"):
        await store.save(decision)

    assert (await store.read(case.order)).payments == ()
    assert fee not in await _booked(store)


async def test_one_account_s_facts_do_not_hide_another_s(store: Any, other_account: UUID) -> None:
    transfer = Transfer(
        account_id=store.account_id,
        kind="moved",
        fact="x",
        asset="USDT",
        amount=Decimal(1),
        debit="binance:spot",
        credit="binance:funding",
        at=store.noon,
        group_id=uuid4(),
    )

    await store.run(ledger.append, [transfer, replace(transfer, account_id=other_account)])

    assert len(await _booked(store)) == 2


@pytest.mark.parametrize(
    "change", [{"amount": Decimal(0)}, {"amount": Decimal(-1)}, {"debit": "sales"}]
)
async def test_database_takes_no_transfer_that_moves_nothing(store: Any, change: Any) -> None:
    case = await store.open_case()
    payment = transfers_of(_apply(store, case, _paid(case)))[0]

    with pytest.raises(asyncpg.CheckViolationError):
        await store.run(ledger.append, [replace(payment, **change)])


async def test_amounts_keep_every_digit(store: Any) -> None:
    price = Money(Decimal("999999999999999.99999999"), "USDT")
    case = await store.open_case(price=price)

    await store.save(_apply(store, case, _paid(case, money=price, fee=Decimal("0.00000001"))))

    assert [str(t.amount) for t in await _booked(store)] == [
        "1E-8",
        "999999999999999.99999999",
    ]


async def test_books_are_opened_with_what_was_known_before_there_were_any(
    cluster: EmbeddedPostgres,
) -> None:
    name = f"fresh_{uuid4().hex}"
    cluster.ensure_database(name)
    connection = await asyncpg.connect(cluster.url(database=name))
    ids = {word: uuid4() for word in ("account", "credential", "order", "attempt", "payment")}
    try:
        await connection.execute(
            "CREATE TABLE schema_migrations (number integer PRIMARY KEY, name text NOT NULL,"
            " checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        for migration in list_migrations()[:2]:
            await connection.execute(migration.text)
            await connection.execute(
                "INSERT INTO schema_migrations VALUES ($1, $2, $3)",
                migration.number,
                migration.name,
                migration.checksum,
            )
        await connection.execute(_KNOWN_BEFORE.format(**ids))
        await migrate(cluster.url(database=name))
        rows = await connection.fetch(f"SELECT {ledger.COLUMNS} FROM transfers ORDER BY kind")
        learnt = await connection.fetchval("SELECT fee_learnt_at FROM payments")
    finally:
        await connection.close()

    booked = [ledger.parse(row) for row in rows]
    assert [(t.kind, str(t.amount), t.debit, t.credit) for t in booked] == [
        ("fee", "0.125", "fees", "binance:funding"),
        ("payment", "12.50", "binance:funding", "suspense"),
        ("refund", "5", "suspense", "binance:funding"),
    ]
    assert {t.order_id for t in booked} == {ids["order"]}
    assert learnt == booked[1].at


_KNOWN_BEFORE = """
INSERT INTO accounts VALUES ('{account}', 'ref', 'Teahouse', 'path', NULL, '2026-11-23');
INSERT INTO credentials
VALUES ('{account}', '{credential}', 'key', '', 'http://x', NULL, '2026-11-23');
INSERT INTO orders (account_id, order_id, merchant_order_id, status, previous_status, version,
                    amount, currency, terms, checkout_token, created_at, expires_at)
VALUES ('{account}', '{order}', 'shop-1', 'PENDING_PAYMENT', 'CREATED', 2, 12.50, 'USDT', '{{}}',
        'token', '2026-11-23', '2026-11-24');
INSERT INTO attempts (account_id, order_id, attempt_id, number, status, credential_id,
                      merchant_trade_no, created_at, expires_at, payer_active, sends, absences,
                      closes, asks)
VALUES ('{account}', '{order}', '{attempt}', 1, 'PAID', '{credential}', 'n', '2026-11-23',
        '2026-11-24', false, 1, 0, 0, 0);
INSERT INTO payments (account_id, order_id, attempt_id, payment_id, amount, currency, fee,
                      received_at, held)
VALUES ('{account}', '{order}', '{attempt}', '{payment}', 12.50, 'USDT', 0.125, '2026-11-23 12:00',
        true);
INSERT INTO refunds (account_id, order_id, attempt_id, payment_id, refund_id, merchant_refund_id,
                     amount, currency, requested_at, requested_by, status, is_elsewhere, sends,
                     in_doubt, absences, asks, returned, fee_returned, ended_at)
VALUES ('{account}', '{order}', '{attempt}', '{payment}', '{order}', 'back', 5, 'USDT',
        '2026-11-23', 'merchant', 'SUCCEEDED', false, 1, false, 0, 0, 5, 0, '2026-11-23 13:00');
"""
