"""What must hold of every order's timeline: all of it is told, and nothing before its cause."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from torture.books import Books, Row

Entry = Mapping[str, Any]

#: By what a row is known in each table with an order's id, and what an entry's detail calls it
#: where that is not an id. A table that is not here is a violation.
_KEYS: Final[Mapping[str, Mapping[str, str]]] = {
    "acts": {"act_id": ""},
    "anomalies": {"anomaly_id": ""},
    "attempts": {"attempt_id": ""},
    "calls": {"call_id": ""},
    "deliveries": {"event_id": "", "endpoint_id": ""},
    "delivery_tries": {"event_id": "", "endpoint_id": "", "number": "try"},
    "discrepancies": {"discrepancy_id": ""},
    "events": {"event_id": ""},
    "idempotency_keys": {"route": "route", "key": "key"},
    "notices": {"notice_id": ""},
    "order_history": {"version": "version"},
    "orders": {"order_id": ""},
    "orphan_orders": {"merchant_trade_no": "merchant_trade_no"},
    "payments": {"payment_id": ""},
    "recovery_attempts": {"attempt_id": "", "epoch": "epoch"},
    "refunds": {"refund_id": ""},
    "transfers": {"kind": "kind", "fact": "fact"},
}


def every_row_is_told(books: Books) -> Iterator[str]:
    """Each row that carries an order's id is named by an entry of the order's timeline."""
    told = {
        order_id: {name for entry in entries for name in _pairs(entry)}
        for order_id, entries in books.timelines.items()
    }
    for table, rows in books.tables.items():
        for row in rows:
            names = told.get(str(dict(row).get("order_id")))
            if names is None:
                continue
            if table not in _KEYS:
                yield f"{table} carries an order's id, and nothing is known of how it is told"
                break
            wanted = _name_of(_KEYS[table], row)
            if wanted not in names:
                yield f"order {row['order_id']} does not tell of {table} {sorted(wanted)}"


def nothing_is_told_before_its_cause(books: Books) -> Iterator[str]:
    """Versions rise, a move comes after what it rests on, and a transfer after what it books."""
    for order_id, entries in books.timelines.items():
        known: set[str] = set()
        version = 1
        for entry in entries:
            kind, ref = entry["kind"], entry["ref"]
            if kind == "transition":
                if entry["detail"]["version"] != version + 1:
                    yield f"order {order_id} tells version {entry['detail']['version']} out of turn"
                version = entry["detail"]["version"]
                if ref is not None and not ref.startswith("order:") and ref not in known:
                    yield f"order {order_id} tells {entry['summary']!r} before {ref}"
            elif kind == "transfer":
                fact, _, _ = entry["detail"]["fact"].partition("@")
                if not known & {f"payment:{fact}", f"refund:{fact}"}:
                    yield f"order {order_id} books {ref} before its fact"
            elif ref is not None:
                known.add(ref)


def _name_of(key: Mapping[str, str], row: Row) -> frozenset[str]:
    """Name a row as an entry names it."""
    return frozenset(
        str(row[column]) if isinstance(row[column], UUID) else f"{key[column]}={row[column]}"
        for column in key
    )


def _pairs(entry: Entry) -> Iterator[frozenset[str]]:
    """Name everything that an entry may name: what it is about, alone and with its detail."""
    _, _, about = (entry["ref"] or "").partition(":")
    detail = entry["detail"]
    yield frozenset({about})
    single: defaultdict[str, list[str]] = defaultdict(list)
    for name, value in detail.items():
        single[name] = [str(each) for each in (value if isinstance(value, list) else [value])]
    for endpoint in single["endpoints"] + single["endpoint_id"]:
        yield frozenset({about, endpoint})
        for number in single["try"]:
            yield frozenset({about, endpoint, f"try={number}"})
    for attempt in single["attempts"]:
        for epoch in single["epoch"]:
            yield frozenset({attempt, f"epoch={epoch}"})
    for names in (("version",), ("merchant_trade_no",), ("route", "key"), ("kind", "fact")):
        if all(single[name] for name in names):
            yield frozenset(f"{name}={single[name][0]}" for name in names)
    for act in single["act_id"]:
        yield frozenset({act})


EXPLAINING_INVARIANTS: Final[Sequence[Callable[[Books], Iterator[str]]]] = (
    every_row_is_told,
    nothing_is_told_before_its_cause,
)
