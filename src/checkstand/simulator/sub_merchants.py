"""Shops below a merchant: added, changed, and named by orders."""

from collections.abc import Mapping
from typing import Any

from checkstand.simulator.accounts import SubMerchant
from checkstand.simulator.records import Merchant
from checkstand.simulator.rejections import Rejection
from checkstand.simulator.world import World

Body = Mapping[str, Any]
_OTHER_INDUSTRY = "9999"
_ONLINE, _PHYSICAL, _BOTH = 0, 1, -1


def add(world: World, merchant: Merchant, body: Body) -> object:
    """Add a shop; its name is unique below one merchant."""
    return _put(world, merchant, world.store.next_id(world.clock.now_ms()), body)


def modify(world: World, merchant: Merchant, body: Body) -> object:
    """Replace what is known of a shop; that the answer is the same as of add is a guess."""
    known = world.store.sub_merchants.get(body["subMerchantId"])
    if known is None or known.merchant_id != merchant.merchant_id:
        raise Rejection("400206")
    return _put(world, merchant, known.sub_merchant_id, body)


def _put(world: World, merchant: Merchant, sub_merchant_id: str, body: Body) -> object:
    _check(world, body)
    for other in world.store.sub_merchants.values():
        is_other = other.sub_merchant_id != sub_merchant_id
        if is_other and (other.merchant_id, other.name) == (
            merchant.merchant_id,
            body["merchantName"],
        ):
            raise Rejection("400205")
    details = {
        name: value for name, value in body.items() if name not in {"merchantName", "subMerchantId"}
    }
    world.store.sub_merchants[sub_merchant_id] = SubMerchant(
        merchant_id=merchant.merchant_id,
        sub_merchant_id=sub_merchant_id,
        name=body["merchantName"],
        details=details,
    )
    return {"subMerchantId": int(sub_merchant_id)}


def _check(world: World, body: Body) -> None:
    """Refuse what the fields ask of one another."""
    store_type = body.get("storeType")
    if store_type is None and world.settings.requires_store_type:
        raise Rejection("400100", "storeType")
    needed = {
        "siteUrl": store_type in {_ONLINE, _BOTH},
        "address": store_type in {_PHYSICAL, _BOTH},
        "payIndustryDescription": body["merchantMcc"] == _OTHER_INDUSTRY,
    }
    for name, is_needed in needed.items():
        if is_needed and name not in body:
            raise Rejection("400100", name)
