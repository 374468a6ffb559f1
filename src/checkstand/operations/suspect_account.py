"""Stop an account whose queries are answered for another merchant, or find nothing of ours."""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

import structlog

from checkstand.domain.act import GATEWAY, Act
from checkstand.domain.attempt import Attempt
from checkstand.domain.report import Finding
from checkstand.domain.suspicion import ANSWERS_MAX, MEMORY, why_suspect
from checkstand.operations.resources import Resources
from checkstand.provider.gateway import Answer
from checkstand.storage import accounts, acts, calls
from checkstand.storage.database import Transaction

_log = structlog.get_logger()


async def is_wrong_account(
    tx: Transaction, resources: Resources, attempt: Attempt, answer: Answer, *, now: datetime
) -> bool:
    """Say whether an answer must not be believed, and stop the account where it must not.

    Pins the merchant that the account's first query is answered for.
    """
    reason = await _why_other_merchant(tx, resources, attempt, answer)
    if reason is None and _is_missing(answer):
        if (await accounts.get(tx, attempt.account_id)).halted_reason is not None:
            return True
        if attempt.prepay_id is not None:  # Binance gave it an id itself
            reason = await _why_nothing_found(tx, attempt, answer, now=now)
    if reason is None:
        return False
    if await accounts.halt(tx, attempt.account_id, reason=reason, now=now):
        await _keep(tx, resources, attempt.account_id, reason=reason, now=now)
        _log.error("account halted", account_id=str(attempt.account_id), reason=reason)
    stopped = await accounts.get(tx, attempt.account_id)
    resources.accounts.replace_account(stopped)
    return True


async def _keep(
    tx: Transaction, resources: Resources, account_id: UUID, *, reason: str, now: datetime
) -> None:
    """Keep for ever that the account was stopped: a resumption forgets when and why."""
    act = Act(
        account_id=account_id,
        act_id=resources.ids.new(),
        order_id=None,
        doer=GATEWAY,
        what="halt account",
        subject=f"account:{account_id}",
        reason=reason,
        at=now,
    )
    await acts.record(tx, act)


async def _why_other_merchant(
    tx: Transaction, resources: Resources, attempt: Attempt, answer: Answer
) -> str | None:
    if answer.merchant_id is None:
        return None
    credential = resources.provider.credential(attempt.credential_id)
    if credential.merchant_id == answer.merchant_id:
        return None
    # What this process remembers may be old: a person may have let the account go to another.
    pinned = await accounts.pin_merchant(tx, attempt.account_id, answer.merchant_id)
    resources.provider.use(replace(credential, merchant_id=pinned))
    if pinned == answer.merchant_id:
        return None
    return f"queries answer for merchant {answer.merchant_id}, not for {pinned}: check the API key"


def _is_missing(answer: Answer) -> bool:
    return answer.report is not None and answer.report.finding is Finding.ABSENT


async def _why_nothing_found(
    tx: Transaction, attempt: Attempt, answer: Answer, *, now: datetime
) -> str | None:
    recent = await calls.recent_queries(
        tx, attempt.account_id, since=now - MEMORY, limit=ANSWERS_MAX
    )
    this: tuple[UUID, str | None] = (attempt.attempt_id, answer.code)
    return why_suspect([this, *recent])
