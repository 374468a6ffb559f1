"""`checkstand simulator`: serves by default, and every other command moves a running one."""

import asyncio
import json
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpcore2
import pytest
from cyclopts import CycloptsError

from checkstand.cli.simulator import app
from checkstand.simulator.order_calls import create_v3
from checkstand.simulator.server import Simulator, running_simulator

ME = "900000001"
Run = Callable[..., Awaitable[Any]]


@pytest.fixture
async def running() -> AsyncIterator[Simulator]:
    """A simulator with one open order, T1 over 12 USDT, on a clock that stands still."""
    async with running_simulator() as simulator:
        simulator.clock.freeze()
        world = simulator.world
        body = {
            "env": {"terminalType": "WEB"},
            "merchantTradeNo": "T1",
            "orderAmount": Decimal(12),
            "currency": "USDT",
            "description": "Order A0001",
            "goodsDetails": [{"goodsType": "01", "goodsName": "Green tea"}],
        }
        create_v3(world, world.store.merchants[ME], body)
        yield simulator


@pytest.fixture
def run(running: Simulator, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command against the simulator and return exit code and what was printed."""

    async def run(*arguments: str, url: str | None = None) -> tuple[int, Any]:
        line = [*arguments, "--url", url or running.base_url]
        code = await asyncio.to_thread(app, line, exit_on_error=False, result_action="return_value")
        printed = capsys.readouterr()
        return code, json.loads(printed.out) if code == 0 else printed.err

    return run


@pytest.mark.parametrize(
    ("act", "status"),
    [
        ("pay", "PAID"),
        ("cancel", "INITIAL"),
        ("fail", "ERROR"),
        ("pending", "PENDING"),
        ("expire", "EXPIRED"),
    ],
)
async def test_acts_move_the_order(run: Run, running: Simulator, act: str, status: str) -> None:
    code, order = await run(act, "T1")

    assert (code, order["status"]) == (0, status)
    assert running.control.order("T1").status == status


async def test_pay_takes_every_option(run: Run, running: Simulator) -> None:
    await run("expire", "T1")

    options = ["--force", "--no-webhook", "--no-tops-up", "--merchant-id", ME]
    options += ["--commission", "0.5", "--pay-currency", "BNB", "--payer-id", "100000001"]
    code, order = await run("pay", "T1", *options)

    assert code == 0
    assert (order["payment"]["commission"], order["payment"]["spent_currency"]) == ("0.5", "BNB")
    assert [notice.biz_status for notice in running.control.notices] == ["PAY_CLOSED"]
    code, complaint = await run("pay", "T1", "--amount", "3.25", "--currency", "USDC")
    assert code == 1
    assert "is PAID" in complaint


async def test_refund_is_of_the_amount_or_of_the_rest(run: Run) -> None:
    await run("pay", "T1")

    _, part = await run("refund", "T1", "--amount", "2.5")
    _, rest = await run("refund", "T1")

    assert (part["amount"], rest["amount"]) == ("2.5", "9.5")


async def test_webhook_is_made_up_and_sent_where_it_is_told_to(run: Run) -> None:
    data = '{"totalFee": 99.50, "note": "x"}'
    nowhere = "http://127.0.0.1:1/hook"

    code, notice = await run(
        "send-webhook",
        "T1",
        *("--biz-status", "PAY_CLOSED", "--data", data, "--to", nowhere),
        *("--bad-signature", "--timestamp-ms", "1700000000000"),
    )

    assert code == 0
    assert notice["url"] == nowhere
    assert '\\"totalFee\\":99.50000000' in notice["body"]
    assert notice["tries"][0]["timestamp"] == "1700000000000"


async def test_data_that_is_no_object_is_wrong_usage(run: Run) -> None:
    for text in ("[1]", "{"):
        with pytest.raises(CycloptsError, match="JSON object"):
            await run("send-webhook", "T1", "--data", text)


async def test_faults_are_added_listed_and_taken_back(run: Run) -> None:
    _, slow = await run(
        "faults", "add", "slow", "seconds=2.5", "--endpoint", "/v3/order", "--forever"
    )
    await run("faults", "add", "rejected", "code=400203", "--order", "T1", "--times", "2")
    _, listed = await run("faults")
    _, left = await run("faults", "remove", str(slow["number"]))
    _, none = await run("faults", "clear")

    assert (slow["parameters"], slow["times"]) == ({"seconds": 2.5}, None)
    assert [each["kind"] for each in listed] == ["slow", "rejected"]
    assert left[0]["parameters"] == {"code": "400203"}
    assert (left[0]["merchant_trade_no"], left[0]["times"]) == ("T1", 2)
    assert none == []
    code, complaint = await run("faults", "add", "gremlin")
    assert code == 2
    assert "known are" in complaint


async def test_clock_is_shown_and_moved(run: Run) -> None:
    _, before = await run("clock")
    _, advanced = await run("clock", "--advance", "90")
    _, moved = await run("clock", "--set", "2031-01-01T00:00:00Z", "--speed", "2", "--no-settle")
    _, running_on = await run("clock", "--no-freeze")

    assert before["frozen"] is True
    assert advanced["now_ms"] - before["now_ms"] == 90_000
    assert (moved["now"], moved["speed"]) == ("2031-01-01T00:00:00Z", 2)
    assert running_on["frozen"] is False


async def test_state_keys_and_balances(run: Run, running: Simulator) -> None:
    _, everything = await run("state")
    _, one = await run("state", "T1")
    _, rotated = await run("rotate")
    _, alone = await run("rotate", "--no-keeps-old")
    _, wallets = await run("balance", ME, "USDT", "7.5", "--spot")

    assert everything["orders"][0]["merchant_trade_no"] == one["merchant_trade_no"] == "T1"
    assert (len(rotated), len(alone)) == (2, 1)
    assert wallets["SPOT_WALLET"] == {"USDT": "7.5"}
    assert running.control.balance(ME, "USDT", wallet="SPOT_WALLET") == Decimal("7.5")


async def test_state_goes_through_a_file(run: Run, running: Simulator, tmp_path: Path) -> None:
    file = tmp_path / "state.json"

    code = await asyncio.to_thread(
        app,
        ["export", str(file), "--url", running.base_url],
        exit_on_error=False,
        result_action="return_value",
    )
    await run("pay", "T1")
    imported, _ = await run("import", str(file))
    _, printed = await run("export")

    assert (code, imported) == (0, 0)
    assert file.stat().st_mode & 0o777 == 0o600
    assert running.control.order("T1").status == "INITIAL"
    assert printed["orders"][0]["merchant_trade_no"] == "T1"
    file.write_text("{}")
    code, complaint = await run("import", str(file))
    assert code == 2
    assert "no exported state" in complaint


async def test_unknown_order_and_absent_simulator_are_said_plainly(run: Run) -> None:
    unknown, words = await run("pay", "T9")
    absent, where = await run("state", url="http://127.0.0.1:1")

    assert (unknown, absent) == (1, 1)
    assert "no order 'T9'" in words
    assert "no simulator answers at http://127.0.0.1:1" in where
    assert "checkstand simulator" in where


async def test_something_else_at_the_address_is_said_plainly(run: Run) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    code, complaint = await run("state", url=f"http://127.0.0.1:{port}")

    assert code == 1
    assert "no simulator" in complaint
    server.close()


async def test_default_command_serves_with_the_links_payers_can_reach() -> None:
    program = (
        "import sys; from checkstand.cli.simulator import app;"
        "sys.exit(app(sys.argv[1:], result_action='return_value'))"
    )
    options = ["--port", "0", "--public-url", "https://pay.shop.example/", "--merchant-id", "5"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, *options, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), 30)).decode()
    matched = re.fullmatch(r"ready (http://127\.0\.0\.1:\d+)\n", line)
    assert matched

    async with httpcore2.AsyncConnectionPool() as pool:
        state = await pool.request("GET", f"{matched[1]}/simulator/state")
        export = await pool.request("GET", f"{matched[1]}/simulator/export")
    process.send_signal(signal.SIGTERM)

    assert await process.wait() == 0
    assert json.loads(state.content)["merchants"][0]["merchant_id"] == "5"
    assert json.loads(export.content)["base_url"] == "https://pay.shop.example"
