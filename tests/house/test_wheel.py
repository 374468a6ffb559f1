"""The wheel holds what it needs, and each part of it runs beside only its extra.

An installation is imitated without a network: the wheel is unpacked into a directory of its own,
and beside it are links to the distributions that the extra's requirements name, all the way down.
Python is started there without its own site-packages.
"""

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

_ROOT = Path(__file__).parents[2]
_SOURCE = _ROOT / "src" / "checkstand"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by the pinned backend."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder],
        cwd=_ROOT,
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's files, as pip would lay them out."""
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


Install = Callable[..., "Installation"]


class Installation:
    """A directory that holds the wheel and what one extra brings, and nothing else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def python(self, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run code that sees this directory and the standard library alone."""
        start = f"import sys; sys.path.append({str(self.folder)!r})\n"
        return subprocess.run(
            [sys.executable, "-I", "-S", "-B", "-c", start + code, *arguments],
            cwd=self.folder,
            env={"PATH": os.defpath, "HOME": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def loaded_by(self, code: str) -> set[str]:
        """Run code and say which modules it loaded."""
        done = self.python(f"{code}\nimport json\nprint(json.dumps(sorted(sys.modules)))")
        assert done.returncode == 0, done.stderr
        return set(json.loads(done.stdout.splitlines()[-1]))

    def checkstand(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command as its entry point does."""
        return self.python("from checkstand.cli import main\nmain()", *arguments)


@pytest.fixture
def install(unpacked: Path, tmp_path: Path) -> Install:
    """Install the wheel with extras; with `alone` nothing else is there at all."""

    def installed(*extras: str, alone: bool = False) -> Installation:
        for entry in unpacked.iterdir():
            (tmp_path / entry.name).symlink_to(entry)
        (ours,) = metadata.distributions(path=[str(unpacked)])
        for distribution in () if alone else _needs_of(ours, set(extras)):
            for name in {file.parts[0] for file in distribution.files or ()} - {"..", "bin"}:
                link = tmp_path / name
                if name != "__pycache__" and not link.exists():
                    link.symlink_to(Path(str(distribution.locate_file(name))))
        return Installation(tmp_path)

    return installed


def _needs_of(
    distribution: metadata.Distribution, extras: set[str]
) -> Iterator[metadata.Distribution]:
    """Find everything a distribution needs with these extras, as installed here."""
    waiting, seen = [(distribution, frozenset(extras))], set()
    while waiting:
        owner, wanted = waiting.pop()
        for requirement in map(Requirement, owner.requires or ()):
            marker, found = requirement.marker, (requirement.name, frozenset(requirement.extras))
            if found in seen or not (
                marker is None or any(marker.evaluate({"extra": e}) for e in {"", *wanted})
            ):
                continue
            seen.add(found)
            needed = metadata.distribution(requirement.name)
            yield needed
            waiting.append((needed, found[1]))


_IMPORT_ALL = """
import importlib, pkgutil
for name in {names!r}:
    module = importlib.import_module(name)
    for found in pkgutil.walk_packages(getattr(module, "__path__", ()), name + "."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
"""


def _import_all(*names: str) -> str:
    return _IMPORT_ALL.format(names=names)


def test_wheel_holds_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}

    ours = {
        path.relative_to(_SOURCE.parent).as_posix()
        for path in _SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == ours
    kinds = {Path(name).suffix for name in packed}
    assert {".py", ".sql", ".html", ".css", ".js", ".svg", ".typed"} <= kinds
    assert "checkstand/py.typed" in packed


def test_wheel_carries_its_licence_and_its_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (licence,) = (name for name in names if name.endswith("licenses/LICENSE"))
        assert archive.read(licence) == (_ROOT / "LICENSE").read_bytes()
        (entry_points,) = (name for name in names if name.endswith("entry_points.txt"))
        assert b"checkstand = checkstand.cli:main" in archive.read(entry_points)


def test_wheel_is_the_same_however_often_it_is_built(wheel: Path, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path],
        cwd=_ROOT,
        check=True,
        capture_output=True,
    )

    assert (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()


def test_sdk_needs_only_the_base_install(install: Install) -> None:
    install().loaded_by(_import_all("checkstand.binance"))


def test_importing_the_sdk_loads_neither_transport_nor_cryptography(install: Install) -> None:
    loaded = install().loaded_by("import checkstand.binance")

    assert "msgspec" in loaded
    heavy = {"httpcore2", "cryptography", "ssl", "asyncio", "h11", "anyio", "importlib.metadata"}
    assert loaded & heavy == set()


def test_receiver_needs_nothing_at_all(install: Install) -> None:
    install(alone=True).loaded_by(_import_all("checkstand.receiver"))


def test_simulator_needs_only_its_extra(install: Install) -> None:
    loaded = install("simulator").loaded_by(_import_all("checkstand.simulator"))

    assert not any(re.match(r"checkstand\.(?!simulator)", name) for name in loaded)


def test_gateway_needs_only_its_extra(install: Install) -> None:
    """The embedded database's binaries are looked for when one is started, not before."""
    rooms = ["app", "cli", "deliveries", "domain", "jobs", "operations", "provider", "queries"]
    rooms += ["storage", "web"]

    loaded = install("server").loaded_by(_import_all(*(f"checkstand.{room}" for room in rooms)))

    assert "checkstand.storage.embedded" in loaded
    assert not any(name.startswith("pixeltable") for name in loaded)
    assert "checkstand.simulator" not in loaded


def test_embedded_database_s_own_python_is_never_loaded(install: Install) -> None:
    loaded = install("server", "embedded").loaded_by(
        "from checkstand.app import running_gateway\n"
        "from checkstand.storage.embedded import EmbeddedPostgres, binaries\n"
        "assert binaries"
    )

    assert not any(name.startswith("pixeltable") for name in loaded)


def test_demo_needs_the_gateway_and_the_simulator(install: Install) -> None:
    install("server", "simulator", "embedded").loaded_by(_import_all("checkstand.demo"))


@pytest.mark.parametrize("arguments", [[], ["--help"], ["serve"], ["demo"], ["keys", "create"]])
def test_command_in_a_base_install_says_what_it_needs(
    install: Install, arguments: list[str]
) -> None:
    done = install().checkstand(*arguments)

    assert done.returncode == 2
    assert "needs checkstand[server]" in done.stderr
    assert "Traceback" not in done.stderr


def test_simulator_command_in_a_base_install_asks_for_its_own_extra(install: Install) -> None:
    done = install().checkstand("simulator")

    assert done.returncode == 2
    assert "needs checkstand[simulator]" in done.stderr


@pytest.mark.parametrize("extra", ["server", "simulator"])
def test_help_is_there_with_either_extra(install: Install, extra: str) -> None:
    done = install(extra).checkstand("--help")

    assert done.returncode == 0, done.stderr
    assert "simulator" in done.stdout


def test_gateway_s_command_beside_the_simulator_alone_says_what_it_needs(
    install: Install,
) -> None:
    done = install("simulator").checkstand("serve")

    assert done.returncode == 2, done.stderr
    assert "needs checkstand[server]" in done.stderr
