"""A request is judged in the service's order, and each fault gets its documented answer."""

from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from checkstand.simulator.settings import Settings

ABNORMAL = {
    "status": "ERROR",
    "type": "SYS",
    "code": "100001001",
    "errorData": "System abnormality",
}


async def test_signed_request_passes(shop: Any) -> None:
    reply = await shop.call("/certificates")

    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json;charset=UTF-8"
    assert reply.json["code"] == "000000"


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "GET"},
        {"method": "PUT"},
        {"headers": {"content-type": None}},
        {"headers": {"content-type": "text/plain"}},
        {"raw": b""},
    ],
    ids=["get", "put", "no-content-type", "other-content-type", "no-body"],
)
async def test_wrong_shape_of_http_gets_the_gateways_own_error(
    shop: Any, changes: dict[str, Any]
) -> None:
    reply = await shop.call("/certificates", **changes)

    assert reply.status == 400
    assert reply.json == ABNORMAL


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"headers": {"BinancePay-Timestamp": None}}, "400001"),
        ({"headers": {"BinancePay-Timestamp": "yesterday"}}, "400001"),
        ({"headers": {"BinancePay-Timestamp": "9" * 5000}}, "400001"),
        ({"headers": {"BinancePay-Nonce": None}}, "400001"),
        ({"headers": {"BinancePay-Nonce": "x" * 31}}, "400001"),
        ({"headers": {"BinancePay-Nonce": "abcdefghijklmnopqrstuvwx/+=abcde"}}, "400001"),
        ({"headers": {"BinancePay-Certificate-SN": None}}, "400005"),
        ({"headers": {"BinancePay-Certificate-SN": "not a key!"}}, "400005"),
        ({"headers": {"BinancePay-Certificate-SN": "stranger"}}, "400004"),
        ({"headers": {"BinancePay-Signature": None}}, "400002"),
        ({"headers": {"BinancePay-Signature": "é"}}, "400002"),
        ({"skew_ms": -1001}, "400003"),
        ({"skew_ms": 1001}, "400003"),
        ({"headers": {"BinancePay-Timestamp": "1700000000"}}, "400003"),
        ({"raw": b"not json"}, "400008"),
        ({"raw": b"[]"}, "400008"),
        ({"raw": b'{"a":NaN}'}, "400008"),
        ({"raw": b'{"a":1E999999999999999999999}'}, "400008"),
        ({"raw": b'{"a":' + b"9" * 5000 + b"}"}, "400008"),
        ({"raw": b'{"a":' + b"[" * 100_000}, "400008"),
        ({"raw": b'{"a":"\xff"}'}, "400008"),
        ({"raw": b'{"a":"' + b"x" * 1_100_000 + b'"}'}, "400104"),
    ],
)
async def test_each_defect_has_its_code(shop: Any, changes: dict[str, Any], code: str) -> None:
    reply = await shop.call("/certificates", **changes)

    assert reply.status == 400
    assert reply.json["status"] == "FAIL"
    assert reply.code == code
    assert reply.json["errorMessage"]


@pytest.mark.parametrize("skew_ms", [-1000, 0, 1000])
async def test_timestamp_at_the_edge_of_the_window_passes(shop: Any, skew_ms: int) -> None:
    reply = await shop.call("/certificates", skew_ms=skew_ms)

    assert reply.code == "000000"


async def test_lowercase_signature_is_refused(shop: Any) -> None:
    good: dict[str, str] = {}
    send = shop.send

    async def spy(method: str, path: str, content: bytes, headers: dict[str, str]) -> Any:
        good.update(headers)
        return await send(method, path, content, headers)

    shop.send = spy
    await shop.call("/certificates")
    lower = {"BinancePay-Signature": good["BinancePay-Signature"].lower()}
    reply = await shop.call("/certificates", headers=lower)

    assert reply.code == "400002"
    assert reply.json["errorMessage"] == "Signature for this request is not valid."


async def test_signature_covers_the_raw_bytes_and_not_their_meaning(shop: Any) -> None:
    signed_compact = await shop.call("/certificates", raw=b'{"a":1,"b":"\xc3\xa9"}')
    signed_spaced = await shop.call("/certificates", raw=b'{ "b": "\\u00e9",\n"a": 1 }')

    assert signed_compact.code == "000000"
    assert signed_spaced.code == "000000"


async def test_checks_come_in_the_services_order(shop: Any) -> None:
    stranger = {"BinancePay-Certificate-SN": "stranger"}

    old_stranger = await shop.call("/certificates", headers=stranger, skew_ms=-9999)
    old_and_unsigned = await shop.call(
        "/certificates", headers={"BinancePay-Signature": None}, skew_ms=-9999
    )
    unsigned_and_no_json = await shop.call(
        "/certificates", headers={"BinancePay-Signature": None}, raw=b"x"
    )

    assert old_stranger.code == "400004"
    assert old_and_unsigned.code == "400003"
    assert unsigned_and_no_json.code == "400002"


@pytest.mark.parametrize(
    "path", ["/binancepay/openapi/v9/order", "/binancepay/openapi", "/nowhere", "/binancepay"]
)
async def test_unknown_path_gets_the_network_edges_page(shop: Any, path: str) -> None:
    reply = await shop.send("POST", path, b"{}", {"content-type": "application/json"})

    assert reply.status == 403
    assert reply.headers["content-type"].startswith("text/html")
    assert b"Request blocked" in reply.content


async def test_date_header_tells_the_simulated_time(shop: Any) -> None:
    shop.simulator.clock.advance(7 * 86400)

    reply = await shop.call("/certificates")

    now = shop.simulator.clock.now().replace(microsecond=0)
    assert parsedate_to_datetime(reply.headers["date"]) == now


async def test_switch_answers_200_to_failures_too(start: Callable[..., Awaitable[Any]]) -> None:
    shop = await start(settings=Settings(answers_200_always=True))

    refused = await shop.call("/order/close", {"merchantTradeNo": "X"})
    abnormal = await shop.call("/order/close", method="GET")

    assert (refused.status, refused.code) == (200, "400202")
    assert abnormal.status == 200


async def test_switch_calls_the_message_msg(start: Callable[..., Awaitable[Any]]) -> None:
    shop = await start(settings=Settings(errors_use_msg=True))

    reply = await shop.call("/certificates", headers={"BinancePay-Signature": "0" * 128})

    assert reply.json == {"code": "400002", "msg": "Signature for this request is not valid."}


async def test_switch_widens_the_window(start: Callable[..., Awaitable[Any]]) -> None:
    shop = await start(settings=Settings(timestamp_window_ms=300_000))

    assert (await shop.call("/certificates", skew_ms=-299_000)).code == "000000"


async def test_switch_refuses_a_repeated_nonce(start: Callable[..., Awaitable[Any]]) -> None:
    shop = await start(settings=Settings(rejects_repeated_nonce=True))
    shop.simulator.clock.freeze()

    first = await shop.call("/certificates")
    second = await shop.call("/certificates")

    assert first.code == "000000"
    assert second.code == "400001"
