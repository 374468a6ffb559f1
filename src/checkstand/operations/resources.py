"""What every operation works with, handed down by `app.py`."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from checkstand.ambient import Clock, Ids, Random
from checkstand.deliveries.sender import Sender
from checkstand.domain.budget import CALL_RATE, CallRate
from checkstand.domain.doubt import Patience
from checkstand.domain.retention import RetentionPolicy
from checkstand.domain.settlement import Circumstances
from checkstand.operations.account_book import AccountBook
from checkstand.operations.call_budget import CallBudget
from checkstand.operations.limit_book import LimitBook
from checkstand.provider.gateway import Provider
from checkstand.storage.database import Database
from checkstand.storage.witness_file import WitnessFile
from checkstand.vault import Vault

#: How much longer a lease lives than the call it covers may take: time to write the answer. Too
#: short costs a second query, too long lets a shopper wait after a crash; neither costs money.
LEASE_MARGIN: Final = timedelta(seconds=5)


class Wake:
    """A hint that there is work: whoever waits looks at once. Losing one costs a second."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def up(self) -> None:
        """Wake whoever waits."""
        self._event.set()

    async def wait(self, *, timeout_seconds: float) -> None:
        """Wait until woken or until the time is up."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._event.wait()
        except TimeoutError:
            pass
        self._event.clear()


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The settings that operations go by."""

    public_url: str
    provider_timeout: timedelta = timedelta(seconds=10)
    delivery_timeout: timedelta = timedelta(seconds=15)
    attempt_life: timedelta = timedelta(hours=1)
    shopper_ask_every: timedelta = timedelta(seconds=5)  # "I've paid" asks Binance this often
    notice_age_max: timedelta = timedelta(seconds=300)  # an older notice is a hint
    confirm_above: Decimal | None = None  # a larger PAY_SUCCESS is a hint too; None: none is
    urgent_after: timedelta = timedelta(seconds=60)
    retention: RetentionPolicy = field(default_factory=RetentionPolicy)
    fulfilment_lease: timedelta = timedelta(minutes=15)  # for the shop to acknowledge
    patience: Patience = field(default_factory=Patience)  # before a person is told
    allow_private_webhooks: bool = False
    call_rate: CallRate = CALL_RATE
    report_days: int = 3  # after which a day without a file of Binance's list was a quiet one
    settlement_days: int = 3  # the same of the list that has refunds: its timetable is by contract


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """The doors, the ambient values and the settings."""

    database: Database
    provider: Provider
    sender: Sender
    accounts: AccountBook
    vault: Vault
    clock: Clock
    ids: Ids
    random: Random
    policy: Policy
    witness: WitnessFile | None = None
    run_in_thread: Callable[..., Awaitable[Any]] = asyncio.to_thread
    budget: CallBudget = field(default_factory=CallBudget)
    limits: LimitBook = field(default_factory=LimitBook)
    attempts_wake: Wake = field(default_factory=Wake)
    refunds_wake: Wake = field(default_factory=Wake)
    deliveries_wake: Wake = field(default_factory=Wake)
    notices_wake: Wake = field(default_factory=Wake)

    @property
    def provider_lease(self) -> timedelta:
        """How long a lease on an attempt or a key lasts: longer than the whole call."""
        return self.policy.provider_timeout + LEASE_MARGIN

    def circumstances(self, account_id: UUID) -> Circumstances:
        """Gather what a decision about this account's orders may need from outside."""
        return Circumstances(
            now=self.clock.now(),
            fresh_id=self.ids.new(),
            credential_id=self.accounts.credential_for(account_id),
            attempt_life=self.policy.attempt_life,
            fulfilment_lease=self.policy.fulfilment_lease,
        )

    def notice_url(self, account_id: UUID) -> str:
        """Return the account's own address for Binance's notices."""
        path = self.accounts.get(account_id).notice_path
        return f"{self.policy.public_url}/api/payments/binance/webhook/{path}"
