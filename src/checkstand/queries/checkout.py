"""What the shopper's page rests on: one row for an order and its newest attempt."""

import json
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from checkstand.domain.anomaly import UNSETTLED_MONEY
from checkstand.domain.attempt import AttemptStatus, CloseReason, Links
from checkstand.domain.order import OrderStatus
from checkstand.storage.database import Database, Row, Transaction, statement

_FACTS = statement(
    "checkout.facts",
    """
    SELECT o.order_id, o.merchant_order_id, o.status, o.version, o.amount, o.currency,
           o.fiat_amount, o.fiat_currency, o.expires_at, o.paid_at, o.cancel_requested_at,
           o.terms->>'description' AS description, o.terms->>'return_url' AS return_url,
           o.terms->>'cancel_url' AS cancel_url,
           a.attempt_id, a.status AS attempt_status, a.expires_at AS attempt_expires_at, a.links,
           a.close_reason, a.payer_active, a.expected_amount, a.expected_currency,
           a.credential_id,
           EXISTS (SELECT 1 FROM anomalies y
                    WHERE (y.account_id, y.order_id) = (o.account_id, o.order_id)
                      AND y.resolved_at IS NULL AND y.kind = ANY($3::text[])) AS is_unsettled
      FROM orders o
      LEFT JOIN LATERAL (
           SELECT * FROM attempts n
            WHERE (n.account_id, n.order_id) = (o.account_id, o.order_id)
            ORDER BY n.number DESC LIMIT 1) a ON true
     WHERE o.account_id = $1 AND o.checkout_token = $2
    """,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutFacts:
    """An order and its newest attempt, as far as the shopper's page needs them."""

    order_id: UUID
    merchant_order_id: str
    status: OrderStatus
    version: int
    amount: Decimal | None
    currency: str | None
    fiat_amount: Decimal | None
    fiat_currency: str | None
    expires_at: datetime
    paid_at: datetime | None
    cancel_requested_at: datetime | None
    description: str
    return_url: str | None
    cancel_url: str | None
    is_unsettled: bool
    attempt_id: UUID | None
    attempt_status: AttemptStatus | None
    attempt_expires_at: datetime | None
    credential_id: UUID | None
    links: Links | None
    close_reason: CloseReason | None
    payer_active: bool


async def find_checkout(database: Database, account_id: UUID, token: str) -> CheckoutFacts | None:
    """Read what a page with this token shows; None when the token is not ours."""

    async def read(tx: Transaction) -> CheckoutFacts | None:
        row = await tx.row(_FACTS, account_id, token, sorted(UNSETTLED_MONEY))
        return _parse(row) if row else None

    return await database.read(read)


def _parse(row: Row) -> CheckoutFacts:
    status, reason = row["attempt_status"], row["close_reason"]
    return CheckoutFacts(
        order_id=row["order_id"],
        merchant_order_id=row["merchant_order_id"],
        status=OrderStatus(row["status"]),
        version=row["version"],
        amount=row["amount"] if row["amount"] is not None else row["expected_amount"],
        currency=row["currency"] or row["expected_currency"],
        fiat_amount=row["fiat_amount"],
        fiat_currency=row["fiat_currency"],
        expires_at=row["expires_at"],
        paid_at=row["paid_at"],
        cancel_requested_at=row["cancel_requested_at"],
        description=row["description"],
        return_url=row["return_url"],
        cancel_url=row["cancel_url"],
        is_unsettled=row["is_unsettled"],
        attempt_id=row["attempt_id"],
        attempt_status=AttemptStatus(status) if status else None,
        attempt_expires_at=row["attempt_expires_at"],
        credential_id=row["credential_id"],
        links=Links(**json.loads(row["links"])) if row["links"] else None,
        close_reason=CloseReason(reason) if reason else None,
        payer_active=bool(row["payer_active"]),
    )
