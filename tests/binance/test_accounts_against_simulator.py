"""Wallets, payouts, reports and sub-merchants: the SDK and the simulator, written apart."""

from collections.abc import AsyncIterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from checkstand.binance import (
    DuplicateRequest,
    Environment,
    Goods,
    InvalidRequest,
    NotFound,
    PayoutLine,
    SubMerchantProfile,
)
from checkstand.simulator.server import DEFAULT_MERCHANT_ID, Simulator, running_simulator

TEA = Goods(
    goods_type="01", goods_category="D000", reference_goods_id="sku-77", goods_name="Green tea"
)
LINE = PayoutLine(
    merchant_send_id="L1",
    receive_type="EMAIL",
    receiver="person@example.com",
    transfer_amount=Decimal("1.10"),
    transfer_method="FUNDING_WALLET",
)


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with running_simulator() as simulator:
        simulator.control.set_balance(DEFAULT_MERCHANT_ID, "USDT", "10")
        yield simulator


@pytest.fixture
def client(counter: Any, simulator: Simulator) -> Any:
    return counter.client(base_url=simulator.base_url, api_key="simulator", api_secret="simulator")


async def test_orders_of_older_versions_are_created_and_queried(counter: Any, client: Any) -> None:
    second = await counter.call(
        lambda: client.orders.create_v2(
            merchant_trade_no="T2",
            goods=TEA,
            env=Environment(terminal_type="WAP", os_type="ANDROID"),
            order_amount="1",
            currency="USDT",
        )
    )
    first = await counter.call(
        lambda: client.orders.create_v1(
            merchant_trade_no="T1",
            trade_type="WEB",
            total_fee="25.17",
            currency="USDT",
            product_name="Ice cream",
        )
    )
    asked = await counter.call(lambda: client.orders.query_v1(prepay_id=first.prepay_id))

    assert second.terminal_type == "WAP"
    assert first.trade_type == "WEB"
    assert (asked.merchant_trade_no, asked.order_amount) == ("T1", Decimal("25.17"))


async def test_money_moves_between_wallets_once(counter: Any, client: Any) -> None:
    def move() -> Any:
        return client.transfers.create(
            request_id="R1", currency="USDT", amount="4.5", transfer_type="TO_MAIN"
        )

    moved, again = await counter.call(move), await counter.call(move)
    asked = await counter.call(lambda: client.transfers.query(tran_id="R1"))
    funding = await counter.call(client.balances.query)
    spot = await counter.call(
        lambda: client.balances.query_v1(wallet="SPOT_WALLET", currency="USDT")
    )

    assert moved.status == again.status == asked.status == "SUCCESS"
    assert again.last_response.code == "000001"
    assert moved.amount == Decimal("4.5")
    held = {each.asset: each.available for each in funding.balance}
    assert (held["USDT"], spot.balance) == (Decimal("5.5"), Decimal("4.5"))
    assert funding.updated_at is not None


async def test_an_unknown_transfer_is_not_found(counter: Any, client: Any) -> None:
    with pytest.raises(NotFound):
        await counter.call(lambda: client.transfers.query(tran_id="R9"))


async def test_a_payout_is_accepted_and_ends(
    counter: Any, client: Any, simulator: Simulator
) -> None:
    accepted = await counter.call(
        lambda: client.payouts.create(
            request_id="PO1", batch_name="May", currency="USDT", lines=[LINE]
        )
    )
    await simulator.control.advance(5)
    done = await counter.call(lambda: client.payouts.query(request_id="PO1"))

    assert accepted.status == "ACCEPTED"
    assert done.batch_status == "SUCCESS"
    assert done.total_amount == Decimal("1.1")
    (line,) = done.transfer_detail_list
    assert (line.merchant_send_id, line.status, line.amount) == ("L1", "SUCCESS", Decimal("1.1"))


async def test_a_sub_merchant_is_added_and_changed(counter: Any, client: Any) -> None:
    def shop(name: str) -> SubMerchantProfile:
        return SubMerchantProfile(
            merchant_name=name, merchant_mcc="1040", store_type=0, site_url="https://tea.example"
        )

    added = await counter.call(lambda: client.sub_merchants.create(profile=shop("Tea")))
    changed = await counter.call(
        lambda: client.sub_merchants.modify(
            sub_merchant_id=added.sub_merchant_id, profile=shop("Coffee")
        )
    )

    assert changed.sub_merchant_id == added.sub_merchant_id
    with pytest.raises(DuplicateRequest) as caught:
        await counter.call(lambda: client.sub_merchants.create(profile=shop("Coffee")))
    assert caught.value.code == "400205"


async def test_a_balance_report_is_asked_for_and_fetched(
    counter: Any, client: Any, simulator: Simulator
) -> None:
    yesterday = simulator.clock.now().date() - timedelta(days=1)

    asked = await counter.call(
        lambda: client.reports.request_balance(start_date=yesterday, end_date=yesterday)
    )
    early = await counter.call(lambda: client.reports.query_balance(download_id=asked.download_id))
    await simulator.control.advance(5)
    ready = await counter.call(lambda: client.reports.query_balance(download_id=asked.download_id))

    assert asked.download_id in asked.sentence
    assert (early.status, early.download_url) == ("PROCESSING", "")
    assert ready.status == "SUCCESS"
    assert ready.download_url.startswith("http")


async def test_report_files_are_listed(counter: Any, client: Any, simulator: Simulator) -> None:
    await counter.call(
        lambda: client.orders.create(
            merchant_trade_no="T1",
            description="Tea",
            goods_details=[TEA],
            order_amount="1",
            currency="USDT",
        )
    )
    simulator.control.pay("T1")
    today = simulator.clock.now().date()

    files = await counter.call(
        lambda: client.reports.list_files(
            report_type="Transaction", transaction_type="Payment", start_date=today, end_date=today
        )
    )

    (file,) = files
    assert file.file_name.startswith("T_Payment_")  # it serves CSV, and says so in the name
    with pytest.raises(InvalidRequest):
        await counter.call(
            lambda: client.reports.list_files(
                report_type="Transaction", start_date=date(2026, 1, 1), end_date=date(2026, 1, 2)
            )
        )
