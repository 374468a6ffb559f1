"""`checkstand orders`: found by either id, explained in order, settled with a reason."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest


@pytest.fixture
async def held(run_gateway: Any, gateway_settings: Any, bare: Any) -> AsyncIterator[Any]:
    """An order that was paid another sum, and the program beside the gateway that has it."""
    settings = {
        "CHECKSTAND_DATABASE_URL": gateway_settings.database_url,
        "CHECKSTAND_SECRET_KEY": gateway_settings.secret_keys[0],
        "CHECKSTAND_LOG_LEVEL": "error",
    }
    program = replace(bare, environment=bare.environment | settings)
    async with run_gateway() as gateway:
        created = await gateway.create(merchant_order_id="shop-77")
        order_id = created.json["order_id"]
        gateway.simulator.control.pay(gateway.trade_numbers()[-1], amount="12.00", force=True)
        await gateway.simulator.control.settle()
        await gateway.until(order_id, lambda order: order["anomalies"] == ["amount_differs"])

        async def run(*arguments: str, command: str = "orders") -> Any:
            return await asyncio.to_thread(program.ends, command, *arguments)

        yield gateway, order_id, run


async def test_order_is_listed_shown_and_settled(held: Any) -> None:
    gateway, order_id, run = held

    listed = await run("list")
    shown = await run("show", "shop-77", "--json")
    settled = await run(
        "resolve", "shop-77", "amount_differs", "accept", "--reason", "close enough", "--by", "jo"
    )

    assert (listed.code, listed.err) == (0, "")
    assert order_id in listed.out
    assert "[amount_differs]" in listed.out
    facts = json.loads(shown.out)
    assert facts["order_id"] == order_id
    assert facts["anomaly_details"][0]["resolutions"] == ["accept", "refund", "write_off"]
    assert (settled.code, settled.err) == (0, "")
    assert "PAID" in settled.out
    assert (await gateway.order(order_id))["status"] == "PAID"
    plain = (await run("show", order_id)).out
    assert "accept by jo: close enough" in plain


async def test_order_is_explained_as_the_api_tells_it(held: Any) -> None:
    gateway, order_id, run = held
    await run("resolve", order_id, "amount_differs", "write_off", "--reason", "dust", "--by", "jo")

    told = await run("explain", "shop-77")
    as_json = await run("explain", order_id, "--json")

    assert json.loads(as_json.out)["data"] == await gateway.timeline(order_id)
    lines = told.out.splitlines()
    assert order_id in lines[0]
    stations = [
        "CREATED as shop-77",
        "asking Binance /v3/order",
        "amount_differs opened",
        "resolve anomaly (write_off) by jo: dust",
        "amount_differs resolved (write_off): dust",
    ]
    places = [next(n for n, line in enumerate(lines) if station in line) for station in stations]
    assert places == sorted(places)
    asked = next(line for line in lines if "asking Binance /v3/order" in line)
    assert asked.split()[2:4] == ["checkstand", "call"]
    assert "[call:" in asked  # where to look further
    moments = [line[:23] for line in lines[1:]]
    assert moments == sorted(moments)


async def test_what_cannot_be_done_is_said_in_a_sentence(held: Any) -> None:
    _, order_id, run = held
    accept = ("resolve", order_id, "amount_differs", "accept", "--reason", "x")

    for arguments, code, words in (
        (("show", "shop-78"), 1, "there is no order shop-78"),
        (("resolve", order_id, "paid_late", "accept", "--reason", "x"), 1, "amount_differs"),
        (("resolve", order_id, "amount_differs", "refund", "--reason", "x"), 1, "refund payment"),
        (("resolve", order_id, "amount_differs", "accept"), 2, "--reason"),
        (
            (*accept, "--returned-at", "yesterday"),
            2,
            "--returned-at must be a time with its zone",
        ),
        (
            (*accept, "--returned-at", "2026-01-31T12:00Z"),
            2,
            "belong to an amount that went back",
        ),
        (
            (
                *accept,
                "--amount",
                "1",
                "--returned-at",
                "2026-01-31T12:00Z",
                "--fee-returned",
                "0.01",
            ),
            2,
            "belongs to accepting refunded_elsewhere alone",
        ),
    ):
        ended = await run(*arguments)
        assert ended.code == code, ended
        assert words in ended.err, ended
        assert ended.out == ""


async def test_what_is_odd_is_listed_across_orders(held: Any) -> None:
    _, order_id, run = held

    told = await run(command="anomalies")
    facts = json.loads((await run("--json", command="anomalies")).out)
    await run("resolve", order_id, "amount_differs", "accept", "--reason", "dust", "--by", "jo")
    after = await run(command="anomalies")
    settled = await run("--resolved", command="anomalies")

    assert (told.code, told.err) == (0, "")
    assert f"order {order_id} amount_differs {facts['anomaly_id']}: expected 12.50" in told.out
    assert "resolve by accept, refund, write_off" in told.out
    assert (facts["order_id"], facts["is_open"]) == (order_id, True)
    assert (after.code, after.out) == (0, "")
    assert "accept by jo: dust" in settled.out
