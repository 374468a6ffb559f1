"""Why the embedded PostgreSQL cannot run here, as one sentence that ends in what to do.

Everything that stops a start becomes an `EmbeddedUnavailable`, in the supervisor as well, which
hands it to its users over their connections.
"""

import errno
import os
from pathlib import Path

from checkstand.errors import CheckstandError

#: The two ways out that always exist.
ELSEWHERE = "set CHECKSTAND_DATABASE_URL to a PostgreSQL of yours"
OTHER_DIRECTORY = "choose another directory with CHECKSTAND_DATA_DIR"


class EmbeddedUnavailable(CheckstandError):
    """The embedded PostgreSQL cannot run here; the message says what to do about it."""

    def __init__(self, sentence: str, *, log_tail: str = "") -> None:
        told = f"{sentence}\nThe end of the server's log:\n{log_tail}" if log_tail else sentence
        super().__init__("embedded_unavailable", told)
        self.sentence = sentence
        self.log_tail = log_tail


def disk_full(path: Path) -> str:
    """Return the sentence for a full disk."""
    return f"The disk that holds {path} is full: make room, or {OTHER_DIRECTORY}."


def unusable_path(path: Path, problem: OSError) -> EmbeddedUnavailable:
    """Explain why a file or directory of ours could not be used."""
    if problem.errno in {errno.ENOSPC, errno.EDQUOT}:
        return EmbeddedUnavailable(disk_full(path))
    if problem.errno == errno.EROFS:
        return EmbeddedUnavailable(
            f"{path} lies on a read-only file system: {OTHER_DIRECTORY}, or {ELSEWHERE}."
        )
    if problem.errno in {errno.EACCES, errno.EPERM}:
        return EmbeddedUnavailable(
            f"{path} cannot be used by {user_name(os.geteuid())}: "
            f"change its owner or permissions, or {OTHER_DIRECTORY}."
        )
    return EmbeddedUnavailable(
        f"{path} cannot be used ({problem.strerror}): {OTHER_DIRECTORY}, or {ELSEWHERE}."
    )


def user_name(uid: int) -> str:
    """Return the name a uid has here, or the number when it has none."""
    import pwd  # late: Windows has none, and must still be able to read the sentence about itself

    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"
