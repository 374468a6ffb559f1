"""A run of many seeds as a user starts it, and as it may end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

_HOUSE = Path(__file__).parents[2]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_a_run_that_was_ended(how: signal.Signals) -> None:
    command = [sys.executable, "-m", "torture", "run", "--seeds", "10000", "--jobs", "2"]
    with subprocess.Popen(
        command, cwd=_HOUSE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as run:
        assert run.stderr is not None
        assert "of 10000 seeds" in run.stderr.readline()
        run.send_signal(how)
        try:
            run.communicate(timeout=60)  # its workers write there, too: it ends with the last
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGKILL)
            pytest.fail("workers go on, and nobody takes their results")
