"""Shops below a merchant: names, what fields ask of one another, and orders that name them."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from checkstand.simulator.settings import Settings

SHOP = {"merchantName": "Tea corner", "merchantMcc": "1040", "merchantType": 4, "country": "SG"}
Body = Callable[..., dict[str, Any]]


async def test_added_shop_can_be_named_by_orders_and_changed(shop: Any) -> None:
    added = await shop.call("/submerchant/add", SHOP)
    sub_merchant_id = added.data["subMerchantId"]

    changed = {**SHOP, "merchantName": "Tea house", "subMerchantId": str(sub_merchant_id)}
    modified = await shop.call("/submerchant/modify", changed)
    await shop.create("T1", merchant={"subMerchantId": str(sub_merchant_id)})

    assert isinstance(sub_merchant_id, int)
    assert modified.data == added.data
    assert shop.simulator.control.order("T1").sub_merchant_id == str(sub_merchant_id)
    (known,) = (await shop.control("GET", "/state")).json["sub_merchants"]
    assert (known["name"], known["details"]["country"]) == ("Tea house", "SG")


async def test_name_is_taken_once(shop: Any) -> None:
    await shop.call("/submerchant/add", SHOP)

    assert (await shop.call("/submerchant/add", SHOP)).code == "400205"


async def test_unknown_shop_is_refused(shop: Any, body: Body) -> None:
    order = body("T1", merchant={"subMerchantId": "123"})

    assert (await shop.call("/v3/order", order)).code == "400206"
    assert (await shop.call("/submerchant/modify", {**SHOP, "subMerchantId": 5})).code == "400206"
    assert (await shop.call("/submerchant/modify", SHOP)).code == "400100"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"merchantName": "x" * 129}, "400101"),
        ({"merchantMcc": "tea"}, "400101"),
        ({"merchantType": 9}, "400102"),
        ({"storeType": 0}, "400100"),
        ({"storeType": 1}, "400100"),
        ({"storeType": 0, "siteUrl": "https://shop.example"}, "000000"),
        ({"storeType": 1, "address": "1 Tea Street"}, "000000"),
        ({"merchantMcc": "9999"}, "400100"),
        ({"merchantMcc": "9999", "payIndustryDescription": "Tea tasting"}, "000000"),
        ({"blockPayerKycCountries": ["XX", "YY"]}, "000000"),
        ({"blockPayerKycCountries": [1]}, "400100"),
    ],
)
async def test_fields_are_checked(shop: Any, changes: dict[str, Any], code: str) -> None:
    assert (await shop.call("/submerchant/add", {**SHOP, **changes})).code == code


async def test_store_type_is_mandatory_where_the_settings_say_so(
    start: Callable[..., Awaitable[Any]],
) -> None:
    shop = await start(settings=Settings(requires_store_type=True))

    assert (await shop.call("/submerchant/add", SHOP)).code == "400100"
