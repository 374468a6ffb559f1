"""What a merchant has in a wallet, in both versions of the question.

Valuations use the settings' made-up prices. Frozen is what payouts under way have taken.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from checkstand.simulator import amounts
from checkstand.simulator.accounts import LineStatus, Purse, Wallet
from checkstand.simulator.records import Merchant
from checkstand.simulator.rejections import Rejection
from checkstand.simulator.world import World

Body = Mapping[str, Any]


def query_v2(world: World, merchant: Merchant, body: Body) -> object:
    """List the coins of a wallet, or the one that was asked for."""
    wallet = Wallet(body["wallet"])
    if "currency" in body:
        currencies = [_known(world, body["currency"])]
    else:
        purses = world.store.list_purses(merchant.merchant_id)
        currencies = sorted(purse.currency for purse in purses if purse.wallet is wallet)
    balances = [_described(world, Purse(merchant.merchant_id, wallet, each)) for each in currencies]
    return {
        "wallet": wallet,
        "updateTime": str(world.clock.now_ms()),
        "fiat": "USD",
        "balance": balances,
    }


def query_v1(world: World, merchant: Merchant, body: Body) -> object:
    """Say what there is of one coin, in the older flat form."""
    purse = Purse(merchant.merchant_id, Wallet(body["wallet"]), _known(world, body["currency"]))
    described = _described(world, purse)
    balance, _ = described.pop("available"), described.pop("freeze")
    return {"balance": balance, "fiat": "USD", **described}


def frozen(world: World, purse: Purse) -> Decimal:
    """Return what payouts under way have taken out of a purse."""
    lines = (
        line.amount
        for payout in world.store.payouts.values()
        if payout.merchant_id == purse.owner and payout.currency == purse.currency
        for line in payout.lines
        if line.wallet is purse.wallet and line.is_taken and line.status is LineStatus.PROCESSING
    )
    return sum(lines, Decimal())


def _known(world: World, currency: str) -> str:
    if currency not in world.settings.currencies:
        raise Rejection("400102", "currency")
    return currency


def _described(world: World, purse: Purse) -> dict[str, Any]:
    available = world.store.balances.get(purse, Decimal())
    prices = world.settings.coin_prices
    # A coin that arrived by a fault alone has no price.
    fiat = amounts.share(available, prices.get(purse.currency, Decimal()))
    bitcoin = amounts.share(fiat, 1 / prices["BTC"]) if "BTC" in prices else Decimal()
    return {
        "asset": purse.currency,
        "available": amounts.as_number(available),
        "freeze": amounts.as_number(frozen(world, purse)),
        "availableFiatValuation": amounts.as_number(fiat),
        "availableBtcValuation": amounts.as_number(bitcoin),
    }
