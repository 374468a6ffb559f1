"""The samples, run as a reader would run them, against a simulator."""

import contextlib
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from checkstand.simulator.threads import ThreadedSimulator, simulator_in_thread

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "examples"


@pytest.fixture
def simulator() -> Iterator[ThreadedSimulator]:
    with simulator_in_thread() as simulator:
        yield simulator


@contextlib.contextmanager
def sample(
    name: str, simulator: ThreadedSimulator, *arguments: str
) -> Iterator[subprocess.Popen[str]]:
    """Run a sample; it is ended with the block."""
    environment = os.environ | {
        "BINANCE_PAY_BASE_URL": simulator.base_url,
        "BINANCE_PAY_API_KEY": simulator.api_key,
        "BINANCE_PAY_API_SECRET": simulator.api_secret,
        "PORT": "0",
    }
    with subprocess.Popen(
        [sys.executable, str(SAMPLES / name), *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        try:
            yield process
        finally:
            watchdog.cancel()
            process.kill()


def line_of(process: subprocess.Popen[str], beginning: str) -> str:
    """Return the first line of the sample's output that begins so."""
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if line.startswith(beginning):
            return line.removeprefix(beginning).strip()
    raise AssertionError("".join(seen))


@dataclass(frozen=True)
class Shop:
    """A running sample shop."""

    address: str

    def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, Any]:
        connection = http.client.HTTPConnection(self.address.removeprefix("http://"), timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, body)
            answer = connection.getresponse()
            content = answer.read()
            return answer.status, json.loads(content) if content.startswith(b"{") else content

    def status_of(self, number: str) -> str:
        return str(self.ask("GET", f"/orders/{number}")[1]["status"])


@pytest.mark.parametrize("name", ["fastapi_app.py", "flask_app.py", "django_app.py"])
def test_a_sample_shop_sells_and_hears_of_the_money(
    name: str, simulator: ThreadedSimulator
) -> None:
    with sample(name, simulator) as process:
        shop = Shop(line_of(process, "ready "))
        simulator.control.set_webhook_url(simulator.merchant_id, f"{shop.address}/binance")
        status, sold = shop.ask("POST", "/orders")
        before = shop.status_of(sold["number"])
        forged, _ = shop.ask("POST", "/binance", b'{"bizType":"PAY","bizStatus":"PAY_SUCCESS"}')

        simulator.control.pay(sold["number"])
        deadline = time.monotonic() + 30
        while shop.status_of(sold["number"]) != "PAID":
            assert time.monotonic() < deadline, "the shop never heard of the payment"
            time.sleep(0.02)
        simulator.control.settle()
        (notice,) = simulator.control.notices
        again = simulator.control.send_webhook(sold["number"])

        assert status == 200
        assert sold["checkout_url"]
        assert before == "CREATED"
        assert forged == 401
        assert shop.ask("GET", "/orders/unknown")[0] == 404
        assert [one.acknowledged for one in (*notice.tries, *again.tries)] == [True, True]


def test_the_sample_of_the_sdk_alone_sells_and_gives_some_back(
    simulator: ThreadedSimulator,
) -> None:
    with sample("sdk_sample.py", simulator, "cart-77") as process:
        address = line_of(process, "pay 12.5")
        (order,) = simulator.control.orders
        simulator.control.pay(order.prepay_id)

        assert address.endswith(order.links.checkout_url)
        assert line_of(process, "paid: ").startswith("12.5")
        assert line_of(process, "gave back ").startswith("2.5")
        assert process.wait(30) == 0

    with sample("sdk_sample.py", simulator, "cart-77") as process:
        assert line_of(process, "Binance said no: ").startswith("400201")
        assert process.wait(30) == 1


def test_the_sample_of_the_sdk_passes_strict_type_checking() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", str(SAMPLES / "sdk_sample.py")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr
