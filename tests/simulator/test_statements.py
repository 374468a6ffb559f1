"""Reports: which files there are, what is in them, and the balance report's way to its reader."""

import csv
import io
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from checkstand.simulator.settings import Settings

ME = "900000001"
DAY = {"startDate": "10/01/2031", "endDate": "12/01/2031"}
ISO_DAY = {"reportType": "Balance", "startDate": "2031-01-10", "endDate": "2031-01-11"}


async def read(shop: Any, url: str) -> list[dict[str, str]]:
    reply = await shop.send("GET", url)
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(reply.content.decode())))


@pytest.fixture
async def trading(shop: Any) -> Any:
    """A shop that took 12.5 and returned 5 on 11 January 2031, and paid out 2 the day after."""
    control = shop.simulator.control
    control.clock.set(datetime(2031, 1, 11, 12, tzinfo=UTC))
    created = await shop.create("T1")
    control.pay("T1", webhook=False)
    refund = {"refundRequestId": "RF1", "prepayId": created["prepayId"], "refundAmount": 5}
    await shop.call("/order/refund", refund)
    await control.advance(86_400)
    line = {
        "merchantSendId": "L1",
        "receiveType": "EMAIL",
        "receiver": "person@example.com",
        "transferAmount": 2,
        "transferMethod": "FUNDING_WALLET",
    }
    batch = {"requestId": "PO1", "batchName": "B", "currency": "USDT", "totalAmount": 2}
    lines = {"totalNumber": 1, "transferDetailList": [line]}
    await shop.call("/payout/transfer", {**batch, **lines})
    await control.advance(1)
    return shop


async def test_settlement_has_a_file_of_payments_and_one_of_refunds(trading: Any) -> None:
    files = (await trading.call("/report/get-file", {"reportType": "Settlement", **DAY})).data

    payments, refunds = files
    assert payments["downloadUrl"].startswith(trading.simulator.base_url)
    assert {key: payments[key] for key in payments if key != "downloadUrl"} == {
        "reportType": "Settlement",
        "transactionType": "Payment",
        "transactionDate": "2031-01-11",
        "fileName": "S_Payment_20310111.csv",
    }
    (payment,) = await read(trading, payments["downloadUrl"])
    (refund,) = await read(trading, refunds["downloadUrl"])
    assert payment["Merchant Trade No"] == "T1"
    assert (payment["Amount"], payment["Commission"]) == ("12.50000000", "0.12500000")
    assert payment["Net"] == "12.37500000"
    assert (refund["Refund Request ID"], refund["Net"]) == ("RF1", "4.95000000")
    assert refund["Time (UTC)"] == "2031-01-11 12:00:00"


async def test_transactions_are_asked_for_by_type(trading: Any) -> None:
    report = {"reportType": "Transaction", **DAY}

    payouts = await trading.call("/report/get-file", {**report, "transactionType": "Payout"})
    untyped = await trading.call("/report/get-file", report)
    again = await trading.call("/report/get-file", {**report, "transactionType": "Payout"})

    (file,) = payouts.data
    (payout,) = await read(trading, file["downloadUrl"])
    assert file["fileName"] == "T_Payout_20310112.csv"
    assert (payout["Merchant Send ID"], payout["Status"]) == ("L1", "SUCCESS")
    assert untyped.code == "400100"
    assert again.data == payouts.data


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"startDate": "2031-01-10"}, "400101"),
        ({"startDate": "31/02/2031"}, "400101"),
        ({"startDate": "13/01/2031"}, "400102"),
        ({"startDate": "01/10/2030"}, "400102"),
        ({"reportType": "settlement"}, "400102"),
    ],
)
async def test_report_names_what_is_wrong(shop: Any, changes: dict[str, Any], code: str) -> None:
    report = {"reportType": "Settlement", **DAY, **changes}

    assert (await shop.call("/report/get-file", report)).code == code


async def test_balance_report_is_made_told_and_read(trading: Any, inbox: Any) -> None:
    inbox.received.clear()
    asked = (await trading.call("/balance-report", ISO_DAY)).data
    download_id = asked.removeprefix("Your request has been submitted successfully. Your task ID: ")
    query = {"downloadId": download_id}

    meanwhile = await trading.call("/balance-report/query", query)
    await trading.simulator.control.advance(1)
    after = await trading.call("/balance-report/query", {"downloadId": int(download_id)})

    assert meanwhile.json == {"exist": True, "downloadUrl": "", "status": "PROCESSING"}
    assert after.json["status"] == "SUCCESS"
    (received,) = inbox.received
    assert (received.json["bizType"], received.json["bizStatus"]) == ("BALANCE", "BALANCE_SUCCESS")
    assert received.json["bizIdStr"] == download_id
    assert received.data["downloadLink"] == after.json["downloadUrl"]
    assert (received.data["status"], received.data["userId"]) == ("2", int(ME))
    before, of_the_day = await read(trading, after.json["downloadUrl"])
    assert (before["Date"], before["Opening"], before["Closing"]) == (
        "2031-01-10",
        "0.00000000",
        "0.00000000",
    )
    # In: 12.5 and 0.05 of the fee back; out: 0.125 of fee and 5.
    assert (of_the_day["In"], of_the_day["Out"]) == ("12.55000000", "5.12500000")
    assert of_the_day["Closing"] == "7.42500000"


async def test_balance_report_expires_and_others_have_none(trading: Any) -> None:
    asked = (await trading.call("/balance-report", ISO_DAY)).data
    query = {"downloadId": asked.rpartition(" ")[2]}
    await trading.simulator.control.advance(2)
    url = (await trading.call("/balance-report/query", query)).json["downloadUrl"]

    await trading.simulator.control.advance(86_400)

    late = (await trading.call("/balance-report/query", query)).json
    assert late == {"exist": True, "downloadUrl": "", "status": "EXPIRED"}
    assert (await trading.send("GET", url)).status == 404
    unknown = (await trading.call("/balance-report/query", {"downloadId": "5"})).json
    assert unknown == {"exist": False, "downloadUrl": "", "status": "FAILED"}


async def test_balance_report_of_a_day_that_is_not_over_is_refused(trading: Any) -> None:
    today = {**ISO_DAY, "endDate": "2031-01-12"}

    assert (await trading.call("/balance-report", today)).code == "400102"


async def test_balance_reports_are_counted_by_the_month_and_may_come_enveloped(
    start: Callable[..., Awaitable[Any]],
) -> None:
    settings = Settings(reports_per_month_max=1, report_query_has_envelope=True)
    shop = await start(settings=settings)
    shop.simulator.clock.freeze()
    shop.simulator.clock.set(datetime(2031, 1, 31, tzinfo=UTC))

    first = await shop.call("/balance-report", ISO_DAY)
    second = await shop.call("/balance-report", ISO_DAY)
    await shop.simulator.control.advance(86_400)
    next_month = await shop.call("/balance-report", {**ISO_DAY, "walletType": "SPOT_WALLET"})

    query = {"downloadId": first.data.rpartition(" ")[2]}
    assert (await shop.call("/balance-report/query", query)).data["exist"] is True
    assert second.code == "400001"
    assert next_month.code == "000000"
