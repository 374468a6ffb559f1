"""What can go wrong, sorted by what the caller may do next.

Errors carry facts (a code, the field, ids), never HTTP codes: `web/problems.py` has the one
table to HTTP, `jobs/worker.py` the one to retry, stop or reconcile.
"""

from collections.abc import Mapping
from typing import Any


class CheckstandError(Exception):
    """The root of everything this package raises on purpose."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        field: str | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code  # a stable word a program can branch on
        self.message = message  # a sentence a person can act on
        self.field = field  # which input was wrong, when one was
        self.facts = dict(facts or {})


class Refused(CheckstandError):
    """Our rules say no; nothing changed. Tell the caller, do not retry."""


class NotFound(CheckstandError):
    """There is no such thing, or not for this caller."""


class Conflict(CheckstandError):
    """It moved first, or a key was reused. Read again."""


class ProviderRejected(CheckstandError):
    """Binance Pay said a definite no. Show the reason."""


class ProviderUnavailable(CheckstandError):
    """Nothing happened there. Retry with the same id."""


class OutcomeUnknown(CheckstandError):
    """Sent, no usable answer. Reconcile, never resend blindly under another id."""


class DatabaseUnavailable(CheckstandError):
    """The database cannot be reached just now: try again later, under the same key.

    Nothing was written, unless the connection was lost while the commit was on its way.
    """


class DatabaseBusy(DatabaseUnavailable):
    """Somebody else holds what is needed for too long. Try again, under the same key."""


class RowsHeld(DatabaseBusy):
    """What holds it up are rows, not the database: others can go on meanwhile."""
