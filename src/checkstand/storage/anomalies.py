"""Anomalies: rows in, domain values out."""

from collections.abc import Sequence
from uuid import UUID

from checkstand.domain.anomaly import Anomaly, AnomalyKind, Resolution
from checkstand.domain.case import Decision
from checkstand.storage.database import Row, Transaction, statement

_COLUMNS = """
    account_id, order_id, attempt_id, anomaly_id, kind, detail, opened_at, resolved_at,
    resolved_by, resolution, reason
"""

_INSERT = statement(
    "anomalies.insert",
    f"""
    INSERT INTO anomalies ({_COLUMNS})
    SELECT * FROM unnest(
        $1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[],
        $7::timestamptz[], $8::timestamptz[], $9::text[], $10::text[], $11::text[]
    )
    """,
)

#: What is odd never changes; how it ended does.
_RESOLVE = statement(
    "anomalies.resolve",
    """
    UPDATE anomalies y
       SET resolved_at = n.resolved_at, resolved_by = n.resolved_by, resolution = n.resolution,
           reason = n.reason
      FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::text[], $5::text[], $6::text[])
           AS n (account_id, anomaly_id, resolved_at, resolved_by, resolution, reason)
     WHERE (y.account_id, y.anomaly_id) = (n.account_id, n.anomaly_id) AND y.resolved_at IS NULL
    """,
)

_OF_ORDERS = statement(
    "anomalies.of_orders",
    f"""
    SELECT {_COLUMNS} FROM anomalies
     WHERE (account_id, order_id) IN (SELECT * FROM unnest($1::uuid[], $2::uuid[]))
     ORDER BY account_id, order_id, opened_at, anomaly_id
    """,
)


_LIST_ORDERS_WITH_OPEN = statement(
    "anomalies.list_orders_with_open",
    """
    SELECT account_id, order_id FROM anomalies
     WHERE kind = $1 AND resolved_at IS NULL
     ORDER BY opened_at, account_id, anomaly_id
     LIMIT $2
    """,
)


async def list_orders_with_open(
    tx: Transaction, kind: AnomalyKind, *, limit: int
) -> list[tuple[UUID, UUID]]:
    """List the orders, as (account_id, order_id), that have such an anomaly open."""
    rows = await tx.rows(_LIST_ORDERS_WITH_OPEN, kind, limit)
    return [(row["account_id"], row["order_id"]) for row in rows]


async def of_orders(tx: Transaction, keys: Sequence[tuple[UUID, UUID]]) -> list[Anomaly]:
    """Read the anomalies of orders, oldest first."""
    if not keys:
        return []
    rows = await tx.rows(_OF_ORDERS, [k[0] for k in keys], [k[1] for k in keys])
    return [parse(row) for row in rows]


async def save(tx: Transaction, decisions: Sequence[Decision]) -> None:
    """Write the anomalies that decisions opened and resolved. The caller holds the orders."""
    known = {a.anomaly_id: a for d in decisions for a in d.before.anomalies}
    after = [a for d in decisions for a in d.case.anomalies]
    fresh = [a for a in after if a.anomaly_id not in known]
    resolved = [a for a in after if a.anomaly_id in known and a != known[a.anomaly_id]]
    if fresh:
        await tx.run(
            _INSERT,
            [a.account_id for a in fresh],
            [a.order_id for a in fresh],
            [a.attempt_id for a in fresh],
            [a.anomaly_id for a in fresh],
            [a.kind for a in fresh],
            [a.detail for a in fresh],
            [a.opened_at for a in fresh],
            [a.resolved_at for a in fresh],
            [a.resolved_by for a in fresh],
            [a.resolution for a in fresh],
            [a.reason for a in fresh],
        )
    if resolved:
        await tx.run(
            _RESOLVE,
            [a.account_id for a in resolved],
            [a.anomaly_id for a in resolved],
            [a.resolved_at for a in resolved],
            [a.resolved_by for a in resolved],
            [a.resolution for a in resolved],
            [a.reason for a in resolved],
        )


def parse(row: Row) -> Anomaly:
    """Make an anomaly of its row."""
    return Anomaly(
        account_id=row["account_id"],
        order_id=row["order_id"],
        attempt_id=row["attempt_id"],
        anomaly_id=row["anomaly_id"],
        kind=AnomalyKind(row["kind"]),
        detail=row["detail"],
        opened_at=row["opened_at"],
        resolved_at=row["resolved_at"],
        resolved_by=row["resolved_by"],
        resolution=Resolution(row["resolution"]) if row["resolution"] else None,
        reason=row["reason"],
    )
