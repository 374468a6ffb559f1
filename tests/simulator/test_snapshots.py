"""State out and in: another simulator goes on where the first one stood, and seeds replay."""

import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from checkstand.simulator.settings import Settings
from checkstand.simulator.signing import SigningKey, make_signing_key

ME = "900000001"
Start = Callable[..., Awaitable[Any]]
NOTHING_ACKNOWLEDGED = (500, b"")


async def moved(shop: Any, start: Start) -> Any:
    """Carry a shop's simulator over to a fresh one, as a file would."""
    exported = await shop.control("GET", "/export")
    other = await start(signing_key=make_signing_key())
    imported = await other.send("POST", "/simulator/import", exported.content)
    assert imported.status == 200, imported.content
    return other


async def busy(shop: Any, inbox: Any) -> None:
    """Leave something under way of every kind."""
    control = shop.simulator.control
    control.set_balance(ME, "USDT", 50)
    created = await shop.create("T1")
    inbox.answers.append(NOTHING_ACKNOWLEDGED)
    control.pay("T1")
    await control.settle()
    refund = {"refundRequestId": "RF1", "prepayId": created["prepayId"], "refundAmount": 5}
    await shop.call("/order/refund", refund)
    await shop.create("T2")
    await shop.create("T3")
    await shop.call("/order/close", {"merchantTradeNo": "T3"})
    line = {
        "merchantSendId": "L1",
        "receiveType": "EMAIL",
        "receiver": "person@example.com",
        "transferAmount": 2,
        "transferMethod": "FUNDING_WALLET",
    }
    batch = {"requestId": "PO1", "batchName": "B", "currency": "USDT", "totalAmount": 2}
    lines = {"totalNumber": 1, "transferDetailList": [line]}
    await shop.call("/payout/transfer", {**batch, **lines})
    day = {"startDate": "2026-01-01", "endDate": "2026-01-02"}
    await shop.call("/balance-report", {"reportType": "Balance", **day})
    shop_below = {"merchantName": "Tea", "merchantMcc": "1040"}
    await shop.call("/submerchant/add", shop_below)
    control.faults.add("slow", endpoint="/order", times=3, seconds=2)


def without_links(state: dict[str, Any]) -> dict[str, Any]:
    return {
        **state,
        "orders": [{**each, "links": None} for each in state["orders"]],
        "clock": {**state["clock"], "next_due_ms": None},
    }


async def test_imported_state_is_the_exported_one(shop: Any, start: Start, inbox: Any) -> None:
    await busy(shop, inbox)
    before = (await shop.control("GET", "/state")).json

    other = await moved(shop, start)

    after = (await other.control("GET", "/state")).json
    assert without_links(after) == without_links(before)
    assert after["clock"]["next_due_ms"] == before["clock"]["next_due_ms"]
    assert other.simulator.control.export_state() != b""
    assert other.simulator.control.balance(ME, "USDT") == shop.simulator.control.balance(ME, "USDT")


async def test_what_was_under_way_goes_on_after_import(shop: Any, start: Start, inbox: Any) -> None:
    await busy(shop, inbox)
    other = await moved(shop, start)
    shop.simulator.clock.clear()
    inbox.received.clear()

    await other.simulator.control.advance(3600)

    told = sorted((each.json["bizType"], each.json["bizStatus"]) for each in inbox.received)
    assert told == [
        ("BALANCE", "BALANCE_SUCCESS"),
        ("PAY", "PAY_CLOSED"),
        ("PAY", "PAY_CLOSED"),
        ("PAY", "PAY_SUCCESS"),
        ("PAYOUT", "SUCCESS"),
        ("PAY_REFUND", "REFUND_SUCCESS"),
    ]
    assert [each.status for each in other.simulator.control.orders] == [
        "REFUNDED",
        "EXPIRED",
        "CANCELED",
    ]


async def test_links_and_keys_come_along(shop: Any, start: Start) -> None:
    created = await shop.create("T1")

    other = await moved(shop, start)

    (order,) = other.simulator.control.orders
    assert order.links.checkout_url.startswith(other.simulator.base_url)
    assert order.links.deeplink == created["deeplink"]
    assert (await other.send("GET", order.links.checkout_url)).status == 200
    assert (await other.call("/certificates")).data == (await shop.call("/certificates")).data


async def test_running_clock_stays_as_far_from_the_hosts(shop: Any, start: Start) -> None:
    shop.simulator.clock.resume()
    shop.simulator.clock.set_ms(shop.simulator.clock.host_ms() + 86_400_000)

    other = await moved(shop, start)

    clock = other.simulator.clock
    assert not clock.frozen
    assert abs(clock.now_ms() - clock.host_ms() - 86_400_000) < 60_000


async def test_seeded_simulator_makes_no_id_twice_after_import(start: Start) -> None:
    shop = await start(seed=5)
    first = await shop.create("T1")
    exported = shop.simulator.control.export_state()
    other = await start(seed=5)
    await other.simulator.control.import_state(exported)

    second = await other.create("T2")

    assert second["deeplink"] != first["deeplink"]
    assert second["prepayId"] > first["prepayId"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda state: {}, "no exported state"),
        (lambda state: {**state, "version": 2}, "version 2"),
        (lambda state: {**state, "keys": []}, "no key"),
        (lambda state: {**state, "orders": [{"status": "LOST"}]}, "no exported state"),
    ],
)
async def test_what_is_no_state_is_refused_and_changes_nothing(
    shop: Any, spoil: Callable[[Any], Any], words: str
) -> None:
    await shop.create("T1")
    exported = json.loads(shop.simulator.control.export_state())

    reply = await shop.control("POST", "/import", spoil(exported))

    assert reply.status == 400
    assert words in reply.json["error"]
    assert (await shop.query("T1"))["status"] == "INITIAL"


async def run_of_misfortune(start: Start, key: SigningKey, inbox: Any, seed: int) -> list[Any]:
    """Trade for a while under probable faults; return all that could be seen."""
    shop = await start(seed=seed, signing_key=key, settings=Settings(close_delay_ms=50))
    control = shop.simulator.control
    control.clock.freeze()
    control.clock.set_ms(2_000_000_000_000)
    control.faults.add("unknown_error", probability=0.3, times=None, endpoint="/v2/order/query")
    control.faults.add("paid_while_closing", probability=0.5, times=None)
    control.faults.add("duplicate", probability=0.3, times=None)
    control.faults.add("bad_signature", probability=0.3, times=None)
    seen: list[Any] = []
    for number in range(12):
        created = await shop.create(f"T{number}", webhookUrl=inbox.url)
        seen += [created["prepayId"], created["deeplink"]]
        await shop.call("/order/close", {"merchantTradeNo": f"T{number}"})
        await control.advance(1)
        reply = await shop.call("/v2/order/query", {"merchantTradeNo": f"T{number}"})
        seen.append(reply.content)
    seen += [replace(notice, tries=()) for notice in control.notices]
    seen += [(each.nonce, each.signature) for notice in control.notices for each in notice.tries]
    return seen


async def test_run_replays_from_its_seed(start: Start, signing_key: SigningKey, inbox: Any) -> None:
    first = await run_of_misfortune(start, signing_key, inbox, seed=7)
    again = await run_of_misfortune(start, signing_key, inbox, seed=7)
    other = await run_of_misfortune(start, signing_key, inbox, seed=8)

    assert again == first
    assert other != first


async def test_signed_notice_is_made_without_being_sent(shop: Any, inbox: Any) -> None:
    data = {"merchantTradeNo": "T9", "totalFee": 12.5, "commission": "0.1"}

    signed = (await shop.control("POST", "/sign", {"data": data, "biz_id": "5"})).json
    spoilt = (await shop.control("POST", "/sign", {"data": data, "bad_signature": True})).json

    headers = signed["headers"]
    (certificate,) = (await shop.call("/certificates")).data
    assert headers["BinancePay-Certificate-SN"] == certificate["certSerial"]
    key = load_pem_public_key(certificate["certPublic"].encode())
    assert isinstance(key, rsa.RSAPublicKey)
    for notice, is_good in ((signed, True), (spoilt, False)):
        lines = (notice["headers"][f"BinancePay-{name}"] for name in ("Timestamp", "Nonce"))
        payload = "".join(f"{line}\n" for line in (*lines, notice["body"])).encode()
        signature = base64.b64decode(notice["headers"]["BinancePay-Signature"])
        try:
            key.verify(signature, payload, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            assert not is_good
        else:
            assert is_good
    assert json.loads(signed["body"])["bizIdStr"] == "5"
    assert '\\"totalFee\\":12.50000000,\\"commission\\":\\"0.1\\"' in signed["body"]
    assert inbox.received == []
