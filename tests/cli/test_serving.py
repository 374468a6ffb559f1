"""Programs that serve: how they begin, how they end, and that nothing of them is left."""

import asyncio
import signal
import stat
import subprocess
from pathlib import Path
from typing import Any

import httpcore2
import pytest

NOBODY_THERE = {
    "BINANCE_PAY_API_KEY": "simulator",
    "BINANCE_PAY_API_SECRET": "simulator",
    "BINANCE_PAY_BASE_URL": "http://127.0.0.1:9",
    "BINANCE_PAY_TIMEOUT": "1",
}


async def get(url: str) -> tuple[int, bytes]:
    """Fetch something."""
    async with httpcore2.AsyncConnectionPool() as pool:
        answer = await pool.request("GET", url)
        return answer.status, answer.content


def processes_about(directory: Path) -> list[str]:
    """List the command lines that name a directory."""
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "args="], capture_output=True, text=True, check=True
    )
    return [line for line in listed.stdout.splitlines() if str(directory) in line]


async def nothing_is_left_of(directory: Path) -> None:
    """Wait until no process names a directory any more."""
    for _ in range(400):
        if not processes_about(directory):
            return
        await asyncio.sleep(0.025)
    raise AssertionError(processes_about(directory))


async def test_embedded_gateway_ends_as_it_is_told_and_takes_its_database_along(
    bare: Any, tmp_path: Path
) -> None:
    data_dir = tmp_path / "data"
    made = bare.ends("keys", "create", "shop", **NOBODY_THERE)
    assert made.code == 0, made.err
    await nothing_is_left_of(tmp_path)
    secret_key = (data_dir / "secret_key").read_text("ascii")
    assert [stat.S_IMODE(path.stat().st_mode) for path in (data_dir, data_dir / "secret_key")] == [
        0o700,
        0o600,
    ]

    for number, code in ((signal.SIGTERM, 0), (signal.SIGINT, 130)):
        # The stored merchant keys suffice from the second start on.
        async with bare.serves("serve", "--port", "0") as gateway:
            assert gateway.ready.startswith("ready http://127.0.0.1:")
            assert await get(f"{gateway.url}/healthz") == (200, b"ok\n")
            assert await get(f"{gateway.url}/readyz") == (200, b"ready\n")
            assert processes_about(data_dir)
            assert await gateway.stop(number) == code
        assert secret_key not in " ".join(gateway.log)
        await nothing_is_left_of(tmp_path)

    assert (data_dir / "secret_key").read_text("ascii") == secret_key


async def test_worker_and_simulator_end_as_they_are_told(on_postgres: Any) -> None:
    for number, code in ((signal.SIGTERM, 0), (signal.SIGINT, 130)):
        async with on_postgres.serves("worker") as worker:
            assert worker.ready == "ready worker"
            assert await worker.stop(number) == code
    async with on_postgres.serves("simulator", "--port", "0") as simulator:
        assert (await get(simulator.url))[0] == 200
        assert await simulator.stop(signal.SIGTERM) == 0


async def test_worker_says_that_it_has_to_guess_where_the_gateway_is(on_postgres: Any) -> None:
    async with on_postgres.serves("worker") as guessing:
        await guessing.stop(signal.SIGTERM)
    known = {"CHECKSTAND_PUBLIC_URL": "https://pay.example.com"}
    async with on_postgres.serves("worker", **known) as knowing:
        await knowing.stop(signal.SIGTERM)

    told = [line for line in guessing.log if "CHECKSTAND_PUBLIC_URL is not set" in line]
    assert len(told) == 1
    assert "http://127.0.0.1:8080" in told[0]
    assert not any("CHECKSTAND_PUBLIC_URL" in line for line in knowing.log)


@pytest.mark.parametrize("name_and_value", [("CHECKSTAND_PORT", "0"), ("CHECKSTAND_HOST", "::")])
def test_worker_refuses_an_address_that_nobody_can_call(
    on_postgres: Any, name_and_value: tuple[str, str]
) -> None:
    ended = on_postgres.ends("worker", **dict([name_and_value]))

    assert ended.code == 2
    assert "set CHECKSTAND_PUBLIC_URL to the address of `checkstand serve`" in ended.err


async def test_secrets_may_come_from_files(on_postgres: Any, tmp_path: Path) -> None:
    names = ("CHECKSTAND_DATABASE_URL", "CHECKSTAND_SECRET_KEY", "BINANCE_PAY_API_SECRET")
    settings: dict[str, str | None] = {}
    for name in names:
        file = tmp_path / name
        file.write_text(on_postgres.environment[name] + "\n")
        settings |= {name: None, f"{name}_FILE": str(file)}

    async with on_postgres.serves("serve", "--port", "0", "--no-worker", **settings) as gateway:
        assert (await get(f"{gateway.url}/readyz"))[0] == 200
    twice = on_postgres.ends(
        "serve", BINANCE_PAY_API_KEY_FILE=str(tmp_path / "CHECKSTAND_SECRET_KEY")
    )

    assert twice.code == 2
    assert "BINANCE_PAY_API_KEY or BINANCE_PAY_API_KEY_FILE, not both" in twice.err


def test_demo_alone_prints_the_whole_way_from_created_to_fulfilled(
    bare: Any, tmp_path: Path
) -> None:
    ended = bare.ends("demo", "--auto", TMPDIR=str(tmp_path))

    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    way = [
        "CREATED",
        "asking Binance /v3/order",
        "CREATED → PENDING_PAYMENT",
        "PAY_SUCCESS came",
        "signature verified",
        "PENDING_PAYMENT → PAID",
        "order.paid written",
        "PAID → FULFILLED",
    ]
    found = [[n for n, line in enumerate(lines) if step in line] for step in way]
    assert [len(numbers) >= 1 for numbers in found] == [True] * len(way)
    assert [numbers[0] for numbers in found] == sorted(numbers[0] for numbers in found)
    deliveries = [line for line in lines if line.split()[2] == "delivery"]
    assert any("order.paid" in line and line.endswith("answered 200") for line in deliveries)
    assert not list(tmp_path.glob("checkstand-demo-*"))


def test_demo_that_cannot_run_says_why(bare: Any) -> None:
    ended = bare.ends("demo", "--auto", CHECKSTAND_HOST="192.0.2.1")

    assert (ended.code, ended.out) == (1, "")
    assert "192.0.2.1" in ended.err
    assert "Traceback" not in ended.err


async def test_demo_for_a_person_stops_at_ctrl_c_and_keeps_nothing(
    bare: Any, tmp_path: Path
) -> None:
    ports = ("--port", "0", "--simulator-port", "0", "--shop-port", "0")

    async with bare.serves("demo", *ports, TMPDIR=str(tmp_path)) as demo:
        assert (await get(f"{demo.url}/readyz"))[0] == 200
        assert await demo.stop(signal.SIGINT) == 130

    await nothing_is_left_of(tmp_path)
    assert not list(tmp_path.glob("checkstand-demo-*"))
