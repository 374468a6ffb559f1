"""The act: what a person, a shopper or a shop's program did, kept for ever as it was done."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Doer:
    """Who acts: one of the timeline's actors, and which of them."""

    actor: str  # merchant, shopper or person; checkstand where a rule stopped the account
    who: str  # an API key's name, an operator, the checkout page


#: The shop by one of its programs, where nobody says by which.
SHOP = Doer(actor="merchant", who="the shop")
#: Whoever holds the page's address: they have no name.
SHOPPER = Doer(actor="shopper", who="the checkout page")
#: A rule that stops an account: what follows from it is explained like a person's act.
GATEWAY = Doer(actor="checkstand", who="the gateway")


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One thing that somebody did, and why if they said so."""

    account_id: UUID
    act_id: UUID
    order_id: UUID | None
    doer: Doer
    what: str  # "cancel", "resolve amount_differs (accept)"
    subject: str  # as the timeline refers to it: "anomaly:…", "order:…", "account:…"
    reason: str | None
    at: datetime
