"""A client nobody here wrote: Binance's own connector, every call it has, against the simulator.

It is taken unmodified from PyPI (binance-pay-connector 1.0.0). Its answers are plain dictionaries
and it looks at no status, so what is compared is what the simulator said.
"""

import asyncio
import importlib
from base64 import b64decode
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from checkstand.simulator.threads import ThreadedSimulator, simulator_in_thread

ORDER = {
    "env": {"terminalType": "WEB", "osType": "IOS", "orderClientIp": "192.0.2.1"},
    "merchantTradeNo": "T1",
    "orderAmount": 25.17,
    "currency": "USDT",
    "goods": {
        "goodsType": "01",
        "goodsCategory": "D000",
        "referenceGoodsId": "7876763A3B",
        "goodsName": "Ice cream",
        "goodsDetail": "Green tea ice cream cone",
        "goodsUnitAmount": {"currency": "USDT", "amount": 25.17},
        "goodsQuantity": "1",
    },
    "buyer": {"buyerName": {"firstName": "Ada", "lastName": "Test"}},
    "returnUrl": "https://shop.example/ok",
}


@pytest.fixture(scope="module")
def connector_module() -> Any:
    return importlib.import_module("binance.pay.merchant")


@pytest.fixture
def simulator() -> Iterator[ThreadedSimulator]:
    with simulator_in_thread() as simulator:
        yield simulator


@pytest.fixture
def merchant(connector_module: Any, simulator: ThreadedSimulator) -> Iterator[Any]:
    merchant = connector_module.Merchant(
        simulator.api_key, simulator.api_secret, base_url=simulator.base_url
    )
    yield merchant
    merchant.session.close()


def data_of(answer: Any) -> Any:
    assert isinstance(answer, dict), answer
    assert (answer["status"], answer["code"]) == ("SUCCESS", "000000"), answer
    return answer["data"]


def code_of(answer: Any) -> str:
    assert answer["status"] == "FAIL", answer
    return str(answer["code"])


@pytest.fixture
def paid(merchant: Any, simulator: ThreadedSimulator) -> Any:
    """An order that was made by the connector and paid, as the query tells it."""
    created = data_of(merchant.new_order(ORDER))
    simulator.do(lambda control: control.pay("T1"))
    return data_of(merchant.get_order(prepayId=created["prepayId"]))


def test_every_call_of_the_connector_is_tried_here(connector_module: Any) -> None:
    calls = {name for name in vars(connector_module.Merchant) if not name.startswith("_")}

    assert calls == {
        "new_order",
        "get_order",
        "cancel_order",
        "transfer_fund",
        "get_transfer_result",
        "new_sub_merchant",
        "refund_order",
        "get_refund_order",
        "batch_payout",
        "get_payout",
        "get_wallet_balance",
    }


def test_an_order_is_created_and_queried(merchant: Any) -> None:
    created = data_of(merchant.new_order(ORDER))
    queried = data_of(merchant.get_order(merchantTradeNo="T1"))

    assert created["qrContent"]
    assert created["totalFee"] == "25.17"
    assert queried["prepayId"] == created["prepayId"]
    assert (queried["status"], queried["orderAmount"]) == ("INITIAL", "25.17000000")


def test_an_order_made_twice_is_refused(merchant: Any) -> None:
    data_of(merchant.new_order(ORDER))

    assert code_of(merchant.new_order(ORDER)) == "400201"


def test_an_order_is_closed(merchant: Any) -> None:
    data_of(merchant.new_order(ORDER))

    assert data_of(merchant.cancel_order(merchantTradeNo="T1")) is True
    assert code_of(merchant.cancel_order(merchantTradeNo="T2")) == "400202"


def test_an_order_is_refunded_in_part(merchant: Any, paid: Any) -> None:
    refund = data_of(merchant.refund_order("RF1", paid["prepayId"], 5, refundReason="cold"))
    queried = data_of(merchant.get_refund_order("RF1"))

    assert paid["status"] == "PAID"
    assert (refund["refundAmount"], refund["remainingAttempts"]) == ("5.00000000", 9)
    assert queried["refundRequestId"] == "RF1"
    assert queried["refundStatus"] in {"REFUND_PENDING", "REFUND_SUCCESS"}


def test_money_moves_to_the_other_wallet_once(merchant: Any, simulator: ThreadedSimulator) -> None:
    simulator.do(lambda control: control.set_balance(simulator.merchant_id, "USDT", "10"))

    moved = data_of(merchant.transfer_fund("R1", "USDT", "4", "TO_MAIN"))
    again = merchant.transfer_fund("R1", "USDT", "4", "TO_MAIN")
    asked = data_of(merchant.get_transfer_result("R1"))

    assert (moved["tranId"], moved["status"]) == ("R1", "SUCCESS")
    assert (again["status"], again["code"]) == ("REPEAT_REQ_SUCCESS", "000001")
    assert again["data"]["tranId"] == "R1"
    assert asked["status"] == "SUCCESS"
    assert float(data_of(merchant.get_wallet_balance("FUNDING_WALLET", "USDT"))["balance"]) == 6
    assert float(data_of(merchant.get_wallet_balance("SPOT_WALLET", "USDT"))["balance"]) == 4


def test_a_sub_merchant_is_added(merchant: Any) -> None:
    added = data_of(
        merchant.new_sub_merchant("Tea of the north", 3, "1040", "SG,US", companyName="Tea Ltd")
    )

    assert int(added["subMerchantId"]) > 0
    assert code_of(merchant.new_sub_merchant("Tea of the north", 3, "1040", "SG")) == "400205"


def test_a_batch_is_paid_out(merchant: Any, simulator: ThreadedSimulator) -> None:
    simulator.do(lambda control: control.set_balance(simulator.merchant_id, "USDT", "10"))
    line = {
        "merchantSendId": "L1",
        "receiveType": "EMAIL",
        "receiver": "person@example.com",
        "transferAmount": 1.5,
        "transferMethod": "FUNDING_WALLET",
        "remark": "thanks",
    }
    lines: Any = [line, {**line, "merchantSendId": "L2"}]

    accepted = data_of(merchant.batch_payout("PO1", "May", "USDT", 3.0, 2, lines))
    queried = data_of(merchant.get_payout("PO1", detailStatus="ALL"))

    assert accepted == {"requestId": "PO1", "status": "ACCEPTED"}
    assert queried["batchStatus"] in {"ACCEPTED", "PROCESSING", "SUCCESS"}
    assert [each["merchantSendId"] for each in queried["transferDetailList"]] == ["L1", "L2"]


def test_a_wrong_secret_is_refused(connector_module: Any, simulator: ThreadedSimulator) -> None:
    stranger = connector_module.Merchant(simulator.api_key, "another", base_url=simulator.base_url)
    answer = stranger.get_order(merchantTradeNo="T1")
    stranger.session.close()

    assert code_of(answer) == "400002"


async def test_a_webhook_verifies_by_the_procedure_of_the_signature_examples(
    merchant: Any, simulator: ThreadedSimulator, server: Any
) -> None:
    # By the documented steps, with none of our own code: raw bytes between line feeds, the
    # certificate's public key, PKCS#1 v1.5 over SHA-256.
    server.answer(b'{"returnCode":"SUCCESS","returnMessage":null}')
    data_of(merchant.new_order({**ORDER, "webhookUrl": f"{server.url}/hook"}))
    simulator.do(lambda control: control.pay("T1"))
    assert await asyncio.to_thread(server.arrived.acquire, timeout=30)
    (told,) = server.received
    certificates = merchant.send_signed_request("POST", "/binancepay/openapi/certificates", {})

    by_serial = {each["certSerial"]: each["certPublic"] for each in data_of(certificates)}
    key = load_pem_public_key(by_serial[told.headers["binancepay-certificate-sn"]].encode())
    payload = b"\n".join(
        [
            told.headers["binancepay-timestamp"].encode(),
            told.headers["binancepay-nonce"].encode(),
            told.body,
            b"",
        ]
    )

    assert isinstance(key, RSAPublicKey)
    key.verify(
        b64decode(told.headers["binancepay-signature"]), payload, PKCS1v15(), SHA256()
    )  # raises where it does not fit
    assert b"PAY_SUCCESS" in told.body
