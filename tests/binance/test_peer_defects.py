"""The mistakes of others that no other test is about, and the table that names the rest."""

import ast
import hashlib
import hmac
import math
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import checkstand.binance
from checkstand.binance import (
    BadSignature,
    CallOptions,
    Goods,
    verify,
)
from checkstand.simulator.server import Simulator, running_simulator

ROOT = Path(__file__).resolve().parents[2]
ROOM = Path(checkstand.binance.__file__).parent
BODY = b'{"bizType":"PAY","bizStatus":"PAY_SUCCESS","bizIdStr":"1","data":"{}"}'


def rows() -> list[list[str]]:
    text = (ROOT / "docs" / "peer-defects.md").read_text("utf-8")
    return [line.strip("|").split("|") for line in text.splitlines() if re.match(r"\| \d", line)]


def test_the_table_names_thirty_mistakes_each_with_rule_and_test() -> None:
    assert [row[0].strip() for row in rows()] == [str(number) for number in range(1, 31)]
    for _, mistake, rule, held_by in rows():
        assert len(mistake) > 20
        assert len(rule) > 15
        assert re.fullmatch(r"( `tests/[a-z_/]+\.py::test_\w+`)+ ", held_by)


def test_every_test_in_the_table_exists() -> None:
    for *_, held_by in rows():
        for path, name in re.findall(r"`([^`:]+)::(\w+)`", held_by):
            source = (ROOT / path).read_text("utf-8")
            assert re.search(rf"^(async )?def {name}\(", source, re.MULTILINE), f"{path}::{name}"


def test_a_notification_signed_with_the_api_secret_is_refused(signer: Any, clock: Any) -> None:
    headers = signer.sign(BODY, clock.now())
    payload = f"{headers['BinancePay-Timestamp']}\n{signer.nonce}\n".encode() + BODY + b"\n"
    for algorithm in (hashlib.sha256, hashlib.sha512):
        mac = hmac.new(b"secret-of-the-test", payload, algorithm)
        for signature in (mac.hexdigest().upper(), mac.hexdigest()):
            forged = {**headers, "BinancePay-Signature": signature}
            with pytest.raises(BadSignature):
                verify(BODY, forged, signer.keys, clock.now())


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with running_simulator() as simulator:
        yield simulator


async def test_a_refund_made_again_under_its_key_gives_back_once(
    counter: Any, simulator: Simulator
) -> None:
    client = counter.client(
        base_url=simulator.base_url, api_key="simulator", api_secret="simulator"
    )
    tea = Goods(goods_type="01", goods_category="D000", reference_goods_id="1", goods_name="Tea")
    created = await counter.call(
        lambda: client.orders.create(
            merchant_trade_no="T1",
            description="Tea",
            goods_details=[tea],
            order_amount="12.50",
            currency="USDT",
        )
    )
    simulator.control.pay("T1")

    def click() -> Any:
        return client.refunds.create(
            prepay_id=created.prepay_id,
            refund_amount="5",
            options=CallOptions(idempotency_key="return 7", namespace="teahouse"),
        )

    first, second = await counter.call(click), await counter.call(click)

    assert first.refund_request_id == second.refund_request_id
    assert second.refunded_amount == first.refunded_amount == 5
    assert len(simulator.control.refunds) == 1


def test_the_sdk_writes_no_log() -> None:
    for path in ROOM.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [getattr(node, "module", None) or "", *(each.name for each in node.names)]
                assert not {"logging", "structlog", "warnings"} & set(names), path
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id != "print", path


def literals(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            value = node.value
            yield value.decode("latin-1") if isinstance(value, bytes) else value


def looks_secret(text: str) -> bool:
    """Say whether a literal holds a private key, or a run as random as a key's."""
    if "PRIVATE KEY-----" in text:
        return True
    for run in re.findall(r"[A-Za-z0-9+_=-]{32,}", text):
        if len(set(run)) == len(run):
            continue  # an alphabet
        shares = [count / len(run) for count in Counter(run).values()]
        bits = -sum(share * math.log2(share) for share in shares)
        if bits > 3.4 and re.search("[0-9]", run) and re.search("[A-Za-z]", run):
            return True
    return False


def test_no_secret_is_left_in_the_source() -> None:
    assert looks_secret("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")
    assert not looks_secret("checkstand.simulator")
    found = [
        (str(path.relative_to(ROOT)), text[:80])
        for folder in ("src", "examples", "bench", "scripts")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for text in literals(path)
        if looks_secret(text)
    ]

    assert found == []
