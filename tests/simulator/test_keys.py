"""What an API key may do, and from where."""

from typing import Any

import pytest

from checkstand.simulator.records import FEATURES


async def test_key_without_a_feature_is_forbidden_and_others_go_on(shop: Any) -> None:
    shop.simulator.control.set_key("simulator", features=FEATURES - {"PAYOUT", "CHECKOUT"})

    assert (await shop.call("/v2/order/query", {"merchantTradeNo": "T1"})).code == "400606"
    assert (await shop.call("/payout/query", {"requestId": "PO1"})).code == "400606"
    assert (await shop.call("/balance", {"wallet": "SPOT_WALLET", "currency": "BNB"})).status == 200
    assert (await shop.call("/certificates")).status == 200


@pytest.mark.parametrize(
    ("trusted", "code"),
    [
        (["127.0.0.1"], "000000"),
        (["127.0.0.0/8", "10.0.0.1"], "000000"),
        ([], "000000"),
        (["203.0.113.7"], "400004"),
        (["::1"], "400004"),
    ],
)
async def test_key_works_from_its_addresses_alone(shop: Any, trusted: list[str], code: str) -> None:
    changed = await shop.control("POST", "/keys/simulator", {"trusted_ips": trusted})

    assert changed.json["trusted_ips"] == sorted(trusted)
    assert (await shop.call("/certificates")).code == code


async def test_further_key_has_rights_of_its_own(shop: Any) -> None:
    key = {"api_key": "k2", "api_secret": "s2", "merchant_id": "900000001"}
    limits = {"features": ["BALANCE"], "trusted_ips": ["127.0.0.1"]}
    added = await shop.control("POST", "/merchants", {**key, **limits})

    await shop.create("T1")
    shop.api_key, shop.api_secret = "k2", "s2"

    assert added.json["keys"][1] == {"api_key": "k2", **limits}
    assert (await shop.call("/v2/order/query", {"merchantTradeNo": "T1"})).code == "400606"


@pytest.mark.parametrize(
    ("key", "options", "status", "words"),
    [
        ("k9", {}, 404, "no API key"),
        ("simulator", {"features": ["FLY"]}, 400, "known are BALANCE"),
        ("simulator", {"trusted_ips": ["here"]}, 400, "here"),
    ],
)
async def test_refusal_says_what_would_do(
    shop: Any, key: str, options: dict[str, Any], status: int, words: str
) -> None:
    reply = await shop.control("POST", f"/keys/{key}", options)

    assert reply.status == status
    assert words in reply.json["error"]
