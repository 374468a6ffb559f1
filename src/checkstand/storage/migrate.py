"""Bring a database to the newest schema: numbered SQL files, applied in order, under a lock.

There are no steps down. A file that was applied is never edited: its checksum is compared, and
a difference is an error that names it.
"""

import asyncio
import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

import asyncpg

from checkstand.errors import CheckstandError, DatabaseUnavailable

APP_ROLE = "checkstand_app"

_BOOK = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number      integer PRIMARY KEY,
    name        text NOT NULL,
    checksum    text NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT now()
)
"""

#: What PostgreSQL says when two make or grant the same thing at the same moment: the book in one
#: database, the role in all of them. Whoever comes second finds it made.
_MET_ANOTHER: Final = (
    asyncpg.DuplicateObjectError,
    asyncpg.DuplicateTableError,
    asyncpg.UniqueViolationError,
    asyncpg.InternalServerError,  # "tuple concurrently updated"
)
_MEETINGS_MAX: Final = 20


class MigrationError(CheckstandError):
    """The database's schema and this program's files cannot both be right."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file."""

    number: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """Return the SHA-256 of the file's text."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def list_migrations() -> list[Migration]:
    """Read the files that this program brings, in order."""
    found = [
        Migration(int(file.name.split("_")[0]), file.name, file.read_text("utf-8"))
        for file in files("checkstand.storage.migrations").iterdir()
        if file.name.endswith(".sql")
    ]
    return sorted(found, key=lambda migration: migration.number)


async def migrate(url: str) -> list[Migration]:
    """Apply what is missing, as the owner; return what was applied. Safe to run again.

    Raises DatabaseUnavailable or MigrationError.
    """
    try:
        connection = await asyncpg.connect(url, timeout=10)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        raise DatabaseUnavailable(
            "database_unavailable", f"cannot open the database: {error}"
        ) from error
    try:
        await _prepare(connection)
        async with connection.transaction():
            # Two processes that start together: the second waits here and finds nothing to do.
            await connection.execute("LOCK TABLE schema_migrations IN ACCESS EXCLUSIVE MODE")
            await connection.execute(f"GRANT USAGE ON SCHEMA public TO {APP_ROLE}")
            return await _apply_missing(connection)
    finally:
        await connection.close()


async def _apply_missing(connection: Any) -> list[Migration]:
    rows = await connection.fetch("SELECT number, name, checksum FROM schema_migrations")
    applied = {row["number"]: row for row in rows}
    ours = list_migrations()
    newest = max(applied, default=0)
    if newest > ours[-1].number:
        raise MigrationError(
            "schema_newer",
            f"the database is at migration {newest}, newer than this program knows; "
            "upgrade checkstand",
        )
    missing = []
    for migration in ours:
        row = applied.get(migration.number)
        if row is None:
            await connection.execute(migration.text)
            await connection.execute(
                "INSERT INTO schema_migrations (number, name, checksum) VALUES ($1, $2, $3)",
                migration.number,
                migration.name,
                migration.checksum,
            )
            missing.append(migration)
        elif row["checksum"] != migration.checksum:
            raise MigrationError(
                "migration_edited",
                f"{migration.name} is not what this database was migrated with",
            )
    return missing


async def prepare_role(connection: Any) -> None:
    """Make the application's role and let this user become it; also amid others who do so."""
    for number in range(1, _MEETINGS_MAX + 1):
        try:
            await _ensure_role(connection)
        except _MET_ANOTHER:
            if number == _MEETINGS_MAX:
                raise
            await asyncio.sleep(0.01 * number)
        else:
            return


async def _prepare(connection: Any) -> None:
    """Make what is needed before there is a table to lock; again when somebody else does too."""
    for number in range(1, _MEETINGS_MAX + 1):
        try:
            await _ensure_role(connection)
            await connection.execute(_BOOK)
        except _MET_ANOTHER:
            if number == _MEETINGS_MAX:
                raise
            await asyncio.sleep(0.01 * number)
        except asyncpg.InsufficientPrivilegeError as error:
            raise DatabaseUnavailable(
                "database_unavailable",
                f"this user may not prepare the database ({error}); as an administrator: "
                f"CREATE ROLE {APP_ROLE} NOLOGIN; GRANT {APP_ROLE} TO the owner of the database",
            ) from error
        else:
            return


async def _ensure_role(connection: Any) -> None:
    exists = await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", APP_ROLE)
    if not exists:
        await connection.execute(f"CREATE ROLE {APP_ROLE} NOLOGIN")
    # Whoever made a role may grant it, and need not be able to use it; an owner who was given it
    # may use it, and need not be able to grant it.
    if not await _can_become(connection, APP_ROLE):
        await connection.execute(f"GRANT {APP_ROLE} TO CURRENT_USER")


async def _can_become(connection: Any, role: str) -> bool:
    try:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL ROLE {role}")
    except asyncpg.InsufficientPrivilegeError:
        return False
    return True
