"""Wallets that move: transfers, balances, payers and the coins they choose."""

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

from checkstand.simulator.accounts import Payer
from checkstand.simulator.orders import NotPossible
from checkstand.simulator.settings import Settings

ME, PAYER = "900000001", "100000001"
Start = Callable[..., Awaitable[Any]]


def transfer(amount: object = "4", **changes: Any) -> dict[str, Any]:
    asked = {"requestId": "TR1", "currency": "USDT", "amount": amount, "transferType": "TO_MAIN"}
    return {**asked, **changes}


async def test_transfer_moves_money_between_the_merchants_wallets(shop: Any) -> None:
    control = shop.simulator.control
    control.set_balance(ME, "USDT", "10")

    there = await shop.call("/wallet/transfer", transfer("4"))
    control_there = (control.balance(ME, "USDT"), control.balance(ME, "USDT", wallet="SPOT_WALLET"))
    back = transfer("1.5", requestId="TR2", transferType="TO_PAY")
    await shop.call("/wallet/transfer", back)

    assert there.data == {
        "tranId": "TR1",
        "status": "SUCCESS",
        "currency": "USDT",
        "amount": "4",
        "transferType": "TO_MAIN",
    }
    assert control_there == (6, 4)
    assert control.balance(ME, "USDT") == Decimal("7.5")
    assert control.balance(ME, "USDT", wallet="SPOT_WALLET") == Decimal("2.5")
    queried = await shop.call("/wallet/transfer/query", {"tranId": "TR1"})
    assert queried.data["status"] == "SUCCESS"


async def test_replayed_transfer_says_so_and_moves_nothing(shop: Any) -> None:
    shop.simulator.control.set_balance(ME, "USDT", "10")

    first = await shop.call("/wallet/transfer", transfer("4"))
    again = await shop.call("/wallet/transfer", transfer("9"))

    assert again.json == {
        "status": "REPEAT_REQ_SUCCESS",
        "code": "000001",
        "data": first.json["data"],
    }
    assert shop.simulator.control.balance(ME, "USDT") == 6


async def test_transfer_beyond_the_wallet_fails_and_moves_nothing(shop: Any) -> None:
    short = await shop.call("/wallet/transfer", transfer("4"))
    unknown = await shop.call("/wallet/transfer/query", {"tranId": "TR9"})

    assert short.data["status"] == "FAILURE"
    assert shop.simulator.control.balance(ME, "USDT", wallet="SPOT_WALLET") == 0
    assert unknown.code == "400202"


async def test_slow_transfer_is_in_process_until_its_time(start: Start) -> None:
    shop = await start(settings=Settings(transfer_delay_ms=5000))
    shop.simulator.clock.freeze()
    shop.simulator.control.set_balance(ME, "USDT", "10")

    asked = await shop.call("/wallet/transfer", transfer("4"))
    meanwhile = shop.simulator.control.balance(ME, "USDT", wallet="SPOT_WALLET")
    await shop.simulator.control.advance(5)

    assert asked.data["status"] == "PROCESS"
    assert meanwhile == 0
    queried = await shop.call("/wallet/transfer/query", {"tranId": "TR1"})
    assert queried.data["status"] == "SUCCESS"
    assert shop.simulator.control.balance(ME, "USDT", wallet="SPOT_WALLET") == 4


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"amount": 4}, "400100"),
        ({"amount": "0"}, "400102"),
        ({"amount": "0.000000001"}, "400101"),
        ({"currency": "usdt"}, "400102"),
        ({"transferType": "TO_MOON"}, "400102"),
        ({"requestId": "x" * 33}, "400101"),
    ],
)
async def test_transfer_names_what_is_wrong(shop: Any, changes: dict[str, Any], code: str) -> None:
    assert (await shop.call("/wallet/transfer", transfer(**changes))).code == code


async def test_balance_v2_lists_what_payments_left_of_every_coin(shop: Any) -> None:
    await shop.create("T1", orderAmount=100)
    await shop.create("T2", orderAmount=0.5, currency="BTC")
    shop.simulator.control.pay("T1", webhook=False)
    shop.simulator.control.pay("T2", webhook=False)

    every = (await shop.call("/v2/balance", {"wallet": "FUNDING_WALLET"})).data
    spot = (await shop.call("/v2/balance", {"wallet": "SPOT_WALLET"})).data
    one = (await shop.call("/v2/balance", {"wallet": "SPOT_WALLET", "currency": "BNB"})).data

    bitcoin, dollars = every["balance"]
    assert dollars == {
        "asset": "USDT",
        "available": Decimal(99),
        "freeze": 0,
        "availableFiatValuation": Decimal(99),
        "availableBtcValuation": Decimal("0.00165"),
    }
    assert (bitcoin["asset"], bitcoin["available"]) == ("BTC", Decimal("0.495"))
    assert bitcoin["availableFiatValuation"] == Decimal(29_700)
    assert every["updateTime"] == str(shop.simulator.clock.now_ms())
    assert every["fiat"] == "USD"
    assert spot["balance"] == []
    assert [(each["asset"], each["available"]) for each in one["balance"]] == [("BNB", 0)]


async def test_balance_v1_is_flat_and_of_one_coin(shop: Any) -> None:
    shop.simulator.control.set_balance(ME, "USDT", "12.5")
    wallet = {"wallet": "FUNDING_WALLET"}

    one = await shop.call("/balance", {**wallet, "currency": "USDT"})

    assert one.data["balance"] == Decimal("12.5")
    assert one.data["asset"] == "USDT"
    assert set(one.data) == {
        "balance",
        "asset",
        "fiat",
        "availableFiatValuation",
        "availableBtcValuation",
    }
    assert (await shop.call("/balance", wallet)).code == "400100"
    assert (await shop.call("/balance", {**wallet, "currency": "XYZ"})).code == "400102"
    assert (await shop.call("/v2/balance", {"wallet": "POCKET"})).code == "400102"


async def test_payment_takes_from_the_payer_and_refund_gives_back(shop: Any) -> None:
    created = await shop.create("T1")
    control = shop.simulator.control
    before = control.balance(PAYER, "USDT")

    control.pay("T1", webhook=False)
    paid = control.balance(PAYER, "USDT")
    refund = {"refundRequestId": "RF1", "prepayId": created["prepayId"], "refundAmount": 5}
    await shop.call("/order/refund", refund)
    await control.advance(1)

    assert before - paid == Decimal("12.5")
    assert control.balance(PAYER, "USDT") == paid + 5
    entries = shop.simulator.world.store.entries
    moved = [(each.kind, each.amount) for each in entries if each.owner == ME]
    assert moved == [
        ("payment", Decimal("12.5")),
        ("commission", Decimal("-0.125")),
        ("refund", -5),
        ("commission_back", Decimal("0.05")),
    ]
    assert entries[-1].owner == PAYER


async def test_payer_chooses_a_coin_and_the_shop_gets_its_own(shop: Any, inbox: Any) -> None:
    await shop.create("T1", supportPayCurrency="BNB, USDT")
    control = shop.simulator.control

    control.pay("T1", pay_currency="BNB")
    await control.settle()

    (instruction,) = inbox.received[0].data["paymentInfo"]["paymentInstructions"]
    assert instruction == {"currency": "BNB", "amount": Decimal("0.02083334"), "price": 600}
    assert inbox.received[0].data["currency"] == "USDT"
    queried = (await shop.query("T1"))["paymentInfo"]["paymentInstructions"]
    assert queried == [{"currency": "BNB", "amount": "0.02083334", "price": "600.00000000"}]
    assert control.balance(ME, "USDT") == Decimal("12.375")
    assert control.balance(PAYER, "BNB") == 100_000 - Decimal("0.02083334")


async def test_coin_that_the_shop_does_not_take_is_refused(shop: Any) -> None:
    await shop.create("T1", supportPayCurrency="USDT,BNB")

    with pytest.raises(NotPossible, match="USDT, BNB, so not with BTC"):
        shop.simulator.control.pay("T1", pay_currency="BTC")

    assert (await shop.query("T1"))["status"] == "INITIAL"


async def test_payer_who_is_short_comes_by_the_money_unless_told_not_to(shop: Any) -> None:
    control = shop.simulator.control
    control.add_payer(
        Payer(payer_id="100000002", name="Ada", opening_balances={"USDT": Decimal(1)})
    )
    await shop.create("T1")

    with pytest.raises(NotPossible, match=r"lacks 11\.5 USDT"):
        control.pay("T1", payer_id="100000002", tops_up=False)
    control.pay("T1", payer_id="100000002", webhook=False)

    assert control.balance("100000002", "USDT") == 0
    await shop.create("T2")
    with pytest.raises(NotPossible, match="no payer"):
        control.pay("T2", payer_id="1")


async def test_wallets_are_seen_and_set_over_http(shop: Any) -> None:
    payer = {"payer_id": "100000002", "name": "Ada", "opening_balances": {"BNB": "2"}}
    added = await shop.control("POST", "/payers", payer)
    spot = {"currency": "USDT", "balance": "7.5", "wallet": "SPOT_WALLET"}
    changed = await shop.control("POST", f"/wallets/{ME}", spot)
    state = (await shop.control("GET", "/state")).json

    assert added.json["wallets"]["FUNDING_WALLET"] == {"BNB": "2"}
    assert changed.json["SPOT_WALLET"] == {"USDT": "7.5"}
    assert [each["name"] for each in state["payers"]] == ["Simulated payer", "Ada"]
    assert state["entries"][-1]["kind"] == "correction"
    assert (await shop.control("POST", "/payers", payer)).status == 400
    assert (await shop.control("POST", "/wallets/5", spot)).status == 404
    assert (await shop.control("POST", f"/wallets/{ME}", {**spot, "wallet": "X"})).status == 400
