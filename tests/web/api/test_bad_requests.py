"""Wrong keys, headers, sizes, filters and ids: refused by name, and nothing is written."""

import asyncio
import json
import secrets
import uuid
from collections.abc import AsyncIterator
from typing import Any, Final

import httpcore2
import pytest

from checkstand.simulator.server import DEFAULT_API_KEY, DEFAULT_API_SECRET

pytestmark = pytest.mark.asyncio(loop_scope="module")

CREATE: Final = "/api/payments/binance/create"
ORDERS: Final = "/api/payments/binance/orders"
EVENTS: Final = "/api/events"
ENDPOINTS: Final = "/api/webhook-endpoints"
#: A well-formed id that nothing has. Written out, for test names must be the same at every worker.
NOBODYS: Final = "01a20a4a-c0e2-737d-b3f2-20de9de8827d"


def order(merchant_order_id: str | None = None) -> bytes:
    """Write a sound order."""
    wanted = merchant_order_id or uuid.uuid4().hex
    fields = {"merchant_order_id": wanted, "amount": "12.50", "currency": "USDT"}
    return json.dumps(fields).encode()


HEADERS: Final[dict[str, tuple[dict[str, str], int, str, str]]] = {
    "no idempotency key": (
        {"idempotency_key": ""},
        400,
        "idempotency_key_missing",
        "Idempotency-Key",
    ),
    "long idempotency key": (
        {"idempotency_key": "k" * 256},
        400,
        "idempotency_key_malformed",
        "Idempotency-Key",
    ),
    "idempotency key with a space": (
        {"idempotency_key": "a b"},
        400,
        "idempotency_key_malformed",
        "Idempotency-Key",
    ),
    "idempotency key beyond ASCII": (
        {"idempotency_key": "clé"},
        400,
        "idempotency_key_malformed",
        "Idempotency-Key",
    ),
    "no content type": ({"content_type": ""}, 415, "unsupported_media_type", "Content-Type"),
    "a form": (
        {"content_type": "application/x-www-form-urlencoded"},
        415,
        "unsupported_media_type",
        "Content-Type",
    ),
    "plain text": ({"content_type": "text/plain"}, 415, "unsupported_media_type", "Content-Type"),
    "no API key": ({"authorization": ""}, 401, "api_key_missing", "Authorization"),
    "a password": ({"authorization": "Basic YTpi"}, 401, "api_key_missing", "Authorization"),
    "no key of ours": ({"authorization": "Bearer abc"}, 401, "api_key_unknown", "Authorization"),
    "a made-up key": (
        {"authorization": f"Bearer csk_{'a' * 8}_{'b' * 32}"},
        401,
        "api_key_unknown",
        "Authorization",
    ),
    "a key beyond ASCII": (
        {"authorization": f"Bearer csk_{'é' * 4}_{'ü' * 16}"},
        401,
        "api_key_unknown",
        "Authorization",
    ),
}


@pytest.mark.parametrize(("headers", "status", "code", "field"), HEADERS.values(), ids=HEADERS)
async def test_wrong_header_is_refused_by_its_name(
    door: Any, unchanged: None, headers: dict[str, str], status: int, code: str, field: str
) -> None:
    answer = await door.send("POST", CREATE, order(), **headers)

    answer.must_refuse(status, code, field)
    assert (answer.headers.get("www-authenticate") == "Bearer") == (status == 401)


async def test_key_cut_short_or_of_another_reference_is_unknown(door: Any, unchanged: None) -> None:
    prefix, reference, secret = door.api_key.split("_")
    for wrong in (door.api_key[:-1], f"{prefix}_{reference[::-1]}_{secret}", door.api_key + "x"):
        answer = await door.send("POST", CREATE, order(), key=wrong)

        answer.must_refuse(401, "api_key_unknown", "Authorization")


SCOPED: Final = [
    ("POST", CREATE, "orders:write"),
    ("GET", ORDERS, "orders:read"),
    ("GET", f"{ORDERS}/{NOBODYS}", "orders:read"),
    ("GET", f"{ORDERS}/{NOBODYS}/timeline", "orders:read"),
    ("POST", f"{ORDERS}/{NOBODYS}/refresh", "orders:write"),
    ("POST", f"{ORDERS}/{NOBODYS}/cancel", "orders:write"),
    ("POST", f"{ORDERS}/{NOBODYS}/renew", "orders:write"),
    ("POST", f"{ORDERS}/{NOBODYS}/fulfill", "orders:write"),
    ("GET", EVENTS, "events:read"),
    ("POST", f"{EVENTS}/{NOBODYS}/redeliver", "events:write"),
    ("GET", ENDPOINTS, "endpoints:write"),
    ("POST", ENDPOINTS, "endpoints:write"),
    ("DELETE", f"{ENDPOINTS}/{NOBODYS}", "endpoints:write"),
]


async def test_key_may_do_what_its_scopes_say_and_nothing_else(door: Any) -> None:
    scopes = sorted({scope for _, _, scope in SCOPED})
    everything_else = {
        scope: await door.make_key(*(other for other in scopes if other != scope))
        for scope in scopes
    }
    before = await door.counts()

    for method, path, scope in SCOPED:
        body = order() if path == CREATE else b'{"url": "https://shop.example/hook"}'
        content = body if method == "POST" else None
        refused = await door.send(method, path, content, key=everything_else[scope])

        refused.must_refuse(403, "scope_missing", "Authorization")
        assert scope in refused.json["detail"]
    assert await door.counts() == before


@pytest.mark.parametrize("path", [CREATE, ENDPOINTS, f"{ORDERS}/{NOBODYS}/cancel", "/nowhere"])
async def test_body_over_the_limit_is_refused_before_it_is_read(
    door: Any, unchanged: None, path: str
) -> None:
    answer = await door.send("POST", path, b" " * 65_537)

    answer.must_refuse(413, "body_too_large")


async def test_body_that_grows_over_the_limit_is_refused(door: Any, unchanged: None) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(80):
            yield b" " * 1_000

    headers = {"authorization": f"Bearer {door.api_key}", "content-type": "application/json"}
    pairs = [(k.encode(), v.encode()) for k, v in headers.items()]
    async with httpcore2.AsyncConnectionPool() as pool:
        reply = await pool.request("POST", door.url + CREATE, headers=pairs, content=chunks())

    assert reply.status == 413
    assert json.loads(reply.content)["code"] == "body_too_large"


async def test_request_broken_off_in_its_body_does_nothing(door: Any) -> None:
    body = order()
    host, port = door.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = (
        f"POST {CREATE} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {door.api_key}\r\n"
        "content-type: application/json\r\nidempotency-key: broken-off\r\n"
        f"content-length: {len(body) + 4}\r\n\r\n"
    )

    writer.write(head.encode() + body)  # whole JSON, yet four bytes are missing
    await writer.drain()
    writer.write_eof()

    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    whole = await door.send("POST", CREATE, body, idempotency_key="broken-off")
    assert whole.status == 201
    assert "idempotency-replayed" not in whole.headers  # nobody was there before it


QUERIES: Final = {
    "limit=0": "limit",
    "limit=101": "limit",
    "limit=-1": "limit",
    "limit=1.5": "limit",
    "limit=ten": "limit",
    "limit=": "limit",
    "limit=%00": "limit",
    f"limit={'9' * 5000}": "limit",
    "staus=PAID": "staus",
    "status=PAID&sort=asc": "sort",
}
ORDER_QUERIES: Final = {
    "status=paid": "status",
    "status=": "status",
    "status=PAID&status=LOST": "status",
    f"merchant_order_id={'a' * 129}": "merchant_order_id",
}


@pytest.mark.parametrize(
    ("path", "query", "field"),
    [(path, query, field) for path in (ORDERS, EVENTS) for query, field in QUERIES.items()]
    + [(ORDERS, query, field) for query, field in ORDER_QUERIES.items()],
)
async def test_wrong_filter_of_a_list_is_refused_by_its_name(
    door: Any, unchanged: None, path: str, query: str, field: str
) -> None:
    if path == EVENTS and "status=PAID&" in query:
        field = "status"  # events have none

    answer = await door.send("GET", f"{path}?{query}")

    answer.must_refuse(422, "invalid_request", field)


async def test_page_behind_something_unknown_is_not_taken_for_the_end(
    door: Any, unchanged: None
) -> None:
    for text in ("x", "", "%00", NOBODYS):
        answer = await door.send("GET", f"{ORDERS}?starting_after={text}")
        answer.must_refuse(404, "order_not_found", "starting_after")
    for text in ("x", "", "%00"):
        answer = await door.send("GET", f"{EVENTS}?starting_after={text}")
        answer.must_refuse(404, "event_not_found", "starting_after")


@pytest.mark.parametrize("text", ["%00", "%ff", "%ed%a0%80", "", "a%0Ab", "%F0%9F%8D%B5"])
async def test_odd_merchant_order_id_finds_nothing(door: Any, unchanged: None, text: str) -> None:
    answer = await door.send("GET", f"{ORDERS}?merchant_order_id={text}")

    assert (answer.status, answer.json) == (200, {"data": [], "has_more": False})


NO_IDS: Final = ["x", "%00", "%ff", "a" * 4_000, "%F0%9F%98%80", "null", "'--", "{1}"]
ON_AN_ORDER: Final = [
    ("GET", ""),
    ("GET", "/timeline"),
    ("POST", "/refresh"),
    ("POST", "/cancel"),
    ("POST", "/renew"),
    ("POST", "/fulfill"),
]


@pytest.mark.parametrize("text", [*NO_IDS, NOBODYS], ids=lambda text: text[:12])
async def test_unknown_id_is_not_found(door: Any, unchanged: None, text: str) -> None:
    for method, tail in ON_AN_ORDER:
        answer = await door.send(method, f"{ORDERS}/{text}{tail}")
        answer.must_refuse(404, "order_not_found", "order_id")
    removed = await door.send("DELETE", f"{ENDPOINTS}/{text}")
    removed.must_refuse(404, "endpoint_not_found", "endpoint_id")
    told = await door.send("POST", f"{EVENTS}/{text}/redeliver")
    assert (told.status, told.json["code"]) == (404, "event_not_found")


async def test_address_that_is_none_is_refused(door: Any, unchanged: None) -> None:
    for path in ("/", "/api", "/nowhere", f"{ORDERS}/..%2fx", f"{ORDERS}/x/y", "/docs"):
        (await door.send("GET", path)).must_refuse(404, "not_found")


async def test_upper_case_id_is_the_same_id(door: Any) -> None:
    created = await door.send("POST", CREATE, order())
    order_id = created.json["order_id"]

    answer = await door.send("GET", f"{ORDERS}/{order_id.upper()}")

    assert answer.json["order_id"] == order_id


async def test_everything_of_another_account_is_as_if_it_were_not_there(door: Any) -> None:
    created = await door.send("POST", CREATE, order(merchant_order_id="mine"))
    order_id = created.json["order_id"]
    endpoint = await door.send("POST", ENDPOINTS, b'{"url": "https://mine.example/hook"}')
    event_id = (await door.send("GET", EVENTS)).json["data"][0]["event"]["id"]
    other = await _open_another_account(door)
    key = await door.make_key(account_id=other)
    before = await door.counts()

    for method, tail in ON_AN_ORDER:
        answer = await door.send(method, f"{ORDERS}/{order_id}{tail}", key=key)
        answer.must_refuse(404, "order_not_found", "order_id")
    gone = await door.send("DELETE", f"{ENDPOINTS}/{endpoint.json['endpoint_id']}", key=key)
    gone.must_refuse(404, "endpoint_not_found", "endpoint_id")
    told = await door.send("POST", f"{EVENTS}/{event_id}/redeliver", key=key)
    assert (told.status, told.json["code"]) == (404, "event_not_found")
    for path in (ORDERS, f"{ORDERS}?merchant_order_id=mine", EVENTS, ENDPOINTS):
        assert (await door.send("GET", path, key=key)).json["data"] == []
    behind = await door.send("GET", f"{ORDERS}?starting_after={order_id}", key=key)
    behind.must_refuse(404, "order_not_found", "starting_after")

    assert await door.counts() == before
    assert (await door.send("GET", f"{ORDERS}/{order_id}")).json["status"] == "PENDING_PAYMENT"
    assert len((await door.send("GET", ENDPOINTS)).json["data"]) == 1
    await door.send("DELETE", f"{ENDPOINTS}/{endpoint.json['endpoint_id']}")


async def _open_another_account(door: Any) -> uuid.UUID:
    """Add a second merchant the way an installation with several has them."""
    house, account_id = door.resources, uuid.uuid4()
    await door.database.execute(
        "INSERT INTO accounts (account_id, reference, name, notice_path, created_at)"
        " VALUES ($1, $2, 'Other shop', $3, now())",
        account_id,
        secrets.token_hex(4),
        secrets.token_hex(16),
    )
    row_id = uuid.uuid4()
    sealed = house.vault.encrypt(
        DEFAULT_API_SECRET, account_id=account_id, row_id=row_id, column="api_secret"
    )
    await door.database.execute(
        "INSERT INTO credentials (account_id, credential_id, api_key, secret_ciphertext, base_url,"
        " valid_from) VALUES ($1, $2, $3, $4, $5, $6)",
        account_id,
        row_id,
        DEFAULT_API_KEY,
        sealed,
        door.simulator.base_url,
        house.clock.now(),
    )
    await house.accounts.reload(house.database, house.provider, house.vault, now=house.clock.now())
    return account_id


async def test_wrong_method_says_which_is_right(door: Any, unchanged: None) -> None:
    for method, path, right in (
        ("GET", CREATE, "POST"),
        ("PUT", CREATE, "POST"),
        ("DELETE", f"{ORDERS}/{NOBODYS}", "GET"),
        ("POST", ORDERS, "GET"),
        ("TRACE", CREATE, "POST"),
    ):
        answer = await door.send(method, path)

        answer.must_refuse(405, "method_not_allowed")
        assert right in answer.headers["allow"]
        assert right in answer.json["detail"]
