"""Whether queries are answered for somebody else's account: then nothing they say is believed.

Story: a rotation pastes the staging key, where none of our orders exists; ten thousand open ones
must not expire for it.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

#: How many of the newest answers are looked at, and how many of them it takes to say anything.
ANSWERS_MAX: Final = 20
_ANSWERS_MIN: Final = 10
#: So many in a hundred of them say that there is no such order.
_MISSING_PERCENT: Final = 80
#: One order that Binance lost is asked about again and again, and is no reason to stop the rest.
_ATTEMPTS_MIN: Final = 3
#: What was said longer ago tells nothing of the keys that are used now.
MEMORY: Final = timedelta(days=1)

_NOT_FOUND: Final = "400202"


def why_suspect(answers: Sequence[tuple[UUID, str | None]]) -> str | None:
    """Say why an account should stop, from its newest answers; None when it should not.

    Each is an attempt that Binance once gave an id, and the code of the query's answer.
    """
    looked = answers[:ANSWERS_MAX]
    missing = [attempt_id for attempt_id, code in looked if code == _NOT_FOUND]
    if len(looked) < _ANSWERS_MIN or len(set(missing)) < _ATTEMPTS_MIN:
        return None
    if len(missing) * 100 < len(looked) * _MISSING_PERCENT:
        return None
    return (
        f"{len(missing)} of the last {len(looked)} queries say that Binance has no such order, "
        "though it made them: check the API key and the base URL"
    )
