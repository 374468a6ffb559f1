"""The account: a merchant, its Binance Pay credentials, and the keys its programs hold."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One merchant account. Everything else belongs to exactly one."""

    account_id: UUID
    reference: str  # eight characters that its API keys and checkout tokens begin with
    name: str  # what shoppers read
    notice_path: str  # the unguessable end of its address for Binance's notices
    merchant_id: str | None = None  # as its first query said; another one halts it
    halted_reason: str | None = None  # automatic moves are stopped, and why
    halted_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key that a program of the shop holds, without its secret."""

    account_id: UUID
    key_id: UUID
    name: str
    scopes: frozenset[str]
    last_used_at: datetime | None
