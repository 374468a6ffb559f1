"""A run of many seeds as a user starts it, and as it may end."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

_HOUSE = Path(__file__).parents[2]


def _descendants(pid: int) -> list[int]:
    """List the processes that one has started, and those that they have."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    children = [int(child) for task in tasks for child in task.read_text("ascii").split()]
    return children + [pid for child in children for pid in _descendants(child)]


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads Linux's process table")
def test_no_process_outlives_a_run_that_was_ended(how: signal.Signals) -> None:
    command = [sys.executable, "-m", "torture", "run", "--seeds", "10000", "--jobs", "2"]
    with subprocess.Popen(command, cwd=_HOUSE, stderr=subprocess.PIPE, text=True) as run:
        try:
            assert run.stderr is not None
            assert "of 10000 seeds" in run.stderr.readline()
            started = _descendants(run.pid)
        finally:
            run.send_signal(how)
        run.wait(60)

    assert len(started) > 2
    until = time.monotonic() + 60
    while time.monotonic() < until and any(map(_is_alive, started)):
        time.sleep(0.1)
    assert [pid for pid in started if _is_alive(pid)] == []
