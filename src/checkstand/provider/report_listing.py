"""What a report file says by its name, before it is opened: what it lists, and of which day.

Binance documents the names (reference 2.13), and little else: not when a day's files are written,
nor whether their days are UTC. So a name proves no more than that its own list has come so far.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from checkstand.domain.reconciliation import FIRST_DAY, LAST_DAY
from checkstand.domain.report_line import LineKind

_NAME: Final = re.compile(r"([A-Z]_[A-Za-z]+)_([0-9]{8})(?![0-9])", re.ASCII)
#: What a file lists, by the beginning of its name. `S_Payment_` is missing: settled payments are
#: listed a second time there, on the day of their settlement.
_LISTS: Final = {
    "T_Payment": LineKind.PAYMENT,
    "T_Payout": LineKind.PAYOUT,
    "S_Refund": LineKind.REFUND,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedFile:
    """A report file that Binance offers."""

    name: str
    url: str = field(repr=False)  # a secret: whoever knows it may have the file

    @property
    def kind(self) -> LineKind | None:
        """Return what the file lists; None for a name that does not say."""
        return kind_and_day_of(self.name)[0]

    @property
    def day(self) -> date | None:
        """Return the file's day; None for a name that does not say."""
        return kind_and_day_of(self.name)[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportListing:
    """The report files of some days, or why there is no list of them."""

    files: Sequence[ListedFile] = ()
    refusal: str | None = None


def kind_and_day_of(name: str) -> tuple[LineKind | None, date | None]:
    """Read a name like `T_Payment_20260131.xls`."""
    found = _NAME.match(name)
    if found is None:
        return None, None
    try:
        day = date.fromisoformat(found.group(2))
    except ValueError:  # another number
        return None, None
    if not FIRST_DAY <= day <= LAST_DAY:
        return None, None
    return _LISTS.get(found.group(1)), day
