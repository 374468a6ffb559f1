"""Every fault is seen to work over real HTTP, and strikes whom and as often as it says."""

import asyncio
import base64
from collections.abc import Callable
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any

import httpcore2
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from checkstand.simulator.ambient import Randomness
from checkstand.simulator.faults import KINDS, FaultBook, Stage, Target

Body = Callable[..., dict[str, Any]]


def verify(shop: Any, received: Any) -> None:
    pem = shop.simulator.world.keys.current.public_pem
    key = load_pem_public_key(pem.encode())
    assert isinstance(key, rsa.RSAPublicKey)
    timestamp, nonce = (
        received.headers[f"binancepay-{name}"].encode() for name in ("timestamp", "nonce")
    )
    payload = timestamp + b"\n" + nonce + b"\n" + received.body + b"\n"
    signature = base64.b64decode(received.headers["binancepay-signature"])
    key.verify(signature, payload, padding.PKCS1v15(), hashes.SHA256())


async def until(condition: Callable[[], object]) -> None:
    """Wait, with a deadline, until something is true."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_answer_lost_after_effect_leaves_the_order_and_drops_the_line(
    shop: Any, body: Body
) -> None:
    shop.simulator.control.faults.add("answer_lost_after_effect", endpoint="/v3/order")

    with pytest.raises((httpcore2.RemoteProtocolError, httpcore2.ReadError)):
        await shop.call("/v3/order", body("T1"))

    assert (await shop.query("T1"))["status"] == "INITIAL"
    assert (await shop.call("/v3/order", body("T1"))).code == "400201"


async def test_lost_before_effect_leaves_nothing_and_drops_the_line(shop: Any, body: Body) -> None:
    shop.simulator.control.faults.add("lost_before_effect", endpoint="/v3/order")

    with pytest.raises((httpcore2.RemoteProtocolError, httpcore2.ReadError)):
        await shop.call("/v3/order", body("T1"))

    assert shop.simulator.control.orders == []
    assert (await shop.call("/v3/order", body("T1"))).code == "000000"


async def test_create_that_lands_late_is_unknown_at_first_and_there_afterwards(
    shop: Any, body: Body
) -> None:
    shop.simulator.control.faults.add("lands_late", endpoint="/v3/order", seconds=30)

    with pytest.raises((httpcore2.RemoteProtocolError, httpcore2.ReadError)):
        await shop.call("/v3/order", body("T1"))
    meanwhile = await shop.call("/v2/order/query", {"merchantTradeNo": "T1"})
    shop.simulator.clock.advance(30)

    assert meanwhile.code == "400202"
    assert (await shop.query("T1"))["createTime"] == shop.simulator.clock.now_ms()


@pytest.mark.parametrize(
    ("kind", "status", "landed"),
    [("http_5xx_before_effect", 503, False), ("http_5xx_after_effect", 502, True)],
)
async def test_server_error_before_or_after_the_effect(
    shop: Any, body: Body, kind: str, status: int, landed: bool
) -> None:
    shop.simulator.control.faults.add(kind)

    reply = await shop.call("/v3/order", body("T1"))

    assert reply.status == status
    assert reply.headers["content-type"].startswith("text/html")
    assert bool(shop.simulator.control.orders) is landed


@pytest.mark.parametrize(
    ("kind", "landed"), [("unknown_error", False), ("unknown_error_after_effect", True)]
)
async def test_unknown_error_before_or_after_the_effect(
    shop: Any, body: Body, kind: str, landed: bool
) -> None:
    shop.simulator.control.faults.add(kind)

    reply = await shop.call("/v3/order", body("T1"))

    assert reply.code == "400000"
    assert bool(shop.simulator.control.orders) is landed


async def test_rejected_answers_any_documented_code(shop: Any, body: Body) -> None:
    shop.simulator.control.faults.add("rejected", code="400203")

    assert (await shop.call("/v3/order", body("T1"))).code == "400203"
    assert shop.simulator.control.orders == []


async def test_too_many_requests_say_when_to_come_again(shop: Any, body: Body) -> None:
    shop.simulator.control.faults.add("too_many_requests", seconds=2.5)

    limited = await shop.call("/v3/order", body("T1"))

    assert (limited.status, limited.headers["retry-after"]) == (429, "3")
    assert shop.simulator.control.orders == []


@pytest.mark.parametrize("seconds", [-20, 20])
async def test_skewed_clock_judges_requests_and_shows_in_the_date(shop: Any, seconds: int) -> None:
    clock = shop.simulator.clock
    shop.simulator.control.faults.add("clock_skew", seconds=seconds, times=None)

    refused = await shop.call("/certificates")
    heeded = await shop.call("/certificates", skew_ms=seconds * 1000)

    assert refused.code == "400003"
    told = parsedate_to_datetime(refused.headers["date"]).timestamp() * 1000
    assert abs(told - clock.now_ms() - seconds * 1000) < 1000
    assert heeded.code == "000000"


async def test_new_connection_is_reset_and_a_kept_one_is_not(shop: Any, body: Body) -> None:
    await shop.call("/certificates")
    shop.simulator.control.faults.add("connection_reset", endpoint="/v3/order")

    kept = await shop.call("/v3/order", body("T1"))
    async with httpcore2.AsyncConnectionPool() as fresh:
        shop.pool = fresh
        with pytest.raises(httpcore2.ReadError):
            await shop.call("/v3/order", body("T2"))
        again = await shop.call("/v3/order", body("T2"))

    assert (kept.code, again.code) == ("000000", "000000")


async def test_reset_connection_is_reset_on_the_wire(shop: Any) -> None:
    shop.simulator.control.faults.add("connection_reset")
    port = int(shop.simulator.base_url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    writer.write(b"POST /binancepay/openapi/certificates HTTP/1.1\r\nhost: x\r\n\r\n")

    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


async def test_control_api_is_spared_by_connection_resets(shop: Any) -> None:
    shop.simulator.control.faults.add("connection_reset", times=None)

    async with httpcore2.AsyncConnectionPool() as fresh:
        shop.pool = fresh
        cleared = await shop.control("DELETE", "/faults")

    assert cleared.status == 200


@pytest.mark.parametrize("kind", ["connection_reset", "clock_skew"])
def test_fault_before_the_sender_is_known_takes_no_sender(kind: str) -> None:
    with pytest.raises(ValueError, match="before it is known"):
        book().add(kind, merchant_id="900000001")


async def test_payer_pays_while_the_order_is_being_closed(shop: Any, inbox: Any) -> None:
    await shop.create("T1")
    shop.simulator.control.faults.add("paid_while_closing", merchant_trade_no="T1")

    accepted = await shop.call("/order/close", {"merchantTradeNo": "T1"})
    await shop.simulator.control.advance(1)

    assert accepted.data is True
    assert (await shop.query("T1"))["status"] == "PAID"
    assert [each.json["bizStatus"] for each in inbox.received] == ["PAY_SUCCESS"]


async def test_fee_that_comes_later_is_in_no_message_until_then(shop: Any, inbox: Any) -> None:
    await shop.create("T1")
    shop.simulator.control.faults.add("fee_later", merchant_trade_no="T1", seconds=90)

    paid = shop.simulator.control.pay("T1", commission="0.125")
    await shop.simulator.control.settle()
    at_first = await shop.query("T1")
    await shop.simulator.control.advance(90)

    assert paid.payment.commission == Decimal("0.125")
    assert "commission" not in inbox.received[0].data
    assert (at_first["status"], "commission" in at_first) == ("PAID", False)
    assert (await shop.query("T1"))["commission"] == "0.12500000"


async def test_html_comes_where_json_was_expected(shop: Any, body: Body) -> None:
    shop.simulator.control.faults.add("html")
    shop.simulator.control.faults.add("html", status=429)

    blocked = await shop.call("/v3/order", body("T1"))
    limited = await shop.call("/v3/order", body("T1"))

    assert (blocked.status, limited.status) == (403, 429)
    assert b"Request blocked" in blocked.content


async def test_geo_block_answers_the_number_zero(shop: Any, body: Body) -> None:
    shop.simulator.control.faults.add("geo_block")

    reply = await shop.call("/v3/order", body("T1"))

    assert reply.json["code"] == 0
    assert "restricted location" in reply.json["msg"]


@pytest.mark.parametrize(("kind", "landed_meanwhile"), [("delay", False), ("slow", True)])
async def test_delay_waits_before_the_work_and_slow_after_it(
    shop: Any, body: Body, kind: str, landed_meanwhile: bool
) -> None:
    shop.simulator.control.faults.add(kind, endpoint="/v3/order", seconds=20)
    waiting = asyncio.create_task(shop.call("/v3/order", body("T1")))
    await until(lambda: shop.simulator.clock.next_due_ms is not None)
    await until(lambda: bool(shop.simulator.control.orders) is landed_meanwhile)
    unanswered = not waiting.done()

    shop.simulator.clock.advance(20)
    reply = await waiting

    assert unanswered
    assert reply.code == "000000"


async def test_faults_of_two_stages_work_together(shop: Any, body: Body) -> None:
    shop.simulator.control.faults.add("delay", seconds=0)
    shop.simulator.control.faults.add("answer_lost_after_effect")

    with pytest.raises((httpcore2.RemoteProtocolError, httpcore2.ReadError)):
        await shop.call("/v3/order", body("T1"))

    assert len(shop.simulator.control.orders) == 1
    assert shop.simulator.control.faults.listed == ()


async def test_fault_strikes_one_order_by_any_of_its_ids(shop: Any) -> None:
    created = await shop.create("T1")
    await shop.create("T2")
    faults = shop.simulator.control.faults
    faults.add("unknown_error", merchant_trade_no="T1", times=2)

    other = await shop.call("/v2/order/query", {"merchantTradeNo": "T2"})
    by_trade_no = await shop.call("/v2/order/query", {"merchantTradeNo": "T1"})
    by_prepay_id = await shop.call("/v2/order/query", {"prepayId": created["prepayId"]})
    afterwards = await shop.call("/v2/order/query", {"merchantTradeNo": "T1"})

    assert [each.code for each in (other, by_trade_no, by_prepay_id, afterwards)] == [
        "000000",
        "400000",
        "400000",
        "000000",
    ]


async def test_fault_strikes_one_endpoint_for_ever_until_it_is_taken_back(shop: Any) -> None:
    faults = shop.simulator.control.faults
    full_path = "/binancepay/openapi/certificates"
    fault = faults.add("unknown_error", endpoint=full_path, times=None)

    struck = [(await shop.call("/certificates")).code for _ in range(3)]
    spared = (await shop.call("/order/close", {"merchantTradeNo": "T9"})).code
    faults.remove(fault.number)

    assert struck == ["400000"] * 3
    assert spared == "400202"
    assert (await shop.call("/certificates")).code == "000000"


async def test_unsigned_request_uses_no_fault_up(shop: Any) -> None:
    shop.simulator.control.faults.add("unknown_error")

    assert (await shop.call("/certificates", skew_ms=-9999)).code == "400003"
    assert (await shop.call("/certificates")).code == "400000"


async def test_dropped_webhook_is_never_sent(shop: Any, inbox: Any) -> None:
    shop.simulator.control.faults.add("drop", merchant_trade_no="T1")
    for trade_no in ("T1", "T2"):
        await shop.create(trade_no)
        shop.simulator.control.pay(trade_no)

    await shop.simulator.control.advance(3000)

    assert [each.data["merchantTradeNo"] for each in inbox.received] == ["T2"]
    assert [each.state for each in shop.simulator.control.notices] == ["dropped", "acknowledged"]


async def test_duplicated_webhook_comes_once_more_per_copy(shop: Any, inbox: Any) -> None:
    shop.simulator.control.faults.add("duplicate", copies=2)
    await shop.create("T1")

    shop.simulator.control.pay("T1")
    await shop.simulator.control.settle()

    assert len(inbox.received) == 3
    assert len({each.body for each in inbox.received}) == 1


async def test_delayed_webhook_waits_for_the_clock_and_so_comes_out_of_order(
    shop: Any, inbox: Any
) -> None:
    shop.simulator.control.faults.add("webhook_delay", seconds=60, merchant_trade_no="T1")
    for trade_no in ("T1", "T2"):
        await shop.create(trade_no)
        shop.simulator.control.pay(trade_no)
    await shop.simulator.control.settle()

    await shop.simulator.control.advance(60)

    assert [each.data["merchantTradeNo"] for each in inbox.received] == ["T2", "T1"]


async def test_badly_signed_webhook_does_not_verify_and_its_retry_does(
    shop: Any, inbox: Any
) -> None:
    shop.simulator.control.faults.add("bad_signature", biz_status="PAY_SUCCESS")
    inbox.answers = [(401, b"")]
    await shop.create("T1")
    shop.simulator.control.pay("T1")
    await shop.simulator.control.advance(10)

    bad, good = inbox.received
    with pytest.raises(InvalidSignature):
        verify(shop, bad)
    verify(shop, good)


async def test_unknown_serial_is_listed_nowhere(shop: Any, inbox: Any) -> None:
    shop.simulator.control.faults.add("unknown_serial")
    await shop.create("T1")
    shop.simulator.control.pay("T1")
    await shop.simulator.control.settle()

    (received,) = inbox.received
    listed = {each["certSerial"] for each in (await shop.call("/certificates")).data}
    assert received.headers["binancepay-certificate-sn"] not in listed
    verify(shop, received)


async def test_id_text_can_be_absent(shop: Any, inbox: Any) -> None:
    shop.simulator.control.faults.add("no_biz_id_str")
    created = await shop.create("T1")
    shop.simulator.control.pay("T1")
    await shop.simulator.control.settle()

    (received,) = inbox.received
    assert "bizIdStr" not in received.json
    assert received.json["bizId"] == int(created["prepayId"])


async def test_retry_can_carry_the_first_timestamp(shop: Any, inbox: Any) -> None:
    shop.simulator.control.faults.add("first_timestamp_on_retry")
    inbox.answers = [(500, b""), (500, b"")]
    await shop.create("T1")
    shop.simulator.control.pay("T1")
    await shop.simulator.control.advance(600)

    timestamps = {each.headers["binancepay-timestamp"] for each in inbox.received}
    assert len(inbox.received) == 3
    assert len(timestamps) == 1
    verify(shop, inbox.received[2])


def book(seed: int = 1) -> FaultBook:
    return FaultBook(randomness=Randomness(seed), endpoints=["/v3/order"])


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_added_with_its_defaults(kind: str) -> None:
    fault = book().add(kind)

    assert dict(fault.parameters) == KINDS[kind].parameters


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"kind": "gremlin"}, "known are"),
        ({"kind": "delay", "minutes": 5}, "its parameters: seconds"),
        ({"kind": "drop", "seconds": 5}, "its parameters: none"),
        ({"kind": "delay", "seconds": -1}, "at least 0"),
        ({"kind": "delay", "seconds": "5"}, "number"),
        ({"kind": "delay", "endpoint": "/v3/oder"}, "unknown endpoint"),
        ({"kind": "delay", "times": 0}, "at least 1"),
        ({"kind": "delay", "probability": 0}, "above 0"),
        ({"kind": "rejected", "code": "999999"}, "unknown code"),
        ({"kind": "html", "status": 99}, "from 200 to 599"),
    ],
)
def test_misspelt_fault_is_refused_with_what_would_do(fault: dict[str, Any], words: str) -> None:
    faults = book()

    with pytest.raises(ValueError, match=words):
        faults.add(**fault)

    assert faults.listed == ()


def test_probable_faults_repeat_from_their_seed() -> None:
    def run(seed: int) -> list[int]:
        faults = book(seed)
        faults.add("drop", times=None, probability=0.5)
        return [len(list(faults.draw(Stage.NOTICE, Target()))) for _ in range(64)]

    assert run(7) == run(7)
    assert run(7) != run(8)
    assert 0 < sum(run(7)) < 64


def test_fault_used_up_or_taken_back_while_somebody_waits_strikes_nobody_more() -> None:
    book = FaultBook(randomness=Randomness("seed"), endpoints=["/v3/order"])
    book.add("slow", times=2)
    book.add("answer_lost_after_effect")
    book.add("unknown_error_after_effect", times=3)
    waiting = book.draw(Stage.AFTER, Target())
    first = next(waiting)  # and now it waits

    meanwhile = [fault.kind for fault in book.draw(Stage.AFTER, Target())]
    afterwards = [fault.kind for fault in waiting]

    assert first.kind == "slow"
    assert meanwhile == ["slow", "answer_lost_after_effect", "unknown_error_after_effect"]
    assert afterwards == ["unknown_error_after_effect"]
    assert [fault.times for fault in book.listed] == [1]
