"""Close a day: compare it one last time, book its facts, sign what it rests on. It never changes.

What is learnt later about it is booked in the day that is closed next, with a pointer to the day it
belongs to. The signature is Ed25519, so that whoever has the public key can check a summary.
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
from checkstand.errors import Refused
from checkstand.operations.reconcile_days import compare_day
from checkstand.operations.resources import Resources
from checkstand.storage import reconciled_days
from checkstand.storage.database import Patience, Transaction
from checkstand.storage.reconciled_days import ClosedDay
from checkstand.vault import Vault

#: How far back facts that came too late are looked for.
_LOOKBACK: Final = timedelta(days=400)
_PATIENCE: Final = Patience(statement_ms=900_000)
_ALGORITHM: Final = "Ed25519"


async def close_day(resources: Resources, *, account_id: UUID, day: date, by: str) -> ClosedDay:
    """Close a day that is over. Raises Refused. A day that is closed already stays as it is.

    Everything is read at one moment: what the summary counts is what is booked.
    """
    now = resources.clock.now()
    if now < span_of(day).end:
        raise Refused("day_not_over", f"{day} is not over yet (days are UTC)", field="date")

    async def step(tx: Transaction) -> ClosedDay:
        compared = await compare_day(tx, account_id, day, now=now)
        if not compared.is_closed:
            document = await _settle(tx, resources.vault, account_id, day, compared.result, by, now)
            await reconciled_days.save(tx, account_id, day, compared.result, now=now)
            await reconciled_days.close(tx, account_id, day, by=by, document=document, now=now)
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
) -> str:
    lookback = Span(span_of(day).start - _LOOKBACK, max(now, span_of(day).end) + DAY)
    booked = await reconciled_days.book(tx, account_id, day, lookback)
    counted = await reconciled_days.close_discrepancies(tx, account_id, day)
    late = Counter((belongs, kind) for belongs, kind in counted if belongs != day)
    previous = await reconciled_days.newest_document(tx, account_id)
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
    return sign_summary(vault, summary)


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
