"""The ports that programs under test are started on, and again."""

import subprocess
import sys

from crash.ports import free_port

PROGRAM = """
from crash.ports import free_port
print(*(free_port() for _ in range(60)), flush=True)
input()
"""


def test_no_port_is_given_twice_to_whoever_asks() -> None:
    command = [sys.executable, "-c", PROGRAM]
    others = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [process.stdout.readline() for process in others if process.stdout]
    ours = [free_port() for _ in range(60)]
    for process in others:
        process.communicate("\n")

    given = [*ours, *(int(port) for line in told for port in line.split())]
    assert len(set(given)) == len(given) == 180
    assert max(given) < 32_768
