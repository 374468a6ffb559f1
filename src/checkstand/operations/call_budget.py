"""What each account has spent of its calls to Binance, in this process.

The rate is kept per process: two workers may ask twice as often. A rest after a refusal is a row
(`storage/provider_rests.py`), so that every process keeps it.
"""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import structlog

from checkstand.domain import budget
from checkstand.domain.budget import Bucket, CallRate, Trouble
from checkstand.storage import provider_rests
from checkstand.storage.database import Transaction

_log = structlog.get_logger()


class CallBudget:
    """A bucket for each account."""

    def __init__(self) -> None:
        self._buckets: dict[UUID, Bucket] = {}

    def spend(self, account_id: UUID, *, rate: CallRate, now: datetime) -> None:
        """Count a call that is made whatever the budget says: somebody waits for it."""
        bucket = self._bucket(account_id, now)
        self._buckets[account_id] = budget.spend(bucket, 1, rate=rate, now=now)

    def spend_on_poll(self, account_id: UUID, *, rate: CallRate, now: datetime) -> None:
        """Count a poll."""
        bucket = self._bucket(account_id, now)
        self._buckets[account_id] = budget.spend_on_polls(bucket, 1, rate=rate, now=now)

    def allowances(
        self, accounts: Iterable[UUID], *, rate: CallRate, now: datetime
    ) -> dict[UUID, int]:
        """Say how many polls each account may make now."""
        return {
            account_id: budget.polls_allowed(self._bucket(account_id, now), rate=rate, now=now)
            for account_id in accounts
        }

    async def hear(
        self, tx: Transaction, account_id: UUID, trouble: Trouble, *, reason: str, now: datetime
    ) -> None:
        """Learn from an answer; a rest that begins is written down for every process."""
        before = self._bucket(account_id, now)
        after = self._buckets[account_id] = budget.hear(before, trouble, now=now)
        until = after.resting_until
        if until is None or trouble is Trouble.NONE:
            return
        # Also when the rest is known here: the step that wrote it down may be running again.
        await provider_rests.begin(tx, account_id, trouble, until=until, reason=reason, now=now)
        if until == before.resting_until:
            return
        _log.warning(
            "calls rest", account_id=str(account_id), until=until.isoformat(), reason=reason
        )

    def _bucket(self, account_id: UUID, now: datetime) -> Bucket:
        return self._buckets.get(account_id, Bucket(paid_until=now))
