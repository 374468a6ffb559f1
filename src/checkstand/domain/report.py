"""The report: what Binance says of one attempt, translated into our words.

Answers to our calls, queries and notices that bind all become reports and end in the same
decision (`settlement.apply`), so that there is one answer to "how does an order become paid?".
The translation from Binance's words is `provider/translation.py`.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from checkstand.domain.attempt import Links
from checkstand.domain.money import Money


class Finding(StrEnum):
    """What Binance says has become of an attempt."""

    OPEN = "open"  # it exists and nobody has started to pay
    PAYER_ACTIVE = "payer_active"  # somebody is paying right now
    PAID = "paid"
    RETURNED = "returned"  # paid, and some or all of it has gone back
    CLOSED = "closed"  # closed unpaid
    LAPSED = "lapsed"  # its time ran out unpaid
    FAILED = "failed"  # an error on their side ended it unpaid
    ABSENT = "absent"  # there is no such order (400202)
    REFUSED = "refused"  # the create was refused for good
    UNREADABLE = "unreadable"  # a word we do not know


class Source(StrEnum):
    """By which channel we heard."""

    ANSWER = "answer"  # the answer to our own create
    QUERY = "query"
    NOTICE = "notice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One statement of Binance about one attempt."""

    finding: Finding
    source: Source
    reference: str  # the call or notice it came by, for the timeline
    word: str  # Binance's own word, for the timeline
    prepay_id: str | None = None
    money: Money | None = None
    expires_at: datetime | None = None  # the answer's, which wins over ours
    links: Links | None = None
    fee: Decimal | None = None
    transaction_id: str | None = None
    paid_at: datetime | None = None
    refusal_is_about_time: bool = False  # a refusal that a fresh attempt mends
    returned_in_full: bool = False  # of RETURNED: nothing of it is left


class RefundFinding(StrEnum):
    """What Binance says has become of a refund."""

    TAKEN = "taken"  # accepted, or still under way
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABSENT = "absent"  # there is no such refund
    REFUSED = "refused"  # a definite no to this send
    UNREADABLE = "unreadable"  # a word we do not know


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundReport:
    """One statement of Binance about one refund."""

    finding: RefundFinding
    source: Source
    reference: str  # the call or notice it came by, for the timeline
    word: str  # Binance's own word, for the timeline
    code: str | None = None  # of a refusal
    returned: Decimal | None = None  # what goes back, asked for or not
    returned_in_all: Decimal | None = None  # of the whole payment, this one included
    fee_returned: Decimal | None = None
    remaining_attempts: int | None = None
    waits_for_balance: bool = False  # refused until the merchant's wallet holds enough
