"""`checkstand keys`: the key is alone on the last line, works at once, and may only what it may."""

import json
from typing import Any

import httpcore2


async def ask(url: str, path: str, key: str) -> tuple[int, Any]:
    """Ask the API something with a key."""
    async with httpcore2.AsyncConnectionPool() as pool:
        headers = {"authorization": f"Bearer {key}"}
        answer = await pool.request("GET", url + path, headers=list(headers.items()))
        return answer.status, json.loads(answer.content)


async def test_key_is_alone_on_the_last_line_and_works_at_once(on_postgres: Any) -> None:
    async with on_postgres.serves("serve", "--port", "0", "--no-worker") as gateway:
        made = on_postgres.ends("keys", "create", "my shop")
        reading = on_postgres.ends("keys", "create", "reports", "--scope", "orders:read")
        lines, key = made.out.splitlines(), made.out.splitlines()[-1]

        assert (made.code, made.err) == (0, "")
        assert "my shop" in lines[0]
        assert key.startswith("csk_")
        assert " " not in key
        assert await ask(gateway.url, "/api/events", key) == (200, {"data": [], "has_more": False})
        read_key = reading.out.splitlines()[-1]
        assert (await ask(gateway.url, "/api/payments/binance/orders", read_key))[0] == 200
        status, problem = await ask(gateway.url, "/api/events", read_key)
        assert (status, problem["code"]) == (403, "scope_missing")
        assert "reports" in problem["detail"]
        assert (await ask(gateway.url, "/api/events", key[:-1]))[0] == 401


def test_key_that_cannot_be_made_is_explained(on_postgres: Any) -> None:
    assert on_postgres.ends("keys", "create", "shop").code == 0

    for arguments, word in (
        (("shop",), "already"),
        (("other", "--scope", "orders:erase"), "orders:read, orders:write"),
    ):
        ended = on_postgres.ends("keys", "create", *arguments)
        assert (ended.code, ended.out) == (2, ""), arguments
        assert word in ended.err
