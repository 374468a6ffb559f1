"""The books over HTTP: what stands where, what was booked, and what nobody knows yet."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from checkstand.domain.ledger import Transfer
from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID
from checkstand.operations.seal_transfers import seal_new_transfers
from checkstand.storage import ledger

pytestmark = pytest.mark.asyncio(loop_scope="module")

CREATE = "/api/payments/binance/create"
NOON = datetime(2020, 5, 3, 12, tzinfo=UTC)


def _moved(number: int, **changes: Any) -> Transfer:
    """Money moved between the wallets, in 2020, under an asset that nothing else uses."""
    fields: dict[str, Any] = {
        "account_id": DEFAULT_ACCOUNT_ID,
        "kind": "moved",
        "fact": f"{number:04}",
        "asset": "MOVED",
        "amount": Decimal("0.00000001"),
        "debit": "binance:spot",
        "credit": "binance:funding",
        "at": NOON + timedelta(days=number),
    }
    return Transfer(**fields | changes)


async def _book(door: Any, *transfers: Transfer) -> None:
    async def step(tx: Any) -> None:
        await ledger.append(tx, transfers)

    await door.resources.database.run(step, name="book")


async def _get(door: Any, path: str) -> Any:
    answer = await door.send("GET", f"/api/ledger{path}")
    assert answer.status == 200, answer.content
    return answer.json


async def _sell(door: Any, number: int, *, fee: bool = True) -> str:
    order = {"merchant_order_id": f"sold-{number}", "amount": "12.50", "currency": "USDT"}
    made = await door.send("POST", CREATE, json.dumps(order).encode())
    door.simulator.control.pay(door.simulator.control.orders[-1].merchant_trade_no)
    order_id = made.json["order_id"]
    await door.send("POST", f"/api/payments/binance/orders/{order_id}/refresh")
    if not fee:
        await door.database.execute(
            "UPDATE payments SET fee = NULL WHERE order_id = $1", UUID(order_id)
        )
    return str(order_id)


async def test_paid_order_shows_in_balances_and_transfers(door: Any) -> None:
    order_id = await _sell(door, 1)
    await seal_new_transfers(door.resources)

    page = await _get(door, f"/transfers?order_id={order_id}")
    balances = await _get(door, "/balances?asset=USDT")

    assert {t["kind"] for t in page["data"]} >= {"payment"}
    payment = next(t for t in page["data"] if t["kind"] == "payment")
    assert payment["transfer_id"] == f"payment:{payment['payment_id']}"
    assert (payment["amount"], payment["debit"], payment["credit"]) == (
        "12.50",
        "binance:funding",
        "sales",
    )
    assert payment["seal"] == 1
    stands = {b["account"]: Decimal(b["balance"]) for b in balances["data"]}
    assert stands["sales"] == Decimal("-12.50")
    assert sum(stands.values()) == 0
    assert {b["asset"] for b in balances["data"]} == {"USDT"}


async def test_balances_of_a_day_are_those_at_its_end(door: Any) -> None:
    late = datetime(2020, 5, 9, 23, 59, 59, 999999, tzinfo=UTC)
    await _book(
        door,
        _moved(9001, at=late, asset="DAYS", amount=Decimal("1.10")),
        _moved(9002, at=late + timedelta(microseconds=1), asset="DAYS", amount=Decimal(2)),
    )

    async def spot(at: str) -> list[str]:
        found = await _get(door, f"/balances?asset=DAYS&at={at}")
        return [b["balance"] for b in found["data"] if b["account"] == "binance:spot"]

    assert await spot("2020-05-08") == []
    assert await spot("2020-05-09") == ["1.10"]
    assert await spot("2020-05-10") == ["3.10"]
    assert await spot("9999-12-31") == ["3.10"]


async def test_transfers_are_paged_newest_first_without_a_gap(door: Any) -> None:
    same = {"at": NOON}
    await _book(door, *(_moved(n) for n in range(7)), *(_moved(n, **same) for n in range(50, 55)))
    names: list[str] = []
    after = ""
    while True:
        page = await _get(door, f"/transfers?limit=2{after}")
        names += [t["transfer_id"] for t in page["data"]]
        if not page["has_more"]:
            break
        after = f"&starting_after={names[-1]}"

    ours = [name for name in names if name.startswith("moved:00")]
    on_the_day = {0, 50, 51, 52, 53, 54}
    assert len(names) == len(set(names))
    assert ours == [f"moved:{n:04}" for n in (6, 5, 4, 3, 2, 1)] + [
        f"moved:{n:04}" for n in sorted(on_the_day, reverse=True)
    ]


async def test_fee_that_is_unknown_is_listed_until_it_is_known(door: Any) -> None:
    first, second = await _sell(door, 2, fee=False), await _sell(door, 3, fee=False)

    page = await _get(door, "/unknown-fees?limit=1")
    assert [entry["order_id"] for entry in page["data"]] == [first]
    assert page["has_more"]
    after = page["data"][0]["payment_id"]
    page = await _get(door, f"/unknown-fees?starting_after={after}")
    assert [entry["order_id"] for entry in page["data"]] == [second]
    assert page["data"][0]["amount"] == "12.50"
    assert not page["has_more"]

    await door.database.execute("UPDATE payments SET fee = 0 WHERE fee IS NULL")
    assert (await _get(door, "/unknown-fees"))["data"] == []


@pytest.mark.parametrize(
    ("path", "status", "code", "field"),
    [
        ("/transfers?starting_after=nonsense", 404, "transfer_not_found", "starting_after"),
        ("/transfers?starting_after=payment:%00", 404, "transfer_not_found", "starting_after"),
        ("/transfers?order_id=nonsense", 404, "order_not_found", "order_id"),
        ("/transfers?asset=USDT", 422, "invalid_request", "asset"),
        ("/transfers?limit=0", 422, "invalid_request", "limit"),
        ("/unknown-fees?starting_after=x", 404, "payment_not_found", "starting_after"),
        (f"/unknown-fees?starting_after={UUID(int=1)}", 404, "payment_not_found", "starting_after"),
        ("/balances?at=yesterday", 422, "invalid_request", "at"),
        ("/balances?day=2020-01-01", 422, "invalid_request", "day"),
    ],
)
async def test_wrong_question_is_refused_by_its_field(
    door: Any, unchanged: None, path: str, status: int, code: str, field: str
) -> None:
    answer = await door.send("GET", f"/api/ledger{path}")

    answer.must_refuse(status, code, field)


@pytest.mark.parametrize("path", ["/balances", "/transfers", "/unknown-fees"])
async def test_books_are_for_keys_that_may_read_them(door: Any, path: str) -> None:
    key = await door.make_key("orders:read", "orders:write", "events:read")

    answer = await door.send("GET", f"/api/ledger{path}", key=key)

    answer.must_refuse(403, "scope_missing", "Authorization")
    key = await door.make_key("ledger:read")
    assert (await door.send("GET", f"/api/ledger{path}", key=key)).status == 200


async def test_other_accounts_books_are_not_ours(door: Any) -> None:
    other = UUID(int=77)
    await door.database.execute(
        "INSERT INTO accounts VALUES ($1, 'another1', 'Other', 'other', NULL, $2)", other, NOON
    )
    await _book(door, replace(_moved(1), account_id=other, asset="OTHER", fact="theirs"))

    transfers = await _get(door, "/transfers?limit=100")
    balances = await _get(door, "/balances")

    assert "theirs" not in {t["fact"] for t in transfers["data"]}
    assert "OTHER" not in {b["asset"] for b in balances["data"]}
    answer = await door.send("GET", "/api/ledger/transfers?starting_after=moved:theirs")
    answer.must_refuse(404, "transfer_not_found", "starting_after")
