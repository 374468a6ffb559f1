"""The measuring programs run: a few calls of each, with no claim about their figures."""

import re
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).resolve().parents[2] / "bench"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(BENCH / arguments[0]), *arguments[1:]],
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )


def test_the_sdk_is_measured_beside_the_official_connector() -> None:
    done = run("sdk.py", "--calls", "3", "--rounds", "1")

    assert done.stderr == ""
    rows = [line for line in done.stdout.splitlines() if re.search(r"\d µs +\d+\.\d\d", line)]
    assert [row.split("  ")[0] for row in rows][:3] == [
        "official connector (requests)",
        "SDK, sync, default",
        "SDK, async, default",
    ]
    assert "import checkstand.binance" in done.stdout


def test_notices_are_measured_beside_pgbench_and_a_bare_echo() -> None:
    done = run("notices.py", "--notices", "96", "--rounds", "1", "--connections", "8")

    assert done.stderr == ""
    measured = [line for line in done.stdout.splitlines() if not line.startswith("missed")]
    assert [re.split(r"  +", line)[0] for line in measured] == [
        "pgbench, the same rows",
        "notices, 1 gateway process",
        "notices, 2 gateway processes",
        "CPU per echo",
        "CPU per notice",
    ]
    assert all(re.search(r" \d+(/s| µs)", line) for line in measured)


def test_verify_survives_a_thousand_broken_notifications() -> None:
    done = run("fuzz_verify.py", "--inputs", "1000", "--seed", "7")

    assert (done.returncode, done.stderr) == (0, "")
    counts = [int(line.split()[-1]) for line in done.stdout.splitlines()]
    assert sum(counts) == 1000
    for how in ("BadSignature", "MissingHeader", "PayNotice", "UnreadableNotification"):
        assert how in done.stdout


def test_the_door_survives_hundreds_of_broken_notices(empty_database_url: str) -> None:
    inputs = ("--inputs", "300", "--seed", "7")

    done = run("fuzz_notices.py", *inputs, "--database-url", empty_database_url)

    assert done.returncode == 0, done.stdout + done.stderr
    counts = [int(line.split()[-1]) for line in done.stdout.splitlines()]
    assert sum(counts) == 300
    for kind in ("genuine PAY_SUCCESS", "a stranger's", "odd, signed", "fits but for its amount"):
        assert kind in done.stdout


def test_reconciling_finds_what_was_planted() -> None:
    done = run("reconcile.py", "--orders", "100", "--days", "3")

    assert (done.returncode, done.stderr) == (0, "")
    assert "planted = found" in done.stdout
    assert "the second run found the same" in done.stdout
