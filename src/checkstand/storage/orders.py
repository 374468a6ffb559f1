"""Orders and their history: rows in, domain values out."""

import json
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from checkstand.domain.case import Decision, Step
from checkstand.domain.money import Money, render_amount
from checkstand.domain.order import Goods, Order, OrderStatus, Terms
from checkstand.storage.database import Row, Transaction, render_rows, statement

COLUMNS = """
    account_id, order_id, merchant_order_id, cart_id, status, previous_status, version, amount,
    currency, fiat_amount, fiat_currency, terms, checkout_token, created_at, expires_at,
    settled_by, paid_at, fulfilled_at, cancel_requested_at, buyer_reference, client_ip,
    cancel_requested_by, fulfilment_token, fulfilment_until, fulfilment_due_at, fulfilment_offers
"""

_INSERT = statement(
    "orders.insert",
    f"""
    INSERT INTO orders ({COLUMNS})
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19,
            $20, $21, $22, $23, $24, $25, $26)
    ON CONFLICT DO NOTHING
    RETURNING order_id
    """,
)

_LOCK = statement(
    "orders.lock",
    f"""
    SELECT {COLUMNS} FROM orders
     WHERE (account_id, order_id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[]))
     ORDER BY account_id, order_id
       FOR UPDATE
    """,
)

#: For a group: one order that somebody holds must not hold up the others.
_LOCK_FREE = statement(
    "orders.lock_free",
    f"""
    SELECT {COLUMNS} FROM orders
     WHERE (account_id, order_id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[]))
     ORDER BY account_id, order_id
       FOR UPDATE SKIP LOCKED
    """,
)

_GET = statement(
    "orders.get",
    f"""
    SELECT {COLUMNS} FROM orders
     WHERE (account_id, order_id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[]))
    """,
)

_FIND_BY_MERCHANT_ORDER_ID = statement(
    "orders.find_by_merchant_order_id",
    "SELECT order_id FROM orders WHERE account_id = $1 AND merchant_order_id = $2",
)

_FIND_BY_TOKEN = statement(
    "orders.find_by_token",
    "SELECT order_id FROM orders WHERE account_id = $1 AND checkout_token = $2",
)

_FIND_LIVE_CART = statement(
    "orders.find_live_cart",
    """
    SELECT order_id FROM orders
     WHERE account_id = $1 AND cart_id = $2 AND status IN ('CREATED', 'PENDING_PAYMENT')
    """,
)

_UPDATE = statement(
    "orders.update",
    """
    UPDATE orders o
       SET status = n.status, previous_status = n.previous_status, version = n.version,
           settled_by = n.settled_by, paid_at = n.paid_at, fulfilled_at = n.fulfilled_at,
           cancel_requested_at = n.cancel_requested_at,
           cancel_requested_by = n.cancel_requested_by, expires_at = n.expires_at,
           fulfilment_token = n.fulfilment_token, fulfilment_until = n.fulfilment_until,
           fulfilment_due_at = n.fulfilment_due_at, fulfilment_offers = n.fulfilment_offers
      FROM jsonb_to_recordset($1::jsonb) AS n (
               account_id uuid, order_id uuid, version_before int, status text,
               previous_status text, version int, settled_by uuid, paid_at timestamptz,
               fulfilled_at timestamptz, cancel_requested_at timestamptz,
               cancel_requested_by text, expires_at timestamptz, fulfilment_token text,
               fulfilment_until timestamptz, fulfilment_due_at timestamptz, fulfilment_offers int)
     WHERE (o.account_id, o.order_id, o.version) = (n.account_id, n.order_id, n.version_before)
    RETURNING o.order_id
    """,
)

_INSERT_HISTORY = statement(
    "order_history.insert",
    """
    INSERT INTO order_history (
        account_id, order_id, version, previous_status, status, actor, reason, reference, at
    )
    SELECT * FROM jsonb_to_recordset($1::jsonb) AS n (
        account_id uuid, order_id uuid, version int, previous_status text, status text,
        actor text, reason text, reference text, at timestamptz)
    """,
)

_LIST_TO_EXPIRE = statement(
    "orders.list_to_expire",
    """
    SELECT o.account_id, o.order_id FROM orders o
     WHERE o.status IN ('CREATED', 'PENDING_PAYMENT') AND o.expires_at <= $1
       AND NOT EXISTS (
           SELECT 1 FROM attempts a
            WHERE (a.account_id, a.order_id) = (o.account_id, o.order_id)
              AND a.status IN ('PREPARED', 'SUBMITTING', 'OPEN', 'CLOSING'))
       AND NOT EXISTS (
           SELECT 1 FROM anomalies y
            WHERE (y.account_id, y.order_id) = (o.account_id, o.order_id)
              AND y.resolved_at IS NULL AND y.kind = ANY($3::text[]))
       AND NOT EXISTS (
           SELECT 1 FROM accounts c
            WHERE c.account_id = o.account_id AND c.halted_reason IS NOT NULL)
       AND NOT EXISTS (
           SELECT 1 FROM recoveries v
            WHERE v.account_id = o.account_id AND v.finished_at IS NULL)
     ORDER BY o.expires_at, o.account_id, o.order_id
     LIMIT $2
    """,
)


_LIST_TO_OFFER = statement(
    "orders.list_to_offer",
    """
    SELECT o.account_id, o.order_id FROM orders o
     WHERE o.status = 'PAID' AND o.fulfilment_due_at <= $1
       AND (o.fulfilment_until IS NULL OR o.fulfilment_until <= $1)
       AND NOT EXISTS (
           SELECT 1 FROM accounts c
            WHERE c.account_id = o.account_id AND c.halted_reason IS NOT NULL)
       AND NOT EXISTS (
           SELECT 1 FROM recoveries v
            WHERE v.account_id = o.account_id AND v.finished_at IS NULL)
     ORDER BY o.fulfilment_due_at, o.account_id, o.order_id
     LIMIT $2
    """,
)


class MovedFirst(RuntimeError):
    """A guarded update found another version although its row was locked: a bug, not a race."""


async def insert(tx: Transaction, order: Order) -> bool:
    """Write a new order; False when its merchant_order_id or live cart is taken."""
    terms = order.terms
    price, fiat = terms.price, terms.fiat_price
    row = await tx.row(
        _INSERT,
        order.account_id,
        order.order_id,
        terms.merchant_order_id,
        terms.cart_id,
        order.status,
        order.previous_status,
        order.version,
        price.amount if price else None,
        price.currency if price else None,
        fiat.amount if fiat else None,
        fiat.currency if fiat else None,
        _render_terms(terms),
        order.checkout_token,
        order.created_at,
        order.expires_at,
        order.settled_by,
        order.paid_at,
        order.fulfilled_at,
        order.cancel_requested_at,
        terms.buyer_reference,
        terms.client_ip,
        order.cancel_requested_by,
        order.fulfilment_token,
        order.fulfilment_until,
        order.fulfilment_due_at,
        order.fulfilment_offers,
    )
    return row is not None


async def lock(
    tx: Transaction, keys: Sequence[tuple[UUID, UUID]], *, skips_held: bool = False
) -> list[Order]:
    """Hold orders, given as (account_id, order_id), in the one global order.

    With `skips_held` those that somebody else holds are left out.
    """
    sql = _LOCK_FREE if skips_held else _LOCK
    rows = await tx.rows(sql, [k[0] for k in keys], [k[1] for k in keys])
    return [parse(row) for row in rows]


async def get_many(tx: Transaction, keys: Sequence[tuple[UUID, UUID]]) -> list[Order]:
    """Read orders, given as (account_id, order_id), as they stand."""
    rows = await tx.rows(_GET, [k[0] for k in keys], [k[1] for k in keys])
    return [parse(row) for row in rows]


async def find_id(tx: Transaction, account_id: UUID, *, merchant_order_id: str) -> UUID | None:
    """Look an order up by the shop's own id."""
    row = await tx.row(_FIND_BY_MERCHANT_ORDER_ID, account_id, merchant_order_id)
    return row["order_id"] if row else None


async def find_id_by_token(tx: Transaction, account_id: UUID, token: str) -> UUID | None:
    """Look an order up by its checkout token."""
    row = await tx.row(_FIND_BY_TOKEN, account_id, token)
    return row["order_id"] if row else None


async def find_live_of_cart(tx: Transaction, account_id: UUID, cart_id: str) -> UUID | None:
    """Look up the one order of a cart that is on its way."""
    row = await tx.row(_FIND_LIVE_CART, account_id, cart_id)
    return row["order_id"] if row else None


async def list_to_expire(
    tx: Transaction, *, now: Any, blocked_by: Sequence[str], limit: int
) -> list[tuple[UUID, UUID]]:
    """List orders whose time has passed, which nobody can pay and no open anomaly holds."""
    rows = await tx.rows(_LIST_TO_EXPIRE, now, limit, list(blocked_by))
    return [(row["account_id"], row["order_id"]) for row in rows]


async def list_to_offer(tx: Transaction, *, now: datetime, limit: int) -> list[tuple[UUID, UUID]]:
    """List paid orders, as (account_id, order_id), that the shop has not acknowledged in time."""
    rows = await tx.rows(_LIST_TO_OFFER, now, limit)
    return [(row["account_id"], row["order_id"]) for row in rows]


async def save(tx: Transaction, decisions: Sequence[Decision]) -> None:
    """Write the orders that decisions changed, guarded by the version they started from."""
    changed = [d for d in decisions if d.case.order != d.before.order]
    if not changed:
        return
    rows = await tx.rows(_UPDATE, render_rows([_render_change(decision) for decision in changed]))
    if len(rows) != len(changed):
        raise MovedFirst(f"{len(changed)} orders decided, {len(rows)} written")


def _render_change(decision: Decision) -> dict[str, object]:
    order = decision.case.order
    return {
        "account_id": order.account_id,
        "order_id": order.order_id,
        "version_before": decision.before.order.version,
        "status": order.status,
        "previous_status": order.previous_status,
        "version": order.version,
        "settled_by": order.settled_by,
        "paid_at": order.paid_at,
        "fulfilled_at": order.fulfilled_at,
        "cancel_requested_at": order.cancel_requested_at,
        "cancel_requested_by": order.cancel_requested_by,
        "expires_at": order.expires_at,
        "fulfilment_token": order.fulfilment_token,
        "fulfilment_until": order.fulfilment_until,
        "fulfilment_due_at": order.fulfilment_due_at,
        "fulfilment_offers": order.fulfilment_offers,
    }


async def append_history(tx: Transaction, decisions: Sequence[Decision]) -> None:
    """Write one history row for each version that decisions made."""
    lines = [_render_step(d.case.order, step) for d in decisions for step in d.steps]
    if lines:
        await tx.run(_INSERT_HISTORY, render_rows(lines))


def _render_step(order: Order, step: Step) -> dict[str, object]:
    return {
        "account_id": order.account_id,
        "order_id": order.order_id,
        "version": step.version,
        "previous_status": step.previous_status,
        "status": step.status,
        "actor": step.actor,
        "reason": step.reason,
        "reference": step.reference,
        "at": step.at,
    }


def parse(row: Row) -> Order:
    """Make an order of its row."""
    return Order(
        account_id=row["account_id"],
        order_id=row["order_id"],
        terms=_parse_terms(row),
        checkout_token=row["checkout_token"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        status=OrderStatus(row["status"]),
        previous_status=OrderStatus(row["previous_status"]),
        version=row["version"],
        settled_by=row["settled_by"],
        paid_at=row["paid_at"],
        fulfilled_at=row["fulfilled_at"],
        cancel_requested_at=row["cancel_requested_at"],
        cancel_requested_by=row["cancel_requested_by"],
        fulfilment_token=row["fulfilment_token"],
        fulfilment_until=row["fulfilment_until"],
        fulfilment_due_at=row["fulfilment_due_at"],
        fulfilment_offers=row["fulfilment_offers"],
    )


def _render_terms(terms: Terms) -> str:
    return json.dumps(
        {
            "description": terms.description,
            "goods": [_render_goods(goods) for goods in terms.goods],
            "support_pay_currency": terms.support_pay_currency,
            "return_url": terms.return_url,
            "cancel_url": terms.cancel_url,
            "expires_in_seconds": terms.expires_in_seconds,
            "terminal": terms.terminal,
            "metadata": dict(terms.metadata),
        }
    )


def _render_goods(goods: Goods) -> dict[str, Any]:
    amount = goods.unit_amount
    return {
        "name": goods.name,
        "goods_type": goods.goods_type,
        "category": goods.category,
        "reference": goods.reference,
        "quantity": goods.quantity,
        "unit_amount": None if amount is None else render_amount(amount),
    }


def _parse_terms(row: Row) -> Terms:
    rest = json.loads(row["terms"])
    rest["goods"] = tuple(
        Goods(**{**goods, "unit_amount": _parse_decimal(goods["unit_amount"])})
        for goods in rest["goods"]
    )
    return Terms(
        merchant_order_id=row["merchant_order_id"],
        cart_id=row["cart_id"],
        buyer_reference=row["buyer_reference"],
        client_ip=row["client_ip"],
        price=_parse_money(row["amount"], row["currency"]),
        fiat_price=_parse_money(row["fiat_amount"], row["fiat_currency"]),
        **rest,
    )


def _parse_decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _parse_money(amount: Decimal | None, currency: str | None) -> Money | None:
    return None if amount is None or currency is None else Money(amount, currency)
