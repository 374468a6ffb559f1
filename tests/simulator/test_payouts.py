"""Batches of payouts: what is accepted, what leaves the wallets, and how it is told."""

from decimal import Decimal
from typing import Any

import pytest

ME, PAYER = "900000001", "100000001"


def line(number: int, amount: Any = 1, **changes: Any) -> dict[str, Any]:
    return {
        "merchantSendId": f"L{number}",
        "receiveType": "EMAIL",
        "receiver": "person@example.com",
        "transferAmount": amount,
        "transferMethod": "FUNDING_WALLET",
        "remark": "thanks",
        **changes,
    }


def batch(*lines: dict[str, Any], **changes: Any) -> dict[str, Any]:
    body = {
        "requestId": "PO1",
        "batchName": "January",
        "currency": "USDT",
        "totalAmount": float(sum(Decimal(str(each["transferAmount"])) for each in lines)),
        "totalNumber": len(lines),
        "transferDetailList": list(lines),
    }
    return {**body, **changes}


async def test_batch_is_accepted_then_taken_then_told(shop: Any, inbox: Any) -> None:
    control = shop.simulator.control
    control.set_balance(ME, "USDT", "10")
    to_payer = line(2, 2.5, receiveType="BINANCE_ID", receiver=PAYER)

    accepted = await shop.call("/payout/transfer", batch(line(1), to_payer))
    untouched = control.balance(ME, "USDT")
    await control.advance(0.1)
    taken = control.balance(ME, "USDT")
    frozen = (await shop.call("/v2/balance", {"wallet": "FUNDING_WALLET"})).data["balance"][0]
    meanwhile = (await shop.call("/payout/query", {"requestId": "PO1"})).data
    await control.advance(0.1)
    after = (await shop.call("/payout/query", {"requestId": "PO1"})).data

    assert accepted.data == {"requestId": "PO1", "status": "ACCEPTED"}
    assert (untouched, taken) == (10, Decimal("6.5"))
    assert (frozen["available"], frozen["freeze"]) == (Decimal("6.5"), Decimal("3.5"))
    assert meanwhile["batchStatus"] == "PROCESSING"
    assert after["batchStatus"] == "SUCCESS"
    assert after["totalAmount"] == Decimal("3.5")
    first, second = after["transferDetailList"]
    assert (first["merchantSendId"], first["amount"], first["status"]) == ("L1", "1", "SUCCESS")
    assert (second["payeeId"], second["payerId"]) == (int(PAYER), int(ME))
    assert control.balance(PAYER, "USDT") == Decimal("100002.5")
    (received,) = inbox.received
    assert (received.json["bizType"], received.json["bizStatus"]) == ("PAYOUT", "SUCCESS")
    assert received.data == {
        "batchStatus": "SUCCESS",
        "currency": "USDT",
        "merchantId": int(ME),
        "requestId": "PO1",
        "totalAmount": Decimal("3.5"),
        "totalNumber": 2,
    }


async def test_line_that_the_wallet_cannot_pay_fails_alone(shop: Any, inbox: Any) -> None:
    shop.simulator.control.set_balance(ME, "USDT", "1")

    await shop.call("/payout/transfer", batch(line(1), line(2)))
    await shop.simulator.control.advance(1)

    query = {"requestId": "PO1", "detailStatus": ["FAIL"]}
    failed = (await shop.call("/payout/query", query)).data
    # The official connector sends one word where the page has a list.
    succeeded = (await shop.call("/payout/query", {**query, "detailStatus": "SUCCESS"})).data
    assert failed["batchStatus"] == "PART_SUCCESS"
    assert [each["merchantSendId"] for each in failed["transferDetailList"]] == ["L2"]
    assert [each["merchantSendId"] for each in succeeded["transferDetailList"]] == ["L1"]
    assert inbox.received[0].json["bizStatus"] == "PART_SUCCESS"


async def test_fault_fails_a_line_and_its_money_comes_back(shop: Any, inbox: Any) -> None:
    control = shop.simulator.control
    control.set_balance(ME, "USDT", "5")
    control.faults.add("payout_line_fails", merchant_id=ME)

    await shop.call("/payout/transfer", batch(line(1), webhookUrl=f"{inbox.url}/payouts"))
    await control.advance(1)

    assert control.balance(ME, "USDT") == 5
    assert inbox.received[0].json["bizStatus"] == "FAILED"
    assert control.notices[-1].url == f"{inbox.url}/payouts"


async def test_same_request_id_pays_out_once(shop: Any) -> None:
    control = shop.simulator.control
    control.set_balance(ME, "USDT", "5")

    first = await shop.call("/payout/transfer", batch(line(1)))
    await control.advance(1)
    again = await shop.call("/payout/transfer", batch(line(1)))
    await control.advance(1)

    assert again.data == first.data
    assert control.balance(ME, "USDT") == 4


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"totalAmount": 2}, "400102"),
        ({"totalNumber": 2}, "400102"),
        ({"currency": "HKD"}, "400102"),
        ({"requestId": "PO-1"}, "400101"),
        ({"transferDetailList": []}, "400100"),
        ({"transferDetailList": [line(1, receiveType="PIGEON")]}, "400102"),
        ({"transferDetailList": [line(1, transferMethod="POCKET")]}, "400102"),
        ({"webhookUrl": "mailto:a@shop.example"}, "400102"),
    ],
)
async def test_payout_names_what_is_wrong(shop: Any, changes: dict[str, Any], code: str) -> None:
    assert (await shop.call("/payout/transfer", {**batch(line(1)), **changes})).code == code


async def test_too_many_lines_and_unknown_batches_are_refused(shop: Any) -> None:
    lines = [line(number) for number in range(501)]

    assert (await shop.call("/payout/transfer", batch(*lines))).code == "400101"
    assert (await shop.call("/payout/query", {"requestId": "PO9"})).code == "400202"
