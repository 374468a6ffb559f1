"""Schemathesis reads the API's own description and holds every answer to it.

No 5xx, no status or media type that is not described, bodies that fit their schema, wrong input
refused, and nothing without a key. `CHECKSTAND_TEST_EXAMPLES` says how many requests an operation
gets in each phase (a few here, hundreds when somebody has the time), `CHECKSTAND_TEST_SEED` from
which seed they are drawn.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any, Final

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")

_EXAMPLES: Final = int(os.environ.get("CHECKSTAND_TEST_EXAMPLES", "8"))
_SEED: Final = os.environ.get("CHECKSTAND_TEST_SEED", "1")
_CREATE: Final = "/api/payments/binance/create"


async def make_order(door: Any, number: int, *, paid: bool) -> str:
    """Open an order, and pay it."""
    order = {"merchant_order_id": f"known-{number}", "amount": "12.50", "currency": "USDT"}
    created = await door.send("POST", _CREATE, json.dumps(order).encode())
    order_id: str = created.json["order_id"]
    if paid:
        theirs = door.simulator.control.orders[-1]
        door.simulator.control.pay(theirs.merchant_trade_no, webhook=False)
        refreshed = await door.send("POST", f"/api/payments/binance/orders/{order_id}/refresh")
        assert refreshed.json["status"] == "PAID"
    return order_id


async def known_ids(door: Any) -> dict[str, list[str]]:
    """Make some of everything that an address can name."""
    endpoint = json.dumps({"url": "https://shop.example/hooks"}).encode()
    added = await door.send("POST", "/api/webhook-endpoints", endpoint)
    orders = [await make_order(door, number, paid=number > 2) for number in range(6)]
    events = await door.send("GET", "/api/events?limit=100")
    return {
        "order_id": orders,
        "endpoint_id": [added.json["endpoint_id"]],
        "event_id": [entry["event"]["id"] for entry in events.json["data"]],
    }


@pytest.mark.timeout(180 if _EXAMPLES < 50 else 0)
async def test_every_answer_is_as_the_document_says(door: Any, tmp_path: Path) -> None:
    known = await known_ids(door)

    # A process of its own: it brings its own settings of everything, and its own threads.
    schemathesis = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("schemathesis")),
        "run",
        f"{door.url}/api/openapi.json",
        f"--header=Authorization: Bearer {door.api_key}",
        f"--max-examples={_EXAMPLES}",
        f"--seed={_SEED}",
        "--generation-database=none",
        # Which fields go together, and what an address is made of, the document cannot say.
        "--exclude-checks=positive_data_acceptance",
        "--continue-on-failure",
        "--no-color",
        cwd=tmp_path,
        env=os.environ
        | {
            "SCHEMATHESIS_HOOKS": str(Path(__file__).with_name("known_ids.py")),
            "CHECKSTAND_TEST_KNOWN_IDS": json.dumps(known),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await schemathesis.communicate()

    assert schemathesis.returncode == 0, said.decode()


async def test_nothing_is_answered_without_a_key(door: Any, unchanged: None) -> None:
    document = (await door.send("GET", "/api/openapi.json", authorization="")).json
    for path, item in document["paths"].items():
        for method in item:
            for key in ("", "Basic YTpi", "Bearer", "Bearer csk_nothing"):
                address = path.replace("{", "").replace("}", "")

                answer = await door.send(method.upper(), address, b"{}", authorization=key)

                assert answer.status == 401, (method, path, key, answer.content)
                assert answer.headers["www-authenticate"] == "Bearer"
