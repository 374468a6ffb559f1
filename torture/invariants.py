"""What must hold when everything has come to rest, judged by Binance's own books.

Each invariant is a function that yields a sentence for whatever is wrong, and a row in
`INVARIANTS`.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from checkstand.simulator.records import NoticeState, RefundStatus
from checkstand.simulator.server import DEFAULT_MERCHANT
from torture.ambient import BEGAN_AT
from torture.audit_invariants import AUDIT_INVARIANTS
from torture.books import CLOCKS_AGREE, Books, Row, awaits_approval
from torture.desk_invariants import DESK_INVARIANTS
from torture.explaining_invariants import EXPLAINING_INVARIANTS

_UNPAID = {"CREATED", "PENDING_PAYMENT"}
_LIVE = {"PREPARED", "SUBMITTING", "OPEN", "CLOSING"}
#: Whatever was due this long ago should have been done.
_MARGIN = timedelta(hours=8)
#: So long an outcome may be unknown before a person is told.
_ALARM: Final = timedelta(minutes=15)
#: A call ends within so many seconds, and its answer waits so long for the database.
_ANSWERED_WITHIN_SECONDS: Final = 60.0


def nothing_received_is_missing(books: Books) -> Iterator[str]:
    """Every payment that Binance received is a payment of ours, to the digit."""
    for number, order in books.received.items():
        if number in books.forgotten.attempts:
            continue  # `forgotten_money_is_explained` asks for it
        payment = order.payment
        ours = [row for row in books.tables["payments"] if row["attempt_id"].hex == number]
        if not ours or payment is None:
            yield f"Binance received {order.amount} for attempt {number}, and no payment says so"
        elif (ours[0]["amount"], ours[0]["currency"]) != (payment.amount, payment.currency):
            yield f"attempt {number}: {ours[0]['amount']} here, {payment.amount} at Binance"
        elif ours[0]["fee"] is not None and ours[0]["fee"] != payment.commission:
            yield f"attempt {number}: fee {ours[0]['fee']} here, {payment.commission} at Binance"


def nothing_is_invented(books: Books) -> Iterator[str]:
    """Every payment of ours was received by Binance."""
    for row in books.tables["payments"]:
        if row["attempt_id"].hex not in books.paid:
            yield f"payment {row['payment_id']} of {row['amount']} never reached Binance"


def forgotten_money_is_explained(books: Books) -> Iterator[str]:
    """Money for a code that a restored database forgot is an orphan, once we were told of it."""
    orphans = {row["merchant_trade_no"]: row for row in books.tables["orphan_orders"]}
    restored_ms = books.forgotten.restored_ms or 0
    told = {
        notice.merchant_trade_no
        for notice in books.world.control.notices
        if notice.biz_status == "PAY_SUCCESS"
        and any(sent.acknowledged and sent.at_ms > restored_ms for sent in notice.tries)
    }
    for number in sorted(told & set(books.forgotten.attempts) & set(books.received)):
        if number not in orphans or orphans[number]["transaction_id"] is None:
            yield f"we were told of money for the forgotten attempt {number}, and nothing says so"


def recovery_acts_on_nothing(books: Books) -> Iterator[str]:
    """Until a person ends a recovery nothing is closed, sent back or told to the shop.

    An order may expire when Binance says that its last code lapsed: nobody hears of it until then.
    """
    acts = [
        *(
            (row["started_at"], f"{row['endpoint']} was sent")
            for row in books.tables["calls"]
            if row["endpoint"] in {"/order/close", "/order/refund"}
        ),
        *((row["at"], "the shop was told") for row in books.tables["delivery_tries"]),
    ]
    for recovery in books.tables["recoveries"]:
        ended = recovery["finished_at"] or books.now
        yield from (
            f"{what} at {at}, in a recovery that went on until {ended}"
            for at, what in acts
            if recovery["began_at"] + CLOCKS_AGREE < at < ended - CLOCKS_AGREE
        )


def shop_is_told_of_money(books: Books) -> Iterator[str]:
    """For every payment the shop took an order.paid or an order.attention."""
    for row in books.tables["payments"]:
        order = books.rows("orders", order_id=row["order_id"])[0]
        type_ = "order.paid" if order["settled_by"] == row["payment_id"] else "order.attention"
        if row["held"] and type_ == "order.paid":
            yield f"payment {row['payment_id']} is held, and settled its order"
        # Goods are not asked for by money that was asked back before the shop could be told.
        went_back = order["status"] == "REFUNDED"
        # Nor by money of which some went back in the portal, until a person has decided.
        is_held = books.heard(row["order_id"], "order.attention") and any(
            anomaly["kind"] == "refunded_elsewhere" and anomaly["resolved_at"] is None
            for anomaly in books.rows("anomalies", order_id=row["order_id"])
        )
        # Nor while somebody has yet to say whether it goes back.
        may_go = any(map(awaits_approval, books.rows("refunds", order_id=row["order_id"])))
        waits = type_ == "order.paid" and (went_back or is_held or may_go)
        if not (books.heard(row["order_id"], type_) or waits):
            yield f"the shop never took {type_} for payment {row['payment_id']}"


def alarms_are_true(books: Books) -> Iterator[str]:
    """Every anomaly is one: nobody is asked, and no order is held, for nothing."""
    paid = books.paid
    payments = Counter(row["order_id"] for row in books.tables["payments"])
    for row in books.tables["anomalies"]:
        kind, order = row["kind"], paid.get(row["attempt_id"].hex)
        refunds = books.world.simulator.store.list_refunds(order.prepay_id) if order else []
        payment = order.payment if order else None
        is_true = {
            "amount_differs": order and payment and payment.amount != order.amount,
            "currency_differs": order and payment and payment.currency != order.currency,
            "paid_twice": payments[row["order_id"]] > 1,
            "paid_late": payment is not None and was_over(books, row["order_id"]),
            # Everything is known in the end, except what was made with another merchant's keys.
            "unknown_too_long": was_long(books, row)
            and (row["resolved_at"] is not None or row["attempt_id"].hex in books.strays),
            "refunded_elsewhere": any(books.is_elsewhere(refund) for refund in refunds),
            "provider_contradicts": was_asked_elsewhere(books, row),
            # The last attempt returns all the rest, whatever was asked.
            "refund_differs": any(refund.remaining_attempts == 0 for refund in refunds),
        }.get(kind, False)
        if not is_true:
            yield f"{kind} on order {row['order_id']} is no anomaly: {row['detail']}"
    told = {row["attempt_id"] for row in books.tables["anomalies"]}
    for row in books.tables["payments"]:
        if row["held"] and row["attempt_id"] not in told:
            yield f"payment {row['payment_id']} is held, and no anomaly says why"


def was_over(books: Books, order_id: Any) -> bool:
    """Say whether an order was ever over without being paid."""
    steps = books.rows("order_history", order_id=order_id)
    return any(step["status"] in {"CANCELED", "EXPIRED"} for step in steps)


def was_long(books: Books, anomaly: Row) -> bool:
    """Say whether what is not known can have been so for as long as the alarm waits."""
    (attempt,) = books.rows("attempts", attempt_id=anomaly["attempt_id"])
    return bool(anomaly["opened_at"] >= attempt["created_at"] + _ALARM - CLOCKS_AGREE)


def was_asked_elsewhere(books: Books, anomaly: Row) -> bool:
    """Say whether an answer was another merchant's: his keys were in the place of ours.

    What was asked then may be answered a little later, and a stray is never ours.
    """
    world = books.world
    at = (anomaly["opened_at"] - BEGAN_AT).total_seconds() - world.plan.database_skew
    return anomaly["attempt_id"].hex in books.strays or any(
        began <= at <= ended + _ANSWERED_WITHIN_SECONDS
        for began, ended in world.calamities.other_keys
    )


def paid_is_told_once(books: Books) -> Iterator[str]:
    """An order has at most one order.paid, and its goods were sent at most once."""
    told = Counter(row["order_id"] for row in books.rows("events", type="order.paid"))
    yield from (f"order {order} has {n} order.paid" for order, n in told.items() if n > 1)
    goods = books.world.shop.goods
    yield from (
        f"goods of order {order} were sent {n} times" for order, n in goods.items() if n > 1
    )


def refunds_are_paid_once(books: Books) -> Iterator[str]:
    """Each refund ended as Binance says it did, and Binance paid no other."""
    theirs = {
        number: refund
        for (merchant, number), refund in books.world.simulator.store.refunds.items()
        if merchant == DEFAULT_MERCHANT.merchant_id and not books.is_elsewhere(refund)
    }
    for row in books.rows("refunds", is_elsewhere=False):
        refund = theirs.pop(row["refund_id"].hex, None)
        is_paid = refund is not None and refund.status is RefundStatus.SUCCESS
        ours = row["returned"] if row["returned"] is not None else row["amount"]
        if is_paid != (row["status"] == "SUCCEEDED"):
            yield f"refund {row['refund_id']} is {row['status']} here, paid there: {is_paid}"
        elif refund is not None and is_paid and ours != refund.amount:
            yield f"refund {row['refund_id']}: {ours} here, {refund.amount} there"
        # Binance knows nothing of what was made with another merchant's keys, and so it waits.
        is_stray = row["attempt_id"].hex in books.strays and row["status"] == "REQUESTED"
        if not is_paid and not is_stray and row["status"] != "FAILED" and not awaits_approval(row):
            yield f"refund {row['refund_id']} has not come to an end: {row['status']}"
        told = {"SUCCEEDED": "refund.succeeded", "FAILED": "refund.failed"}.get(row["status"], "")
        if told and not books.heard_of_refund(row["refund_id"], told):
            yield f"the shop never took {told} of refund {row['refund_id']}"
    yield from (f"Binance paid a refund {number} that nobody asked for" for number in theirs)


def refunds_are_set_aside(books: Books) -> Iterator[str]:
    """At no moment was more asked back of a payment, and taken on, than there was of it."""
    for payment in books.tables["payments"]:
        asked = books.rows("refunds", payment_id=payment["payment_id"], is_elsewhere=False)
        for moment in {row["requested_at"] for row in asked}:
            open_then = [
                row["amount"]
                for row in asked
                if row["requested_at"] <= moment
                and (
                    row["status"] == "SUCCEEDED" or not row["ended_at"] or row["ended_at"] > moment
                )
            ]
            if sum(open_then) > payment["amount"]:
                yield f"{sum(open_then)} of payment {payment['payment_id']} were asked back at once"


def wallet_is_in_the_books(books: Books) -> Iterator[str]:
    """What Binance received, less what it returned and kept, is what our books say there is."""
    funding = defaultdict[tuple[str, str], Decimal](Decimal)
    for row in books.tables["transfers"]:
        number = books.attempt_of(row["payment_id"])
        sign = (row["debit"] == "binance:funding") - (row["credit"] == "binance:funding")
        funding[number, row["asset"]] += sign * row["amount"]
    for number, order in books.received.items():
        payment = order.payment
        if payment is None or number in books.forgotten.attempts:
            continue
        there = payment.amount - payment.commission
        for refund in books.world.simulator.store.list_refunds(order.prepay_id):
            if refund.status is RefundStatus.SUCCESS and not books.is_elsewhere(refund):
                there -= refund.amount - refund.commission
        # What went back in the portal is booked when a person says how much; nobody says the fee.
        for row in books.rows("refunds", is_elsewhere=True):
            there -= row["returned"] if row["attempt_id"].hex == number else 0
        here = funding.pop((number, payment.currency), Decimal())
        if here != there:
            yield f"attempt {number}: the books say {here} {payment.currency}, Binance {there}"
    yield from (
        f"the books have {n} for {key}"
        for key, n in funding.items()
        if n and key[0] not in books.strays
    )


def nothing_elsewhere_is_invented(books: Books) -> Iterator[str]:
    """Of an order no more is booked as returned in the portal than went back there."""
    for order in books.tables["orders"]:
        said = books.rows("refunds", order_id=order["order_id"], is_elsewhere=True)
        attempts = books.rows("attempts", order_id=order["order_id"])
        theirs = [books.received.get(row["attempt_id"].hex) for row in attempts]
        returned = sum(
            refund.amount
            for known in theirs
            if known is not None and said
            for refund in books.world.simulator.store.list_refunds(known.prepay_id)
            if refund.status is RefundStatus.SUCCESS and books.is_elsewhere(refund)
        )
        if sum(row["returned"] for row in said) > returned:
            yield f"order {order['order_id']}: {said} booked, {returned} went back elsewhere"


def ledger_is_whole(books: Books) -> Iterator[str]:
    """The ledger's own verification finds nothing."""
    yield from books.flaws


def goods_are_paid_for(books: Books) -> Iterator[str]:
    """Nothing is sent or fulfilled for an order that Binance received nothing for."""
    paid = {
        str(row["order_id"])
        for row in books.tables["attempts"]
        if row["attempt_id"].hex in books.paid
    }
    paid |= {order for n, order in books.forgotten.attempts.items() if n in books.paid}
    sent = set(books.world.shop.goods)
    fulfilled = {str(r["order_id"]) for r in books.tables["orders"] if r["fulfilled_at"]}
    yield from (f"order {each} was fulfilled unpaid" for each in sorted((sent | fulfilled) - paid))


def orders_come_to_an_end(books: Books) -> Iterator[str]:
    """No order is open, and no attempt alive, long after its time."""
    for order in books.tables["orders"]:
        late = order["expires_at"] + _MARGIN < books.now
        if late and order["status"] in _UNPAID and not books.has_unsettled_money(order["order_id"]):
            yield f"order {order['order_id']} is still {order['status']}"
    for attempt in books.tables["attempts"]:
        late = attempt["expires_at"] + _MARGIN < books.now
        held = books.has_unsettled_money(attempt["order_id"])
        if late and attempt["status"] in _LIVE and not held:
            yield f"attempt {attempt['attempt_id']} is still {attempt['status']}"


def nothing_is_overdue(books: Books) -> Iterator[str]:
    """No lease is held, and nothing waits to be done."""
    for table, rows in books.tables.items():
        for row in rows:
            if row.get("lease_until") is not None and row["lease_until"] > books.now:
                yield f"a lease in {table} is held until {row['lease_until']}"
            if row.get("due_at") is not None and row["due_at"] + _MARGIN < books.now:
                yield f"a row of {table} is due since {row['due_at']}: {dict(row)}"


def history_is_whole(books: Books) -> Iterator[str]:
    """The history leads from CREATED to where each order is, version by version."""
    for order in books.tables["orders"]:
        steps = sorted(
            books.rows("order_history", order_id=order["order_id"]), key=lambda row: row["version"]
        )
        status = "CREATED"
        for version, step in enumerate(steps, 2):
            if step["version"] != version or step["previous_status"] != status:
                yield f"order {order['order_id']} skips at version {step['version']}"
            status = step["status"]
        if status != order["status"] or order["version"] != len(steps) + 1:
            yield f"order {order['order_id']} is {order['status']}, its history says {status}"


def orders_are_explained(books: Books) -> Iterator[str]:
    """Every order has a timeline that ends where it is and names every payment's cause."""
    for order in books.tables["orders"]:
        entries = books.timelines.get(str(order["order_id"]), ())
        moves = [entry for entry in entries if entry["to"]]
        if not moves or moves[-1]["to"] != order["status"]:
            yield f"order {order['order_id']} is not explained: {len(entries)} entries"
        for entry in moves:
            if entry["to"] == "PAID" and entry["from"] != "PAID" and not entry["ref"]:
                yield f"order {order['order_id']} was paid by nobody's word"


def answers_are_kept(books: Books) -> Iterator[str]:
    """Whatever the shop or Binance was told, is so."""
    known = {str(row["order_id"]) for row in books.tables["orders"]}
    for order in books.world.shop.orders.values():
        told = order.ids_told - books.forgotten.orders
        for each in told - known:
            yield f"the shop was told of order {each}, which is not there"
        if len(told) > 1:
            yield f"order {order.number} of the shop has several: {sorted(told)}"
    stored = {row["raw"] for row in books.tables["notices"]}
    restored_ms = books.forgotten.restored_ms or 0
    for notice in books.world.control.notices:
        if notice.state is not NoticeState.ACKNOWLEDGED or notice.body in stored:
            continue
        if notice.body not in books.forgotten.notices or notice.tries[-1].at_ms > restored_ms:
            yield f"notice {notice.number} ({notice.biz_status}) was acknowledged and is lost"


#: Every invariant. A new one is a function and a row here.
INVARIANTS: Final[Sequence[Callable[[Books], Iterator[str]]]] = (
    nothing_received_is_missing,
    nothing_is_invented,
    forgotten_money_is_explained,
    recovery_acts_on_nothing,
    shop_is_told_of_money,
    alarms_are_true,
    paid_is_told_once,
    refunds_are_paid_once,
    refunds_are_set_aside,
    wallet_is_in_the_books,
    nothing_elsewhere_is_invented,
    ledger_is_whole,
    goods_are_paid_for,
    orders_come_to_an_end,
    nothing_is_overdue,
    history_is_whole,
    orders_are_explained,
    answers_are_kept,
    *DESK_INVARIANTS,
    *AUDIT_INVARIANTS,
    *EXPLAINING_INVARIANTS,
)


def _ask(invariant: Callable[[Books], Iterator[str]], books: Books) -> Iterator[str]:
    """Let one invariant judge; where it cannot, that is a violation, and the others go on."""
    try:
        yield from invariant(books)
    except Exception as error:  # noqa: BLE001  (one seed of thousands would end them all)
        yield f"cannot judge: {error!r}"


def list_violations(books: Books) -> list[str]:
    """Check everything; return a sentence for each thing that is wrong."""
    found = [
        f"{invariant.__name__}: {sentence}"
        for invariant in INVARIANTS
        for sentence in _ask(invariant, books)
    ]
    world = books.world
    found += [f"meanwhile: {sentence}" for sentence in world.complaints]
    return found + [f"the shop: {sentence}" for sentence in world.shop.complaints]
