"""The fixtures as a stranger's tests meet them: in a pytest of their own, with nothing of ours."""

import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]

# With the entry point blocked by name the plugin is named by hand, so that an environment
# without the entry point tests the same thing.
PLUGIN = ("-p", "no:checkstand", "-p", "checkstand.pytest_plugin")

CALLING = """
import hashlib, hmac, http.client, json

def call(simulator, path, body):
    content = json.dumps(body).encode()
    timestamp = str(simulator.control.clock.now_ms())
    payload = f"{timestamp}\\n{'n' * 32}\\n".encode() + content + b"\\n"
    secret = simulator.api_secret.encode()
    headers = {
        "content-type": "application/json",
        "BinancePay-Timestamp": timestamp,
        "BinancePay-Nonce": "n" * 32,
        "BinancePay-Certificate-SN": simulator.api_key,
        "BinancePay-Signature": hmac.new(secret, payload, hashlib.sha512).hexdigest().upper(),
    }
    connection = http.client.HTTPConnection(simulator.base_url.removeprefix("http://"))
    connection.request("POST", "/binancepay/openapi" + path, content, headers)
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer

ORDER = {
    "env": {"terminalType": "WEB"}, "merchantTradeNo": "T1", "orderAmount": 12.5,
    "currency": "USDT", "description": "tea",
    "goodsDetails": [{"goodsType": "01", "goodsCategory": "D000", "referenceGoodsId": "1",
                      "goodsName": "Green tea"}],
}
"""


def run(pytester: pytest.Pytester, text: str, *options: str) -> pytest.RunResult:
    pytester.makeini(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
        "filterwarnings = error\n"
    )
    pytester.makepyfile(calling=CALLING)
    pytester.makepyfile(test_shop=text)
    return pytester.runpytest_subprocess(*PLUGIN, *options)


def test_synchronous_test_pays_an_order_and_every_test_has_a_simulator_of_its_own(
    pytester: pytest.Pytester,
) -> None:
    result = run(
        pytester,
        """
        import pytest
        from calling import ORDER, call

        @pytest.mark.parametrize("again", [1, 2])
        def test_pays(binance_pay_simulator, again):
            control = binance_pay_simulator.control
            control.clock.freeze()
            control.faults.add("unknown_error", endpoint="/v2/order/query")

            created = call(binance_pay_simulator, "/v3/order", ORDER)
            paid = control.pay("T1", commission="0.5")
            control.advance(3600)

            assert created["status"] == "SUCCESS"
            assert paid.status == "PAID"
            assert control.balance(binance_pay_simulator.merchant_id, "USDT") == 12
            query = {"merchantTradeNo": "T1"}
            assert call(binance_pay_simulator, "/v2/order/query", query)["code"] == "400000"
            with pytest.raises(LookupError, match="no order"):
                control.pay("T9")

        def test_moves_the_clock_in_the_simulators_own_loop(binance_pay_simulator):
            control = binance_pay_simulator.control
            order = {**ORDER, "webhookUrl": "http://127.0.0.1:1/hook"}
            call(binance_pay_simulator, "/v3/order", order)

            control.clock.advance(3600)  # its expiry starts a webhook, which needs that loop

            assert control.order("T1").status == "EXPIRED"
        """,
    )

    result.assert_outcomes(passed=3)


def test_asynchronous_test_receives_the_webhook_in_its_own_loop(
    pytester: pytest.Pytester,
) -> None:
    result = run(
        pytester,
        """
        import asyncio
        from calling import ORDER, call

        async def test_hears_of_it(binance_pay_simulator):
            heard = []

            async def serve(reader, writer):
                head = await reader.readuntil(b"\\r\\n\\r\\n")
                length = int(head.lower().partition(b"content-length: ")[2].split()[0])
                heard.append(await reader.readexactly(length))
                answer = b'{"returnCode":"SUCCESS","returnMessage":null}'
                writer.write(b"HTTP/1.1 200 x\\r\\nconnection: close\\r\\ncontent-length: %d\\r\\n"
                             b"\\r\\n%b" % (len(answer), answer))
                await writer.drain()
                writer.close()

            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
            body = {**ORDER, "webhookUrl": url}
            await asyncio.to_thread(call, binance_pay_simulator, "/v3/order", body)

            paid = await binance_pay_simulator.ask(lambda control: control.pay("T1"))
            await binance_pay_simulator.ask(lambda control: control.settle())

            server.close()
            assert paid.status == "PAID"
            assert b"PAY_SUCCESS" in heard[0]
            (notice,) = binance_pay_simulator.control.notices
            assert notice.state == "acknowledged"
        """,
    )

    result.assert_outcomes(passed=1)


def test_options_are_chosen_by_overriding_a_fixture(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import pytest
        from checkstand.simulator.records import Merchant
        from checkstand.simulator.settings import Settings

        @pytest.fixture
        def binance_pay_simulator_options():
            merchant = Merchant(api_key="k", api_secret="s", merchant_id="7")
            return {"merchants": (merchant,), "settings": Settings(close_delay_ms=5), "seed": 1}

        def test_is_so(binance_pay_simulator):
            assert binance_pay_simulator.api_key == "k"
            assert binance_pay_simulator.merchant_id == "7"
            assert binance_pay_simulator.control.world.settings.close_delay_ms == 5
        """,
    )

    result.assert_outcomes(passed=1)


def test_notification_is_signed_by_a_listed_key_over_its_raw_bytes(
    pytester: pytest.Pytester,
) -> None:
    result = run(
        pytester,
        """
        import base64, json
        from decimal import Decimal
        import pytest
        from calling import call
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        def verify(notice, certificate):
            assert notice.headers["BinancePay-Certificate-SN"] == certificate["certSerial"]
            lines = [notice.headers["BinancePay-" + n].encode() for n in ("Timestamp", "Nonce")]
            payload = b"\\n".join([*lines, notice.body, b""])
            signature = base64.b64decode(notice.headers["BinancePay-Signature"])
            key = load_pem_public_key(certificate["certPublic"].encode())
            key.verify(signature, payload, padding.PKCS1v15(), hashes.SHA256())

        def test_verifies(binance_pay_simulator, signed_notification):
            (certificate,) = call(binance_pay_simulator, "/certificates", {})["data"]

            data = {"merchantTradeNo": "T7", "totalFee": Decimal("0.10"), "transactionId": ...}
            plain = signed_notification(data, biz_id="5", timestamp_ms=1_700_000_000_000)
            other = signed_notification({"requestId": "P"}, biz_type="PAYOUT", biz_status="FAILED")
            spoilt = signed_notification(bad_signature=True)

            verify(plain, certificate)
            verify(other, certificate)
            with pytest.raises(InvalidSignature):
                verify(spoilt, certificate)
            assert plain.headers["BinancePay-Timestamp"] == "1700000000000"
            assert b'\\\\"totalFee\\\\":0.10000000' in plain.body
            told = json.loads(json.loads(plain.body)["data"])
            assert (told["merchantTradeNo"], told["currency"]) == ("T7", "USDT")
            assert "transactionId" not in told
            assert json.loads(json.loads(other.body)["data"]) == {"requestId": "P"}
        """,
    )

    result.assert_outcomes(passed=1)


def test_failing_start_fails_the_test_and_not_the_run(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import pytest

        @pytest.fixture
        def binance_pay_simulator_options():
            return {"host": "203.0.113.1"}

        def test_cannot_listen(binance_pay_simulator):
            pass

        def test_other():
            pass
        """,
    )

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*cannot listen on 203.0.113.1*"])


def test_plugin_loads_nothing_before_a_test_asks_and_the_package_loads_no_pytest() -> None:
    program = (
        "import sys, checkstand.pytest_plugin;"
        "assert not [m for m in sys.modules if m.startswith(('checkstand.simulator', 'starlette'))]"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    program = (
        "import sys, checkstand.binance, checkstand.simulator.threads, checkstand.cli.simulator;"
        "assert 'pytest' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
