"""Somebody pastes the wrong key: nothing ends for it, and mending the key mends everything."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from checkstand.operations.advance_attempt import advance_attempt
from checkstand.operations.advance_refund import advance_refund, claim_due_refunds
from checkstand.operations.claim_due_attempts import claim_due_attempts
from checkstand.operations.expire_orders import expire_orders
from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID
from checkstand.operations.watch_doubts import watch_doubts
from checkstand.simulator.records import Merchant

STAGING = Merchant(api_key="staging-key", api_secret="staging-secret", merchant_id="900000777")
ACCOUNT = "/api/account"


@pytest.fixture
async def two_gateways(run_gateway: Any) -> AsyncIterator[tuple[Any, Any]]:
    """Two gateways of one database that do nothing by themselves: ours, and another."""
    async with (
        run_gateway(with_worker=False) as ours,
        run_gateway(with_worker=False) as other,
    ):
        yield ours, other


async def _work(gateway: Any) -> None:
    """Do once what a worker would do now."""
    for lease in await claim_due_attempts(gateway.resources, limit=50):
        await advance_attempt(gateway.resources, lease=lease)
    await expire_orders(gateway.resources)
    await watch_doubts(gateway.resources)


async def _paste(url: str, gateway: Any, api_key: str, secret: str) -> None:
    """Put other keys into the account's credential, as a rotation by hand would."""
    connection = await asyncpg.connect(url)
    try:
        (row,) = await connection.fetch("SELECT credential_id FROM credentials")
        sealed = gateway.resources.vault.encrypt(
            secret,
            account_id=DEFAULT_ACCOUNT_ID,
            row_id=row["credential_id"],
            column="api_secret",
        )
        await connection.execute(
            "UPDATE credentials SET api_key = $1, secret_ciphertext = $2", api_key, sealed
        )
    finally:
        await connection.close()


async def _ask_back(gateway: Any, order_id: str) -> None:
    path = f"/api/payments/binance/orders/{order_id}/refunds"
    body = {"merchant_refund_id": "r1"}
    await gateway.request("POST", path, body=body, headers={"idempotency-key": "r1"})


async def _statuses(gateway: Any, order_ids: list[str]) -> set[str]:
    return {(await gateway.order(order_id))["status"] for order_id in order_ids}


async def test_staging_key_ends_no_order_and_the_right_one_goes_on(
    run_gateway: Any, empty_database_url: str, gateway_settings: Any, simulator: Any
) -> None:
    simulator.control.add_merchant(STAGING)
    async with run_gateway(with_worker=False) as gateway:
        created = [await gateway.create(expires_in=7200) for _ in range(14)]
        order_ids = [str(answer.json["order_id"]) for answer in created]
        await simulator.control.advance(70)
        await _paste(empty_database_url, gateway, STAGING.api_key, STAGING.api_secret)

    nobody = {"binance_api_key": None, "binance_api_secret": None, "with_worker": False}
    async with run_gateway(**nobody) as gateway:
        for _ in range(30):  # ten hours: every order's own time passes
            await _work(gateway)
            await simulator.control.advance(1200)
        account = (await gateway.request("GET", ACCOUNT)).json
        assert "no such order" in account["halted_reason"]
        assert await _statuses(gateway, order_ids) == {"PENDING_PAYMENT"}
        refused = await gateway.create()
        assert (refused.status, refused.json["code"]) == (503, "account_halted")
        await _paste(
            empty_database_url,
            gateway,
            gateway_settings.binance_api_key,
            gateway_settings.binance_api_secret,
        )

    async with run_gateway(**nobody) as gateway:
        odd = [(await gateway.order(order_id))["anomalies"] for order_id in order_ids]
        assert ["provider_contradicts"] in odd
        resumed = await gateway.request(
            "POST", f"{ACCOUNT}/resume", body={"reason": "the right key is back"}
        )
        assert (resumed.status, resumed.json["halted_reason"]) == (200, None)
        for _ in range(4):
            await _work(gateway)
            await simulator.control.advance(60)

        odd = [(await gateway.order(order_id))["anomalies"] for order_id in order_ids]
        assert odd == [[]] * 14
        assert await _statuses(gateway, order_ids) == {"EXPIRED"}
        assert (await gateway.create()).status == 201
        # Long after it went on each order still tells that it was stopped, and why.
        told = await gateway.timeline(order_ids[0])
        stop, resumption = [e for e in told if e["kind"] == "halt"]
        assert (stop["actor"], resumption["actor"]) == ("checkstand", "merchant")
        assert account["halted_reason"] in stop["summary"]
        assert "the right key is back" in resumption["summary"]


async def test_another_merchant_stops_the_account_whichever_credential_asks(
    run_gateway: Any, empty_database_url: str, simulator: Any
) -> None:
    simulator.control.add_merchant(STAGING)
    async with run_gateway(with_worker=False) as gateway:
        first = await gateway.create()
        await simulator.control.advance(6)
        await _work(gateway)
        assert (await gateway.request("GET", ACCOUNT)).json["merchant_id"] is not None
        await _paste(empty_database_url, gateway, STAGING.api_key, STAGING.api_secret)

    nobody = {"binance_api_key": None, "binance_api_secret": None, "with_worker": False}
    async with run_gateway(**nobody) as gateway:
        second = await gateway.create()  # made at the other merchant, who does know it
        await simulator.control.advance(6)
        await _work(gateway)

        account = (await gateway.request("GET", ACCOUNT)).json
        assert STAGING.merchant_id in account["halted_reason"]
        shown = [(await gateway.order(a.json["order_id"]))["qr_content"] for a in (first, second)]
        assert shown == [first.json["qr_content"], None]  # nobody is to pay the other merchant
        resumed = await gateway.request(
            "POST", f"{ACCOUNT}/resume", body={"reason": "we moved", "forget_merchant": True}
        )
        assert resumed.json["merchant_id"] is None
        await simulator.control.advance(60)
        await _work(gateway)
        account = (await gateway.request("GET", ACCOUNT)).json
        assert account["merchant_id"] == STAGING.merchant_id
        assert account["halted_reason"] is None
        ids = [first.json["order_id"], second.json["order_id"]]
        assert await _statuses(gateway, ids) == {"PENDING_PAYMENT"}


async def test_orders_that_another_merchant_has_stop_the_account_no_more_once_accepted(
    run_gateway: Any, empty_database_url: str, gateway_settings: Any, simulator: Any
) -> None:
    simulator.control.add_merchant(STAGING)
    ours = (gateway_settings.binance_api_key, gateway_settings.binance_api_secret)
    async with run_gateway(with_worker=False) as gateway:
        await _paste(empty_database_url, gateway, STAGING.api_key, STAGING.api_secret)
    nobody = {"binance_api_key": None, "binance_api_secret": None, "with_worker": False}
    async with run_gateway(**nobody) as gateway:
        created = [(await gateway.create(expires_in=1200)).json for _ in range(3)]
        order_ids = [str(answer["order_id"]) for answer in created]
        await _paste(empty_database_url, gateway, *ours)

    async with run_gateway(**nobody) as gateway:
        for _ in range(12):
            await simulator.control.advance(120)
            await _work(gateway)
        assert "no such order" in (await gateway.request("GET", ACCOUNT)).json["halted_reason"]
        for order_id in order_ids:
            path = f"/api/payments/binance/orders/{order_id}/anomalies"
            for odd in (await gateway.request("GET", path)).json["data"]:
                if odd["kind"] == "provider_contradicts":
                    body = {"resolution": "accept", "reason": "made with other keys"}
                    await gateway.request("POST", f"{path}/{odd['anomaly_id']}/resolve", body=body)
        await gateway.request("POST", f"{ACCOUNT}/resume", body={"reason": "the keys are ours"})
        for _ in range(12):
            await simulator.control.advance(120)
            await _work(gateway)

        assert (await gateway.request("GET", ACCOUNT)).json["halted_reason"] is None
        assert await _statuses(gateway, order_ids) == {"EXPIRED"}


async def test_person_stops_and_resumes_once_and_it_is_kept(
    gateway: Any, empty_database_url: str
) -> None:
    for _ in range(2):
        body = {"reason": "the portal looks odd"}
        answer = await gateway.request("POST", f"{ACCOUNT}/halt", body=body)
        assert answer.json["halted_reason"] == "the portal looks odd"
    for _ in range(2):
        answer = await gateway.request("POST", f"{ACCOUNT}/resume", body={"reason": "all is well"})
        assert answer.json["halted_reason"] is None

    connection = await asyncpg.connect(empty_database_url)
    try:
        rows = await connection.fetch("SELECT what, reason, order_id FROM acts ORDER BY at, act_id")
    finally:
        await connection.close()
    assert [(row["what"], row["reason"]) for row in rows] == [
        ("halt account", "the portal looks odd"),
        ("resume account", "all is well"),
    ]


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": "x", "force": True}])
async def test_account_is_not_stopped_without_a_reason(gateway: Any, body: Any) -> None:
    answer = await gateway.request("POST", f"{ACCOUNT}/halt", body=body)

    assert (answer.status, answer.json["code"]) == (422, "invalid_request")


async def test_absence_is_not_believed_while_the_account_is_stopped(run_gateway: Any) -> None:
    async with run_gateway(with_worker=False) as gateway:
        control = gateway.simulator.control
        control.faults.add("http_5xx_before_effect", endpoint="/v3/order")
        order_id = (await gateway.create(expires_in=300)).json["order_id"]
        await _halt(gateway)
        for _ in range(3):
            await control.advance(1200)
            path = f"/api/payments/binance/orders/{order_id}/refresh"
            await gateway.request("POST", path)
            await expire_orders(gateway.resources)

        assert (await gateway.order(order_id))["status"] == "CREATED"
        await gateway.request("POST", f"{ACCOUNT}/resume", body={"reason": "the keys are ours"})
        for _ in range(3):
            await _work(gateway)
            await control.advance(60)
        assert (await gateway.order(order_id))["status"] == "EXPIRED"


async def _halt(gateway: Any) -> None:
    answer = await gateway.request("POST", f"{ACCOUNT}/halt", body={"reason": "it looks odd"})
    assert answer.status == 200


async def test_no_order_is_begun_after_another_gateway_s_halt(two_gateways: Any) -> None:
    ours, other = two_gateways
    known = await ours.create(key="before", merchant_order_id="before")
    await _halt(other)

    refused = await ours.create(key="after", merchant_order_id="after")

    assert (refused.status, refused.json["code"]) == (503, "account_halted")
    assert "it looks odd" in refused.json["detail"]
    assert len(ours.trade_numbers()) == 1
    listed = await ours.request("GET", "/api/payments/binance/orders")
    assert [order["merchant_order_id"] for order in listed.json["data"]] == ["before"]
    # What was answered before is answered so again, and a resumed account goes on at once.
    again = await ours.create(key="before", merchant_order_id="before")
    assert (again.status, again.json["order_id"]) == (201, known.json["order_id"])
    await other.request("POST", f"{ACCOUNT}/resume", body={"reason": "all is well"})
    assert (await ours.create(key="after", merchant_order_id="after")).status == 201


async def test_close_is_not_sent_when_the_account_was_stopped_after_the_claim(
    two_gateways: Any, simulator: Any
) -> None:
    ours, other = two_gateways
    created = await ours.create()
    path = f"/api/payments/binance/orders/{created.json['order_id']}/cancel"
    assert (await ours.request("POST", path)).status == 202
    (lease,) = await claim_due_attempts(ours.resources, limit=50)
    await _halt(other)

    await advance_attempt(ours.resources, lease=lease)
    await simulator.control.advance(60)

    assert str(simulator.control.orders[0].status) == "INITIAL"
    asked = [e["summary"] for e in await ours.timeline(created.json["order_id"])]
    assert not any("/order/close" in line for line in asked)
    assert any("sent to Binance, by" in line and "it looks odd" in line for line in asked)


async def test_refund_is_not_sent_when_the_account_was_stopped_after_the_claim(
    two_gateways: Any, simulator: Any
) -> None:
    ours, other = two_gateways
    created = await ours.create()
    simulator.control.pay(ours.trade_numbers()[0])
    await ours.until(created.json["order_id"], "PAID")
    await _ask_back(ours, created.json["order_id"])
    for is_halted in (False, True):  # the order is asked about, then it would be sent
        (lease,) = await claim_due_refunds(ours.resources, limit=50)
        if is_halted:
            await _halt(other)
        await advance_refund(ours.resources, lease=lease)

    assert simulator.control.refunds == []


@pytest.mark.parametrize("what", ["paid", "closed", "returned"])
async def test_notice_moves_nothing_while_the_account_is_stopped(
    two_gateways: Any, simulator: Any, what: str
) -> None:
    ours, other = two_gateways
    order_id = (await ours.create()).json["order_id"]
    (number,) = ours.trade_numbers()
    if what == "returned":
        simulator.control.pay(number)
        await ours.until(order_id, "PAID")
        simulator.control.faults.add("webhook_delay", biz_status="REFUND_SUCCESS", seconds=3600)
        await _ask_back(ours, order_id)
        for _ in range(2):
            (lease,) = await claim_due_refunds(ours.resources, limit=50)
            await advance_refund(ours.resources, lease=lease)
    before = (await ours.order(order_id))["status"]
    await _halt(other)

    if what == "paid":
        simulator.control.pay(number)
    elif what == "closed":
        simulator.control.expire(number)
    await simulator.control.advance(3601 if what == "returned" else 1)
    await simulator.control.settle()
    assert (await ours.order(order_id))["status"] == before
    told = [e["summary"] for e in await ours.timeline(order_id)]
    assert any("asking Binance: the account is stopped" in line for line in told)

    await other.request("POST", f"{ACCOUNT}/resume", body={"reason": "all is well"})
    await _work(ours)
    for lease in await claim_due_refunds(ours.resources, limit=50):
        await advance_refund(ours.resources, lease=lease)
    after = {"paid": "PAID", "closed": "PENDING_PAYMENT", "returned": "REFUNDED"}
    assert (await ours.order(order_id))["status"] == after[what]
