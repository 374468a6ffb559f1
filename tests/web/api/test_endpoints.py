"""Where the shop wants to be told: no address that a stranger could misuse, and none twice."""

import json
from typing import Any, Final

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")

ENDPOINTS: Final = "/api/webhook-endpoints"

TARGETS: Final = {
    "loopback": "http://127.0.0.1/hook",
    "IPv6 loopback": "http://[::1]/hook",
    "private network": "https://10.0.0.8/hook",
    "link-local": "http://169.254.169.254/latest/meta-data",
    "name of this machine": "http://localhost/hook",
    "old spelling of loopback": "http://2130706433/hook",
    "mapped loopback": "http://[::ffff:127.0.0.1]/hook",
    "another scheme": "ftp://shop.example/hook",
    "a script": "javascript:alert(1)",
    "user name": "https://a:b@shop.example/hook",
    "fragment": "https://shop.example/hook#here",
    "space": "https://shop.example/a b",
    "no host": "https:///hook",
    "port 0": "https://shop.example:0/hook",
    "port out of range": "https://shop.example:99999/hook",
    "nothing": "",
}


@pytest.mark.parametrize("url", TARGETS.values(), ids=TARGETS)
async def test_webhook_goes_to_no_private_or_unreachable_address(
    door: Any, unchanged: None, url: str
) -> None:
    answer = await door.send("POST", ENDPOINTS, json.dumps({"url": url}).encode())

    answer.must_refuse(422, "invalid_url", "url")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": 7}, "url"),
        ({"url": None}, "url"),
        ({"url": "https://shop.example/" + "a" * 2048}, "url"),
        ({"url": "https://shop.example/", "fulfil_on_delivery": 1}, "fulfil_on_delivery"),
        ({"url": "https://shop.example/", "events": ["*"]}, "events"),
    ],
)
async def test_wrong_endpoint_is_refused_by_its_field(
    door: Any, unchanged: None, body: dict[str, Any], field: str
) -> None:
    answer = await door.send("POST", ENDPOINTS, json.dumps(body).encode())

    answer.must_refuse(422, "invalid_request", field)


async def test_same_address_in_other_letters_is_registered_once(door: Any) -> None:
    first = await door.send("POST", ENDPOINTS, b'{"url": "https://shop.example"}')
    assert (first.status, first.json["url"]) == (201, "https://shop.example/")
    before = await door.counts()

    for url in ("https://shop.example/", "HTTPS://SHOP.EXAMPLE/", "https://shop.example:443"):
        again = await door.send("POST", ENDPOINTS, json.dumps({"url": url}).encode())
        again.must_refuse(409, "endpoint_exists", "url")

    assert await door.counts() == before
    path = f"{ENDPOINTS}/{first.json['endpoint_id']}"
    assert (await door.send("DELETE", path)).status == 204
    (await door.send("DELETE", path)).must_refuse(404, "endpoint_not_found", "endpoint_id")
