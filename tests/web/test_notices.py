"""The door for Binance's notices: what is genuine is kept and acknowledged, nothing else is.

Most gateways here have no worker, so that only the door itself can have done what is seen.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from checkstand.errors import DatabaseBusy
from checkstand.simulator.notices import order_data
from checkstand.simulator.signing import SignedNotice, sign_notice
from checkstand.storage.database import Patience

SUCCESS: Final = b'{"returnCode":"SUCCESS","returnMessage":null}'
FAIL: Final = b'{"returnCode":"FAIL","returnMessage":null}'
SHARED_PATH: Final = "/api/payments/binance/webhook"


@pytest.fixture
async def gateway(run_gateway: Any) -> AsyncIterator[Any]:
    """A gateway without a worker."""
    async with run_gateway(with_worker=False) as running:
        yield running


@pytest.fixture
async def rows(empty_database_url: str) -> AsyncIterator[Callable[[str], Any]]:
    """Look into the database."""
    connection = await asyncpg.connect(empty_database_url)
    yield connection.fetch
    await connection.close()


async def order_of(gateway: Any) -> tuple[str, Any, str]:
    """Open an order; return its id, Binance's order, and the account's own notice path."""
    created = await gateway.create()
    theirs = gateway.simulator.control.orders[-1]
    return created.json["order_id"], theirs, urlsplit(theirs.webhook_url).path


def genuine(gateway: Any, theirs: Any, *, biz_id: str | None = None, **data: Any) -> SignedNotice:
    """Sign a PAY_SUCCESS about an order, as Binance would."""
    signed: SignedNotice = gateway.simulator.control.sign(
        data=order_data(theirs) | data, biz_id=biz_id or theirs.prepay_id
    )
    return signed


def sign(gateway: Any, body: bytes, *, ahead_ms: int = 0) -> SignedNotice:
    """Sign any bytes."""
    world = gateway.simulator.world
    timestamp = str(world.clock.now_ms() + ahead_ms)
    return sign_notice(world.keys.current, body, timestamp=timestamp, nonce="n" * 32)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def code(self) -> str | None:
        """The code of a problem."""
        if self.headers["content-type"] != "application/problem+json":
            return None
        return str(json.loads(self.content)["code"])


async def send(gateway: Any, path: str, notice: SignedNotice, **changes: str | None) -> Answer:
    """Deliver a notice, with headers changed or left out."""
    headers = dict(notice.headers)
    for short, value in changes.items():
        name = "BinancePay-Certificate-SN" if short == "serial" else f"BinancePay-{short.title()}"
        del headers[name]
        if value is not None:
            headers[name] = value
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    reply = await gateway.pool.request(
        "POST", gateway.url + path, headers=pairs, content=notice.body
    )
    named = {name.decode().lower(): value.decode() for name, value in reply.headers}
    return Answer(reply.status, named, reply.content)


async def test_genuine_notice_is_acknowledged_to_the_byte(gateway: Any, rows: Any) -> None:
    order_id, theirs, path = await order_of(gateway)

    answer = await send(gateway, path, genuine(gateway, theirs))

    assert (answer.status, answer.content) == (200, SUCCESS)
    assert answer.headers["content-type"] == "application/json"
    assert (await gateway.order(order_id))["status"] == "PAID"
    assert [row["outcome"] for row in await rows("SELECT * FROM notices")] == ["applied"]


WITHOUT: Final = ["serial", "nonce", "timestamp", "signature"]
ALTERED: Final[dict[str, dict[str, str | None]]] = {
    **{f"no {name}": {name: None} for name in WITHOUT},
    **{f"empty {name}": {name: ""} for name in WITHOUT},
    **{f"{name} beyond ASCII": {name: "é"} for name in WITHOUT},
    **{f"endless {name}": {name: "9" * 5_000} for name in WITHOUT},
    "another nonce": {"nonce": "m" * 32},
    "another timestamp": {"timestamp": "1764000000000"},
    "timestamp in words": {"timestamp": "now"},
    "negative timestamp": {"timestamp": "-1"},
    "timestamp of fifteen digits": {"timestamp": "1" * 15},
    "signature that is no Base64": {"signature": "!"},
    "signature of one byte": {"signature": "AA=="},
    "signature in hex": {"signature": "00" * 256},
}


async def test_notice_with_any_header_missing_or_altered_is_refused(
    gateway: Any, rows: Any
) -> None:
    order_id, theirs, path = await order_of(gateway)
    notice = genuine(gateway, theirs)

    for name, change in ALTERED.items():
        for where in (path, SHARED_PATH):
            answer = await send(gateway, where, notice, **change)

            assert answer.status == 401, (name, answer.content)
            assert answer.code in {"notice_not_genuine", "notice_not_ours"}, name

    assert await rows("SELECT * FROM notices") == []
    assert (await gateway.order(order_id))["status"] == "PENDING_PAYMENT"


async def test_notice_altered_by_one_byte_anywhere_is_refused(gateway: Any, rows: Any) -> None:
    _, theirs, path = await order_of(gateway)
    notice = genuine(gateway, theirs)
    body = notice.body
    changed = [body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :] for at in range(0, len(body), 29)]

    for altered in [*changed, body + b" ", b"\n" + body, body[:-1], b"", body + body]:
        answer = await send(gateway, path, SignedNotice(altered, notice.headers))
        assert (answer.status, answer.code) == (401, "notice_not_genuine")

    other = genuine(gateway, theirs, totalFee=1)
    swapped = await send(gateway, path, SignedNotice(body, other.headers))
    assert swapped.status == 401
    assert await rows("SELECT * FROM notices") == []


async def test_line_feed_in_a_header_does_not_move_the_cut_of_what_is_signed(
    gateway: Any, rows: Any
) -> None:
    # `nonce LF body` could be cut elsewhere: part of the body given as the end of the nonce.
    _, theirs, path = await order_of(gateway)
    notice = sign(gateway, b"prefix\n" + genuine(gateway, theirs).body)
    nonce = f"{notice.headers['BinancePay-Nonce']}\nprefix"
    headers = notice.headers | {"BinancePay-Nonce": nonce}
    rest = notice.body.removeprefix(b"prefix\n")
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(rest)}\r\n{lines}\r\n"
    parts = urlsplit(gateway.url)

    for spelling in (
        head,
        head.replace("\nprefix", "\r\n prefix"),
        head.replace("\nprefix", "\n prefix"),
    ):
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(spelling.encode() + rest)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 401")), answer

    assert await rows("SELECT * FROM notices") == []


async def test_notice_from_the_future_is_refused(gateway: Any, rows: Any) -> None:
    _, theirs, path = await order_of(gateway)
    body = genuine(gateway, theirs).body

    ahead = await send(gateway, path, sign(gateway, body, ahead_ms=301_000))

    assert (ahead.status, ahead.code) == (401, "notice_not_genuine")
    assert b"in the future" in ahead.content
    assert await rows("SELECT * FROM notices") == []
    close = await send(gateway, path, sign(gateway, body, ahead_ms=250_000))
    assert (close.status, close.content) == (200, SUCCESS)


async def test_old_notice_is_kept_as_a_hint(gateway: Any, rows: Any) -> None:
    order_id, theirs, path = await order_of(gateway)
    body = genuine(gateway, theirs).body

    answer = await send(gateway, path, sign(gateway, body, ahead_ms=-3_600_000))

    assert (answer.status, answer.content) == (200, SUCCESS)
    assert (await gateway.order(order_id))["status"] == "PENDING_PAYMENT"
    (notice,) = await rows("SELECT outcome, explanation FROM notices")
    assert notice["outcome"] == "hint"
    assert "signed long ago" in notice["explanation"]


async def test_shared_address_gives_hints_that_lead_to_the_truth(run_gateway: Any) -> None:
    async with run_gateway() as gateway:
        order_id, theirs, _ = await order_of(gateway)
        control = gateway.simulator.control
        control.faults.add("drop", biz_status="PAY_SUCCESS")
        control.pay(theirs.merchant_trade_no)
        notice = genuine(gateway, control.orders[-1])

        answer = await send(gateway, SHARED_PATH, notice)

        assert (answer.status, answer.content) == (200, SUCCESS)
        await gateway.until(order_id, "PAID")
        timeline = await gateway.timeline(order_id)
        assert any("account's own address" in entry["summary"] for entry in timeline)


async def test_address_method_and_size_are_checked_first(gateway: Any, rows: Any) -> None:
    _, theirs, path = await order_of(gateway)
    notice = genuine(gateway, theirs)

    unknown = await send(gateway, path[:-1] + "-", notice)
    assert (unknown.status, unknown.code) == (404, "notice_path_unknown")
    for odd in ("%00", "%ff", "a" * 3_000):
        assert (await send(gateway, f"{SHARED_PATH}/{odd}", notice)).status == 404
    looked_at = await gateway.request("GET", path)
    assert (looked_at.status, looked_at.headers["allow"]) == (405, "POST")
    large = await send(gateway, path, sign(gateway, b" " * 70_000))
    assert (large.status, large.code) == (413, "body_too_large")
    assert await rows("SELECT * FROM notices") == []


async def test_content_type_does_not_matter_to_a_notice(gateway: Any) -> None:
    order_id, theirs, path = await order_of(gateway)
    notice = genuine(gateway, theirs)

    answer = await send(
        gateway, path, SignedNotice(notice.body, notice.headers | {"content-type": "text/plain"})
    )

    assert answer.content == SUCCESS
    assert (await gateway.order(order_id))["status"] == "PAID"


def certificate_calls(gateway: Any) -> int:
    """Say how often the certificates were asked for since the counter was set."""
    (counter,) = (f for f in gateway.simulator.control.faults.listed if f.endpoint)
    return int(1_000 - counter.times)


def count_certificate_calls(gateway: Any) -> None:
    """Count by a fault that does nothing but strike."""
    gateway.simulator.control.faults.add("delay", endpoint="/certificates", times=1_000, seconds=0)


async def test_unknown_serial_is_sent_again_and_asks_for_keys_once_a_minute(
    gateway: Any, rows: Any
) -> None:
    _, theirs, path = await order_of(gateway)
    notice = genuine(gateway, theirs)
    count_certificate_calls(gateway)

    for minute in (1, 2):
        gateway.simulator.clock.advance(61)
        answers = await asyncio.gather(
            *(send(gateway, path, notice, serial=f"{n:032X}") for n in range(20))
        )
        assert {(answer.status, answer.content) for answer in answers} == {(200, FAIL)}
        assert certificate_calls(gateway) == minute
        shared = await send(gateway, SHARED_PATH, notice, serial="F" * 32)
        assert (shared.status, shared.code) == (401, "notice_not_ours")

    assert certificate_calls(gateway) == 2
    assert await rows("SELECT * FROM notices") == []


async def test_notice_signed_with_a_new_certificate_is_taken_at_once(gateway: Any) -> None:
    order_id, theirs, _ = await order_of(gateway)
    control = gateway.simulator.control
    gateway.simulator.clock.advance(61)  # since the keys were asked for at the start
    control.rotate_certificates()

    control.pay(theirs.merchant_trade_no)
    await control.settle()

    assert [attempt.acknowledged for attempt in control.webhooks_sent[-1].tries] == [True]
    assert (await gateway.order(order_id))["status"] == "PAID"


async def test_certificate_that_is_gone_is_trusted_for_a_day(gateway: Any) -> None:
    order_id, theirs, path = await order_of(gateway)
    control, clock = gateway.simulator.control, gateway.simulator.clock
    old = gateway.simulator.world.keys.current
    body = genuine(gateway, theirs).body
    clock.advance(61)
    control.rotate_certificates(keeps_old=False)
    await send(gateway, path, genuine(gateway, theirs, totalFee=1))  # by the new key

    def by_old_key() -> SignedNotice:
        return sign_notice(old, body, timestamp=str(clock.now_ms()), nonce="n" * 32)

    assert (await send(gateway, path, by_old_key())).content == SUCCESS
    assert (await gateway.order(order_id))["status"] == "PAID"
    clock.advance(25 * 3600)
    await send(gateway, path, genuine(gateway, theirs), serial="0" * 32)  # the list is read again
    assert (await send(gateway, path, by_old_key())).content == FAIL


ODD_BODIES: Final = {
    "unknown type": b'{"bizType":"PAYOUT","bizIdStr":"1","bizId":1,"bizStatus":"X","data":"{}"}',
    "unknown status": b'{"bizType":"PAY","bizIdStr":"2","bizId":2,"bizStatus":"X","data":"{}"}',
    "no id": b'{"bizType":"PAY","bizStatus":"PAY_SUCCESS","data":"{}"}',
    "no data": b'{"bizType":"PAY","bizIdStr":"3","bizStatus":"PAY_SUCCESS"}',
    "data that is no JSON": b'{"bizType":"PAY","bizIdStr":"4","bizStatus":"X","data":"x"}',
    "no object": b"[]",
    "no JSON": b"hello",
    "not UTF-8": b"\xff\xfe",
    "nothing": b"",
    "deep": b"[" * 20_000,
    "type as a number": b'{"bizType":7,"bizIdStr":"5","bizStatus":"X","data":"{}"}',
    "lone surrogate": b'{"bizType":"\\ud800","bizIdStr":"6","bizStatus":"X","data":"{}"}',
    "NUL in the type": b'{"bizType":"P\\u0000","bizIdStr":"7","bizStatus":"X","data":"{}"}',
    "NUL in the id": b'{"bizType":"PAY","bizIdStr":"8\\u0000","bizStatus":"X","data":"{}"}',
    "NUL in the status": b'{"bizType":"PAY","bizIdStr":"9","bizStatus":"\\u0000","data":"{}"}',
    "NUL in the number": (
        b'{"bizType":"PAY","bizIdStr":"10","bizStatus":"PAY_SUCCESS","data":'
        b'"{\\"merchantTradeNo\\":\\"a\\\\u0000\\",\\"currency\\":\\"USDT\\",\\"totalFee\\":1}"}'
    ),
}


async def test_whatever_binance_signed_is_kept_and_acknowledged(gateway: Any, rows: Any) -> None:
    order_id, _, path = await order_of(gateway)

    for name, body in ODD_BODIES.items():
        for _ in range(2):  # and kept once
            answer = await send(gateway, path, sign(gateway, body))
            assert (answer.status, answer.content) == (200, SUCCESS), name

    kept = await rows("SELECT outcome, raw, biz_type FROM notices")
    assert sorted(row["raw"] for row in kept) == sorted(ODD_BODIES.values())
    assert {row["outcome"] for row in kept} == {"orphan"}
    assert "PAYOUT" in {row["biz_type"] for row in kept}
    assert (await gateway.order(order_id))["status"] == "PENDING_PAYMENT"


#: Genuine notices that fit our order in all but one thing.
STRANGERS: Final[dict[str, tuple[str | None, dict[str, Any]]]] = {
    "another prepay id": ("29383937493038367292", {}),
    "another amount": (None, {"totalFee": 12.51}),
    "a smaller amount": (None, {"totalFee": 1}),
    "another currency": (None, {"currency": "BUSD"}),
    "another trade number": (None, {"merchantTradeNo": "0" * 32}),
}


async def test_genuine_notice_that_does_not_fit_pays_nothing(gateway: Any, rows: Any) -> None:
    for name, (biz_id, data) in STRANGERS.items():
        order_id, theirs, path = await order_of(gateway)

        answer = await send(gateway, path, genuine(gateway, theirs, biz_id=biz_id, **data))

        assert (answer.status, answer.content) == (200, SUCCESS), name
        order = await gateway.order(order_id)
        assert (order["status"], order["paid_amount"]) == ("PENDING_PAYMENT", "0"), name
        about = "SELECT outcome FROM notices WHERE order_id = '" + order_id + "'"
        assert [row["outcome"] for row in await rows(about)] == ["hint"], name
    assert await rows("SELECT * FROM payments") == []


async def test_notice_that_cannot_be_committed_is_sent_again(
    gateway: Any, rows: Any, empty_database_url: str
) -> None:
    order_id, theirs, path = await order_of(gateway)
    notice = genuine(gateway, theirs)
    blocker = await asyncpg.connect(empty_database_url)
    transaction = blocker.transaction()
    await transaction.start()
    await blocker.execute("LOCK TABLE notices IN ACCESS EXCLUSIVE MODE")

    refused = await send(gateway, path, notice)
    await transaction.rollback()
    await blocker.close()

    assert (refused.status, refused.content) == (200, FAIL)
    assert await rows("SELECT * FROM notices") == []
    assert (await send(gateway, path, notice)).content == SUCCESS
    assert (await gateway.order(order_id))["status"] == "PAID"


#: What a header may hold at all: visible ASCII and the upper half of ISO 8859-1.
HEADER_VALUES = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E)
    | st.characters(min_codepoint=0xA0, max_codepoint=0xFF),
    max_size=40,
)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    changes=st.dictionaries(st.sampled_from(WITHOUT), st.none() | HEADER_VALUES, max_size=4),
    body=st.binary(max_size=60) | st.just(json.dumps({"bizType": "PAY"}).encode()),
    signs=st.booleans(),
    tail=st.sampled_from(["", "/x", "/%00", "/own"]),
)
async def test_no_notice_whatever_makes_the_gateway_stumble(
    gateway: Any, changes: dict[str, str | None], body: bytes, signs: bool, tail: str
) -> None:
    path = gateway.resources.accounts.list_all()[0].notice_path
    notice = sign(gateway, body)
    if not signs:
        notice = SignedNotice(body + b"x", notice.headers)

    answer = await send(gateway, SHARED_PATH + tail.replace("own", path), notice, **changes)

    assert answer.status in {200, 401, 404}, answer.content
    if answer.status == 200:
        assert answer.content in {SUCCESS, FAIL}
        assert answer.content == FAIL or (signs and not changes)


async def test_notice_is_taken_in_while_everybody_else_waits_for_a_connection(
    run_gateway: Any, empty_database_url: str
) -> None:
    async with run_gateway(with_worker=False) as gateway:
        created = await gateway.create()
        database = gateway.resources.database
        patient, hasty = Patience(connection_seconds=60), Patience(connection_seconds=0.2)
        done, begun = asyncio.Event(), asyncio.Semaphore(0)

        async def hold(_: Any) -> None:
            begun.release()
            await done.wait()

        tasks = [
            asyncio.create_task(database.run(hold, name="slow request", patience=patient))
            for _ in range(40)
        ]
        for _ in range(8):  # two of ten are kept back
            await begun.acquire()
        try:
            with pytest.raises(DatabaseBusy):
                await database.run(lambda _: asyncio.sleep(0), name="another", patience=hasty)
            gateway.simulator.control.pay(gateway.trade_numbers()[0])
            await _is_paid(empty_database_url)
            assert not any(task.done() for task in tasks)
        finally:
            done.set()
        await asyncio.gather(*tasks)
        assert (await gateway.order(created.json["order_id"]))["status"] == "PAID"


async def _is_paid(database_url: str) -> None:
    """Wait until the one order is paid, past the gateway's own connections."""
    connection = await asyncpg.connect(database_url)
    try:
        async with asyncio.timeout(20):
            while not await connection.fetchval("SELECT 1 FROM orders WHERE status = 'PAID'"):
                await asyncio.sleep(0.02)
    finally:
        await connection.close()
