"""Notices that come together: what stands in the way of one stands in nobody else's.

Notices that are received in one go make one group, so a test can say who is in it.
"""

import asyncio
import gc
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from checkstand import app
from checkstand.domain.event import EventType, event_id_of
from checkstand.domain.money import Money, parse_amount
from checkstand.domain.order import Terms
from checkstand.domain.payment import payment_id_of
from checkstand.errors import DatabaseUnavailable, ProviderUnavailable
from checkstand.operations.create_order import create_order
from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID
from checkstand.operations.receive_notice import NoticeDesk
from checkstand.operations.refresh_certificates import refresh_all_certificates
from checkstand.operations.resources import Resources
from checkstand.operations.retry_notices import retry_notices
from checkstand.operations.verify_notice import verify_notice
from checkstand.simulator.notices import order_data
from checkstand.storage import cases
from checkstand.storage.database import Transaction

SETTLING = "before notices.find_known"


class Watcher:
    """Counts what passes the doors, and fails what it is told to."""

    def __init__(self) -> None:
        self.passed = Counter[str]()
        self.fails: dict[str, Exception] = {}
        self.fails_once: dict[str, Exception] = {}

    def before(self, point: str) -> None:
        """Count it, and stop it where that is wanted."""
        self._pass(f"before {point}")

    def after(self, point: str) -> None:
        """Count it, and lose its answer where that is wanted."""
        self._pass(f"after {point}")

    def _pass(self, moment: str) -> None:
        self.passed[moment] += 1
        if error := self.fails_once.pop(moment, None) or self.fails.get(moment):
            raise error


@dataclass(frozen=True, slots=True)
class House:
    """A gateway without doors or worker, and its desk for notices."""

    resources: Resources
    simulator: Any
    watcher: Watcher
    desk: NoticeDesk
    connection: Any  # the database behind the gateway's back
    url: str
    theirs: dict[uuid.UUID, Any] = field(default_factory=dict)  # Binance's orders by our ids

    async def orders(self, count: int) -> list[uuid.UUID]:
        """Open orders for 12.50 USDT."""
        return [await self._order() for _ in range(count)]

    async def _order(self) -> uuid.UUID:
        answer = await create_order(
            self.resources,
            account_id=DEFAULT_ACCOUNT_ID,
            terms=Terms(
                merchant_order_id=f"shop-{uuid.uuid4().hex}",
                price=Money(parse_amount("12.50"), "USDT"),
                fiat_price=None,
                description="A tin of green tea",
            ),
            key=uuid.uuid4().hex,
            request_hash=b"",
        )
        order_id = uuid.UUID(str(answer.body["order_id"]))
        self.theirs[order_id] = self.simulator.control.orders[-1]
        return order_id

    def sign(self, order_id: uuid.UUID, **data: Any) -> Any:
        """Sign that an order was paid, as Binance would."""
        theirs = self.theirs[order_id]
        return self.simulator.control.sign(data=order_data(theirs) | data, biz_id=theirs.prepay_id)

    async def deliver(self, signed: Any, *, shared: bool = False) -> None:
        """Deliver what was signed, on the account's own path or on the shared one."""
        path = None if shared else self.resources.accounts.get(DEFAULT_ACCOUNT_ID).notice_path
        await self.desk.receive(notice_path=path, headers=signed.headers, raw=signed.body)

    async def bring(self, order_id: uuid.UUID, *, shared: bool = False, **data: Any) -> None:
        """Let Binance say that an order was paid."""
        await self.deliver(self.sign(order_id, **data), shared=shared)

    async def bring_all(self, orders: Sequence[uuid.UUID]) -> list[BaseException | None]:
        """Bring a notice for each; return what each was told."""
        return await self.deliver_all([self.sign(order_id) for order_id in orders])

    async def deliver_all(self, signed: Sequence[Any]) -> list[BaseException | None]:
        """Deliver them in one go; return what each was told."""
        return await asyncio.gather(*(self.deliver(s) for s in signed), return_exceptions=True)

    async def status(self, order_id: uuid.UUID) -> str:
        """Return an order's status."""
        return str(
            await self.connection.fetchval(
                "SELECT status FROM orders WHERE order_id = $1", order_id
            )
        )

    async def statuses(self, orders: Sequence[uuid.UUID]) -> list[str]:
        """Return the orders' statuses."""
        return [await self.status(order_id) for order_id in orders]

    async def outcomes(self) -> list[str]:
        """Return what became of every notice, the first stored first."""
        rows = await self.connection.fetch("SELECT outcome FROM notices ORDER BY notice_id")
        return [row["outcome"] for row in rows]

    async def explanation(self) -> str:
        """Return why the one notice has its outcome."""
        return str(await self.connection.fetchval("SELECT explanation FROM notices"))

    @asynccontextmanager
    async def holding(self, sql: str, *values: Any) -> AsyncIterator[None]:
        """Hold something in a transaction of somebody else's while the block runs."""
        other = await asyncpg.connect(self.url)
        try:
            async with other.transaction():
                await other.execute(sql, *values)
                yield
        finally:
            await other.close()


HOLD_ORDER = "SELECT 1 FROM orders WHERE order_id = $1 FOR UPDATE"


@pytest.fixture
async def house(gateway_settings: Any, simulator: Any) -> AsyncIterator[House]:
    """A house whose doors are watched."""
    watcher = Watcher()
    # Written in full, with colours, an error takes longer than a sender waits.
    with capture_logs():
        async with running_house(gateway_settings, simulator, watcher) as running:
            yield running


@asynccontextmanager
async def running_house(
    gateway_settings: Any, simulator: Any, watcher: Watcher
) -> AsyncIterator[House]:
    """Build a house and take it apart."""
    async with app.building_house(
        gateway_settings, clock=simulator.clock, observer=watcher
    ) as resources:
        await refresh_all_certificates(resources)
        connection = await asyncpg.connect(gateway_settings.database_url)
        desk = NoticeDesk(resources)
        yield House(resources, simulator, watcher, desk, connection, gateway_settings.database_url)
        watcher.fails.clear()
        await desk.aclose()
        await connection.close()


async def _damage(house: House, order_id: uuid.UUID) -> uuid.UUID:
    """Put a row where the order's payment would be told, so that no transaction can pay it."""
    attempt_id = await house.connection.fetchval(
        "SELECT attempt_id FROM attempts WHERE order_id = $1", order_id
    )
    event_id = event_id_of(order_id, EventType.ORDER_PAID, str(payment_id_of(attempt_id)))
    await house.connection.execute(
        "INSERT INTO events VALUES ($1, $2, $3, 1, 'damage', $4, '')",
        DEFAULT_ACCOUNT_ID,
        event_id,
        order_id,
        house.resources.clock.now(),
    )
    return event_id


def _codes(told: Sequence[BaseException | None]) -> list[str | None]:
    return [str(getattr(error, "code", error)) if error else None for error in told]


async def test_notices_of_one_moment_are_one_transaction(house: House) -> None:
    orders = await house.orders(5)

    assert await house.bring_all(orders) == [None] * 5

    assert await house.statuses(orders) == ["PAID"] * 5
    assert house.watcher.passed["after commit settle_notices"] == 1


async def test_others_are_answered_while_somebody_holds_one_order(house: House) -> None:
    held, *others, later_1, later_2 = await house.orders(6)
    later = [house.sign(later_1), house.sign(later_2)]
    signed, others_signed = house.sign(held), [house.sign(order) for order in others]

    async with house.holding(HOLD_ORDER, held):
        waiting = asyncio.create_task(house.deliver(signed))
        assert await house.deliver_all(others_signed) == [None] * 3
        assert not waiting.done()
        # And those that come later do not wait behind it either.
        assert await house.deliver_all(later) == [None] * 2
        assert not waiting.done()
        # Each time in one go: nobody had to find out by waiting whose order is held.
        assert house.watcher.passed["before notices.insert_once"] == 2

        assert await house.statuses(others) == ["PAID"] * 3
        assert await house.status(held) == "PENDING_PAYMENT"
    await waiting

    assert await house.status(held) == "PAID"
    assert set(await house.outcomes()) == {"applied"}


async def test_several_held_orders_are_settled_as_each_is_let_go(house: House) -> None:
    first, second = await house.orders(2)
    signed = [house.sign(first), house.sign(second)]

    async with house.holding(HOLD_ORDER, first):
        async with house.holding(HOLD_ORDER, second):
            waiting = [asyncio.create_task(house.deliver(s)) for s in signed]
            await asyncio.wait(waiting, timeout=0.3)
            assert not any(task.done() for task in waiting)
        await waiting[1]
        assert not waiting[0].done()
    await waiting[0]

    assert await house.statuses([first, second]) == ["PAID", "PAID"]


async def test_attempts_that_somebody_claims_hold_up_nobody_else(house: House) -> None:
    held, *others = await house.orders(4)
    signed, others_signed = house.sign(held), [house.sign(order) for order in others]

    async with house.holding("SELECT 1 FROM attempts WHERE order_id = $1 FOR UPDATE", held):
        waiting = asyncio.create_task(house.deliver(signed))
        assert await house.deliver_all(others_signed) == [None] * 3
        assert not waiting.done()
        assert house.watcher.passed["before notices.insert_once"] == 1
    await waiting

    assert await house.status(held) == "PAID"


async def test_notice_of_an_order_held_for_too_long_is_kept_and_applied_later(
    house: House,
) -> None:
    (order,) = await house.orders(1)

    async with house.holding(HOLD_ORDER, order):
        async with asyncio.timeout(10):
            await house.bring(order)

        assert await house.outcomes() == ["stored"]
        assert "held for too long" in await house.explanation()
        await retry_notices(house.resources)
        assert await house.outcomes() == ["stored"]

    await retry_notices(house.resources)
    assert await house.outcomes() == ["applied"]
    assert await house.status(order) == "PAID"


async def test_copies_of_one_notice_share_its_outcome(house: House) -> None:
    (order,) = await house.orders(1)

    told = await house.bring_all([order] * 50)

    assert told == [None] * 50
    assert house.watcher.passed[SETTLING] == 1
    assert await house.outcomes() == ["applied"]


async def test_copy_joins_one_that_is_under_way(house: House) -> None:
    (order,) = await house.orders(1)

    async with house.holding(HOLD_ORDER, order):
        waiting = [asyncio.create_task(house.bring(order))]
        await asyncio.wait(waiting, timeout=0.05)
        waiting += [asyncio.create_task(house.bring(order)) for _ in range(20)]
        await asyncio.wait(waiting, timeout=0.1)
        assert not any(task.done() for task in waiting)
    await asyncio.gather(*waiting)

    assert await house.outcomes() == ["applied"]
    # One transaction stored it; nobody had to find out that it was there.
    assert house.watcher.passed["before notices.insert_once"] == 1


async def test_what_cannot_be_applied_is_stored_alone_wherever_it_stands(house: House) -> None:
    orders = await house.orders(9)
    bad = orders[4]
    damage = await _damage(house, bad)

    assert await house.bring_all(orders) == [None] * 9

    good = [order for order in orders if order != bad]
    assert await house.statuses(good) == ["PAID"] * 8
    assert sorted(await house.outcomes()) == ["applied"] * 8 + ["stored"]
    assert await house.status(bad) == "PENDING_PAYMENT"
    # 9, 4 + 5, 2 + 3 and 1 + 2 of the bad half, itself twice, and what was well on the way.
    assert house.watcher.passed[SETTLING] <= 9

    await house.connection.execute("DELETE FROM events WHERE event_id = $1", damage)
    await retry_notices(house.resources)
    assert await house.status(bad) == "PAID"


async def test_failure_that_does_not_come_again_leaves_nothing_to_a_worker(house: House) -> None:
    (order,) = await house.orders(1)
    house.watcher.fails_once[SETTLING] = asyncpg.DataError("this time")

    await house.bring(order)

    assert await house.outcomes() == ["applied"]


AWAY = ConnectionRefusedError("nobody listens")


async def test_database_that_is_away_is_asked_by_one_at_a_time(house: House) -> None:
    orders = await house.orders(100)
    signed = [house.sign(order) for order in orders]
    house.watcher.fails["before attempts.find_named"] = AWAY
    tries = "before attempts.find_named"

    # Two groups' worth: the second is told with the first, without trying.
    assert set(_codes(await house.deliver_all(signed))) == {"database_unavailable"}
    assert house.watcher.passed[tries] == 2

    assert set(_codes(await house.deliver_all(signed))) == {"database_unavailable"}
    assert house.watcher.passed[tries] == 2

    await asyncio.sleep(1.01)  # the breaker's rest
    assert set(_codes(await house.deliver_all(signed))) == {"database_unavailable"}
    assert house.watcher.passed[tries] == 4
    assert await house.outcomes() == []

    house.watcher.fails.clear()
    await asyncio.sleep(1.01)
    told = _codes(await house.deliver_all(signed))
    assert (told.count(None), told.count("database_unavailable")) == (1, 99)  # the probe
    assert await house.deliver_all(signed) == [None] * 100
    assert set(await house.statuses(orders)) == {"PAID"}


async def test_commit_whose_acknowledgement_is_lost_counts(house: House) -> None:
    orders = await house.orders(3)
    house.watcher.fails_once["after commit settle_notices"] = ConnectionResetError("unheard")

    assert await house.bring_all(orders) == [None] * 3

    assert house.watcher.passed["after commit settle_notices"] == 2
    assert await house.outcomes() == ["applied"] * 3
    lines = await house.connection.fetch("SELECT order_id FROM order_history WHERE status = 'PAID'")
    assert sorted(line["order_id"] for line in lines) == sorted(orders)


async def test_each_of_many_is_told_of_a_failure_by_an_error_of_its_own(house: House) -> None:
    (order,) = await house.orders(1)
    house.watcher.fails[SETTLING] = AWAY

    told = await house.bring_all([order] * 10)

    assert {type(error) for error in told} == {DatabaseUnavailable}
    assert len({id(error) for error in told}) == 10


async def test_nobody_who_left_is_missed_when_the_group_fails(house: House) -> None:
    (order,) = await house.orders(1)
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, c: complaints.append(c))
    house.watcher.fails[SETTLING] = AWAY

    leaving = asyncio.create_task(house.bring(order))
    while not house.watcher.passed[SETTLING]:
        await asyncio.sleep(0)
    leaving.cancel()
    await house.desk.aclose()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    gc.collect()

    assert complaints == []


async def test_sender_is_answered_in_time_when_nothing_can_be_written(house: House) -> None:
    orders = await house.orders(3)

    async with house.holding("LOCK TABLE notices IN EXCLUSIVE MODE"), asyncio.timeout(10):
        told = await house.bring_all(orders)

    assert set(_codes(told)) <= {"notices_slow", "database_busy", "database_unavailable"}
    assert None not in told
    await house.desk.aclose()
    await asyncio.sleep(1.01)  # the breaker's rest
    for order in orders:
        await house.bring(order)
    assert await house.statuses(orders) == ["PAID"] * 3


async def test_more_than_can_wait_are_told_at_once(house: House) -> None:
    held, other = await house.orders(2)
    house = replace(house, desk=NoticeDesk(house.resources, waiting_max=20))

    async with house.holding(HOLD_ORDER, held):
        signed = house.sign(held)
        waiting = [asyncio.create_task(house.deliver(signed)) for _ in range(20)]
        await asyncio.sleep(0)
        for order in (held, other):  # a copy, and one that nobody has brought yet
            with pytest.raises(ProviderUnavailable, match="too many"):
                await house.bring(order)
    await asyncio.gather(*waiting)

    await house.bring(other)
    assert await house.statuses([held, other]) == ["PAID", "PAID"]
    await house.desk.aclose()


async def test_two_gateways_with_crossed_copies_store_each_once(house: House) -> None:
    orders, second = await house.orders(8), NoticeDesk(house.resources)
    theirs = replace(house, desk=second)

    first, others = await asyncio.gather(house.bring_all(orders), theirs.bring_all(orders[::-1]))
    await second.aclose()

    assert first + others == [None] * 16
    assert await house.outcomes() == ["applied"] * 8


async def test_notice_that_another_stores_meanwhile_is_looked_at_again(house: House) -> None:
    """Only what is about no order that we hold can be stored beside us: here an orphan."""
    signed = house.simulator.control.sign(data={"batchStatus": "X"}, biz_id="7", biz_type="PAYOUT")
    path = house.resources.accounts.get(DEFAULT_ACCOUNT_ID).notice_path
    theirs = await verify_notice(
        house.resources, notice_path=path, headers=signed.headers, raw=signed.body
    )
    insert = (
        "INSERT INTO notices VALUES ($1, $2, $3, 'PAYOUT', '7', 'X', '', $4, $4, true, '{}',"
        " 'stored', 'by the other gateway')"
    )
    values = (DEFAULT_ACCOUNT_ID, uuid.uuid4(), theirs.stored.fingerprint)

    async with house.holding(insert, *values, house.resources.clock.now()):
        waiting = asyncio.create_task(house.deliver(signed))
        while not await house.connection.fetchval(WAITS_FOR_A_LOCK):
            await asyncio.sleep(0.005)
    await waiting

    assert await house.outcomes() == ["orphan"]  # theirs, marked by us


WAITS_FOR_A_LOCK = """
    SELECT count(*) FROM pg_stat_activity
     WHERE wait_event_type = 'Lock' AND datname = current_database()
"""


async def test_copy_of_a_stored_notice_applies_it_at_once(house: House) -> None:
    (order,) = await house.orders(1)
    damage = await _damage(house, order)
    await house.bring(order)
    assert await house.outcomes() == ["stored"]
    await house.connection.execute("DELETE FROM events WHERE event_id = $1", damage)

    await house.bring(order)

    assert await house.outcomes() == ["applied"]
    assert await house.status(order) == "PAID"


async def _due(house: House, order_id: uuid.UUID) -> tuple[Any, Any]:
    async def step(tx: Transaction) -> tuple[Any, Any]:
        (case,) = (await cases.get_many(tx, [(DEFAULT_ACCOUNT_ID, order_id)])).values()
        return case.attempts[0].due_at, case.attempts[0].hinted_at

    return await house.resources.database.read(step)


async def test_copy_of_a_hint_asks_again_unless_the_attempt_has_ended(house: House) -> None:
    (order,) = await house.orders(1)
    house.simulator.clock.freeze()
    await house.bring(order, shared=True)
    assert await house.outcomes() == ["hint"]
    first = await _due(house, order)

    house.simulator.clock.advance(2)
    await house.bring(order, shared=True)
    second = await _due(house, order)
    assert second == (house.resources.clock.now(), house.resources.clock.now()) > first

    await house.bring(order, transactionId="P_1")  # another text, so another notice: it binds
    ended = await _due(house, order)
    house.simulator.clock.advance(2)
    await house.bring(order, shared=True)

    assert await house.outcomes() == ["hint", "applied"]
    assert await _due(house, order) == ended


async def test_second_notice_of_a_payment_adds_the_fee_and_moves_nothing(house: House) -> None:
    (order,) = await house.orders(1)
    await house.bring(order, commission=None, transactionId=None)
    facts = "SELECT fee, transaction_id FROM payments"
    assert tuple(await house.connection.fetchrow(facts)) == (None, None)

    await house.bring(order, commission=0.25, transactionId="P_1")

    fee, transaction_id = await house.connection.fetchrow(facts)
    assert (str(fee), transaction_id) == ("0.25", "P_1")
    assert await house.outcomes() == ["applied", "applied"]
    versions = "SELECT count(*) FROM order_history WHERE status = 'PAID'"
    assert await house.connection.fetchval(versions) == 1


async def test_notices_of_one_order_in_one_group_are_folded(house: House) -> None:
    (order,) = await house.orders(1)

    await asyncio.gather(*(house.bring(order, transactionId=f"P_{n}") for n in range(4)))

    assert house.watcher.passed["after commit settle_notices"] == 1
    assert await house.outcomes() == ["applied"] * 4
    assert await house.status(order) == "PAID"
