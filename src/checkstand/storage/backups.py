"""Backups: a directory with a dump, what it is of, and the generated key where there is one.

The description is written last and names the dump's hash: a directory without it, or with another
dump, is no backup. The dump is PostgreSQL's own custom format, taken from one snapshot while
everything runs.
"""

import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit

import asyncpg

from checkstand.errors import CheckstandError, Refused
from checkstand.storage.migrate import prepare_role

#: Finds one of PostgreSQL's programs by name; None when this system has none.
Programs = Callable[[str], Path | None]

_DUMP: Final = "database.dump"
_ABOUT: Final = "backup.json"
_KEY: Final = "secret_key"
_FORMAT: Final = 1


class BackupFailed(CheckstandError):
    """One of PostgreSQL's programs could not do it; the message has its words."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A complete backup."""

    directory: Path
    made_at: datetime
    has_key: bool

    @property
    def key(self) -> Path:
        """Return where the generated key is, if there is one."""
        return self.directory / _KEY


def make(directory: Path, *, url: str, programs: Programs, key: Path | None, now: datetime) -> None:
    """Write a backup into a new or empty directory. Blocks. Raises Refused or BackupFailed."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_empty = not any(directory.iterdir())
    except OSError as error:
        raise Refused(
            "backup_dir_unusable",
            f"{directory} cannot be used: {error.strerror}",
            field="directory",
        ) from error
    if not is_empty:
        raise Refused(
            "backup_dir_not_empty", f"{directory} is not empty; name a new one", field="directory"
        )
    dump = directory / _DUMP
    _run(programs, "pg_dump", url, "--format=custom", "--no-owner", f"--file={dump}")
    dump.chmod(0o600)
    with dump.open("rb") as written:
        os.fsync(written.fileno())
    if key is not None:
        _write(directory / _KEY, key.read_bytes())
    about = {
        "format": _FORMAT,
        "made_at": now.isoformat(),
        "sha256": _hash(dump),
        "has_key": key is not None,
    }
    _write(directory / _ABOUT, json.dumps(about, indent=2).encode())


def read(directory: Path) -> Backup:
    """Check that a directory is a whole backup. Blocks. Raises Refused."""
    backup = _read(directory)
    if backup is None:
        raise Refused(
            "backup_damaged",
            f"{directory} is no whole backup: it lacks {_ABOUT}, or its dump is another one",
            field="directory",
        )
    return backup


def _read(directory: Path) -> Backup | None:
    try:
        about: dict[str, Any] = json.loads((directory / _ABOUT).read_text("utf-8"))
        backup = Backup(directory, datetime.fromisoformat(about["made_at"]), about["has_key"])
        known = about["format"] == _FORMAT and about["sha256"] == _hash(directory / _DUMP)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return backup if known and (not backup.has_key or backup.key.is_file()) else None


async def refuse_used(url: str) -> None:
    """Raise Refused when a database holds something already; make the application's role."""
    connection = await asyncpg.connect(url, timeout=10)
    try:
        if await connection.fetchval("SELECT to_regclass('public.schema_migrations')"):
            raise Refused(
                "database_not_empty",
                "the database is in use: restore into a new one, and keep the old one until "
                "the recovery is finished",
            )
        await prepare_role(connection)
    finally:
        await connection.close()


def load(backup: Backup, *, url: str, programs: Programs) -> None:
    """Fill an empty database from a backup, whole or not at all. Blocks. Raises BackupFailed."""
    options = ("--no-owner", "--exit-on-error", "--single-transaction")
    _run(programs, "pg_restore", url, *options, str(backup.directory / _DUMP))


def _run(programs: Programs, name: str, url: str, *arguments: str) -> None:
    program = programs(name)
    if program is None:
        raise Refused(
            "program_missing",
            f"{name} is not installed; it comes with PostgreSQL's client programs, in the version "
            "of your server or newer",
        )
    address, secret = _without_password(url)
    done = subprocess.run(  # noqa: S603  (PostgreSQL's own program, no shell)
        [str(program), f"--dbname={address}", *arguments],
        env=_environment() | secret,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise BackupFailed("backup_failed", f"{name} failed: {said[-1]}")


def _environment() -> dict[str, str]:
    kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "HOME")
    return {name: os.environ[name] for name in kept if name in os.environ}


def _without_password(url: str) -> tuple[str, dict[str, str]]:
    """Take the password out of an address: what a program is started with, anybody can read."""
    parts = urlsplit(url)
    if parts.password is None:
        return url, {}
    user = parts.netloc.rpartition("@")[0].split(":")[0]
    host = parts.netloc.rpartition("@")[2]
    address = urlunsplit(parts._replace(netloc=f"{user}@{host}"))
    return address, {"PGPASSWORD": unquote(parts.password)}


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
