"""The README names every fault with its parameters, every control route and every endpoint."""

from importlib.resources import files

import pytest

from checkstand.cli.simulator import app as commands
from checkstand.simulator.control import Control
from checkstand.simulator.control_pages import _ACTS, _ROWS
from checkstand.simulator.endpoints import ENDPOINTS
from checkstand.simulator.faults import KINDS

README = files("checkstand.simulator").joinpath("README.md").read_text()
LINES = README.splitlines()


@pytest.mark.parametrize("kind", KINDS)
def test_every_fault_has_a_row_with_its_parameters(kind: str) -> None:
    (row,) = (line for line in LINES if line.startswith(f"| `{kind}` |"))

    for parameter in KINDS[kind].parameters:
        assert f"`{parameter}`" in row


def test_no_fault_is_described_that_does_not_exist() -> None:
    start = LINES.index("| Kind | What happens | Takes |") + 2
    described = []
    for line in LINES[start:]:
        if not line.startswith("|"):
            break
        described.append(line.split("`")[1])

    assert sorted(described) == sorted(KINDS)


@pytest.mark.parametrize(("method", "path"), [row[:2] for row in _ROWS])
def test_every_control_route_is_listed(method: str, path: str) -> None:
    assert f"| `{method} /simulator{path.replace(':int', '')}` |" in README


@pytest.mark.parametrize("act", _ACTS)
def test_every_option_of_an_act_is_named(act: str) -> None:
    for option in _ACTS[act][1]:
        assert f"`{option}`" in README


def test_every_command_is_named() -> None:
    for name in (*commands, *commands["faults"]):
        if not name.startswith("-"):
            assert f"`{name}`" in README


@pytest.mark.parametrize("path", ENDPOINTS)
def test_every_endpoint_is_listed(path: str) -> None:
    assert f"`{path}`" in README


def test_every_method_of_the_control_is_named() -> None:
    for name in (name for name in vars(Control) if not name.startswith("_") and name != "order"):
        assert name in README
