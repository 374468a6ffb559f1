"""Throw genuine, broken and odd notices at a running gateway's door, and look what became of them.

    python bench/fuzz_notices.py [--inputs N] [--seed N] [--database-url URL]

A gateway, a simulator and (without --database-url) a PostgreSQL of its own, over real sockets.
Every input begins as a genuine notice about an order of the gateway. Then it is sent as it is, or
broken after it was signed (a stranger's), or made odd and signed again (Binance itself said it).

What must hold: no 5xx and no silence; what a stranger sent is refused and costs no row; what
Binance signed is answered SUCCESS and is a row, to the byte; an order, its attempts, payments and
refunds move only where a notice of the batch binds to them, by a reading of our own that shares no
code with the gateway's; a genuine one that binds is applied. Every input follows from the seed and
its number, but for ids and signatures. Prints how each kind ended; exit code 1 at the first
accident.
"""
# ruff: noqa: T201

import argparse
import asyncio
import base64
import collections
import contextlib
import json
import random  # noqa: TID251 - inputs that can be made again
import secrets  # noqa: TID251 - a key for a gateway that lives as long as this program
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from checkstand import app
from checkstand.observability import configure_logs
from checkstand.operations.advance_refund import advance_refund, claim_due_refunds
from checkstand.operations.manage_keys import create_key
from checkstand.operations.open_account import DEFAULT_ACCOUNT_ID
from checkstand.settings import Settings
from checkstand.simulator.notices import envelope, order_data, refund_data
from checkstand.simulator.records import Order, Refund
from checkstand.simulator.server import (
    DEFAULT_API_KEY,
    DEFAULT_API_SECRET,
    Simulator,
    running_simulator,
)
from checkstand.simulator.signing import sign_notice
from checkstand.simulator.wire import to_json
from checkstand.storage.embedded import EmbeddedPostgres
from checkstand.storage.migrate import migrate

BATCH = 250
AT_ONCE = 16
PRICE = Decimal("12.50")
SHARED = "/api/payments/binance/webhook"
SUCCESS = b'{"returnCode":"SUCCESS","returnMessage":null}'
FAIL = b'{"returnCode":"FAIL","returnMessage":null}'
SIGNED_NAMES = ("Certificate-SN", "Nonce", "Timestamp", "Signature")
LARGEST = 64 * 1024
#: The API of the gateway, and what parsers stumble over.
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 10**40, 1e308, -0.0, "", "NaN", "1e999999", "-0", "0x1", "\ud800",
    "\x00", [], {}, [[]], [None], {"": None}, "9" * 70, "1." + "0" * 70, "二", "{}", "[", 12, "12",
    "12.50", "12.5", 12.5, "1.25e1", "012.50", "+12.50", " 12.50", "12,50", "12.500000001", 1250e-2,
    "１２.５０", "usdt", "USDT ", "USDT\x00", "PAY_SUCCESS", "pay_success", "PAY",
)  # fmt: skip
ODD_BYTES = (
    b"\x00", b"\xff", b"\xc3", b'"', b"\\", b"\\u0000", b"\\ud800", b"{", b"}", b"[" * 60, b",",
    b":", b"1e999999999", b"NaN", b"-", b"\n", b" ", b"\xef\xbb\xbf", b"/**/", b"0" * 80,
    b"[" * 20000, b"[" * 70000,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Input:
    """One request, and what has to come of it."""

    kind: str
    path: str
    headers: list[tuple[bytes, bytes]]
    body: bytes
    must: str  # "applied", "kept", "refused", or "safe": whatever it is, nothing moves wrongly
    chunks: int = 0  # sent in so many chunks; 0 with a Content-Length
    is_fresh: bool = True


@dataclass(slots=True)
class Ground:
    """What the inputs are about: orders of the gateway, and how they stood."""

    waiting: list[Order] = field(default_factory=list)
    returning: list[tuple[Order, Refund]] = field(default_factory=list)
    said: list[Input] = field(default_factory=list)  # accepted before: to be replayed


class Accident(Exception):
    """Something came out that must not."""


def main(arguments: list[str]) -> int:
    """Run; return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--inputs", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database-url")
    options = parser.parse_args(arguments)
    configure_logs(level="critical")
    try:
        ended = asyncio.run(run(options.inputs, options.seed, options.database_url))
    except Accident as accident:
        print(f"seed {options.seed}: {accident}")
        return 1
    for (kind, how), times in sorted(ended.items()):
        print(f"{kind:34}{how:12}{times:>10}")
    return 0


async def run(inputs: int, seed: int, url: str | None) -> "collections.Counter[tuple[str, str]]":
    """Throw them, a batch at a time; return how each kind ended."""
    ended: collections.Counter[tuple[str, str]] = collections.Counter()
    async with running(url) as door:
        ground = Ground()
        for begin in range(0, inputs, BATCH):
            await prepare(door, ground)
            before = await door.state()
            rows_before = await door.rows()
            batch = [
                (number, make_input(random.Random(f"{seed}/{number}"), door, ground))  # noqa: S311
                for number in range(begin, min(begin + BATCH, inputs))
            ]
            answers = await throw(door, batch)
            for (number, thrown), answer in zip(batch, answers, strict=True):
                ended[thrown.kind, judge(number, thrown, answer)] += 1
            await hold_rows(door, batch, answers, rows_before)
            await hold_state(door, batch, answers, before)
            ground.said += [
                thrown
                for (_, thrown), answer in zip(batch, answers, strict=True)
                if answer == (200, SUCCESS) and thrown.must in {"applied", "kept"}
            ]
            ground.said = ground.said[-50:]
            if begin % 5000 == 0:
                print(f"{begin} of {inputs}", file=sys.stderr, flush=True)
    return ended


# -- the house ------------------------------------------------------------------------------------


@dataclass(slots=True)
class Door:
    """A running gateway without a worker: only the door itself can have done what is seen."""

    url: str
    own_path: str
    api_key: str
    resources: Any
    simulator: Simulator
    database: Any
    raws: set[bytes] = field(default_factory=set)  # of every row there is
    datas: set[str] = field(default_factory=set)  # what those rows say, to tell duplicates
    failed: list[Input] = field(default_factory=list)  # answered FAIL: committed later, or never

    async def api(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Call the gateway's API."""
        headers = [
            (b"content-type", b"application/json"),
            (b"authorization", f"Bearer {self.api_key}".encode()),
            (b"idempotency-key", secrets.token_hex(16).encode()),
        ]
        request = Input("api", path, headers, json.dumps(body).encode(), "safe")
        status, content = await send(self, request)
        if status >= 300:
            raise Accident(f"{path}: {status} {content!r}")
        answer: dict[str, Any] = json.loads(content)
        return answer

    async def rows(self) -> int:
        """Count the notices that were written down."""
        return int(await self.database.fetchval("SELECT count(*) FROM notices"))

    async def state(self) -> dict[str, tuple[Any, ...]]:
        """Read where everything stands, by Binance's number of each attempt."""
        found = await self.database.fetch(
            "SELECT a.prepay_id, a.status AS attempt, o.status, o.settled_by, p.amount, p.currency,"
            " p.held, p.refunded, p.refund_reserved,"
            " (SELECT array_agg(r.status ORDER BY r.refund_id) FROM refunds r"
            "   WHERE r.order_id = o.order_id) AS refunds"
            " FROM attempts a JOIN orders o USING (account_id, order_id)"
            " LEFT JOIN payments p USING (account_id, attempt_id)"
        )
        return {row["prepay_id"]: tuple(row) for row in found}


@contextlib.asynccontextmanager
async def running(url: str | None) -> AsyncIterator[Door]:
    """Run it all while the block runs."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if url is None:
            server = stack.enter_context(
                EmbeddedPostgres.start(folder / "postgres", settings={"fsync": "off"})
            )
            server.ensure_database("fuzz")
            url = server.url(database="fuzz")
        await migrate(url)
        async with running_simulator() as simulator:
            simulator.control.faults.add("drop", times=None)  # what is told is told from here
            settings = Settings(
                database_url=url,
                data_dir=folder / "data",
                port=0,
                secret_keys=(secrets.token_hex(32),),
                binance_api_key=DEFAULT_API_KEY,
                binance_api_secret=DEFAULT_API_SECRET,
                binance_base_url=simulator.base_url,
            )
            gateway = app.running_gateway(settings, with_worker=False, clock=simulator.clock)
            async with gateway as (address, house):
                database = await asyncpg.connect(url)
                account = house.accounts.get(DEFAULT_ACCOUNT_ID)
                key = await create_key(
                    house.database,
                    account_id=DEFAULT_ACCOUNT_ID,
                    reference=account.reference,
                    name=secrets.token_hex(8),
                    scopes=None,
                    clock=house.clock,
                    ids=house.ids,
                    random=house.random,
                )
                path = f"{SHARED}/{account.notice_path}"
                yield Door(address, path, key, house, simulator, database)
                await database.close()


async def prepare(door: Door, ground: Ground) -> None:
    """Open two orders that wait for their money, and one more whose money is on its way back."""
    ground.waiting = [await open_order(door) for _ in range(2)]
    paid = await open_order(door)
    told = signed(door, bytes_of("PAY", "PAY_SUCCESS", paid.prepay_id, order_data(paid)))
    status, content = await send(door, replace(told, path=door.own_path))
    if (status, content) != (200, SUCCESS):
        raise Accident(f"a genuine notice was answered {status} {content!r}")
    door.raws.add(told.body)
    door.datas.add(data_text(told.body))
    door.simulator.control.pay(paid.merchant_trade_no, webhook=False)
    orders = await door.database.fetch(
        "SELECT order_id FROM attempts WHERE prepay_id = $1", paid.prepay_id
    )
    refunds = f"/api/payments/binance/orders/{orders[0]['order_id']}/refunds"
    await door.api(refunds, {"merchant_refund_id": secrets.token_hex(8), "amount": "5.00"})
    for _ in range(2):  # the order is asked about first, then the refund is sent
        for lease in await claim_due_refunds(door.resources, limit=10):
            await advance_refund(door.resources, lease=lease)
    ground.returning = [(paid, door.simulator.control.refunds[-1])]


async def open_order(door: Door) -> Order:
    """Open one order; return it as the simulator has it."""
    wish = {"merchant_order_id": secrets.token_hex(8), "amount": "12.50", "currency": "USDT"}
    await door.api("/api/payments/binance/create", wish)
    return door.simulator.control.orders[-1]


# -- the inputs -----------------------------------------------------------------------------------


def make_input(dice: random.Random, door: Door, ground: Ground) -> Input:
    """Make one request of some kind."""
    kinds = (
        genuine,
        resigned,
        resigned,
        resigned,
        bent,
        a_strangers,
        a_strangers,
        elsewhere,
        again,
    )
    return dice.choice(kinds)(dice, door, ground)


def genuine(dice: random.Random, door: Door, ground: Ground) -> Input:
    """Say something true, in one of the ways HTTP has."""
    biz_type, biz_status, biz_id, data = template(dice, door, ground)
    made = signed(door, bytes_of(biz_type, biz_status, biz_id, data))
    must = "applied" if biz_type in {"PAY", "PAY_REFUND"} else "kept"
    return dress(dice, replace(made, kind=f"genuine {biz_status}", path=door.own_path, must=must))


def resigned(dice: random.Random, door: Door, ground: Ground) -> Input:
    """Say something odd, signed as it is: Binance said it."""
    biz_type, biz_status, biz_id, data = template(dice, door, ground)
    data = break_values(dice, json.loads(to_json(data)))
    shape: dict[str, Any] = {
        "bizType": biz_type,
        "data": data if dice.random() < 0.2 else json.dumps(data),
        "bizIdStr": biz_id,
        "bizId": int(biz_id),
        "bizStatus": biz_status,
    }
    if dice.random() < 0.4:
        shape = break_values(dice, shape)
    text = json.dumps(shape, ensure_ascii=dice.random() < 0.5)
    if dice.random() < 0.2:
        text = repeat_a_name(dice, text)
    body = text.encode(dice.choice(("utf-8",) * 8 + ("utf-16", "utf-32")), "surrogatepass")
    for _ in range(dice.choice((0, 0, 1, 2))):
        body = break_bytes(dice, body)
    made = signed(door, body)
    is_large = len(body) > LARGEST
    must = "refused" if is_large else "kept"
    kind = "odd, signed, too large" if is_large else "odd, signed"
    return dress(dice, replace(made, kind=kind, path=door.own_path, must=must))


def bent(dice: random.Random, door: Door, ground: Ground) -> Input:
    """Say something signed that fits an order in all but one thing."""
    order, other = dice.sample(ground.waiting, 2)
    data, biz_id, ahead = order_data(order), order.prepay_id, 0
    what = dice.choice(("prepay id", "amount", "currency", "number", "age", "id as number", "word"))
    match what:
        case "prepay id":
            biz_id = dice.choice((other.prepay_id, str(int(biz_id) + 1), "0", "1" * 19))
        case "amount":
            data["totalFee"] = dice.choice((12.51, 12.49, "12.500000001", 0, -12.5, 1250, None))
        case "currency":
            data["currency"] = dice.choice(("USDC", "usdt", "", "USDT ", "BUSD", None))
        case "number":
            data["merchantTradeNo"] = dice.choice((other.merchant_trade_no, "0" * 32, "", None))
        case "age":
            ahead = -dice.choice((7200_000, 86_400_000, 10**12))
    status = "PAY_SUCCEEDED" if what == "word" else "PAY_SUCCESS"
    body = bytes_of("PAY", status, biz_id, data)
    if what == "id as number":  # as a parser that makes doubles of them would send it on
        shape = json.loads(body)
        del shape["bizIdStr"]
        body = json.dumps(shape | {"bizId": float(shape["bizId"])}).encode()
    made = signed(door, body, ahead_ms=ahead)
    kind = f"fits but for its {what}"
    return replace(made, kind=kind, path=door.own_path, must="kept", is_fresh=ahead == 0)


def a_strangers(dice: random.Random, door: Door, ground: Ground) -> Input:
    """Break the body or a header after it was signed."""
    biz_type, biz_status, biz_id, data = template(dice, door, ground)
    made = signed(door, bytes_of(biz_type, biz_status, biz_id, data))
    body, headers = made.body, list(made.headers)
    while body == made.body and headers == made.headers:
        if dice.random() < 0.5:
            body = break_bytes(dice, body)
        else:
            headers = break_headers(dice, headers)
    path = dice.choice((door.own_path, SHARED))
    if dice.random() < 0.1:  # all that was signed is still there, beside something that was not
        twice = double_header(dice, list(made.headers))
        return Input("a header twice", path, twice, made.body, "safe")
    return dress(dice, Input("a stranger's", path, headers, body, "refused"))


def elsewhere(dice: random.Random, door: Door, ground: Ground) -> Input:
    """Say something true at another address: only a hint at the shared one, nothing at others."""
    order = dice.choice(ground.waiting)
    made = signed(door, bytes_of("PAY", "PAY_SUCCESS", order.prepay_id, order_data(order)))
    if dice.random() < 0.5:
        return replace(made, kind="at the shared address", path=SHARED, must="kept")
    path = dice.choice(
        (door.own_path[:-1], door.own_path.swapcase(), f"{SHARED}/%00", f"{SHARED}/é",
         f"{SHARED}/x", f"{door.own_path}/", f"{door.own_path}/x", f"{SHARED}//")
    )  # fmt: skip
    return replace(made, kind="at no address", path=path, must="refused")


def again(dice: random.Random, door: Door, ground: Ground) -> Input:
    """Say what was said before: as it was, or with another nonce and time."""
    if not ground.said:
        return genuine(dice, door, ground)
    before = dice.choice(ground.said)
    if dice.random() < 0.5:
        return replace(before, kind="said again", must="safe")
    made = signed(door, before.body)
    return replace(made, kind="said again, signed anew", path=before.path, must="kept")


def template(
    dice: random.Random, door: Door, ground: Ground
) -> tuple[str, str, str, dict[str, Any]]:
    """Choose what is spoken of: type, status, id and data."""
    now_ms = door.simulator.clock.now_ms()
    order = dice.choice(ground.waiting)
    returning, refund = dice.choice(ground.returning)
    info = refund_data(returning, refund, now_ms=now_ms)
    big = str(dice.randrange(10**17, 10**18))
    return dice.choice(
        (
            ("PAY", "PAY_SUCCESS", order.prepay_id, order_data(order)),
            ("PAY", "PAY_SUCCESS", order.prepay_id, order_data(order)),
            ("PAY", "PAY_CLOSED", order.prepay_id, order_data(order)),
            ("PAY_REFUND", "REFUND_SUCCESS", returning.prepay_id, info),
            ("PAY_REFUND", "REFUND_REJECTED", returning.prepay_id, info),
            ("PAYOUT", "SUCCESS", big, {"requestId": "P", "totalAmount": 2, "totalNumber": 2}),
            ("BALANCE", "BALANCE_SUCCESS", big, {"downloadId": int(big), "status": "2"}),
        )
    )


def bytes_of(biz_type: str, biz_status: str, biz_id: str, data: dict[str, Any]) -> bytes:
    """Write a notice as Binance does."""
    return envelope(biz_type=biz_type, biz_status=biz_status, biz_id=biz_id, data=data)


def signed(door: Door, body: bytes, *, ahead_ms: int = 0) -> Input:
    """Sign any bytes as Binance does."""
    world = door.simulator.world
    timestamp = str(world.clock.now_ms() + ahead_ms)
    nonce = secrets.token_hex(16)
    notice = sign_notice(world.keys.current, body, timestamp=timestamp, nonce=nonce)
    headers = [(name.encode(), value.encode()) for name, value in notice.headers.items()]
    return Input("", "", headers, body, "safe")


def dress(dice: random.Random, made: Input) -> Input:
    """Send it in another of HTTP's ways that says the same."""
    headers = list(made.headers)
    match dice.randrange(8):
        case 0:
            headers = [(name.lower(), value) for name, value in headers]
        case 1:
            headers = [(name, b"  " + value + b" ") for name, value in headers]
        case 2:
            dice.shuffle(headers)
        case 3:
            kind = dice.choice((b"text/plain", b"application/xml", b"", b"x" * 300))
            headers = [(n, kind if n == b"content-type" else v) for n, v in headers]
        case 4 | 5:
            return replace(made, chunks=dice.randrange(1, 6))
    return replace(made, headers=headers)


def break_values(dice: random.Random, values: dict[str, Any]) -> dict[str, Any]:
    """Replace, drop or add some fields."""
    broken = dict(values)
    for name in [*values, "new"]:
        luck = dice.random()
        if luck < 0.04:
            broken.pop(name, None)
        elif luck < 0.14:
            broken[name] = dice.choice(ODD)
        elif luck < 0.3 and isinstance(values.get(name), dict):
            inner = break_values(dice, values[name])
            broken[name] = json.dumps(inner) if dice.random() < 0.3 else inner
    return broken


def repeat_a_name(dice: random.Random, text: str) -> str:
    """Say one field twice, with another value."""
    name = dice.choice(("bizType", "bizStatus", "bizIdStr", "data"))
    return "{" + json.dumps(name) + ": " + json.dumps(dice.choice(ODD)) + ", " + text[1:]


def break_bytes(dice: random.Random, body: bytes) -> bytes:
    """Cut, repeat, or put something odd somewhere."""
    begin, end = sorted(dice.randrange(len(body) + 1) for _ in range(2))
    match dice.randrange(4):
        case 0:
            return body[:begin] + body[end:]
        case 1:
            return body[:end] + body[begin:]
        case 2:
            return body[:begin] + dice.choice(ODD_BYTES) + body[begin:]
        case _:
            return body[:begin] + dice.randbytes(dice.randrange(8)) + body[begin + 1 :]


def break_headers(
    dice: random.Random, headers: list[tuple[bytes, bytes]]
) -> list[tuple[bytes, bytes]]:
    """Drop or rewrite one of the signed headers."""
    name = f"BinancePay-{dice.choice(SIGNED_NAMES)}".encode()
    at = next(index for index, (found, _) in enumerate(headers) if found == name)
    value = headers[at][1]
    odd = (
        b"", b"0", b"9" * 40, b"\xe9", b"=", b"-1", b"1" * 14, b"\x01", b"a" * 9000,
        value[:-1], b"0" + value, value[::-1], base64.b64encode(dice.randbytes(256)),
    )  # fmt: skip
    if dice.random() < 0.3:
        return headers[:at] + headers[at + 1 :]
    return [*headers[:at], (name, dice.choice(odd)), *headers[at + 1 :]]


def double_header(
    dice: random.Random, headers: list[tuple[bytes, bytes]]
) -> list[tuple[bytes, bytes]]:
    """Put another value of one signed header before or behind the true one."""
    name = f"BinancePay-{dice.choice(SIGNED_NAMES)}".encode()
    other = (name, dice.choice((b"", b"0", b"A" * 32, b"1" * 13)))
    return [other, *headers] if dice.random() < 0.5 else [*headers, other]


# -- the wire -------------------------------------------------------------------------------------


async def throw(door: Door, batch: list[tuple[int, Input]]) -> list[tuple[int, bytes]]:
    """Send a batch, several at once; return status and body of each answer."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(thrown: Input) -> tuple[int, bytes]:
        async with gate:
            for _ in range(6):  # FAIL says "send it again", and so Binance does, six times at most
                answer = await send(door, thrown)
                if answer != (200, FAIL) or thrown.must not in {"applied", "kept"}:
                    break
            return answer

    return await asyncio.gather(*(one(thrown) for _, thrown in batch))


async def send(door: Door, thrown: Input) -> tuple[int, bytes]:
    """Write one request byte by byte as it is meant, and read the answer to its end."""
    parts = urlsplit(door.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    head = f"POST {thrown.path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n".encode()
    for name, value in thrown.headers:
        head += name + b": " + value + b"\r\n"
    if thrown.chunks:
        head += b"transfer-encoding: chunked\r\n\r\n"
        size = max(1, len(thrown.body) // thrown.chunks)
        for begin in range(0, len(thrown.body), size):
            piece = thrown.body[begin : begin + size]
            head += b"%x\r\n%b\r\n" % (len(piece), piece)
        head += b"0\r\n\r\n"
    else:
        head += b"content-length: %d\r\n\r\n" % len(thrown.body) + thrown.body
    try:
        with contextlib.suppress(ConnectionError):  # refused before the end: the answer says why
            writer.write(head)
            await writer.drain()
        async with asyncio.timeout(30):
            answer = await reader.read()
    except (TimeoutError, ConnectionError):
        return 0, b""
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    first, _, content = answer.partition(b"\r\n\r\n")
    line = first.split(b"\r\n")[0].split(b" ")
    return (int(line[1]) if len(line) > 1 else 0), content


# -- the judge ------------------------------------------------------------------------------------


def judge(number: int, thrown: Input, answer: tuple[int, bytes]) -> str:
    """Return how it ended. Raises Accident."""
    status, content = answer
    told = f"input {number} ({thrown.kind}) {answer!r}\n{thrown.headers!r}\n{thrown.body!r}"
    if status == 0 and len(thrown.body) > LARGEST:
        return "closed"  # refused before it was all sent: the network may lose the answer
    if status == 0 or status >= 500:
        raise Accident(f"stumbled: {told}")
    if status == 200 and content not in {SUCCESS, FAIL}:
        raise Accident(f"acknowledged in no documented shape: {told}")
    is_accepted = answer == (200, SUCCESS)
    if thrown.must in {"applied", "kept"} and not is_accepted:
        raise Accident(f"signed, yet not taken: {told}")
    if thrown.must == "refused" and is_accepted:
        raise Accident(f"taken, yet no genuine one: {told}")
    return "success" if is_accepted else "fail" if status == 200 else str(status)


async def hold_rows(
    door: Door,
    batch: list[tuple[int, Input]],
    answers: list[tuple[int, bytes]],
    rows_before: int,
) -> None:
    """Every accepted notice is a row, to the byte; and there are no other rows. Raises Accident."""
    written = await door.database.fetch(
        "SELECT raw FROM notices ORDER BY received_at DESC, notice_id DESC LIMIT $1",
        await door.rows() - rows_before,
    )
    raws = {bytes(row["raw"]) for row in written}
    accepted = [
        (number, thrown)
        for (number, thrown), answer in zip(batch, answers, strict=True)
        if answer == (200, SUCCESS)
    ]
    datas = {data_text(raw) for raw in raws} | door.datas
    for number, thrown in accepted:
        is_there = thrown.body in raws or thrown.body in door.raws
        if not is_there and data_text(thrown.body) not in datas:
            raise Accident(f"input {number} ({thrown.kind}) is no row: {thrown.body!r}")
    strange = raws - {thrown.body for thrown in heard(door, batch, answers)}
    if strange:
        raise Accident(f"a row that nobody was told SUCCESS for: {strange.pop()!r}")
    door.raws |= raws
    door.datas |= {data_text(raw) for raw in raws}


async def hold_state(
    door: Door,
    batch: list[tuple[int, Input]],
    answers: list[tuple[int, bytes]],
    before: dict[str, tuple[Any, ...]],
) -> None:
    """Nothing moved but where a notice binds, and what binds has moved it. Raises Accident."""
    after = await door.state()
    accepted = heard(door, batch, answers)
    bound = {prepay_id for thrown in accepted for prepay_id in readings(door, thrown)}
    for prepay_id, now in after.items():
        if now != before.get(prepay_id) and prepay_id not in bound:
            raise Accident(f"{before.get(prepay_id)} became {now}, and no notice says so")
        amount, held = now[4], now[6]
        if amount is not None and (amount != PRICE or held):
            raise Accident(f"money that was never asked for: {now}")
    for (number, thrown), answer in zip(batch, answers, strict=True):
        if thrown.must != "applied" or answer[1] != SUCCESS or b'"PAY_SUCCESS"' not in thrown.body:
            continue
        now = after[json.loads(thrown.body)["bizIdStr"]]
        # The same words heard at another address before were a hint; then Binance is asked.
        was_hint = any(
            other is not thrown
            and other.body == thrown.body
            and (other.path != door.own_path or not other.is_fresh)
            for other in accepted
        )
        if now[2] not in {"PAID", "REFUNDED"} and not was_hint:
            raise Accident(f"input {number} is genuine and was not applied: {now}")


def heard(
    door: Door, batch: list[tuple[int, Input]], answers: list[tuple[int, bytes]]
) -> list[Input]:
    """List what may have been committed: on a slow day FAIL is answered before the commit."""
    pairs = [(thrown, answer) for (_, thrown), answer in zip(batch, answers, strict=True)]
    failed = [t for t, answer in pairs if answer == (200, FAIL) and t.must != "refused"]
    door.failed += [thrown for thrown in failed if thrown not in door.failed]
    return [t for t, answer in pairs if answer == (200, SUCCESS)] + door.failed


def readings(door: Door, thrown: Input) -> Iterator[str]:
    """Yield each order's prepay id that a notice may settle, by any reading of it."""
    if thrown.path != door.own_path or not thrown.is_fresh:
        return
    for shape in _objects(thrown.body.decode("utf-8", "replace")):
        types, ids = _all(shape, "bizType"), _all(shape, "bizIdStr") + _all(shape, "bizId")
        for data in _all(shape, "data"):
            texts = _objects(data) if isinstance(data, str) else [data]
            for fields in texts:
                prepay_ids = {str(biz_id) for biz_id in ids}
                if "PAY" in types and _is_priced(fields):
                    yield from prepay_ids
                if "PAY_REFUND" in types and _all(fields, "refundInfo"):
                    yield from prepay_ids


def _is_priced(fields: Any) -> bool:
    if "USDT" not in _all(fields, "currency"):
        return False
    for amount in _all(fields, "totalFee"):
        with contextlib.suppress(InvalidOperation):
            if Decimal(str(amount)) == PRICE:
                return True
    return False


def _objects(text: str) -> list[Any]:
    """Parse leniently: names may repeat, and each of their values counts."""
    try:
        return [json.loads(text, object_pairs_hook=list, parse_float=Decimal)]
    except (ValueError, RecursionError, InvalidOperation):
        return []


def _all(pairs: Any, name: str) -> list[Any]:
    if not isinstance(pairs, list):
        return []
    return [p[1] for p in pairs if isinstance(p, tuple) and len(p) == 2 and p[0] == name]


def data_text(raw: bytes) -> str:
    """Say what makes two notices the same one, as far as they can be read: type, id, status, data.

    The id may come as text or as a number, and the data as a text or as what is in it.
    """
    try:
        shape = json.loads(raw.decode("utf-8", "replace"))
        text, data = shape.get("bizIdStr"), shape.get("data")
        # A zero is an id, if an odd one; what is none at all gives way to the number beside it.
        biz_id = str(text) if type(text) is int else text or shape.get("bizId")
    except (ValueError, RecursionError, AttributeError):
        return raw.hex()
    with contextlib.suppress(ValueError, RecursionError, TypeError):
        data = json.loads(data)
    return repr([shape.get("bizType"), str(biz_id), shape.get("bizStatus"), data])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
