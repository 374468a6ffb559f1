"""The webhook endpoint: an address of the shop that is told events."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One address, with its signing secret still encrypted."""

    account_id: UUID
    endpoint_id: UUID
    url: str
    secret_ciphertext: bytes
    fulfil_on_delivery: bool  # a 2xx to order.paid counts as the order's fulfilment
    created_at: datetime
