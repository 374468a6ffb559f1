"""What is odd across an account, a page at a time."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from checkstand.operations.manage_keys import create_key
from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID

ANOMALIES = "/api/payments/binance/anomalies"


async def _held(gateway: Any) -> str:
    created = await gateway.create()
    gateway.simulator.control.pay(gateway.trade_numbers()[-1], amount="12.00", force=True)
    await gateway.until(created.json["order_id"], lambda order: order["anomalies"] != [])
    await gateway.simulator.control.advance(1)
    return str(created.json["order_id"])


async def _page(gateway: Any, query: str = "") -> Any:
    answer = await gateway.request("GET", f"{ANOMALIES}{query}")
    assert answer.status == 200, answer.content
    return answer.json


async def test_open_ones_are_listed_newest_first_and_page_by_page(gateway: Any) -> None:
    order_ids = [await _held(gateway) for _ in range(3)]

    first = await _page(gateway, "?limit=2")
    # Somebody settles the last of the page before the next is asked for.
    last = first["data"][-1]
    path = f"/api/payments/binance/orders/{last['order_id']}/anomalies/{last['anomaly_id']}/resolve"
    body = {"resolution": "write_off", "reason": "dust"}
    assert (await gateway.request("POST", path, body=body)).status == 200
    second = await _page(gateway, f"?limit=2&starting_after={last['anomaly_id']}")

    assert [a["order_id"] for a in first["data"]] == [order_ids[2], order_ids[1]]
    assert first["has_more"]
    assert [a["order_id"] for a in second["data"]] == [order_ids[0]]
    assert not second["has_more"]
    open_now, settled = await _page(gateway), await _page(gateway, "?resolved=true")
    assert [a["order_id"] for a in open_now["data"]] == [order_ids[2], order_ids[0]]
    assert [(a["order_id"], a["resolution"]) for a in settled["data"]] == [
        (order_ids[1], "write_off")
    ]


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("?starting_after=nonsense", 404, "anomaly_not_found"),
        (f"?starting_after={UUID(int=1)}", 404, "anomaly_not_found"),
        ("?limit=0", 422, "invalid_request"),
        ("?open=true", 422, "invalid_request"),
    ],
)
async def test_what_cannot_be_listed_is_said(
    gateway: Any, query: str, status: int, code: str
) -> None:
    answer = await gateway.request("GET", f"{ANOMALIES}{query}")

    assert (answer.status, answer.json["code"]) == (status, code)


async def test_list_needs_the_scope(gateway: Any) -> None:
    house = gateway.resources
    weak = await create_key(
        house.database,
        account_id=DEFAULT_ACCOUNT_ID,
        reference=house.accounts.get(DEFAULT_ACCOUNT_ID).reference,
        name=uuid4().hex,
        scopes=["events:read"],
        clock=house.clock,
        ids=house.ids,
        random=house.random,
    )

    answer = await gateway.request("GET", ANOMALIES, headers={"authorization": f"Bearer {weak}"})

    assert (answer.status, answer.json["code"]) == (403, "scope_missing")
