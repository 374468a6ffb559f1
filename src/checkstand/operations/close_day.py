"""Close a day: compare it one last time, book its facts, sign what it rests on. It never changes.

What is learnt later about it, and every figure that changes later, is booked in the day that is
closed next, with a pointer to the day it belongs to. The signature is Ed25519, so that whoever has
the public key can check a summary.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from checkstand.domain.reconciliation import DAY, Span, canonical, render_booked, span_of
from checkstand.domain.view import render_time
from checkstand.errors import Conflict, Refused
from checkstand.operations.reconcile_days import compare_day
from checkstand.operations.resources import Resources
from checkstand.storage import reconciled_days, recoveries
from checkstand.storage.database import Patience, Transaction
from checkstand.storage.reconciled_days import ClosedDay
from checkstand.vault import Vault

#: How far back facts that came too late are looked for.
_LOOKBACK: Final = timedelta(days=400)
_PATIENCE: Final = Patience(statement_ms=900_000)
_ALGORITHM: Final = "Ed25519"


async def close_day(resources: Resources, *, account_id: UUID, day: date, by: str) -> ClosedDay:
    """Close a day that is over. A day that is closed already stays as it is.

    Everything is read at one moment: what the summary counts is what is booked. Of two days that
    are closed at once, one is done again after the other. Raises Refused for a day that is not
    over or before anything was here, Conflict while a restored database is still learning.
    """
    now = resources.clock.now()
    if now < span_of(day).end:
        raise Refused("day_not_over", f"{day} is not over yet (days are UTC)", field="date")

    async def step(tx: Transaction) -> ClosedDay:
        known = await reconciled_days.find_closed(tx, account_id, day)
        if known is not None:
            return known
        await _refuse_in_recovery(tx, account_id)
        await _refuse_before_the_first(tx, account_id, day)
        compared = await compare_day(tx, account_id, day, now=now)
        await _settle(tx, resources.vault, account_id, day, compared.result, by, now)
        await reconciled_days.save(tx, account_id, day, compared.result, now=now)
        closed = await reconciled_days.find_closed(tx, account_id, day)
        assert closed is not None  # noqa: S101  (written just above, or seen to be there)
        return closed

    return await resources.database.run(step, name="close_day", patience=_PATIENCE, snapshot=True)


async def _settle(
    tx: Transaction,
    vault: Vault,
    account_id: UUID,
    day: date,
    result: Mapping[str, Any],
    by: str,
    now: datetime,
) -> None:
    lookback = Span(span_of(day).start - _LOOKBACK, max(now, span_of(day).end) + DAY)
    booked = await reconciled_days.book(tx, account_id, day, lookback)
    counted = await reconciled_days.close_discrepancies(tx, account_id, day)
    late = Counter((belongs, kind) for belongs, kind in counted if belongs != day)
    last, previous = await reconciled_days.newest_closed(tx, account_id)
    summary = {
        **result,
        "account_id": str(account_id),
        "closed_at": render_time(now),
        "closed_by": by,
        "booked": [render_booked(each) for each in booked if each.day == day],
        "booked_late": [render_booked(each) for each in booked if each.day != day],
        "late_discrepancies": [
            {"belongs_to": belongs.isoformat(), "kind": kind, "count": count}
            for (belongs, kind), count in sorted(late.items())
        ],
        "previous": None if previous is None else hashlib.sha256(previous.encode()).hexdigest(),
    }
    document = sign_summary(vault, summary)
    await reconciled_days.close(
        tx, account_id, day, number=last + 1, by=by, document=document, now=now
    )


async def _refuse_in_recovery(tx: Transaction, account_id: UUID) -> None:
    """Raise Conflict while a restored database may lack what the day's summary would swear to."""
    if await recoveries.is_open(tx, account_id):
        raise Conflict(
            "recovery_unfinished",
            "the database was restored and may lack payments of the day: "
            "close days after `checkstand recover --finish`",
        )


async def _refuse_before_the_first(tx: Transaction, account_id: UUID, day: date) -> None:
    """Raise Refused for a day on which nothing was here: a slip of the pen, most likely.

    Story: 2019 for 2029; raw bodies are kept from the first open day on, and none went any more.
    """
    first = await reconciled_days.first_day(tx, account_id)
    if day < first:
        raise Refused(
            "day_before_first",
            f"{day} is before anything happened here: the first day that can be closed is {first}",
            field="date",
        )


def sign_summary(vault: Vault, summary: Mapping[str, Any]) -> str:
    """Write a summary with its signature, as it is handed out."""
    public_key, value = vault.sign(canonical(summary))
    signature = {"algorithm": _ALGORITHM, "public_key": public_key, "value": value}
    return canonical({"summary": summary, "signature": signature}).decode()


def verify_summary(vault: Vault, text: str) -> dict[str, Any]:
    """Return the summary of a document that we signed and nobody changed. Raises Refused."""
    try:
        document = json.loads(text)
        summary, signature = document["summary"], document["signature"]
        public_key, value = str(signature["public_key"]), str(signature["value"])
        is_ours = isinstance(summary, dict) and vault.is_ours(
            canonical(summary), public_key=public_key, signature=value
        )
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise Refused("summary_unreadable", "this is no summary of a closed day") from error
    if not is_ours:
        raise Refused(
            "summary_not_genuine",
            "this summary is not as it was signed, or another CHECKSTAND_SECRET_KEY signed it",
        )
    return dict(summary)
