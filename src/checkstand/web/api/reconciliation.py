"""Reconciliation over HTTP: days, discrepancies, report files, column maps."""

import json
import tempfile
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from checkstand.domain.reconciliation import DAY, DayRow
from checkstand.domain.report_line import StoredFile
from checkstand.domain.view import render_discrepancy, render_time
from checkstand.errors import NotFound, Refused
from checkstand.operations.close_day import close_day
from checkstand.operations.parse_day import parse_day
from checkstand.operations.reconcile_days import reconcile_days
from checkstand.operations.resolve_discrepancy import resolve_discrepancy
from checkstand.operations.store_columns import (
    built_in_columns,
    list_columns,
    remove_columns,
    store_columns,
)
from checkstand.operations.take_in_report import take_in_report, withdraw_report
from checkstand.queries.list_days import list_days, list_report_files
from checkstand.queries.list_discrepancies import DiscrepancyFilter, list_discrepancies
from checkstand.web.api.access import CanReadReconciliation, CanWriteReconciliation, House
from checkstand.web.api.openapi import OF_A_BODY, problems
from checkstand.web.api.reconciliation_models import (
    ColumnMapDocument,
    ColumnMaps,
    DayFilters,
    DayList,
    DayView,
    DiscrepancyFilters,
    DiscrepancyList,
    DiscrepancyResolved,
    DiscrepancyView,
    ReportFileList,
    ReportTaken,
    UploadFacts,
)
from checkstand.web.api.strict_json import StrictRoute

router = APIRouter(prefix="/api/reconciliation", tags=["reconciliation"], route_class=StrictRoute)

#: A year of a busy shop; larger ones go by the command line, which reads them where they are.
REPORT_BYTES_MAX: Final = 64 * 1024 * 1024
#: Days in one answer.
_DAYS_MAX: Final = 400


@router.get(
    "/days",
    name="list_reconciled_days",
    summary="List reconciled days",
    response_model=DayList,
    responses=problems(),
)
async def days(
    resources: House, caller: CanReadReconciliation, filters: Annotated[DayFilters, Query()]
) -> JSONResponse:
    """List days as they were last reconciled, oldest first."""
    today = resources.clock.now().date()
    last = filters.last or today
    first = filters.first or last - DAY * 30
    if first > last:
        so = "" if filters.last else ", which is today unless you say another day"
        raise Refused("invalid_request", f"from {first} comes after to {last}{so}", field="from")
    if (last - first).days > _DAYS_MAX:
        raise Refused("invalid_request", f"ask for at most {_DAYS_MAX} days", field="from")
    found = await list_days(resources.database, caller.account_id, first=first, last=last)
    return JSONResponse({"data": [_render_day(row) for row in found]})


@router.get(
    "/days/{day}",
    name="get_reconciled_day",
    summary="Read a day",
    response_model=DayView,
    responses=problems(404),
)
async def day_(resources: House, caller: CanReadReconciliation, day: str) -> JSONResponse:
    """Read a day; a closed one comes with its signed summary."""
    parsed = _day(day)
    found = await list_days(resources.database, caller.account_id, first=parsed, last=parsed)
    if not found:
        raise NotFound("day_not_found", f"{parsed} was never reconciled", field="day")
    return JSONResponse(_render_day(found[0]))


@router.post(
    "/days/{day}/reconcile",
    name="reconcile_day",
    summary="Reconcile a day now",
    response_model=DayView,
    responses=problems(404),
)
async def reconcile(resources: House, caller: CanWriteReconciliation, day: str) -> JSONResponse:
    """Lay a day's facts side by side now."""
    parsed = _day(day)
    await reconcile_days(resources, account_id=caller.account_id, days=[parsed])
    found = await list_days(resources.database, caller.account_id, first=parsed, last=parsed)
    return JSONResponse(_render_day(found[0]))


@router.post(
    "/days/{day}/close",
    name="close_day",
    summary="Close a day for ever",
    response_model=DayView,
    responses=problems(404),
)
async def close(resources: House, caller: CanWriteReconciliation, day: str) -> JSONResponse:
    """Close a day that is over; closing it again changes nothing."""
    parsed = _day(day)
    await close_day(resources, account_id=caller.account_id, day=parsed, by=f"key {caller.name}")
    found = await list_days(resources.database, caller.account_id, first=parsed, last=parsed)
    return JSONResponse(_render_day(found[0]))


@router.get(
    "/discrepancies",
    name="list_discrepancies",
    summary="List discrepancies",
    response_model=DiscrepancyList,
    responses=problems(404),
)
async def discrepancies(
    resources: House, caller: CanReadReconciliation, filters: Annotated[DiscrepancyFilters, Query()]
) -> JSONResponse:
    """List discrepancies, newest first; with `open=true` those alone that wait for somebody."""
    after = filters.starting_after
    page, has_more = await list_discrepancies(
        resources.database,
        caller.account_id,
        wanted=DiscrepancyFilter(is_open=filters.open, day=filters.day, kind=filters.kind),
        starting_after=None if after is None else _discrepancy_id(after, field="starting_after"),
        limit=filters.limit,
    )
    return JSONResponse({"data": [render_discrepancy(d) for d in page], "has_more": has_more})


@router.post(
    "/discrepancies/{discrepancy_id}/resolve",
    name="resolve_discrepancy",
    summary="Resolve a discrepancy",
    response_model=DiscrepancyView,
    responses=problems(404, 409, *OF_A_BODY),
)
async def resolve(
    resources: House,
    caller: CanWriteReconciliation,
    discrepancy_id: str,
    word: DiscrepancyResolved,
) -> JSONResponse:
    """Say how a discrepancy ended, and why."""
    resolved = await resolve_discrepancy(
        resources,
        account_id=caller.account_id,
        discrepancy_id=_discrepancy_id(discrepancy_id),
        resolution=word.resolution,
        reason=word.reason,
        by=word.by or f"key {caller.name}",
    )
    return JSONResponse(render_discrepancy(resolved))


@router.post(
    "/reports",
    name="upload_report",
    summary="Upload a report file",
    status_code=201,
    response_model=ReportTaken,
    responses=problems(409, 413),
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "The file as it was downloaded: XLSX, XLS or CSV.",
            "content": {"application/octet-stream": {"schema": {"type": "string"}}},
        }
    },
)
async def upload(
    resources: House,
    caller: CanWriteReconciliation,
    facts: Annotated[UploadFacts, Query()],
    request: Request,
) -> JSONResponse:
    """Take in a report file and reconcile its days; the same file again changes nothing."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report"
        await _receive(request, path)
        taken = await take_in_report(
            resources,
            account_id=caller.account_id,
            path=path,
            name=facts.name,
            days=facts.stated_days(),
        )
    found = await reconcile_days(
        resources, account_id=caller.account_id, days=taken.days[:_DAYS_MAX]
    )
    body = {
        "file": _render_file(taken.file),
        "was_known": taken.was_known,
        "days": [day.isoformat() for day in taken.days],
        "open_discrepancies": found.open,
    }
    return JSONResponse(body, status_code=200 if taken.was_known else 201)


@router.get(
    "/reports",
    name="list_reports",
    summary="List report files",
    response_model=ReportFileList,
    responses=problems(),
)
async def reports(resources: House, caller: CanReadReconciliation) -> JSONResponse:
    """List the report files that came last."""
    found = await list_report_files(resources.database, caller.account_id)
    return JSONResponse({"data": [_render_file(file) for file in found]})


@router.delete(
    "/reports/{file_id}",
    name="withdraw_report",
    summary="Withdraw a report file",
    status_code=204,
    response_class=Response,
    responses=problems(404),
)
async def withdraw(resources: House, caller: CanWriteReconciliation, file_id: str) -> Response:
    """Let a file count no more, so that it may be taken in again by another column map."""
    try:
        parsed = UUID(file_id)
    except ValueError:
        raise NotFound(
            "report_not_found", "there is no such report file", field="file_id"
        ) from None
    await withdraw_report(resources, account_id=caller.account_id, file_id=parsed)
    return Response(status_code=204)


@router.get(
    "/columns",
    name="list_columns",
    summary="List column maps",
    response_model=ColumnMaps,
    responses=problems(),
)
async def columns(resources: House, caller: CanReadReconciliation) -> JSONResponse:
    """List your column maps, and the headers that are known without one."""
    stored = await list_columns(resources, account_id=caller.account_id)
    return JSONResponse({"yours": stored, "built_in": built_in_columns()})


@router.put(
    "/columns/{name}",
    name="store_columns",
    summary="Store a column map",
    status_code=204,
    response_class=Response,
    responses=problems(*OF_A_BODY),
)
async def set_columns(
    resources: House, caller: CanWriteReconciliation, name: str, document: ColumnMapDocument
) -> Response:
    """Say how the headers of your report files are to be read."""
    given = json.loads(document.model_dump_json(exclude_none=True))
    await store_columns(resources, account_id=caller.account_id, name=name, document=given)
    return Response(status_code=204)


@router.delete(
    "/columns/{name}",
    name="remove_columns",
    summary="Remove a column map",
    status_code=204,
    response_class=Response,
    responses=problems(404),
)
async def forget_columns(resources: House, caller: CanWriteReconciliation, name: str) -> Response:
    """Use a column map no more."""
    await remove_columns(resources, account_id=caller.account_id, name=name)
    return Response(status_code=204)


async def _receive(request: Request, path: Path) -> None:
    """Write the body into a file as it comes. Raises Refused when it is too large."""
    size = 0
    with path.open("wb") as file:
        try:
            async for piece in request.stream():
                size += len(piece)
                if size > REPORT_BYTES_MAX:
                    raise _too_large()
                file.write(piece)
        except ClientDisconnect:
            raise Refused("report_unreadable", "the connection ended before the file") from None


def _too_large() -> Refused:
    return Refused(
        "report_too_large",
        f"a report file may have {REPORT_BYTES_MAX // 1024 // 1024} MB here; "
        "larger ones go by `checkstand reconcile --file`",
    )


def _render_day(row: DayRow) -> dict[str, Any]:
    result = row.result or {}
    return {
        "day": row.day.isoformat(),
        "reconciled_at": render_time(row.reconciled_at),
        "sources": result.get("sources"),
        "totals": result.get("totals", []),
        "discrepancies": result.get("discrepancies", {}),
        "closed_at": render_time(row.closed_at),
        "closed_by": row.closed_by,
        "document": row.document,
    }


def _render_file(file: StoredFile) -> dict[str, Any]:
    return {
        "file_id": str(file.file_id),
        "name": file.name,
        "sha256": file.sha256.hex(),
        "source": file.source,
        "format": file.format,
        "column_map": file.map_name,
        "lines": file.lines,
        "first_at": render_time(file.first_at),
        "last_at": render_time(file.last_at),
        "notes": list(file.notes),
        "received_at": render_time(file.received_at),
        "withdrawn_at": render_time(file.withdrawn_at),
    }


def _day(text: str) -> date:
    try:
        return parse_day(text, called="day", field="day")
    except Refused as error:  # it is a part of the address
        raise NotFound("day_not_found", error.message, field="day") from None


def _discrepancy_id(text: str, *, field: str = "discrepancy_id") -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NotFound(
            "discrepancy_not_found", "there is no such discrepancy", field=field
        ) from None
