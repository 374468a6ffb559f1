"""The caller's account over HTTP: whether it is stopped, stopping it, and letting it go on."""

from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse

from checkstand.domain.account import Account
from checkstand.domain.view import render_time
from checkstand.operations.halt_account import get_account, halt_account, resume_account
from checkstand.web.api.access import CanWriteAccounts, House, doer_of
from checkstand.web.api.keyed_route import KeyedRoute
from checkstand.web.api.models import AccountView, Halt, Resume
from checkstand.web.api.openapi import OF_A_BODY, problems

router = APIRouter(prefix="/api/account", tags=["account"], route_class=KeyedRoute)


@router.get(
    "",
    name="get_account",
    summary="Read the account",
    response_model=AccountView,
    responses=problems(),
)
async def get(resources: House, caller: CanWriteAccounts) -> JSONResponse:
    """Read the account of this key."""
    account = await get_account(resources, account_id=caller.account_id)
    return JSONResponse(_render(account))


@router.post(
    "/halt",
    name="halt_account",
    summary="Stop the account",
    response_model=AccountView,
    responses=problems(*OF_A_BODY),
)
async def halt(resources: House, caller: CanWriteAccounts, wanted: Halt) -> JSONResponse:
    """Stop every automatic move, with a reason. Notices are still taken in."""
    account = await halt_account(
        resources, account_id=caller.account_id, reason=wanted.reason, doer=doer_of(caller)
    )
    return JSONResponse(_render(account))


@router.post(
    "/resume",
    name="resume_account",
    summary="Let the account go on",
    response_model=AccountView,
    responses=problems(*OF_A_BODY),
)
async def resume(resources: House, caller: CanWriteAccounts, wanted: Resume) -> JSONResponse:
    """Let an account that was stopped move again, with a reason."""
    account = await resume_account(
        resources,
        account_id=caller.account_id,
        reason=wanted.reason,
        forget_merchant=wanted.forget_merchant,
        doer=doer_of(caller),
    )
    return JSONResponse(_render(account))


def _render(account: Account) -> dict[str, Any]:
    return {
        "account_id": str(account.account_id),
        "reference": account.reference,
        "name": account.name,
        "merchant_id": account.merchant_id,
        "halted_reason": account.halted_reason,
        "halted_at": render_time(account.halted_at),
    }
