"""The books over HTTP: balances, transfers, and fees that are still unknown."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse

from checkstand.domain.money import render_amount
from checkstand.domain.view import render_time
from checkstand.errors import NotFound
from checkstand.queries.ledger import (
    BookedTransfer,
    UnknownFee,
    end_of,
    get_balances,
    list_transfers,
    list_unknown_fees,
)
from checkstand.web.api.access import CanReadLedger, House
from checkstand.web.api.ledger_models import (
    BalanceFilters,
    BalanceList,
    TransferFilters,
    TransferList,
    UnknownFeeFilters,
    UnknownFeeList,
)
from checkstand.web.api.openapi import problems
from checkstand.web.api.strict_json import StrictRoute

router = APIRouter(prefix="/api/ledger", tags=["ledger"], route_class=StrictRoute)


@router.get(
    "/balances",
    name="list_balances",
    summary="Read the balances",
    response_model=BalanceList,
    responses=problems(),
)
async def balances(
    resources: House, caller: CanReadLedger, filters: Annotated[BalanceFilters, Query()]
) -> JSONResponse:
    """Read what stands on every account of the books, now or at the end of a day."""
    before = resources.clock.now() if filters.at is None else end_of(filters.at)
    found = await get_balances(resources.database, caller.account_id, before=before)
    data = [
        {"account": account, "asset": asset, "balance": render_amount(balance)}
        for (asset, account), balance in found.items()
        if filters.asset in {None, asset}
    ]
    return JSONResponse({"before": render_time(before), "data": data})


@router.get(
    "/transfers",
    name="list_transfers",
    summary="List transfers",
    response_model=TransferList,
    responses=problems(404),
)
async def transfers(
    resources: House, caller: CanReadLedger, filters: Annotated[TransferFilters, Query()]
) -> JSONResponse:
    """List what was booked, newest first."""
    order = filters.order_id
    page = await list_transfers(
        resources.database,
        caller.account_id,
        order_id=None if order is None else _uuid(order, otherwise=_order_not_found()),
        starting_after=_storable(filters.starting_after),
        limit=filters.limit,
    )
    if page is None:
        raise _transfer_not_found()
    found, has_more = page
    return JSONResponse({"data": [_transfer(each) for each in found], "has_more": has_more})


@router.get(
    "/unknown-fees",
    name="list_unknown_fees",
    summary="List payments without a known fee",
    response_model=UnknownFeeList,
    responses=problems(404),
)
async def unknown_fees(
    resources: House, caller: CanReadLedger, filters: Annotated[UnknownFeeFilters, Query()]
) -> JSONResponse:
    """List payments whose fee Binance has not told, oldest first: it is not booked as zero."""
    after = filters.starting_after
    page = await list_unknown_fees(
        resources.database,
        caller.account_id,
        starting_after=None if after is None else _uuid(after, otherwise=_payment_not_found()),
        limit=filters.limit,
    )
    if page is None:
        raise _payment_not_found()
    found, has_more = page
    return JSONResponse({"data": [_unknown_fee(each) for each in found], "has_more": has_more})


def _transfer(booked: BookedTransfer) -> dict[str, Any]:
    transfer = booked.transfer
    return {
        "transfer_id": booked.transfer_id,
        "kind": transfer.kind,
        "fact": transfer.fact,
        "asset": transfer.asset,
        "amount": render_amount(transfer.amount),
        "debit": transfer.debit,
        "credit": transfer.credit,
        "at": render_time(transfer.at),
        "order_id": _text(transfer.order_id),
        "payment_id": _text(transfer.payment_id),
        "refund_id": _text(transfer.refund_id),
        "group_id": _text(transfer.group_id),
        "seal": booked.seal,
    }


def _unknown_fee(unknown: UnknownFee) -> dict[str, Any]:
    return {
        "payment_id": str(unknown.payment_id),
        "order_id": str(unknown.order_id),
        "amount": render_amount(unknown.amount),
        "currency": unknown.currency,
        "received_at": render_time(unknown.received_at),
    }


def _text(id_: UUID | None) -> str | None:
    return None if id_ is None else str(id_)


def _uuid(text: str, *, otherwise: NotFound) -> UUID:
    """Read an id; what is none of ours is simply not found."""
    try:
        return UUID(text)
    except ValueError:
        raise otherwise from None


def _storable(text: str | None) -> str | None:
    """Make text that no transfer can be called harmless: the database takes no NUL."""
    return None if text is None else text.replace("\x00", "\ufffd")


def _order_not_found() -> NotFound:
    return NotFound("order_not_found", "there is no such order", field="order_id")


def _payment_not_found() -> NotFound:
    return NotFound("payment_not_found", "there is no such payment", field="starting_after")


def _transfer_not_found() -> NotFound:
    return NotFound("transfer_not_found", "there is no such transfer", field="starting_after")
