"""The sync surface is the generated one, and the SDK is light and stands alone."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import checkstand.binance
from checkstand.binance import AsyncBinancePay, BinancePay

ROOT = Path(__file__).resolve().parents[2]
ROOM = Path(inspect.getfile(checkstand.binance)).parent
SCRIPT = ROOT / "scripts" / "generate_sync_client.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def test_generated_twin_is_the_one_checked_in() -> None:
    checked = run(str(SCRIPT), "--check")

    assert (checked.returncode, checked.stdout) == (0, ""), checked.stdout + checked.stderr


def test_wrong_arguments_of_the_generator_are_usage_errors() -> None:
    assert run(str(SCRIPT), "--chekc").returncode == 2


def resources(client: Any) -> dict[str, Any]:
    """Every resource of a client, and the raw view of each that has one."""
    found = {name: value for name, value in vars(client).items() if not name.startswith("_")}
    views = {
        f"{name}.with_raw_response": value.with_raw_response
        for name, value in found.items()
        if hasattr(value, "with_raw_response")
    }
    return {"": client, **found, **views}


def methods(resource: Any) -> dict[str, Any]:
    public = [name for name in dir(resource) if not name.startswith("_")]
    return {
        name.replace("aclose", "close"): inspect.signature(getattr(resource, name))
        for name in public
        if callable(getattr(resource, name))
    }


def test_both_clients_have_the_same_surface() -> None:
    given: Any = {"api_key": "k", "api_secret": "s"}
    one, other = AsyncBinancePay(**given), BinancePay(**given)

    ours, theirs = resources(one), resources(other)

    assert len(ours) == 18  # the client, nine resources, eight views
    assert list(ours) == list(theirs)
    for name, resource in ours.items():
        assert methods(resource) == methods(theirs[name])
    other.close()


def test_every_call_has_its_raw_view() -> None:
    with BinancePay(api_key="k", api_secret="s") as client:
        found = resources(client)

    for name, resource in found.items():
        if hasattr(resource, "with_raw_response"):
            assert methods(resource) == methods(found[f"{name}.with_raw_response"])


def test_importing_the_sdk_loads_neither_transport_nor_cryptography_nor_asyncio() -> None:
    heavy = ("httpcore2", "h11", "anyio", "cryptography", "asyncio", "ssl", "email", "secrets")
    done = run(
        "-c",
        "import sys, checkstand.binance;"
        f"print([name for name in {heavy!r} if name in sys.modules])",
    )

    assert done.stdout.strip() == "[]", done.stdout + done.stderr


@pytest.mark.parametrize("path", sorted(ROOM.rglob("*.py")), ids=lambda path: path.name)
def test_the_sdk_imports_nothing_else_of_ours(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            top, *rest = (node.module or "").split(".")
            assert top != "checkstand" or rest[:1] == ["binance"]
